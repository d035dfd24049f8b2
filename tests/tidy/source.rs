//! The project's text files, and which part of a Rust text is code.
//!
//! Knows no rule. Invariant: blanking keeps every line where it was, so a fault's line is the editor's line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FOLDERS: &[&str] = &[
    "src", "tests", "benches", "examples", "queries", "docs", ".ci",
];
const ROOT_FILES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "clippy.toml",
    "rustfmt.toml",
];

/// One text file of the project.
pub(crate) struct File {
    /// From the project's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// For Rust: the text with comments and literals blanked, so that only code is left; lines stay where they are.
    pub(crate) code: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The room of a file under `src/`; `None` for `lib.rs`, `main.rs` and everything outside.
    pub(crate) fn room(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        let room = rest.split('/').next()?.trim_end_matches(".rs");
        (room != "lib" && room != "main").then_some(room)
    }

    /// The byte of the code where the unit tests begin.
    pub(crate) fn tests_start(&self) -> usize {
        let stem = self.path.trim_end_matches(".rs");
        if stem.ends_with("/tests") || stem.ends_with("_tests") || stem.contains("/tests/") {
            return 0;
        }
        self.code.find("#[cfg(test)]").unwrap_or(self.code.len())
    }

    /// A fault at a byte of the code, as `path:line: what`.
    pub(crate) fn fault(&self, byte: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, self.line_of(byte))
    }

    fn line_of(&self, byte: usize) -> usize {
        self.code.as_bytes()[..byte]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1
    }
}

/// The rooms that a text of code names by `crate::room` or `crate::{room, ..}`, each with its place.
pub(crate) fn named_rooms(code: &str) -> Vec<(usize, &str)> {
    let mut named = Vec::new();
    for byte in words(code, "crate::") {
        let rest = &code[byte + "crate::".len()..];
        let Some(group) = rest.trim_start().strip_prefix('{') else {
            named.push((byte, identifier(rest)));
            continue;
        };
        let mut depth = 1;
        let mut at_start = true;
        for (place, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => at_start = true,
                _ if at_start && !letter.is_whitespace() => {
                    named.push((byte, identifier(&group[place..])));
                    at_start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

#[test]
pub(crate) fn named_rooms_are_found_in_groups() {
    let code =
        "use crate::{error::{Error, Result}, plan::Scan,\n sink};\nlet x = crate::engine::run();";
    let rooms: Vec<&str> = named_rooms(code)
        .into_iter()
        .map(|(_, room)| room)
        .collect();
    assert_eq!(rooms, ["error", "plan", "sink", "engine"]);
}

pub(crate) fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    let end = text
        .find(|letter: char| !is_word(letter))
        .unwrap_or(text.len());
    &text[..end]
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Where a word stands by itself, not as a part of a longer one.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let starts_open = !word.starts_with(is_word);
    let ends_open = !word.ends_with(is_word);
    code.match_indices(word)
        .map(|(byte, _)| byte)
        .filter(move |byte| {
            let before = code[..*byte].chars().next_back();
            let after = code[byte + word.len()..].chars().next();
            (starts_open || !before.is_some_and(is_word))
                && (ends_open || !after.is_some_and(is_word))
        })
}

/// Rust code with comments and the insides of literals blanked.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before = code.chars().next_back().unwrap_or(' ');
        let (skipped, kept) = (literal_or_comment(rest, before), first.len_utf8());
        if skipped == 0 {
            code.push(first);
            rest = &rest[kept..];
        } else {
            code.extend(
                rest[..skipped]
                    .chars()
                    .map(|letter| if letter == '\n' { '\n' } else { ' ' }),
            );
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length in bytes of the comment or literal at the start of a text; 0 when there is none.
fn literal_or_comment(text: &str, before: char) -> usize {
    let to = |end: Option<usize>, mark: usize| end.map_or(text.len(), |end| end + mark);
    if text.starts_with("//") {
        return to(text.find('\n'), 0);
    }
    if text.starts_with("/*") {
        return to(text.find("*/"), 2);
    }
    let raw = text
        .strip_prefix("br")
        .or_else(|| text.strip_prefix('r'))
        .filter(|_| !is_word(before));
    if let Some(body) = raw {
        let hashes = body.chars().take_while(|letter| *letter == '#').count();
        if body[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = text.len() - body.len() + hashes + 1;
            return to(
                text[start..].find(&end).map(|place| start + place),
                end.len(),
            );
        }
    }
    match text.as_bytes()[0] {
        b'"' => quoted(text, '"'),
        // A lifetime has no quote after its first letter.
        b'\'' if text[1..].starts_with('\\') || text[1..].chars().nth(1) == Some('\'') => {
            quoted(text, '\'')
        }
        _ => 0,
    }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (place, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return place + quote.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "a /* rdkafka */ \"pg\\\"wire\" r#\"x\"y\"# 'q' '\\'' b // z\nc: &'static str";
    let code = code_of(text);
    assert_eq!(
        code.split_whitespace().collect::<Vec<_>>(),
        ["a", "b", "c:", "&'static", "str"]
    );
    assert_eq!(code.chars().count(), text.chars().count(), "nothing moves");
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(option_env!("CARGO_MANIFEST_DIR").unwrap_or("."))
}

/// All text files of the project.
pub(crate) fn project() -> Vec<File> {
    let root = root();
    assert!(
        root.join("src/lib.rs").exists(),
        "run it from the project's root"
    );
    let mut paths = BTreeSet::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut paths);
    }
    paths.extend(
        ROOT_FILES
            .iter()
            .map(|name| root.join(name))
            .filter(|path| path.exists()),
    );
    paths.iter().filter_map(|path| read(&root, path)).collect()
}

fn collect(folder: &Path, paths: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(&path, paths);
        } else {
            paths.insert(path);
        }
    }
}

/// A file, unless it is no text.
fn read(root: &Path, path: &Path) -> Option<File> {
    let text = String::from_utf8(std::fs::read(path).ok()?).ok()?;
    let path = path
        .strip_prefix(root)
        .ok()?
        .to_string_lossy()
        .replace('\\', "/");
    let code = if path.ends_with(".rs") {
        code_of(&text)
    } else {
        String::new()
    };
    Some(File { path, text, code })
}
