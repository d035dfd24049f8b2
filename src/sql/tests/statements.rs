//! Statements of our own and the ones around queries.

use super::check;
use crate::sql::{Statement, parse};

#[test]
fn a_table_has_columns_a_key_a_watermark_and_options() {
    check(
        r#"CREATE TABLE trades (
             id text, Price double precision NOT NULL, "timestamp" timestamptz,
             k text METADATA FROM 'key', part int METADATA, total numeric(20,4) AS (price * 2),
             deep text AS (a.b.c), PRIMARY KEY (id, part) NOT ENFORCED,
             WATERMARK FOR "timestamp" AS "timestamp" - INTERVAL '5 seconds'
           ) WITH (connector = 'kafka', topic = 'trades', partitions = 3, create_topic = true)"#,
        "table trades (id TEXT, price DOUBLE PRECISION not null, timestamp TIMESTAMPTZ, \
         k TEXT from key, part INT from part, total NUMERIC(20,4) as price * 2, \
         deep TEXT as a.b.c) key [\"id\", \"part\"] watermark timestamp: \
         \"timestamp\" - INTERVAL '5 seconds' \
         [connector=Text(\"kafka\"), topic=Text(\"trades\"), partitions=Number(\"3\"), \
         create_topic=Word(\"true\")]",
    );
    check(
        "CREATE OR REPLACE TABLE IF NOT EXISTS public.t () WITH (schema = 'infer')",
        "table maybe replace t () [schema=Text(\"infer\")]",
    );
    check("create table t", "table t () []");
    check(
        "create table t (watermark int, id int primary key)",
        "table t (watermark INT, id INT) key [\"id\"] []",
    );
}

#[test]
fn options_are_named_with_dots_with_quotes_and_as_in_flink() {
    check(
        "CREATE TABLE t (a int) WITH (bootstrap.servers = 'x', 'scan.startup.mode' = earliest, \
         kafka.sasl.mechanism = 'PLAIN', \"Kafka.SSL.ca\" = $$a'b$$, properties.group.id = 'g', \
         properties.fetch.min.bytes = 1, max_rows = -1, idle-timeout = INTERVAL '10' SECOND, \
         rate = 0.5)",
        "table t (a INT) [bootstrap_servers=Text(\"x\"), scan_startup_mode=Word(\"earliest\"), \
         kafka.sasl.mechanism=Text(\"PLAIN\"), kafka.ssl.ca=Text(\"a'b\"), group_id=Text(\"g\"), \
         kafka.fetch.min.bytes=Number(\"1\"), max_rows=Number(\"-1\"), \
         idle_timeout=Interval(10000000), rate=Number(\"0.5\")]",
    );
}

#[test]
fn all_types_of_columns_parse() {
    for (written, expected) in [
        ("int2", "INT2"),
        ("character varying(10)", "CHARACTER VARYING(10)"),
        ("bigint", "BIGINT"),
        ("decimal(10,2)", "DECIMAL(10,2)"),
        ("timestamp with time zone", "TIMESTAMP WITH TIME ZONE"),
        ("timestamp(3)", "TIMESTAMP(3)"),
        ("time", "TIME"),
        ("interval", "INTERVAL"),
        ("jsonb", "JSONB"),
        ("text[]", "TEXT[]"),
        ("int[3][]", "INT[3][]"),
        ("ARRAY<text>", "TEXT[]"),
        ("ROW(a int, \"B\" text[])", "STRUCT(a INT, \"B\" TEXT[])"),
        (
            "STRUCT<a int, b STRUCT<c ARRAY<int>>>",
            "STRUCT<a INT, b STRUCT<c INT[]>>",
        ),
        ("ROW(a ROW(b int))[]", "STRUCT(a STRUCT(b INT))[]"),
        ("float8", "FLOAT8"),
        ("unheard_of", "unheard_of"),
    ] {
        check(
            &format!("CREATE TABLE t (a {written})"),
            &format!("table t (a {expected}) []"),
        );
    }
}

#[test]
fn views_and_sinks_hold_a_query() {
    check("CREATE VIEW v AS SELECT 1", "view v[] = SELECT 1");
    check(
        "CREATE VIEW v (a, B) AS SELECT 1, 2",
        "view v[\"a\", \"b\"] = SELECT 1, 2",
    );
    check(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS m WITH (trigger = 'continuous') AS \
         SELECT a FROM t EMIT CHANGES",
        "kept maybe m [trigger=Text(\"continuous\")] = SELECT a FROM t Changes",
    );
    check(
        "CREATE MATERIALIZED VIEW m AS SELECT a FROM t WITH (retention = '1 day')",
        "kept m [retention=Text(\"1 day\")] = SELECT a FROM t",
    );
    check(
        "CREATE MATERIALIZED VIEW m AS SELECT a FROM t WITH DATA",
        "kept m [] = SELECT a FROM t",
    );
    check(
        "CREATE SINK s WITH (connector = 'kafka', topic = 'x') AS SELECT a FROM t EMIT FINAL",
        "sink s [connector=Text(\"kafka\"), topic=Text(\"x\")] = SELECT a FROM t Final",
    );
    check(
        "CREATE SINK s FROM \"V\" WITH (topic = 'x')",
        "sink s [topic=Text(\"x\")] = SELECT * FROM \"V\"",
    );
    check(
        "CREATE SINK s AS SELECT a FROM t EMIT EVERY '1 s' WITH (topic = 'x')",
        "sink s [topic=Text(\"x\")] = SELECT a FROM t Every(1000000)",
    );
    check(
        "CREATE SINK s WITH (connector = 'print')",
        "sink s [connector=Text(\"print\")] = nothing",
    );
}

#[test]
fn things_are_dropped_and_shown() {
    check("DROP TABLE a", "drop table a");
    check(
        "DROP MATERIALIZED VIEW IF EXISTS a, \"B\" CASCADE",
        "drop materialized view maybe cascade a \"B\"",
    );
    check("drop sink public.s restrict", "drop sink s");
    check("DROP QUERY q", "drop query q");
    check("SHOW TABLES", "show tables");
    check("SHOW VIEWS LIKE 'a%'", "show views like a%");
    check("show materialized views", "show materialized views");
    check("SHOW QUERIES", "show querys");
    check("SHOW SINKS", "show sinks");
    check(
        "SHOW COLUMNS FROM headwater.queries",
        "show columns headwater.queries",
    );
    check("SHOW CREATE TABLE t", "show create Some(\"table\") t");
    check(
        "SHOW CREATE MATERIALIZED VIEW t",
        "show create Some(\"materialized view\") t",
    );
    check("SHOW CREATE t", "show create None t");
    check("SHOW CREATE view", "show create None view");
    check("DESCRIBE t", "describe t");
    check("desc table t", "describe t");
    check("DESCRIBE public.\"T\"", "describe \"T\"");
    check("SHOW Statement_Timeout", "show variable statement_timeout");
    check(
        "SHOW TRANSACTION ISOLATION LEVEL",
        "show variable transaction_isolation",
    );
    check("SHOW TIME ZONE", "show variable timezone");
    check(
        "SHOW headwater.live_start",
        "show variable headwater.live_start",
    );
    check("SHOW ALL", "show all");
    check("FLUSH", "flush");
    check("CANCEL QUERY q", "cancel q");
    check("CANCEL '12'", "cancel \"12\"");
}

#[test]
fn copy_has_both_spellings_of_its_options() {
    check(
        "COPY t TO STDOUT",
        "copy (SELECT * FROM t) Text '\\t' \"\\\\N\"",
    );
    check(
        "COPY t (a, \"B\") TO STDOUT",
        "copy (SELECT a, \"B\" FROM t) Text '\\t' \"\\\\N\"",
    );
    check(
        "COPY (SELECT a FROM t EMIT FINAL) TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', \
         NULL 'x', QUOTE '''', FORCE_QUOTE *)",
        "copy (SELECT a FROM t Final) Csv ';' \"x\" header ' ' All",
    );
    check(
        "COPY (SELECT a FROM t EMIT CHANGES LIMIT 5) TO STDOUT CSV HEADER FORCE QUOTE a, b",
        "copy (SELECT a FROM t LIMIT 5 Changes) Csv ',' \"\" header \" \" Columns([\"a\", \"b\"])",
    );
    check(
        "COPY t TO STDOUT (FORMAT binary)",
        "copy (SELECT * FROM t) Binary '\\t' \"\\\\N\"",
    );
    check(
        "COPY t FROM STDIN WITH DELIMITER AS '|'",
        "copy into t Text '|' \"\\\\N\"",
    );
}

#[test]
fn cursors_go_forward() {
    check(
        "DECLARE c CURSOR FOR SELECT a FROM t EMIT CHANGES",
        "cursor c = SELECT a FROM t Changes",
    );
    check(
        "DECLARE \"C\" BINARY NO SCROLL CURSOR WITH HOLD FOR TABLE t",
        "cursor binary hold \"C\" = (SELECT * FROM t)",
    );
    check("FETCH c", "fetch Rows(1) c");
    check("FETCH 5 c", "fetch Rows(5) c");
    check("FETCH ALL FROM c", "fetch All c");
    check("FETCH FORWARD 10 FROM c", "fetch Rows(10) c");
    check("FETCH FORWARD ALL IN c", "fetch All c");
    check("FETCH NEXT FROM c", "fetch Rows(1) c");
    check("FETCH FORWARD c", "fetch Rows(1) c");
    check("FETCH next", "fetch Rows(1) next");
    check(
        "FETCH 3 FROM c WITH (timeout = '1s')",
        "fetch Rows(3) c within 1000000",
    );
    check("MOVE 3 IN c", "move Rows(3) c");
    check("CLOSE c", "close c");
    check("CLOSE ALL", "close all");
}

#[test]
fn transactions_begin_and_end() {
    check("BEGIN", "begin");
    check(
        "BEGIN WORK ISOLATION LEVEL READ COMMITTED, READ ONLY",
        "begin read committed read only",
    );
    check(
        "START TRANSACTION READ WRITE NOT DEFERRABLE",
        "begin read write not deferrable",
    );
    check("COMMIT AND CHAIN", "commit chain");
    check("END", "commit");
    check("ROLLBACK AND NO CHAIN", "rollback");
    check("ABORT", "rollback");
    check(
        "SAVEPOINT a; ROLLBACK TO SAVEPOINT a; ROLLBACK TO a; RELEASE a",
        "savepoint a ; rollback to a ; rollback to a ; release a",
    );
}

#[test]
fn variables_are_set_and_reset() {
    check("SET a = 1, 'b', c", "set a Some(\"1, b, c\")");
    check(
        "SET LOCAL datafusion.x TO -5",
        "set local datafusion.x Some(\"-5\")",
    );
    check("SET SESSION live_start = DEFAULT", "set live_start None");
    check(
        "SET TIME ZONE 'Europe/Berlin'",
        "set timezone Some(\"Europe/Berlin\")",
    );
    check("SET TIME ZONE LOCAL", "set timezone None");
    check("SET NAMES 'utf8'", "set client_encoding Some(\"utf8\")");
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "transaction session serializable",
    );
    check("SET TRANSACTION READ ONLY", "transaction this read only");
    check("RESET ALL; RESET TimeZone", "reset all ; reset timezone");
    check(
        "DISCARD ALL; DISCARD TEMP",
        "discard All ; discard Temporary",
    );
}

#[test]
fn statements_are_prepared_explained_and_told() {
    check(
        "PREPARE p (int, text) AS SELECT $1, $2 EMIT CHANGES",
        "prepare p [\"INT\", \"TEXT\"] (SELECT $1, $2 Changes) \"SELECT $1, $2 EMIT CHANGES\"",
    );
    check(
        "EXECUTE p (1, 'a' || 'b')",
        "execute p [\"1\", \"'a' || 'b'\"]",
    );
    check(
        "DEALLOCATE p; DEALLOCATE PREPARE ALL",
        "deallocate Some(\"p\") ; deallocate None",
    );
    check(
        "LISTEN a; UNLISTEN *; UNLISTEN a",
        "listen a ; unlisten None ; unlisten Some(\"a\")",
    );
    check("NOTIFY a, 'x'", "notify a \"x\"");
    check(
        "EXPLAIN SELECT a FROM t EMIT FINAL",
        "explain (SELECT a FROM t Final)",
    );
    check(
        "EXPLAIN ANALYZE VERBOSE SELECT 1",
        "explain analyze verbose (SELECT 1)",
    );
    check(
        "EXPLAIN (ANALYZE, VERBOSE off, FORMAT text) SELECT 1",
        "explain analyze (SELECT 1)",
    );
    check("EXPLAIN (SELECT 1)", "explain (SELECT 1)");
    check(
        "EXPLAIN CREATE SINK s AS SELECT a FROM t",
        "explain (sink s [] = SELECT a FROM t)",
    );
    check("EXPLAIN PROGRESS q", "progress q");
    check(
        "INSERT INTO t (a) VALUES (1), ('x')",
        "INSERT INTO t (a) VALUES (1), ('x')",
    );
    check(
        "INSERT INTO t SELECT a FROM u",
        "INSERT INTO t SELECT a FROM u",
    );
}

#[test]
fn a_text_has_many_statements_and_each_keeps_its_own_text() {
    let text = "-- first\nSELECT  1 ; /* two; */ ;;\n  select ';' as \"a;b\" -- end;\n; SELECT $x$;$x$ /* in */ , 2 -- last";
    let parsed = parse(text).unwrap();
    let found: Vec<(&str, u64, u64)> = parsed
        .iter()
        .map(|one| (one.text.as_str(), one.start.line, one.start.column))
        .collect();
    assert_eq!(
        found,
        [
            ("SELECT  1", 2, 1),
            ("select ';' as \"a;b\"", 3, 3),
            ("SELECT $x$;$x$ /* in */ , 2", 4, 3),
        ]
    );
    for nothing in [
        "",
        "  \n\t",
        ";",
        " ; ;; ",
        "-- only a comment",
        "/* a /* nested */ one */",
    ] {
        check(nothing, "empty");
    }
}

#[test]
fn parts_of_statements_keep_their_texts() {
    let sql = "  CREATE VIEW ü AS\n SELECT  'é' /* x */ ,  2 -- c\n ; COPY (SELECT\t1 EMIT FINAL ) TO STDOUT";
    let parsed = parse(sql).unwrap();
    let (Statement::CreateView(view), Statement::CopyOut(copy)) =
        (&parsed[0].statement, &parsed[1].statement)
    else {
        panic!("{parsed:?}");
    };
    assert_eq!(view.text, "CREATE VIEW ü AS\n SELECT  'é' /* x */ ,  2");
    assert_eq!(view.query.text, "SELECT  'é' /* x */ ,  2");
    assert_eq!(copy.query.text, "SELECT\t1 EMIT FINAL");
}

#[test]
fn a_table_is_mended_and_its_messages_run_again() {
    for (text, expected) in [
        (
            "alter table t add column if not exists c row(x int) not null -- why\n, drop b restrict",
            "alter table t add \"c row(x int) not null\", drop b",
        ),
        (
            "ALTER TABLE t ALTER \"B\" SET DATA TYPE numeric(10, 2), ALTER COLUMN c TYPE text[]",
            "alter table t type B \"numeric(10, 2)\", type c \"text[]\"",
        ),
        (
            "ALTER TABLE t ALTER a SET NOT NULL, ALTER a DROP NOT NULL, SET (on_error = skip)",
            "alter table t a true, a false, set 1",
        ),
        (
            "REPLAY DEAD LETTERS FROM t WHERE a = 1 OR b = 2",
            "replay SELECT \"partition\", \"offset\" FROM headwater.dead_letters \
             WHERE table_name = 't' AND (a = 1 OR b = 2)",
        ),
        (
            "REPLAY DEAD LETTERS FROM \"it's\"",
            "replay SELECT \"partition\", \"offset\" \
            FROM headwater.dead_letters WHERE table_name = 'it''s'",
        ),
    ] {
        assert_eq!(super::shown(text), expected, "{text}");
    }
}
