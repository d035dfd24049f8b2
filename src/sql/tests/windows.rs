//! Windows that are grouped by: what they become in FROM, and what is refused.

use super::{check, check_error};

#[test]
fn a_group_function_moves_to_from() {
    for (call, made) in [
        (
            "TUMBLE(ts, INTERVAL '1 minute')",
            "tumble((SELECT * FROM t), ts, INTERVAL '1 minute')",
        ),
        (
            "tumble(ts, '1 minute', '5 s', allowed_lateness => '2 s')",
            "tumble((SELECT * FROM t), ts, INTERVAL '1 minute', INTERVAL '5 s', grace => INTERVAL '2 s')",
        ),
        (
            "window(ts, '1 minute')",
            "tumble((SELECT * FROM t), ts, INTERVAL '1 minute')",
        ),
        (
            "window(ts, '60 seconds', '1 minute')",
            "tumble((SELECT * FROM t), ts, INTERVAL '60 seconds')",
        ),
        (
            "window(t.ts, '5 minutes', '1 minute', '30 seconds')",
            "hop((SELECT * FROM t), t.ts, INTERVAL '1 minute', INTERVAL '5 minutes', INTERVAL '30 seconds')",
        ),
        (
            "HOP(ts, INTERVAL '10' SECOND, INTERVAL '1' MINUTE)",
            "hop((SELECT * FROM t), ts, INTERVAL '10' SECOND, INTERVAL '1' MINUTE)",
        ),
    ] {
        check(
            &format!("SELECT k, count(*) FROM t WHERE a > 1 GROUP BY {call}, k"),
            &format!("SELECT k, count(*) FROM {made} WHERE a > 1 GROUP BY window_start, k"),
        );
    }
    check(
        "SELECT count(*) FROM t GROUP BY CUMULATE(ts, '1 hour', '1 day')",
        "SELECT count(*) FROM cumulate((SELECT * FROM t), ts, INTERVAL '1 hour', INTERVAL '1 day') GROUP BY window_start, window_end",
    );
    check(
        "SELECT a.k FROM a JOIN b ON a.k = b.k GROUP BY tumble(a.ts, '1 s'), a.k",
        "SELECT a.k FROM tumble((SELECT * FROM a JOIN b ON a.k = b.k), a.ts, INTERVAL '1 s') GROUP BY window_start, a.k",
    );
    check(
        "SELECT count(*) FROM t GROUP BY ROLLUP (tumble(ts, '1 s'), k)",
        "SELECT count(*) FROM tumble((SELECT * FROM t), ts, INTERVAL '1 s') GROUP BY ROLLUP (window_start, k)",
    );
}

#[test]
fn the_window_of_group_by_may_be_named_elsewhere() {
    let from = "tumble((SELECT * FROM t), ts, INTERVAL '1 minute')";
    for (text, expected) in [
        (
            "SELECT TUMBLE_START(ts, '1 minute'), tumble_end(ts, '60 s') AS e FROM t GROUP BY tumble(ts, '1 minute')",
            "SELECT window_start AS tumble_start, window_end AS e FROM @ GROUP BY window_start, window_end",
        ),
        (
            "SELECT window.start, window.\"end\", count(*) FROM t GROUP BY window(ts, '1 minute')",
            "SELECT window_start AS start, window_end AS end, count(*) FROM @ GROUP BY window_start, window_end",
        ),
        (
            "SELECT window(ts, '1 minute') AS w, count(*) FROM t GROUP BY w HAVING count(*) > 1 ORDER BY w DESC, 2",
            "SELECT named_struct('start', window_start, 'end', window_end) AS w, count(*) FROM @ GROUP BY window_start, window_end HAVING count(*) > 1 ORDER BY window_start DESC, window_end DESC, 2",
        ),
        (
            "SELECT window(ts, '1 minute').start, (tumble(ts, '1 minute')).\"end\" FROM t GROUP BY 1, tumble(ts, '1 minute')",
            "SELECT window_start AS start, window_end AS end FROM @ GROUP BY window_start, window_end",
        ),
        (
            "SELECT tumble(ts, '1 minute') FROM t GROUP BY 1",
            "SELECT named_struct('start', window_start, 'end', window_end) AS tumble FROM @ GROUP BY window_start, window_end",
        ),
        (
            "SELECT window, max(tumble_rowtime(ts, '1 minute')) FROM t GROUP BY window(ts, '1 minute')",
            "SELECT named_struct('start', window_start, 'end', window_end) AS window, max(window_time) FROM @ GROUP BY window_start, window_end, window_time",
        ),
        (
            "SELECT window_end FROM t GROUP BY tumble(\"ts\", '1 minute')",
            "SELECT window_end FROM tumble((SELECT * FROM t), \"ts\", INTERVAL '1 minute') GROUP BY window_end",
        ),
        (
            "SELECT k FROM t GROUP BY k, tumble(ts, '1 minute') ORDER BY tumble_start(ts, '1 minute')",
            "SELECT k FROM @ GROUP BY k, window_start ORDER BY window_start",
        ),
    ] {
        check(text, &expected.replace('@', from));
    }
}

#[test]
fn sessions_that_are_grouped_by_are_those_of_the_other_keys() {
    check(
        "SELECT k, count(*) FROM t WHERE a > 1 GROUP BY SESSION(ts, '30 s'), k",
        "SELECT k, count(*) FROM session((SELECT * FROM t WHERE a > 1), ts, INTERVAL '30 s', partition_by => k) GROUP BY window_start, k",
    );
    check(
        "SELECT lower(k) AS k, count(*) FROM t GROUP BY k, session_window(ts, '30 s')",
        "SELECT lower(k) AS k, count(*) FROM session((SELECT * FROM t), ts, INTERVAL '30 s', partition_by => (k, lower(k))) GROUP BY k, window_start",
    );
    check(
        "SELECT lower(k), session_window.start FROM t GROUP BY 1, session_window(ts, '30 s')",
        "SELECT lower(k), window_start AS start FROM session((SELECT * FROM t), ts, INTERVAL '30 s', partition_by => lower(k)) GROUP BY 1, window_start",
    );
    check(
        "SELECT count(*) FROM t x WINDOW SESSION (30 SECONDS) WHERE x.a = 1 AND window_start > '2026-01-01' GROUP BY x.k, window_end",
        "SELECT count(*) FROM session((SELECT * FROM (SELECT * FROM t) AS x WHERE x.a = 1), \"$event_time\", INTERVAL '30 seconds', partition_by => x.k) AS x WHERE window_start > '2026-01-01' GROUP BY x.k, window_end",
    );
}

#[test]
fn a_window_clause_groups_by_its_window() {
    let from = "tumble((SELECT * FROM t), \"$event_time\", INTERVAL '1 minute') AS t";
    let text = "FROM t WINDOW TUMBLING (SIZE 1 MINUTE)";
    for (query, expected) in [
        (
            "SELECT k, WINDOWSTART, windowend AS e # GROUP BY k",
            "SELECT k, window_start AS windowstart, window_end AS e @ GROUP BY k, window_start, window_end",
        ),
        (
            "SELECT window_start # GROUP BY 1",
            "SELECT window_start @ GROUP BY 1",
        ),
        (
            "SELECT window_start AS s # GROUP BY s",
            "SELECT window_start AS s @ GROUP BY s",
        ),
        ("SELECT * #", "SELECT * @"),
    ] {
        let expected = expected.replace('@', &format!("FROM {from}"));
        check(&query.replace('#', text), &expected);
    }
}

/// A text, the code and the place of its error, and words of it.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "SELECT 1 FROM t WHERE tumble(ts, '1 s') = 1",
        "42P20 1:23",
        "WHERE comes before windows",
    ),
    (
        "SELECT tumble_start(ts, '1 s') FROM t",
        "42P20 1:8",
        "nothing is grouped by it",
    ),
    (
        "SELECT 1 FROM t GROUP BY tumble(ts, '1 s'), hop(ts, '1 s', '2 s')",
        "42P20 1:45",
        "one window at a time",
    ),
    (
        "SELECT tumble_start(ts, '2 s') FROM t GROUP BY tumble(ts, '1 s')",
        "42P20 1:8",
        "another window",
    ),
    (
        "SELECT 1 GROUP BY tumble(ts, '1 s')",
        "42P20 1:19",
        "needs a table",
    ),
    (
        "SELECT 1 FROM t GROUP BY tumble(ts)",
        "42P20 1:26",
        "tumble takes 2 or 3 arguments, not 1",
    ),
    (
        "SELECT 1 FROM t GROUP BY window(ts)",
        "42P20 1:26",
        "window takes 2, 3 or 4 arguments, not 1",
    ),
    (
        "SELECT 1 FROM t GROUP BY tumble(ts, '1 s', gap => '1 s')",
        "42P20 1:44",
        "tumble has no argument \"gap\" | Its arguments are timecol, size, offset, grace.",
    ),
    (
        "SELECT 1 FROM t GROUP BY tumble(ts, '0 s')",
        "22023 1:37",
        "greater than zero",
    ),
    (
        "SELECT 1 FROM t GROUP BY tumble(ts + 1, '1 s')",
        "42P20 1:33",
        "the first argument of tumble must be the event-time column",
    ),
    (
        "SELECT 1 FROM t GROUP BY ROLLUP (session(ts, '1 s'), k)",
        "0A000 1:34",
        "sessions with GROUPING SETS",
    ),
    (
        "SELECT 1 FROM t WINDOW SESSION (1 SECOND)",
        "42P20 1:17",
        "a session needs GROUP BY",
    ),
    (
        "SELECT 1 FROM TUMBLE(t, ts, '1 s', partition_by => k)",
        "42P20 1:36",
        "tumble has no argument",
    ),
    (
        "SELECT 1 FROM TUMBLE(t, ts, '1 s', grace => '-1 s')",
        "22023 1:45",
        "must not be negative",
    ),
];

#[test]
fn a_window_in_the_wrong_place_is_refused() {
    for (text, start, words) in REFUSED {
        check_error(text, start, words);
    }
}
