//! What the generator may use: a switch for each feature of the product, and the aggregates.
//!
//! A feature that is not there yet is off, with the rest of the generator ready for it. `FEATURES=hop,union` turns
//! others on for one run, `FEATURES=all` all of them.

/// Something that a case can make use of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    Tumble,
    Hop,
    Cumulate,
    Session,
    Windowless,
    Snapshots,
    Functions,
    Clause,
    GroupFunctions,
    Bin,
    WindowChanges,
    HavingChanges,
    Every,
    Views,
    Union,
    GroupingSets,
    Cascade,
    HiddenBounds,
    SessionConditions,
    Top,
    TopChanges,
    TopSessions,
    Idle,
    FarTimes,
    Exact,
    Floats,
    Ordered,
    OwnAggregates,
}

const SWITCHES: &[(Feature, &str, bool)] = &[
    (Feature::Tumble, "tumble", true),
    (Feature::Hop, "hop", true),
    (Feature::Cumulate, "cumulate", true),
    (Feature::Session, "session", true),
    (Feature::Windowless, "windowless", true),
    (Feature::Snapshots, "snapshots", true),
    (Feature::Functions, "functions", true),
    (Feature::Clause, "clause", true),
    (Feature::GroupFunctions, "group_functions", true),
    (Feature::Bin, "bin", true),
    (Feature::WindowChanges, "window_changes", true),
    (Feature::HavingChanges, "having_changes", true),
    (Feature::Every, "every", true),
    (Feature::Views, "views", true),
    (Feature::Union, "union", true),
    (Feature::GroupingSets, "grouping_sets", true),
    (Feature::Cascade, "cascade", true),
    // The columns of an outer window hide those of the window that it is over.
    (Feature::HiddenBounds, "hidden_bounds", true),
    // WHERE behind SESSION(..) in a continuous query.
    (Feature::SessionConditions, "session_conditions", true),
    (Feature::Top, "top", true),
    (Feature::TopChanges, "top_changes", false),
    (Feature::TopSessions, "top_sessions", true),
    (Feature::Idle, "idle", true),
    (Feature::FarTimes, "far_times", true),
    (Feature::Exact, "exact", true),
    (Feature::Floats, "floats", true),
    (Feature::Ordered, "ordered", true),
    (Feature::OwnAggregates, "own_aggregates", true),
];

/// Whether cases may use it.
pub(super) fn on(feature: Feature) -> bool {
    let wanted = std::env::var("FEATURES").unwrap_or_default();
    SWITCHES.iter().any(|(one, name, landed)| {
        let asked = wanted.split(',').any(|word| word == *name || word == "all");
        *one == feature && (*landed || asked)
    })
}

/// Each aggregate with the feature that it is part of, as we write it, and, where DataFusion does not have it, as
/// another aggregate that says the same.
pub(super) const AGGREGATES: &[(Feature, &str, &str)] = &[
    (Feature::Exact, "count(*)", ""),
    (Feature::Exact, "count(v)", ""),
    (Feature::Exact, "sum(v)", ""),
    (Feature::Exact, "sum(d)", ""),
    (Feature::Exact, "min(v)", ""),
    (Feature::Exact, "max(v)", ""),
    (Feature::Exact, "min(k)", ""),
    (Feature::Exact, "max(day)", ""),
    (Feature::Exact, "min(f)", ""),
    (Feature::Exact, "max(d)", ""),
    (Feature::Exact, "sum(f)", ""),
    (Feature::Exact, "count(DISTINCT v)", ""),
    (Feature::Exact, "count(DISTINCT k)", ""),
    (Feature::Exact, "sum(DISTINCT v)", ""),
    (Feature::Exact, "bool_or(b)", ""),
    (Feature::Exact, "bool_and(b)", ""),
    (Feature::Exact, "bit_xor(v)", ""),
    (Feature::Exact, "sum(v) FILTER (WHERE b)", ""),
    (Feature::Exact, "count(*) FILTER (WHERE k = 'a')", ""),
    (
        Feature::Exact,
        "sum(CASE WHEN v > 10 THEN 1 ELSE 0 END)",
        "",
    ),
    (Feature::Exact, "max(v) - min(v)", ""),
    (Feature::Exact, "median(v)", ""),
    (Feature::Exact, "approx_distinct(k)", ""),
    (
        Feature::Exact,
        "approx_percentile_cont(f, 0.5) BETWEEN min(f) - 0.01 AND max(f) + 0.01",
        "CASE WHEN count(f) > 0 THEN true END",
    ),
    (Feature::Floats, "avg(v)", ""),
    (Feature::Floats, "avg(f)", ""),
    // A numeric's mean is rounded as PostgreSQL does; DataFusion cuts it off.
    (
        Feature::Exact,
        "abs(avg(d) - CAST(sum(d) AS double precision) / count(d)) < 0.0000006",
        "CASE WHEN count(d) > 0 THEN true END",
    ),
    (Feature::Floats, "stddev(f)", ""),
    (Feature::Floats, "stddev_pop(v)", ""),
    (Feature::Floats, "var_samp(f)", ""),
    (Feature::Floats, "var_pop(v)", ""),
    (Feature::Floats, "covar_pop(f, v)", ""),
    (Feature::Floats, "covar_samp(f, v)", ""),
    (
        Feature::Floats,
        "percentile_cont(0.25) WITHIN GROUP (ORDER BY f)",
        "",
    ),
    (Feature::Ordered, "first_value(v ORDER BY id)", ""),
    (Feature::Ordered, "last_value(v ORDER BY at, id)", ""),
    (
        Feature::Ordered,
        "first_value(k ORDER BY v DESC NULLS LAST, id)",
        "",
    ),
    (
        Feature::Ordered,
        "array_to_string(array_agg(v ORDER BY id), ',')",
        "",
    ),
    (Feature::Ordered, "string_agg(k, '-' ORDER BY id)", ""),
    (
        Feature::OwnAggregates,
        "arg_max(v, id)",
        "last_value(v ORDER BY id)",
    ),
    (
        Feature::OwnAggregates,
        "min_by(k, id)",
        "first_value(k ORDER BY id)",
    ),
    (
        Feature::Floats,
        "pct_change(v ORDER BY id)",
        "CASE WHEN count(v) > 0 THEN CAST(last_value(v ORDER BY id) FILTER (WHERE v IS NOT NULL) AS double precision) \
         / nullif(first_value(v ORDER BY id) FILTER (WHERE v IS NOT NULL), 0) - 1 END",
    ),
    (
        Feature::Floats,
        "zscore(f ORDER BY at, id)",
        "(last_value(f ORDER BY at, id) FILTER (WHERE f IS NOT NULL) - avg(f)) / nullif(stddev(f), 0)",
    ),
    // With an alpha of 1 the mean is the newest value.
    (
        Feature::OwnAggregates,
        "ema(f, 1 ORDER BY at, id)",
        "last_value(f ORDER BY at, id) FILTER (WHERE f IS NOT NULL)",
    ),
    // From a peak that comes first, the deepest fall is to the least value.
    (
        Feature::Floats,
        "drawdown(f + 10 ORDER BY f DESC, id)",
        "1 - (min(f) + 10) / (max(f) + 10)",
    ),
    // In an order that rises there is no loss.
    (
        Feature::OwnAggregates,
        "rsi(v, 2 ORDER BY v, id)",
        "CASE WHEN count(v) < 3 THEN NULL WHEN max(v) = min(v) THEN 50.0 ELSE 100.0 END",
    ),
    (
        Feature::OwnAggregates,
        "volatility(1 + v - v ORDER BY id)",
        "CASE WHEN count(v) > 2 THEN 0.0 END",
    ),
];
