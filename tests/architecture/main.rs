//! The table of who may know what, against the source; and other promises
//! that a compiler does not check. Every check has a self-test on a bad
//! sample, so that none of them passes because it looks at nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod readme;
mod rooms;
mod source;
mod tree;

use source::Source;

/// Every complaint, or a failure that lists them.
#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn sources() -> Vec<Source> {
    let sources = tree::rust_sources();
    assert!(sources.len() > 20, "the tree was not found: {} files", sources.len());
    sources
}

#[test]
fn every_file_is_in_a_room_and_every_room_in_lib_rs() {
    none(&rooms::unknown(&sources()));
    none(&rooms::missing_in_lib(&sources()));
}

#[test]
fn rooms_name_only_what_they_may() {
    none(&rooms::wrong_uses(&sources()));
}

#[test]
fn unsafe_stands_where_it_may_and_says_why_it_is_sound() {
    none(&rooms::wrong_unsafe(&sources()));
    none(&rooms::unexplained_unsafe(&sources()));
}

#[test]
fn node_files_are_named_as_their_nodes() {
    none(&rooms::wrong_nodes(&sources()));
}

#[test]
fn no_file_is_too_long() {
    none(&tree::too_long());
}

#[test]
fn nothing_names_the_place_where_it_was_written() {
    none(&tree::workplace_paths());
}

#[test]
fn the_readme_has_the_commands_of_cli_defs() {
    readme::commands_are_current();
}

#[test]
fn the_readme_documents_every_json_field() {
    none(&readme::undocumented_json_fields());
}
