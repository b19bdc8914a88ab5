//! The repository as files.

use std::fs;
use std::path::Path;

use crate::source::Source;

/// Longest source file, in lines: what is longer is two things.
const LONGEST: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file below the root that git would keep, with its path.
fn files() -> Vec<(String, String)> {
    let ignored: Vec<String> = fs::read_to_string(root().join(".gitignore"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix('/').map(|line| line.trim_end_matches('/').to_owned()))
        .collect();
    let mut files = Vec::new();
    walk(root(), &ignored, &mut files);
    files.sort();
    files
}

fn walk(folder: &Path, ignored: &[String], files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if name == ".git" || ignored.contains(&name) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, ignored, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            files.push((name, text));
        }
    }
}

/// Every Rust file, tests and build scripts included.
pub(crate) fn rust_sources() -> Vec<Source> {
    let is_rust = |(path, _): &&(String, String)| Path::new(path).extension().is_some_and(|e| e == "rs");
    files().iter().filter(is_rust).map(|(path, text)| Source::new(path, text)).collect()
}

pub(crate) fn too_long() -> Vec<String> {
    files().iter().filter_map(|(path, text)| long(path, text)).collect()
}

fn long(path: &str, text: &str) -> Option<String> {
    let is_source =
        Path::new(path).extension().is_some_and(|e| ["rs", "c", "h", "sh", "py", "toml"].iter().any(|x| e == *x));
    let lines = text.lines().count();
    (is_source && lines > LONGEST).then(|| format!("{path}: {lines} lines, at most {LONGEST}"))
}

pub(crate) fn workplace_paths() -> Vec<String> {
    files().iter().flat_map(|(path, text)| places(path, text)).collect()
}

/// Absolute paths of the machine that this was written on.
fn places(path: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file does not find itself.
    let places = ["work", "root"].map(|name| format!("/{name}/"));
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for place in &places {
            // Of a longer path such as `sys/work/` it is only a part.
            let absolute = line.match_indices(place.as_str()).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | ')'))
            });
            if absolute {
                complaints.push(format!("{path}:{}: names {place}", index + 1));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        assert!(long("src/a.rs", &"x\n".repeat(LONGEST + 1)).is_some());
        assert!(long("src/a.rs", &"x\n".repeat(LONGEST)).is_none());
        assert!(long("LICENSE", &"x\n".repeat(LONGEST + 1)).is_none());
    }

    #[test]
    fn a_workplace_path_is_found() {
        let bad = format!("let a = \"/{}/shared\";\n# see /{}/x", "work", "root");
        assert_eq!(places("a", &bad).len(), 2);
        assert_eq!(places("a", "a/work/b and $ROOT/root/c.rs").len(), 0);
    }

    #[test]
    fn the_tree_is_walked() {
        let files = files();
        let has = |name: &str| files.iter().any(|(path, _)| path == name);
        assert!(has("src/lib.rs") && has("cli-defs/10-hostnet-enable.toml") && has("README.md"));
        assert!(!files.iter().any(|(path, _)| path.starts_with("target/") || path.starts_with(".git/")));
    }
}
