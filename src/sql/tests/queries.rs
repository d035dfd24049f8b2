//! Queries: the `EMIT` clause, and every spelling of a window in its canonical form.

use super::check;
use crate::sql::{Statement, parse};

#[test]
fn emit_says_when_rows_go_out() {
    check("SELECT a FROM t EMIT CHANGES", "SELECT a FROM t Changes");
    check("select a from t emit final", "SELECT a FROM t Final");
    check(
        "SELECT a FROM t EMIT ON WINDOW CLOSE",
        "SELECT a FROM t Final",
    );
    check(
        "SELECT a FROM t EMIT EVERY INTERVAL '1 second'",
        "SELECT a FROM t Every(1000000)",
    );
    check(
        "SELECT a FROM t EMIT EVERY INTERVAL '2' MINUTE",
        "SELECT a FROM t Every(120000000)",
    );
    check(
        "SELECT a FROM t EMIT EVERY '200 ms' LIMIT 1",
        "SELECT a FROM t LIMIT 1 Every(200000)",
    );
    check(
        "SELECT a FROM t EMIT EVERY 5 SECONDS",
        "SELECT a FROM t Every(5000000)",
    );
    check(
        "SELECT a FROM t LIMIT 5 EMIT CHANGES",
        "SELECT a FROM t LIMIT 5 Changes",
    );
    check(
        "SELECT a FROM t EMIT CHANGES LIMIT 5",
        "SELECT a FROM t LIMIT 5 Changes",
    );
    check(
        "SELECT a FROM t WHERE b = 'x' EMIT CHANGES",
        "SELECT a FROM t WHERE b = 'x' Changes",
    );
    check(
        "SELECT a FROM t AS x EMIT CHANGES",
        "SELECT a FROM t AS x Changes",
    );
    check(
        "SELECT * FROM (SELECT 1) EMIT CHANGES",
        "SELECT * FROM (SELECT 1) Changes",
    );
    check("(SELECT a FROM t EMIT CHANGES)", "SELECT a FROM t Changes");
    check(
        "WITH x AS (SELECT 1) SELECT * FROM x EMIT FINAL",
        "WITH x AS (SELECT 1) SELECT * FROM x Final",
    );
    check(
        "SELECT \"emit\" FROM t EMIT FINAL",
        "SELECT \"emit\" FROM t Final",
    );
    check(
        "SELECT count(*) FROM t HAVING count(*) > 1 EMIT FINAL",
        "SELECT count(*) FROM t HAVING count(*) > 1 Final",
    );
}

#[test]
fn emit_may_be_a_name() {
    for text in [
        "SELECT emit FROM t",
        "SELECT emit AS final FROM t",
        "SELECT a, emit FROM t",
        "SELECT t.emit FROM t",
        "SELECT emit.a FROM t emit WHERE emit.a = 1",
        "SELECT * FROM emit",
        "SELECT * FROM t AS emit",
        "SELECT changes FROM t",
        "SELECT 1 emit",
        "SELECT emit FROM t emit WHERE true",
        "SELECT a FROM t WHERE emit = 1",
    ] {
        let Statement::Query(query) = &parse(text).unwrap()[0].statement else {
            panic!("{text}")
        };
        assert_eq!(query.emit, None, "{text}");
        assert_eq!(query.text, text);
    }
    check("SELECT emit final FROM t", "SELECT emit AS final FROM t");
    check("SELECT 1 emit, 2 FROM t", "SELECT 1 AS emit, 2 FROM t");
    check("SELECT emit every FROM t", "SELECT emit AS every FROM t");
}

#[test]
fn every_window_function_has_one_form() {
    let tumble = "SELECT * FROM tumble((SELECT * FROM t), ts, INTERVAL '1 minute')";
    for text in [
        "SELECT * FROM TUMBLE(t, ts, INTERVAL '1 minute')",
        "SELECT * FROM tumble(t, ts, '1 minute')",
        "SELECT * FROM Tumble(TABLE t, DESCRIPTOR(ts), INTERVAL '1 minute')",
        "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1 minute'))",
        "SELECT * FROM TABLE(TUMBLE(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1 minute'))",
        "SELECT * FROM tumble(size => '1 minute', timecol => ts, data => t)",
        "SELECT * FROM TUMBLE((SELECT * FROM t), ts, INTERVAL '1 minute')",
        "SELECT * FROM TUMBLE(((SELECT * FROM t)), (ts), INTERVAL '1 minute')",
        "SELECT * FROM tumble(t, ts, size => '1 minute')",
    ] {
        check(text, tumble);
    }
    check(
        "SELECT * FROM TUMBLE(a.t, x.ts, INTERVAL '1' MINUTE, INTERVAL '5' SECOND) AS w",
        "SELECT * FROM tumble((SELECT * FROM a.t), x.ts, INTERVAL '1' MINUTE, INTERVAL '5' SECOND) AS w",
    );
    check(
        "SELECT * FROM HOP(t, ts, '10 seconds', '1 minute', '5 s')",
        "SELECT * FROM hop((SELECT * FROM t), ts, INTERVAL '10 seconds', INTERVAL '1 minute', INTERVAL '5 s')",
    );
    check(
        "SELECT * FROM HOP(t, ts, size => '1 minute', slide => '10 seconds')",
        "SELECT * FROM hop((SELECT * FROM t), ts, INTERVAL '10 seconds', INTERVAL '1 minute')",
    );
    check(
        "SELECT * FROM CUMULATE(t, ts, '1 hour', '1 day')",
        "SELECT * FROM cumulate((SELECT * FROM t), ts, INTERVAL '1 hour', INTERVAL '1 day')",
    );
    check(
        "SELECT * FROM SESSION(t, ts, '30 s')",
        "SELECT * FROM session((SELECT * FROM t), ts, INTERVAL '30 s')",
    );
    check(
        "SELECT * FROM SESSION(t PARTITION BY k, ts, '30 s')",
        "SELECT * FROM session((SELECT * FROM t), ts, INTERVAL '30 s', partition_by => k)",
    );
    check(
        "SELECT * FROM TABLE(SESSION(TABLE t PARTITION BY (a, b), DESCRIPTOR(ts), INTERVAL '30' SECONDS))",
        "SELECT * FROM session((SELECT * FROM t), ts, INTERVAL '30' SECONDS, partition_by => a, partition_by => b)",
    );
    check(
        "SELECT * FROM TUMBLE(TUMBLE(t, ts, '1 minute'), window_end, '5 minutes')",
        "SELECT * FROM tumble((SELECT * FROM tumble((SELECT * FROM t), ts, INTERVAL '1 minute')), window_end, INTERVAL '5 minutes')",
    );
    check(
        "SELECT * FROM TUMBLE(t, ts, $1)",
        "SELECT * FROM tumble((SELECT * FROM t), ts, $1)",
    );
    check("SELECT * FROM other(t, 1)", "SELECT * FROM other(t, 1)");
}

#[test]
fn windows_are_found_wherever_a_query_stands() {
    let inner = "tumble((SELECT * FROM t), ts, INTERVAL '1 s')";
    for (text, expected) in [
        (
            "WITH w AS (SELECT * FROM TUMBLE(t, ts, '1 s')) SELECT * FROM w",
            format!("WITH w AS (SELECT * FROM {inner}) SELECT * FROM w"),
        ),
        (
            "SELECT (SELECT max(a) FROM TUMBLE(t, ts, '1 s'))",
            format!("SELECT (SELECT max(a) FROM {inner})"),
        ),
        (
            "SELECT * FROM a JOIN TUMBLE(t, ts, '1 s') AS b ON true",
            format!("SELECT * FROM a JOIN {inner} AS b ON true"),
        ),
        (
            "INSERT INTO x SELECT * FROM TUMBLE(t, ts, '1 s')",
            format!("INSERT INTO x SELECT * FROM {inner}"),
        ),
        (
            "CREATE VIEW v AS SELECT * FROM TUMBLE(t, ts, '1 s')",
            format!("view v[] = SELECT * FROM {inner}"),
        ),
        (
            "SELECT 1 UNION ALL SELECT 2 FROM TUMBLE(t, ts, '1 s')",
            format!("SELECT 1 UNION ALL SELECT 2 FROM {inner}"),
        ),
    ] {
        check(text, &expected);
    }
}

#[test]
fn the_window_clause_becomes_a_window_function() {
    check(
        "SELECT k, count(*) FROM t WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY k EMIT CHANGES",
        "SELECT k, count(*) FROM tumble((SELECT * FROM t), \"$event_time\", INTERVAL '1 minute') AS t GROUP BY k, window_start Changes",
    );
    check(
        "SELECT k FROM t WINDOW TUMBLING (SIZE 90 SECONDS, GRACE PERIOD 10 SECONDS) WHERE k = 1 GROUP BY k",
        "SELECT k FROM tumble((SELECT * FROM t), \"$event_time\", INTERVAL '90 seconds', grace => INTERVAL '10 seconds') AS t WHERE k = 1 GROUP BY k, window_start",
    );
    check(
        "SELECT k FROM s.t x WINDOW HOPPING (SIZE '1 minute', ADVANCE BY INTERVAL '10' SECOND) GROUP BY k",
        "SELECT k FROM hop((SELECT * FROM s.t), \"$event_time\", INTERVAL '10 seconds', INTERVAL '1 minute') AS x GROUP BY k, window_start",
    );
    check(
        "SELECT k FROM (SELECT * FROM t) AS y WINDOW SESSION (30 SECONDS) GROUP BY k",
        "SELECT k FROM session((SELECT * FROM (SELECT * FROM t) AS y), \"$event_time\", INTERVAL '30 seconds', partition_by => k) AS y GROUP BY k, window_start",
    );
    check(
        "SELECT sum(x) OVER w FROM t WINDOW w AS (PARTITION BY y)",
        "SELECT sum(x) OVER w FROM t WINDOW w AS (PARTITION BY y)",
    );
    check(
        "SELECT * FROM (SELECT k FROM t WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY k)",
        "SELECT * FROM (SELECT k FROM tumble((SELECT * FROM t), \"$event_time\", INTERVAL '1 hour') AS t GROUP BY k, window_start)",
    );
}

#[test]
fn a_table_command_is_a_query() {
    check("TABLE t", "(SELECT * FROM t)");
    check(
        "TABLE public.t ORDER BY 1 LIMIT 2",
        "(SELECT * FROM public.t) ORDER BY 1 LIMIT 2",
    );
    check(
        "TABLE a UNION ALL TABLE b",
        "(SELECT * FROM a) UNION ALL (SELECT * FROM b)",
    );
    check(
        "SELECT * FROM (TABLE t) x",
        "SELECT * FROM ((SELECT * FROM t)) x",
    );
}
