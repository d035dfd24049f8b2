//! Long, deep and malformed texts: refused or read, in time, without overflowing a stack.

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, proptest};

use super::{check, check_error, short, shown_error};
use crate::sql::parse;

/// Parses and does what all later stages do to a tree: copies, compares, prints and frees it. Tests
/// run on threads with a stack of 2 MiB.
fn use_all(text: &str) -> String {
    let parsed = match parse(text) {
        Ok(parsed) => parsed,
        Err(error) => return shown_error(&error),
    };
    assert_eq!(parsed.clone(), parsed, "a copy equals");
    let length: usize = parsed.iter().map(|one| short(&one.statement).len()).sum();
    assert!(length > 0, "a statement can be shown");
    "read".to_owned()
}

/// Text that gets deeper with `depth`.
fn deep(kind: &str, depth: usize) -> String {
    let nest = |open: &str, middle: &str, close: &str| {
        format!(
            "SELECT {}{middle}{}",
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    match kind {
        "parentheses" => nest("(", "1", ")"),
        "calls" => nest("f(", "1", ")"),
        "casts" => nest("cast(", "1", " as int)"),
        "case" => nest("case when ", "1", " then 1 end"),
        "arrays" => nest("array[", "1", "]"),
        "sub-queries" => nest("(select ", "1", ")"),
        "from" => format!(
            "{}SELECT 1{}",
            "select * from (".repeat(depth),
            ") x".repeat(depth)
        ),
        "joins" => format!(
            "SELECT * FROM {}a{}",
            "(".repeat(depth),
            " join b on true)".repeat(depth)
        ),
        "lists" => nest("1 in (", "1", ")"),
        "sums" => format!("SELECT 1{}", "+1".repeat(depth)),
        "left sums" => nest("(", "1", "+1)"),
        "pg casts" => format!("SELECT 1{}", "::int".repeat(depth)),
        "unions" => format!("SELECT 1{}", " union select 1".repeat(depth)),
        "not" => nest("not ", "1", ""),
        "minus" => nest("- ", "1", ""),
        "interval" => nest("interval ", "'1 s'", ""),
        "array types" => format!(
            "SELECT 1::{}int{}",
            "array<".repeat(depth),
            ">".repeat(depth)
        ),
        "brackets" => format!("SELECT 1::int{}", "[]".repeat(depth)),
        "subscripts" => format!("SELECT a{}", "[1]".repeat(depth)),
        "column types" => format!(
            "CREATE TABLE t (a {}int{})",
            "ROW(a ".repeat(depth),
            ")".repeat(depth)
        ),
        "column arrays" => format!("CREATE TABLE t (a int{})", "[]".repeat(depth)),
        "windows" => format!(
            "SELECT * FROM {}t{}",
            "TUMBLE(".repeat(depth),
            ", ts, '1 s')".repeat(depth)
        ),
        "query in brackets" => format!("{}SELECT 1{}", "(".repeat(depth), ")".repeat(depth)),
        "explain" => format!("{}SELECT 1", "EXPLAIN ".repeat(depth)),
        other => panic!("{other}"),
    }
}

const KINDS: [&str; 24] = [
    "parentheses",
    "calls",
    "casts",
    "case",
    "arrays",
    "sub-queries",
    "from",
    "joins",
    "lists",
    "sums",
    "left sums",
    "pg casts",
    "unions",
    "not",
    "minus",
    "interval",
    "array types",
    "brackets",
    "subscripts",
    "column types",
    "column arrays",
    "windows",
    "query in brackets",
    "explain",
];

#[test]
fn what_people_write_is_not_too_deep() {
    for kind in KINDS {
        if kind != "explain" {
            let found = use_all(&deep(kind, 20));
            assert!(
                found == "read" || found.starts_with("42601"),
                "{kind}: {found}"
            );
        }
    }
    assert_eq!(use_all(&deep("sums", 250)), "read");
    assert_eq!(use_all(&deep("unions", 90)), "read");
    assert_eq!(use_all(&deep("calls", 90)), "read");
}

#[test]
fn the_deepest_that_is_read_fits_a_stack_and_deeper_is_refused() {
    for kind in KINDS {
        let read = |depth: usize| {
            let found = use_all(&deep(kind, depth));
            let code = found.split(' ').next().unwrap();
            assert!(
                ["read", "54001", "42601"].contains(&code),
                "{kind} {depth}: {found}"
            );
            code == "read"
        };
        let (mut least, mut most) = (0, 400);
        assert!(!read(most), "{kind} has no limit");
        while least + 1 < most {
            let middle = usize::midpoint(least, most);
            if read(middle) {
                least = middle
            } else {
                most = middle
            }
        }
        assert!(!read(20_000), "{kind}: beyond {least}");
    }
}

#[test]
fn long_chains_of_conditions_are_read() {
    for operator in ["AND", "OR"] {
        let chain = format!(" {operator} a = 1").repeat(20_000);
        assert_eq!(
            use_all(&format!("SELECT 1 FROM t WHERE b = 2{chain}")),
            "read"
        );
    }
    let mixed = " OR a BETWEEN 1 AND 2 AND b".repeat(5_000);
    assert_eq!(use_all(&format!("SELECT 1 FROM t WHERE b{mixed}")), "read");
    check(
        &format!("SELECT 1 WHERE a{}", " OR b".repeat(70)),
        &format!("SELECT 1 WHERE a{}", " OR b".repeat(70)),
    );
}

#[test]
fn a_text_of_ten_megabytes_is_read_and_one_of_seventeen_is_refused() {
    let rows = ",('abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz', 12345)".repeat(150_000);
    assert!(rows.len() > 9_000_000, "it is long");
    assert_eq!(
        use_all(&format!("INSERT INTO t VALUES ('a', 1){rows}")),
        "read"
    );
    let long = format!("SELECT '{}'", "x".repeat(4_000_000));
    assert_eq!(use_all(&long), "read");
    check_error(
        &"x".repeat((16 << 20) + 1),
        "54000 nowhere",
        "longer than the limit",
    );
    let many = format!("SELECT {}1", "1,".repeat(2_100_000));
    check_error(&many, "54000 1:1", "words and signs");
    let statements = "SELECT 1;".repeat(20_000);
    assert_eq!(parse(&statements).unwrap().len(), 20_000);
    let newlines = format!("{}SELECT", "\n".repeat(1_000_000));
    check_error(&newlines, "42601 1000001:7", "");
}

/// Pieces of text in which quotes, comments and semicolons meet.
const PIECES: &[&str] = &[
    "SELECT",
    " ",
    "1",
    "'a'",
    "'",
    "''",
    "\"q\"",
    "\"",
    "--",
    "-",
    "\n",
    "/*",
    "*/",
    "/",
    "*",
    "$$",
    "$a$",
    "$1",
    "a$b",
    ";",
    "E'\\''",
    "e'",
    "\\",
    "b'1'",
    "x'0'",
    "N'n'",
    "u&'",
    "é",
    "\t",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "1.5e3",
    "0x1f",
    "::",
    "->>",
    "@",
    "<",
    "EMIT",
    "CHANGES",
    "FROM",
    "t",
    "WINDOW",
    "TUMBLING",
    "SIZE",
    "TABLE",
    "SESSION",
    "PARTITION",
    "BY",
    "CREATE",
    "WITH",
    "=",
    "INTERVAL",
    "'1 s'",
    "EVERY",
    "COPY",
    "TO",
    "STDOUT",
    "AS",
    "UNION",
    "CASE",
    "WHEN",
    "END",
    "ROW",
    "int",
    "INSERT",
    "INTO",
    "VALUES",
    "\r\n",
];

fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..24);
    pieces.prop_map(|pieces| pieces.join(""))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_statements_or_an_error_with_a_place(text in soup()) {
        match parse(&text) {
            Ok(parsed) => {
                for one in parsed {
                    prop_assert!(text.contains(&one.text));
                    // A statement's own text means the same.
                    let again = parse(&one.text).unwrap();
                    prop_assert_eq!(short(&again[0].statement), short(&one.statement));
                }
            }
            Err(error) => {
                let place = error.position();
                prop_assert!(place.is_some(), "{} has no place", error);
                let lines = text.split('\n').count() as u64;
                let place = place.unwrap();
                prop_assert!(place.line >= 1 && place.line <= lines && place.column >= 1);
            }
        }
    }
}
