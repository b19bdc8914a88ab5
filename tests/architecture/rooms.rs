//! The table of rooms and the checks of the source against it.

use crate::source::Source;

/// What a room may know.
struct Room {
    /// Where it is, below `src/`: files and folders, without `.rs`.
    place: &'static str,
    /// The rooms it may name.
    uses: &'static [&'static str],
    unsafe_code: bool,
    vpp_sys: bool,
    netlink: bool,
}

const fn pure(place: &'static str, uses: &'static [&'static str]) -> Room {
    Room { place, uses, unsafe_code: false, vpp_sys: false, netlink: false }
}

/// Where the crate's programs are. They are no part of its library.
const PROGRAMS: &str = "bin";

/// The table. A file belongs to the room with the longest place that fits.
const ROOMS: &[Room] = &[
    pure("model", &[]),
    pure("engine", &["model"]),
    pure("bridge", &["engine"]),
    Room { netlink: true, ..pure("linux", &["engine", "model"]) },
    // ioctls of TUN/TAP and setns, which nix lacks or does not make safe.
    Room { netlink: true, unsafe_code: true, ..pure("linux/sys", &["engine", "model"]) },
    pure("helper", &["bridge", "engine", "linux", "model"]),
    pure("cli", &["engine", "model"]),
    pure("guard", &["cli", "engine", "linux", "model"]),
    // Programs: each calls the one function of its room.
    pure(PROGRAMS, &[]),
    Room { unsafe_code: true, vpp_sys: true, ..pure("vpp", &["model"]) },
    pure("nodes", &["model", "vpp"]),
    pure("dataplane", &["engine", "model", "nodes", "vpp"]),
    // Wiring, so it may know every room; yet nothing of VPP but by `vpp`.
    pure("plugin", &["bridge", "cli", "dataplane", "engine", "helper", "linux", "model", "nodes", "vpp"]),
];

/// The room's name as `crate::name` has it.
fn name(room: &Room) -> &'static str {
    room.place.split('/').next().unwrap_or(room.place)
}

fn room_of(source: &Source) -> Option<&'static Room> {
    let module = source.module().join("/");
    let fits = |room: &&Room| module == room.place || module.starts_with(&format!("{}/", room.place));
    ROOMS.iter().filter(fits).max_by_key(|room| room.place.len())
}

/// `src/lib.rs` is the map and has no room.
fn in_src(sources: &[Source]) -> impl Iterator<Item = &Source> {
    sources.iter().filter(|source| source.path.starts_with("src/") && source.path != "src/lib.rs")
}

pub(crate) fn unknown(sources: &[Source]) -> Vec<String> {
    let homeless = |source: &&Source| room_of(source).is_none();
    in_src(sources)
        .filter(homeless)
        .map(|source| format!("{}: in no room of tests/architecture/rooms.rs", source.path))
        .collect()
}

/// `src/lib.rs` declares the rooms of the table, no more and no fewer.
pub(crate) fn missing_in_lib(sources: &[Source]) -> Vec<String> {
    let Some(lib) = sources.iter().find(|source| source.path == "src/lib.rs") else {
        return vec!["src/lib.rs: not there".to_owned()];
    };
    let mut declared: Vec<&str> =
        lib.code.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut rooms: Vec<&str> = ROOMS.iter().map(name).filter(|name| *name != PROGRAMS).collect();
    declared.sort_unstable();
    rooms.sort_unstable();
    rooms.dedup();
    if declared == rooms {
        return Vec::new();
    }
    vec![format!("src/lib.rs: declares {declared:?}, the table has {rooms:?}")]
}

pub(crate) fn wrong_uses(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in in_src(sources) {
        let Some(room) = room_of(source) else { continue };
        let own = name(room);
        for root in source.roots() {
            let is_room = ROOMS.iter().any(|other| name(other) == root);
            if is_room && root != own && !room.uses.contains(&root.as_str()) {
                complaints.push(format!("{}: {own} may not use crate::{root}", source.path));
            }
        }
        for (line, word) in source.words() {
            if word == "vpp_sys" && !room.vpp_sys {
                complaints.push(format!("{}:{line}: {own} may not name vpp_sys", source.path));
            }
            if word.starts_with("netlink_") && !room.netlink {
                complaints.push(format!("{}:{line}: {own} may not name {word}", source.path));
            }
        }
    }
    complaints
}

fn may_be_unsafe(source: &Source) -> bool {
    source.path.starts_with("vpp-sys/")
        || (source.path.starts_with("src/") && room_of(source).is_some_and(|room| room.unsafe_code))
}

pub(crate) fn wrong_unsafe(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| !may_be_unsafe(source)) {
        for (line, _) in source.words().filter(|(_, word)| *word == "unsafe") {
            complaints.push(format!("{}:{line}: unsafe belongs into src/vpp or vpp-sys", source.path));
        }
    }
    complaints
}

/// Every unsafe block and impl has a `// SAFETY:` before its statement.
pub(crate) fn unexplained_unsafe(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let raw: Vec<&str> = source.raw.lines().collect();
        for (index, line) in source.code.lines().enumerate() {
            let spaced = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let needs = ["unsafe {", "unsafe impl"].iter().any(|opening| spaced.contains(opening))
                || spaced == "unsafe"
                || spaced.ends_with(" unsafe");
            if needs && !is_explained(&raw, index) {
                complaints.push(format!("{}:{}: unsafe without a // SAFETY: before it", source.path, index + 1));
            }
        }
    }
    complaints
}

fn is_explained(raw: &[&str], at: usize) -> bool {
    let opens = |line: &str| line.contains("// SAFETY:");
    if raw.get(at).is_some_and(|line| opens(line)) {
        return true;
    }
    // Upward through comments, attributes and the beginning of the statement.
    for line in raw[..at].iter().rev() {
        let line = line.trim();
        if opens(line) {
            return true;
        }
        let is_comment = line.starts_with("//");
        let ends_statement = line.ends_with([';', '{', '}']) || line.is_empty();
        if !is_comment && !line.starts_with('#') && ends_statement {
            return false;
        }
    }
    false
}

/// `src/nodes/hostnet_arp.rs` holds the node `hostnet-arp`.
pub(crate) fn wrong_nodes(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let Some(file) = source.path.strip_prefix("src/nodes/") else { continue };
        // What nodes share has a folder of its own.
        if file == "mod.rs" || file.starts_with("shared/") {
            continue;
        }
        let node = file.trim_end_matches(".rs").replace('_', "-");
        let quoted = format!("\"{node}\"");
        if !node.starts_with("hostnet-") || file.contains('/') || !source.raw.contains(&quoted) {
            complaints.push(format!("{}: holds no node {quoted}; a file is named as its node", source.path));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(path: &str, raw: &str) -> Vec<Source> {
        vec![Source::new(path, raw)]
    }

    #[test]
    fn a_file_without_a_room_is_found() {
        assert_eq!(unknown(&sample("src/util.rs", "")).len(), 1);
        assert_eq!(unknown(&sample("src/engine/deep/er.rs", "")).len(), 0);
    }

    #[test]
    fn a_map_that_is_not_the_table_is_found() {
        assert_eq!(missing_in_lib(&sample("src/lib.rs", "pub mod model;\npub mod engine;\n")).len(), 1);
        assert_eq!(missing_in_lib(&[]).len(), 1);
    }

    #[test]
    fn a_room_that_knows_too_much_is_found() {
        for (path, raw) in [
            ("src/model/a.rs", "use crate::engine::Plan;"),
            ("src/engine/a.rs", "use crate::{model::X, linux};"),
            ("src/engine/a.rs", "fn f() { super::super::helper::run() }"),
            ("src/helper.rs", "use crate::vpp::Main;"),
            ("src/cli/parse.rs", "use crate::vpp;"),
            ("src/dataplane.rs", "fn f() { vpp_sys::x() }"),
            ("src/helper.rs", "use netlink_sys::Socket;"),
            ("src/nodes/hostnet_arp.rs", "use crate::dataplane::X;"),
        ] {
            assert_eq!(wrong_uses(&sample(path, raw)).len(), 1, "{path}: {raw}");
        }
        for (path, raw) in [
            ("src/engine/a.rs", "use crate::model::X; // vpp_sys"),
            ("src/vpp/a.rs", "use vpp_sys::x;"),
            ("src/linux/a.rs", "use netlink_sys::Socket;"),
            ("src/plugin.rs", "use crate::{bridge, cli, vpp};"),
        ] {
            assert_eq!(wrong_uses(&sample(path, raw)), Vec::<String>::new(), "{path}: {raw}");
        }
    }

    #[test]
    fn unsafe_in_the_wrong_place_is_found() {
        let raw = "// SAFETY: none\nunsafe { x() }";
        for path in ["src/engine/a.rs", "src/linux/a.rs", "src/plugin.rs", "tests/a.rs", "build.rs"] {
            assert_eq!(wrong_unsafe(&sample(path, raw)).len(), 1, "{path}");
        }
        for path in ["src/vpp/a.rs", "src/linux/sys.rs", "vpp-sys/src/lib.rs"] {
            assert_eq!(wrong_unsafe(&sample(path, raw)).len(), 0, "{path}");
        }
        // A word of a lint or of a comment is none.
        assert_eq!(wrong_unsafe(&sample("src/a.rs", "#![deny(unsafe_code)] // unsafe")).len(), 0);
    }

    #[test]
    fn unexplained_unsafe_is_found() {
        for raw in [
            "fn f() {\n    unsafe { x() }\n}",
            "// SAFETY: of another one\nlet a = 1;\nlet b = unsafe { x() };",
            "unsafe impl Send for X {}",
            "let s = \"// SAFETY: in a string above\";\n\nunsafe { x() }",
            "fn f() {\n    unsafe\n    { x() }\n}",
        ] {
            assert_eq!(unexplained_unsafe(&sample("src/vpp/a.rs", raw)).len(), 1, "{raw}");
        }
        for raw in [
            "fn f() {\n    // SAFETY: so\n    unsafe { x() }\n}",
            "// SAFETY: so,\n// and so.\n#[allow(x)]\nlet a =\n    f(unsafe { x() });",
            "// SAFETY: so\nunsafe impl Send for X {}",
            "unsafe fn f();\nunsafe extern \"C\" fn g() {}",
        ] {
            assert_eq!(unexplained_unsafe(&sample("src/vpp/a.rs", raw)), Vec::<String>::new(), "{raw}");
        }
    }

    #[test]
    fn a_node_in_the_wrong_file_is_found() {
        let arp = "const NAME: &CStr = c\"hostnet-arp\";";
        assert_eq!(wrong_nodes(&sample("src/nodes/hostnet_arp.rs", arp)).len(), 0);
        assert_eq!(wrong_nodes(&sample("src/nodes/hostnet_nd.rs", arp)).len(), 1);
        assert_eq!(wrong_nodes(&sample("src/nodes/arp.rs", "\"arp\"")).len(), 1);
    }
}
