//! Cases by chance: rows, their order, their partitions, the question and the cuts, all from one seed.
//!
//! Few keys and clustered times, so that groups meet; NULL keys and values; broken messages between the rows; times
//! before 1970, on leap days and far away. Invariant: unless a case is `beyond`, none of its rows can be late.

use fastrand::Rng;

use super::case::{Aggregate, Case, Emit, Event, Grouping, Shape, Spelling, Step};
use super::features::{AGGREGATES, Feature, on};
use super::oracle::filters_after_windows;
use super::windows::Window;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_767_225_600 * SECOND;
/// 0001-01-03, 1900-02-28 23:59:30, 1969-12-31 23:59:40, 2024-02-28 23:59:30, 2300-01-01, 9998-12-31.
const FAR_STARTS: &[i64] = &[
    -62_135_424_000 * SECOND,
    -2_203_891_230 * SECOND,
    -20 * SECOND,
    1_709_164_770 * SECOND,
    10_413_792_000 * SECOND,
    253_370_678_400 * SECOND,
];
const FILTERS: &[&str] = &[
    "true",
    "true",
    "v > 5",
    "v IS NOT NULL AND k <> 'b'",
    "b IS NOT TRUE",
    "v % 3 = 0 OR k IS NULL",
    "coalesce(k, 'none') IN ('a', 'none')",
];
const HAVINGS: &[&str] = &["true", "true", "count(*) > 1", "sum(v) > 0 OR count(*) = 2"];
const KEYS: &[&str] = &["k", "b", "day", "d"];
const EXPRESSIONS: &[&str] = &[
    "v % 3",
    "upper(k)",
    "v IS NULL",
    "CASE WHEN v > 0 THEN 'up' ELSE k END",
];

/// A case; always the same for the same seed and the same features.
pub(super) fn case(seed: u64, beyond: bool) -> Case {
    let mut rng = Rng::with_seed(seed);
    let window = window(&mut rng);
    let shape = shape(&mut rng, window, beyond);
    let emit = emit(&mut rng, window, shape, beyond);
    let idle = !beyond && emit == Emit::Final && on(Feature::Idle) && rng.u32(..100) < 10;
    let partitions = if beyond { 1 } else { rng.i32(1..=4) };
    let bound = rng.i64(0..=5) * SECOND;
    let spelling = spelling(&mut rng, window, shape);
    let grouping = grouping(&mut rng, window, spelling, shape);
    let keys = keys(&mut rng, window, spelling, (grouping, shape));
    let calendar = matches!(spelling, Spelling::Bin | Spelling::Trunc) || shape == Shape::Cascade;
    let start = if on(Feature::FarTimes) && !calendar && rng.u32(..100) < 25 {
        FAR_STARTS[rng.usize(..FAR_STARTS.len())]
    } else {
        START
    };
    let mut made = Case {
        partitions,
        bound,
        beyond,
        idle,
        zoned: rng.u32(..100) < 30,
        window,
        spelling,
        emit,
        shape,
        keys,
        grouping,
        aggregates: aggregates(&mut rng, shape),
        filter: one(&mut rng, FILTERS).to_owned(),
        having: having(&mut rng, shape, emit).to_owned(),
        steps: Vec::new(),
    };
    if filters_after_windows(&made)
        && made.emit != Emit::Snapshot
        && !on(Feature::SessionConditions)
    {
        "true".clone_into(&mut made.filter);
    }
    made.steps = steps(&mut rng, &made, start);
    made
}

fn one<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

fn window(rng: &mut Rng) -> Window {
    let kinds = [
        Feature::Tumble,
        Feature::Hop,
        Feature::Cumulate,
        Feature::Session,
        Feature::Windowless,
    ];
    let possible = |kind: &Feature| match kind {
        Feature::Tumble | Feature::Windowless => on(*kind),
        _ => on(*kind) || on(Feature::Snapshots),
    };
    let kinds: Vec<Feature> = kinds.into_iter().filter(possible).collect();
    let offset = if rng.u32(..100) < 25 {
        one(rng, &[500_000, 3 * SECOND, -2 * SECOND])
    } else {
        0
    };
    match one(rng, &kinds) {
        Feature::Hop => {
            let lengths = [(1, 2), (2, 5), (3, 10), (5, 60), (10, 60), (7, 7), (1, 60)];
            let (slide, size) = one(rng, &lengths);
            Window::Hop {
                slide: slide * SECOND,
                size: size * SECOND,
                offset,
            }
        }
        Feature::Cumulate => {
            let (step, size) = one(rng, &[(1, 5), (2, 10), (10, 60), (60, 3_600)]);
            Window::Cumulate {
                step: step * SECOND,
                size: size * SECOND,
                offset,
            }
        }
        Feature::Session => Window::Session {
            gap: one(rng, &[500_000, SECOND, 2 * SECOND, 30 * SECOND]),
        },
        Feature::Windowless => Window::None,
        _ => {
            let sizes = [
                500_000,
                SECOND,
                2 * SECOND,
                7 * SECOND,
                10 * SECOND,
                60 * SECOND,
                86_400 * SECOND,
            ];
            Window::Tumble {
                size: one(rng, &sizes),
                offset,
            }
        }
    }
}

fn shape(rng: &mut Rng, window: Window, beyond: bool) -> Shape {
    if rng.bool() {
        return Shape::Plain;
    }
    let possible = |shape: Shape| match shape {
        Shape::Plain => true,
        Shape::View => on(Feature::Views),
        Shape::Union => on(Feature::Union) && !beyond,
        Shape::Cascade => on(Feature::Cascade) && !beyond && window != Window::None,
        Shape::Top => {
            let sessions = matches!(window, Window::Session { .. });
            let known = window != Window::None && (!sessions || on(Feature::TopSessions));
            on(Feature::Top) && !beyond && known
        }
    };
    let shapes: Vec<Shape> = Shape::ALL
        .iter()
        .copied()
        .filter(|shape| possible(*shape))
        .collect();
    one(rng, &shapes)
}

fn emit(rng: &mut Rng, window: Window, shape: Shape, beyond: bool) -> Emit {
    let live = match window {
        Window::None => return Emit::Changes,
        Window::Tumble { .. } => on(Feature::Tumble),
        Window::Hop { .. } => on(Feature::Hop),
        Window::Cumulate { .. } => on(Feature::Cumulate),
        Window::Session { .. } => on(Feature::Session),
    };
    if !live || (on(Feature::Snapshots) && rng.u32(..100) < 5) {
        return Emit::Snapshot;
    }
    let changes = match shape {
        Shape::Cascade => false,
        Shape::Top => on(Feature::TopChanges),
        Shape::Plain | Shape::View | Shape::Union => true,
    };
    match rng.u32(..100) {
        0..35 if changes && on(Feature::WindowChanges) => Emit::Changes,
        35..45 if changes && on(Feature::Every) && !beyond => Emit::Every,
        _ => Emit::Final,
    }
}

fn spelling(rng: &mut Rng, window: Window, shape: Shape) -> Spelling {
    let offset = match window {
        Window::Tumble { offset, .. }
        | Window::Hop { offset, .. }
        | Window::Cumulate { offset, .. } => offset,
        Window::Session { .. } | Window::None => 0,
    };
    let own_function = matches!(shape, Shape::Plain | Shape::Top) && offset == 0;
    let possible = |spelling: Spelling| match spelling {
        Spelling::Positional => true,
        Spelling::Table | Spelling::Named | Spelling::Query => on(Feature::Functions),
        Spelling::Clause => {
            let known = match window {
                Window::Cumulate { .. } => false,
                // Its keys are the other keys of GROUP BY, as those of a function there.
                Window::Session { .. } => on(Feature::GroupFunctions),
                Window::Tumble { .. } | Window::Hop { .. } | Window::None => true,
            };
            own_function && on(Feature::Clause) && known
        }
        Spelling::Group => own_function && on(Feature::GroupFunctions),
        Spelling::Spark => {
            let known = !matches!(window, Window::Cumulate { .. });
            own_function && on(Feature::GroupFunctions) && known
        }
        Spelling::Bin => {
            own_function && on(Feature::Bin) && matches!(window, Window::Tumble { .. })
        }
        Spelling::Trunc => {
            let unit = [SECOND, 60 * SECOND, 86_400 * SECOND].contains(&window.size());
            own_function && on(Feature::Bin) && unit && matches!(window, Window::Tumble { .. })
        }
    };
    let spellings: Vec<Spelling> = Spelling::ALL
        .iter()
        .copied()
        .filter(|one| possible(*one))
        .collect();
    one(rng, &spellings)
}

fn grouping(rng: &mut Rng, window: Window, spelling: Spelling, shape: Shape) -> Grouping {
    let function = matches!(
        spelling,
        Spelling::Positional | Spelling::Table | Spelling::Named | Spelling::Query
    );
    let known = !matches!(window, Window::Session { .. } | Window::None);
    let simple = !matches!(shape, Shape::Top | Shape::Cascade);
    if on(Feature::GroupingSets) && function && known && simple && rng.u32(..100) < 15 {
        return one(rng, &[Grouping::Rollup, Grouping::Cube, Grouping::Sets]);
    }
    Grouping::Keys
}

fn having(rng: &mut Rng, shape: Shape, emit: Emit) -> &'static str {
    if shape == Shape::Cascade || (emit != Emit::Final && !on(Feature::HavingChanges)) {
        return "true";
    }
    one(rng, HAVINGS)
}

fn keys(
    rng: &mut Rng,
    window: Window,
    spelling: Spelling,
    (grouping, shape): (Grouping, Shape),
) -> Vec<String> {
    let session_function = matches!(window, Window::Session { .. })
        && !matches!(
            spelling,
            Spelling::Clause | Spelling::Group | Spelling::Spark
        );
    let least = usize::from(window == Window::None || grouping != Grouping::Keys);
    let most = if session_function || shape == Shape::Top {
        1
    } else {
        2
    };
    let count = rng.usize(least..=most);
    let mut names = rng.choose_multiple(KEYS.iter().copied(), count);
    if !session_function && !names.is_empty() && rng.u32(..100) < 30 {
        names[0] = one(rng, EXPRESSIONS);
    }
    names.into_iter().map(str::to_owned).collect()
}

fn aggregates(rng: &mut Rng, shape: Shape) -> Vec<Aggregate> {
    let known = AGGREGATES.iter().filter(|(feature, ..)| on(*feature));
    let mut chosen: Vec<Aggregate> = rng
        .choose_multiple(known, 4)
        .into_iter()
        .map(|(feature, ours, plain)| Aggregate {
            ours: (*ours).to_owned(),
            plain: if plain.is_empty() { ours } else { plain }.to_string(),
            float: *feature == Feature::Floats,
        })
        .collect();
    // The inexact ones come last, so that they do not decide how rows are ordered.
    chosen.sort_by_key(|aggregate| aggregate.float);
    if shape == Shape::Top {
        let count = "count(*)".to_owned();
        chosen.insert(
            0,
            Aggregate {
                ours: count.clone(),
                plain: count,
                float: false,
            },
        );
    }
    chosen
}

fn steps(rng: &mut Rng, case: &Case, start: i64) -> Vec<Step> {
    let most = if rng.u32(..100) < 15 { 300 } else { 80 };
    let count = rng.usize(1..=most);
    let mut now = start;
    let mut greatest = std::collections::BTreeMap::new();
    let mut steps = Vec::new();
    let mut flushes = 0;
    for _ in 0..count {
        // Clusters of close times, then a leap.
        now += if rng.u32(..100) < 5 {
            rng.i64(0..120 * SECOND)
        } else {
            rng.i64(0..SECOND)
        };
        let topic = rng.usize(0..case.topics());
        let partition = rng.i32(0..case.partitions);
        let back = case.bound + if case.beyond { 20 * SECOND } else { 0 };
        let mut at = now - rng.i64(0..=back);
        let most = greatest.entry((topic, partition)).or_insert(i64::MIN);
        if !case.beyond {
            at = at.max(most.saturating_sub(case.bound));
        }
        *most = at.max(*most);
        // Now and then on a whole second, where windows begin and end.
        if rng.u32(..100) < 10 && !case.beyond {
            let whole = at + (SECOND - at.rem_euclid(SECOND)) % SECOND;
            *most = whole.max(*most);
            now = now.max(whole);
            at = whole;
        }
        let some = |rng: &mut Rng| rng.u32(..10) > 0;
        steps.push(Step::Row(Event {
            topic,
            partition,
            at,
            key: some(rng).then(|| one(rng, &["a", "b", "c", "d"]).to_owned()),
            flag: some(rng).then(|| rng.bool()),
            value: some(rng).then(|| rng.i64(-20..20)),
            other: some(rng).then(|| rng.i64(-9..9)),
        }));
        match rng.u32(..100) {
            0..3 => steps.push(Step::Broken(partition)),
            3..8 if !case.idle => steps.push(Step::Cut),
            8..12 if !case.idle && flushes < 3 => {
                steps.push(Step::Flush);
                flushes += 1;
            }
            _ => {}
        }
    }
    steps
}
