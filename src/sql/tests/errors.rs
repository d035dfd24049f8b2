//! What is refused: the code, the place, the words.

use super::{check, check_error};

/// Texts, the start of the error, and words in it.
const SYNTAX: &[(&str, &str, &str)] = &[
    (
        "SELECT 1;\n  SELECT * FORM t",
        "42601 2:17",
        "Perhaps you meant FROM instead of \"FORM\".",
    ),
    (
        "SELECT a FROM t WHRE b = 1",
        "42601 1:22",
        "Perhaps you meant WHERE",
    ),
    (
        "SELECT a FROM t GRUOP BY b",
        "42601",
        "Perhaps you meant GROUP",
    ),
    (
        "SELECT a FROM",
        "42601 1:14 syntax error at end of input",
        "Expected",
    ),
    (
        "SELECT (1 + ",
        "42601 1:12 syntax error at end of input",
        "Expected an expression",
    ),
    ("SELECT 1 FROM ; SELECT 2", "42601 1:14", ""),
    (
        "SELECT a b c FROM t",
        "42601 1:12 syntax error at or near \"c\"",
        "",
    ),
    ("1", "42601 1:1", "Expected a statement"),
    (
        "CREATE TABEL t (a int)",
        "42601 1:8",
        "Perhaps you meant CREATE TABLE.",
    ),
    ("DROP TABEL t", "42601 1:6", "Perhaps you meant DROP TABLE."),
    ("DROP TABLE", "42601 1:11", "Expected a name"),
    (
        "CREATE TABLE t (a int",
        "42601 1:22",
        "comma or a closing parenthesis",
    ),
    (
        "CREATE TABLE t (a int b)",
        "42601 1:23",
        "NOT NULL, METADATA",
    ),
    ("CREATE TABLE t (a AS (b))", "42601 1:19", "needs a type"),
    (
        "CREATE TABLE t (a int) WITH (x)",
        "42601 1:31",
        "Expected \"=\"",
    ),
    (
        "CREATE TABLE t (a int) WITH (x = )",
        "42601 1:34",
        "a string, a number",
    ),
    ("BEGIN; SELECT 1 +; COMMIT", "42601 1:18", ""),
    ("SET x 1", "42601 1:7", "\"=\" or TO"),
    ("FLUSH now", "42601 1:7", "the end of the statement"),
];

#[test]
fn syntax_errors_have_a_place_and_say_what_was_expected() {
    check(
        "SELEC 1",
        "42601 1:1 syntax error at or near \"SELEC\" | Expected a statement. | Perhaps you meant SELECT.",
    );
    check(
        "frobnicate",
        "42601 1:1 syntax error at or near \"frobnicate\" | Expected a statement.",
    );
    for (text, start, words) in SYNTAX {
        check_error(text, start, words);
    }
}

/// Texts, the start of the error, and words in it.
const UNCLOSED: &[(&str, &str, &str)] = &[
    (
        "SELECT 1;\nSELECT E'a\\'b",
        "42601 2:8",
        "unterminated quoted string",
    ),
    ("SELECT \"abc", "42601 1:8", "unterminated quoted name"),
    (
        "SELECT $a$ b $b$",
        "42601 1:8",
        "unterminated dollar-quoted string",
    ),
    (
        "SELECT /* a /* b */",
        "42601 1:8",
        "unterminated /* comment",
    ),
    (
        "SELECT \"\"",
        "42601 1:8",
        "quoted name without a character",
    ),
    ("SELECT 'a\0b'", "22021 1:10", "NUL"),
    ("SELECT \0", "22021 1:8", "NUL"),
    ("SELECT (((1", "42601 1:12", ""),
];

#[test]
fn what_is_never_closed_is_shown_where_it_starts() {
    check(
        "SELECT 'abc",
        "42601 1:8 unterminated quoted string | It starts here and is never closed.",
    );
    for (text, start, words) in UNCLOSED {
        check_error(text, start, words);
    }
}

/// Texts, the start of the error, and words in it.
const MISSING: &[(&str, &str, &str)] = &[
    (
        "DELETE FROM t",
        "0A000 1:1 DELETE is not supported",
        "Kafka topic",
    ),
    ("UPDATE t SET a = 1", "0A000 1:1", "cannot be changed"),
    ("CREATE INDEX i ON t (a)", "0A000 1:8", "no indexes"),
    ("CREATE SOURCE s", "0A000 1:8", "CREATE TABLE"),
    ("CREATE TEMP TABLE t (a int)", "0A000 1:8", "durable"),
    (
        "CREATE TABLE t AS SELECT 1",
        "0A000 1:16",
        "MATERIALIZED VIEW",
    ),
    ("CREATE TABLE t (a int DEFAULT 1)", "0A000 1:23", "coalesce"),
    (
        "CREATE TABLE t (a int, CHECK (a > 1))",
        "0A000 1:24",
        "Filter",
    ),
    (
        "CREATE VIEW v AS SELECT a FROM t EMIT CHANGES",
        "42601 1:34 EMIT in a view",
        "query that reads it",
    ),
    ("CREATE TABLE other.t (a int)", "3F000 1:14", "schema"),
    ("DROP INDEX i", "0A000 1:6", "TABLE, VIEW"),
    (
        "INSERT INTO t SELECT a FROM u EMIT CHANGES",
        "0A000 1:31",
        "CREATE SINK",
    ),
    ("COPY t TO '/etc/passwd'", "0A000 1:11", "\\copy"),
    ("COPY t FROM PROGRAM 'x'", "0A000 1:13", "a program"),
    ("FETCH PRIOR FROM c", "55000 1:7", "forward"),
    ("FETCH -1 FROM c", "55000 1:7", "forward"),
    ("SUBSCRIBE TO", "42601 1:13", ""),
    (
        "SUBSCRIBE TO v WITH (snapshot = maybe)",
        "22023 1:33",
        "true or false",
    ),
    (
        "SUBSCRIBE TO v WITH (progres = true)",
        "42704 1:22",
        "progress",
    ),
    ("CREATE VIEW w AS SUBSCRIBE TO v", "42601", "SELECT"),
    (
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "0A000 1:1",
        "INSERT INTO t WITH",
    ),
    ("COMMIT PREPARED 'x'", "0A000 1:8", "two-phase"),
    ("EXPLAIN EXPLAIN SELECT 1", "42601 1:9", ""),
    ("EXPLAIN SHOW ALL", "42601 1:9", "no plan"),
    ("PREPARE p AS BEGIN", "42601 1:14", "cannot be prepared"),
];

#[test]
fn statements_that_we_do_not_have_say_what_to_do() {
    for (text, start, words) in MISSING {
        check_error(text, start, words);
    }
}

/// Texts, the start of the error, and words in it.
const EMISSIONS: &[(&str, &str, &str)] = &[
    (
        "SELECT * FROM (SELECT a FROM t EMIT FINAL) x",
        "42601 1:32 EMIT inside a query",
        "outermost",
    ),
    (
        "SELECT a FROM t EMIT FINAL UNION SELECT 1",
        "42601 1:17 EMIT inside a query",
        "outermost",
    ),
    (
        "SELECT a FROM t EMIT FINAL EMIT CHANGES",
        "42601 1:28",
        "more than one EMIT",
    ),
    (
        "SELECT a FROM t EMIT CHANGE",
        "42601 1:22 unknown emission \"CHANGE\"",
        "EMIT CHANGES",
    ),
    (
        "SELECT a FROM t EMIT",
        "42601 1:17 EMIT without saying when",
        "EMIT FINAL",
    ),
    (
        "SELECT a FROM t EMIT EVERY",
        "42601 1:17",
        "EMIT EVERY INTERVAL",
    ),
    (
        "SELECT a FROM t EMIT EVERY '0 s'",
        "22023 1:28",
        "greater than zero",
    ),
    (
        "SELECT a FROM t EMIT EVERY '1 month'",
        "22023 1:28",
        "no fixed length",
    ),
    (
        "SELECT a FROM t EMIT EVERY INTERVAL 'soon'",
        "22023 1:28",
        "not a length of time",
    ),
];

#[test]
fn emit_where_it_makes_no_sense_is_refused() {
    for (text, start, words) in EMISSIONS {
        check_error(text, start, words);
    }
}

/// Texts, the start of the error, and words in it.
const WINDOWS: &[(&str, &str, &str)] = &[
    (
        "SELECT * FROM TUMBLE(t, ts)",
        "42P20 1:15 tumble takes 3 or 4 arguments, not 2",
        "Write TUMBLE(",
    ),
    (
        "SELECT * FROM TUMBLE(t, INTERVAL '1 minute')",
        "42P20 1:",
        "",
    ),
    (
        "SELECT * FROM TUMBLE(t, INTERVAL '1 minute', INTERVAL '1 minute')",
        "42P20 1:",
        "event-time column",
    ),
    (
        "SELECT * FROM HOP(t, ts, '1 s')",
        "42P20 1:15 hop takes 4 or 5 arguments, not 3",
        "HOP(",
    ),
    (
        "SELECT * FROM SESSION(t, ts, '1 s', '2 s')",
        "42P20 1:15 session takes 3 arguments, not 4",
        "",
    ),
    (
        "SELECT * FROM TUMBLE(t, ts, 60)",
        "42P20 1:29",
        "must be an interval, not 60",
    ),
    (
        "SELECT * FROM TUMBLE(t, ts, '0 s')",
        "22023 1:29",
        "greater than zero",
    ),
    (
        "SELECT * FROM TUMBLE(t, ts, INTERVAL '-1 minute')",
        "22023 1:38",
        "greater than zero",
    ),
    (
        "SELECT * FROM TUMBLE(t, ts, INTERVAL '1' MONTH)",
        "22023 1:38",
        "no fixed length",
    ),
    (
        "SELECT * FROM TUMBLE(t, ts, '1 fortnight')",
        "22023 1:29",
        "not a length of time",
    ),
    (
        "SELECT * FROM TUMBLE(1, ts, '1 s')",
        "42P20 1:22",
        "must be a table",
    ),
    (
        "SELECT * FROM TUMBLE(t, ts, width => '1 s')",
        "42P20 1:29",
        "no argument \"width\"",
    ),
    (
        "SELECT k FROM t WINDOW TUMBLING (1 MINUTE)",
        "42P20 1:34",
        "SIZE 1 MINUTE",
    ),
    (
        "SELECT k FROM t WINDOW HOPPING (SIZE 1 MINUTE)",
        "42P20 1:17",
        "ADVANCE BY",
    ),
    (
        "SELECT k FROM t WINDOW TUMBLING (SIZE 0 SECONDS)",
        "22023 1:39",
        "greater than zero",
    ),
    (
        "SELECT k FROM a JOIN b ON x WINDOW TUMBLING (SIZE 1 MINUTE)",
        "42P20 1:29",
        "single table",
    ),
    (
        "SELECT k FROM t WHERE a WINDOW TUMBLING (SIZE 1 MINUTE)",
        "42P20 1:25",
        "follow the table",
    ),
    (
        "SELECT k FROM t WINDOW TUMBLING (SIZE 1 YEAR)",
        "22023 1:39",
        "no fixed length",
    ),
    (
        "SELECT k FROM t WINDOW TUMBLING (SIZE 1 MINUTE",
        "42601",
        "closing parenthesis",
    ),
];

#[test]
fn windows_that_lack_something_are_refused() {
    for (text, start, words) in WINDOWS {
        check_error(text, start, words);
    }
}

/// Texts, the start of the error, and words in it.
const CONFLICTS: &[(&str, &str, &str)] = &[
    (
        "CREATE TABLE t (a int, a text)",
        "42701 1:24",
        "given twice",
    ),
    (
        "CREATE TABLE t (a int, PRIMARY KEY (b))",
        "42703 1:37",
        "does not exist",
    ),
    (
        "CREATE TABLE t (stamp int, WATERMARK FOR stmp AS stamp)",
        "42703 1:42",
        "Perhaps you meant \"stamp\".",
    ),
    (
        "CREATE TABLE t (a int primary key, b int primary key)",
        "42P16 1:42",
        "one primary key",
    ),
    (
        "CREATE TABLE t (a int METADATA AS (b))",
        "42P16 1:32",
        "one place only",
    ),
    (
        "CREATE TABLE t (a int) WITH (topic = 'a', 'topic' = 'b')",
        "42601 1:43",
        "given twice",
    ),
    (
        "COPY t TO STDOUT (FORMAT binary, HEADER)",
        "42601 1:34",
        "binary",
    ),
    ("COPY t TO STDOUT (QUOTE 'x')", "42601 1:19", "csv"),
    (
        "COPY t TO STDOUT (FORMAT json)",
        "22023 1:26",
        "not recognized",
    ),
    (
        "COPY t TO STDOUT (DELIMITER 'ab')",
        "22023 1:29",
        "single one-byte",
    ),
    (
        "COPY t TO STDOUT (delimeter ',')",
        "42601 1:19",
        "Perhaps you meant \"delimiter\".",
    ),
    ("CREATE SINK s", "42601 1:14", "AS"),
    (
        "CREATE SINK s WITH (a = 1) AS SELECT 1 FROM t WITH (b = 2)",
        "42601 1:53",
        "given twice",
    ),
];

#[test]
fn clauses_that_do_not_fit_together_are_refused() {
    for (text, start, words) in CONFLICTS {
        check_error(text, start, words);
    }
}
