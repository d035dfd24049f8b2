//! The licences of everything that is linked in, as cargo tells them.
//!
//! Knows nothing of the source text. Invariant: a licence that is not listed here is a fault, also a missing one.

use crate::report;
use crate::source::root;

/// Licences that a dependency may have.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

#[test]
fn every_dependency_has_a_known_licence() {
    // Without cargo (`rustc --test tests/tidy.rs`) there is nothing to ask; `cargo test` asks.
    let Some(cargo) = std::env::var_os("CARGO") else {
        return;
    };
    let host = command(&cargo, &["-vV"]);
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo names its host");
    let metadata = command(
        &cargo,
        &[
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--filter-platform",
            host,
        ],
    );
    let packages = licences(&metadata);
    assert!(
        packages.len() > 100,
        "cargo metadata was not understood: {} packages",
        packages.len()
    );
    let faults: Vec<String> = packages
        .iter()
        .filter(|(_, licence)| !Licence::of(licence).is_known())
        .map(|(name, licence)| {
            format!("Cargo.lock: `{name}` has licence `{licence}`, which is not in tests/tidy.rs")
        })
        .collect();
    report(&faults);
}

/// Name and licence expression of each package, read from `cargo metadata` without a JSON library: only a package has
/// the key `license`, and its object begins with its name.
fn licences(metadata: &str) -> Vec<(String, String)> {
    let mut parts = metadata.split("\"license\":");
    let mut before = parts.next().unwrap_or_default();
    let mut packages = Vec::new();
    for after in parts {
        let name = before
            .rsplit("{\"name\":\"")
            .next()
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_default();
        let licence = after
            .strip_prefix('"')
            .and_then(|rest| rest.split('"').next())
            .unwrap_or("none");
        packages.push((name.to_owned(), licence.to_owned()));
        before = after;
    }
    packages
}

/// A licence expression: alternatives of parts that all apply, `A OR (B AND C)`.
struct Licence<'a> {
    words: Vec<&'a str>,
    place: usize,
}

impl<'a> Licence<'a> {
    fn of(expression: &'a str) -> Self {
        let mut words = Vec::new();
        for word in expression.split_inclusive(['(', ')', '/', ' ']) {
            let end = word.find(['(', ')', '/', ' ']).unwrap_or(word.len());
            words.extend(
                [&word[..end], word[end..].trim()]
                    .into_iter()
                    .filter(|word| !word.is_empty()),
            );
        }
        Self { words, place: 0 }
    }

    fn is_known(&mut self) -> bool {
        let mut known = self.all_known();
        while self.eat("OR") || self.eat("/") {
            known |= self.all_known();
        }
        known
    }

    fn all_known(&mut self) -> bool {
        let mut known = self.one_known();
        while self.eat("AND") {
            known &= self.one_known();
        }
        known
    }

    fn one_known(&mut self) -> bool {
        if self.eat("(") {
            let known = self.is_known();
            return self.eat(")") && known;
        }
        let known = self
            .words
            .get(self.place)
            .is_some_and(|word| LICENCES.contains(word));
        self.place += 1;
        if self.eat("WITH") {
            self.place += 1;
        }
        known
    }

    fn eat(&mut self, word: &str) -> bool {
        let here = self.words.get(self.place) == Some(&word);
        self.place += usize::from(here);
        here
    }
}

#[test]
fn a_licence_is_known_when_one_alternative_is() {
    for (expression, known) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/GPL-3.0", true),
        ("GPL-3.0 OR (MIT AND ISC)", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("none", false),
    ] {
        assert_eq!(Licence::of(expression).is_known(), known, "{expression}");
    }
}

fn command(program: &std::ffi::OsStr, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program:?} {arguments:?}: {errors}"
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}
