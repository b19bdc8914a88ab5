//! Rust source as text, with what is not code blanked out.

/// One file.
pub(crate) struct Source {
    /// Below the repository's root, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) raw: String,
    /// Comments, and what strings and characters hold, replaced by spaces;
    /// the lines stay the same.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, raw: &str) -> Self {
        Self { path: path.to_owned(), raw: raw.to_owned(), code: blank(raw) }
    }

    /// Every identifier of the code with its line, counted from 1.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().flat_map(|(index, line)| {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            line.split(move |c| !is_word(c)).filter(|word| !word.is_empty()).map(move |word| (index + 1, word))
        })
    }

    /// The modules that the file stands for: `engine`, `plan` for
    /// `src/engine/plan.rs`.
    pub(crate) fn module(&self) -> Vec<&str> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let inner = inner.strip_suffix(".rs").unwrap_or(inner);
        inner.split('/').filter(|part| *part != "mod" && *part != "lib").collect()
    }

    /// What the code names at the root of the crate: `crate::x`, `crate::{x,
    /// y::z}`, and `super::` as often as it leads there.
    pub(crate) fn roots(&self) -> Vec<String> {
        let code: String = self.code.split_whitespace().collect::<Vec<_>>().join(" ");
        let code = code.replace(" ::", "::").replace(":: ", "::").replace("{ ", "{");
        let depth = self.module().len();
        let up = "super::".repeat(depth);
        let mut roots = Vec::new();
        let mut starts: Vec<usize> = code.match_indices("crate::").map(|(at, text)| at + text.len()).collect();
        if depth > 0 {
            starts.extend(code.match_indices(&up).map(|(at, text)| at + text.len()));
        }
        for start in starts {
            roots.extend(heads(&code[start..]));
        }
        roots
    }
}

/// The first identifiers of a path or of a braced list of paths.
fn heads(text: &str) -> Vec<String> {
    let identifier =
        |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(list) = text.strip_prefix('{') else {
        return vec![identifier(text)];
    };
    let mut heads = Vec::new();
    let mut depth = 0_usize;
    let mut item = 0;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.push(identifier(&list[item..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(identifier(&list[item..at]));
                item = at + 1;
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// Blank out comments, strings and characters.
fn blank(raw: &str) -> String {
    let chars: Vec<char> = raw.chars().collect();
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !before_is_word(&chars, at) => raw_string_end(&chars, at).unwrap_or(at),
            'b' | 'c' if !before_is_word(&chars, at) && chars.get(at + 1) == Some(&'r') => {
                raw_string_end(&chars, at + 1).unwrap_or(at)
            }
            '\'' => char_end(&chars, at),
            _ => at,
        };
        if end > at {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// So that the `r` that ends a longer word starts no raw string.
fn before_is_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut i = at;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => {
                depth += 1;
                i += 2;
            }
            ('*', '/') => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// `None` when the `r` at this place begins an ordinary word.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |i: &usize| chars[*i] == '"' && chars[*i + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    Some((open + 1..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + hashes))
}

/// A character, not a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        // From behind what is escaped: '\'' and '\u{1f}' alike.
        return (at + 3..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |i| i + 1);
    }
    if chars.get(at + 2) == Some(&'\'') { at + 3 } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_code_is_blank() {
        let raw = "a // unsafe\n/* unsafe /* x */ unsafe */ b \"unsafe \\\" c\" r#\"unsafe \" \"# br\"unsafe\" 'd' '\\'' &'e f";
        let source = Source::new("src/x.rs", raw);
        let words: Vec<(usize, &str)> = source.words().collect();
        assert_eq!(words, [(1, "a"), (2, "b"), (2, "e"), (2, "f")]);
        assert_eq!(source.code.lines().count(), raw.lines().count());
    }

    #[test]
    fn what_is_named_at_the_root() {
        let raw = "use crate::model::X; use crate::{vpp::{A, B}, engine, linux as l};\nfn f() { super::super::helper::g(); \
                   super::near() }";
        let mut roots = Source::new("src/dataplane/tap.rs", raw).roots();
        roots.sort();
        assert_eq!(roots, ["engine", "helper", "linux", "model", "vpp"]);
    }
}
