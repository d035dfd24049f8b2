//! A case as text: how a failing one is told, and how the files in `kept/` are read.
//!
//! One line for each fact, in any order before the steps. Invariant: what is written reads back as the same case.

use super::case::{Aggregate, Case, Emit, Event, Grouping, Shape, Spelling, Step};
use super::windows::Window;

/// A case as text.
pub(super) fn write(case: &Case) -> String {
    let mut lines = vec![
        format!("partitions {}", case.partitions),
        format!("bound {}", case.bound),
        format!("window {}", window_text(case.window)),
        format!("spelling {}", case.spelling.word()),
        format!("emit {}", case.emit.word()),
        format!("shape {}", case.shape.word()),
        format!("grouping {}", case.grouping.word()),
        format!("filter {}", case.filter),
        format!("having {}", case.having),
    ];
    for (is, word) in [
        (case.beyond, "beyond"),
        (case.idle, "idle"),
        (case.zoned, "zoned"),
    ] {
        if is {
            lines.push(word.to_owned());
        }
    }
    lines.extend(case.keys.iter().map(|key| format!("key {key}")));
    for aggregate in &case.aggregates {
        let word = if aggregate.float {
            "float"
        } else {
            "aggregate"
        };
        let plain = if aggregate.plain == aggregate.ours {
            String::new()
        } else {
            format!(" ~ {}", aggregate.plain)
        };
        lines.push(format!("{word} {}{plain}", aggregate.ours));
    }
    lines.push("# topic partition at k b v other".to_owned());
    lines.extend(case.steps.iter().map(step_text));
    lines.join("\n") + "\n"
}

/// The case that a text describes, or the line that does not.
pub(super) fn read(text: &str) -> Result<Case, String> {
    let mut case = Case {
        partitions: 1,
        bound: 0,
        beyond: false,
        idle: false,
        zoned: false,
        window: Window::None,
        spelling: Spelling::Positional,
        emit: Emit::Final,
        shape: Shape::Plain,
        keys: Vec::new(),
        grouping: Grouping::Keys,
        aggregates: Vec::new(),
        filter: "true".to_owned(),
        having: "true".to_owned(),
        steps: Vec::new(),
    };
    for line in text.lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            take(&mut case, line).ok_or_else(|| format!("not understood: {line}"))?;
        }
    }
    Ok(case)
}

fn take(case: &mut Case, line: &str) -> Option<()> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "partitions" => case.partitions = rest.parse().ok()?,
        "bound" => case.bound = rest.parse().ok()?,
        "beyond" => case.beyond = true,
        "idle" => case.idle = true,
        "zoned" => case.zoned = true,
        "window" => case.window = window_of(rest)?,
        "spelling" => case.spelling = Spelling::of(rest)?,
        "emit" => case.emit = Emit::of(rest)?,
        "shape" => case.shape = Shape::of(rest)?,
        "grouping" => case.grouping = Grouping::of(rest)?,
        "filter" => rest.clone_into(&mut case.filter),
        "having" => rest.clone_into(&mut case.having),
        "key" => case.keys.push(rest.to_owned()),
        "aggregate" | "float" => {
            let (ours, plain) = rest.split_once(" ~ ").unwrap_or((rest, rest));
            let (ours, plain) = (ours.to_owned(), plain.to_owned());
            case.aggregates.push(Aggregate {
                ours,
                plain,
                float: word == "float",
            });
        }
        "broken" => case.steps.push(Step::Broken(rest.parse().ok()?)),
        "cut" => case.steps.push(Step::Cut),
        "flush" => case.steps.push(Step::Flush),
        "row" => case.steps.push(Step::Row(event_of(rest)?)),
        _ => return None,
    }
    Some(())
}

fn step_text(step: &Step) -> String {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map_or("NULL".to_owned(), |value| value.to_string())
    }
    match step {
        Step::Broken(partition) => format!("broken {partition}"),
        Step::Cut => "cut".to_owned(),
        Step::Flush => "flush".to_owned(),
        Step::Row(event) => format!(
            "row {} {} {} {} {} {} {}",
            event.topic,
            event.partition,
            event.at,
            text(event.key.as_ref()),
            text(event.flag),
            text(event.value),
            text(event.other)
        ),
    }
}

fn event_of(text: &str) -> Option<Event> {
    fn maybe<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
        if text == "NULL" {
            Some(None)
        } else {
            text.parse().ok().map(Some)
        }
    }
    let words: Vec<&str> = text.split(' ').collect();
    let [topic, partition, at, key, flag, value, other] = words.as_slice() else {
        return None;
    };
    Some(Event {
        topic: topic.parse().ok()?,
        partition: partition.parse().ok()?,
        at: at.parse().ok()?,
        key: maybe(key)?,
        flag: maybe(flag)?,
        value: maybe(value)?,
        other: maybe(other)?,
    })
}

fn window_text(window: Window) -> String {
    match window {
        Window::None => "none".to_owned(),
        Window::Tumble { size, offset } => format!("tumble {size} {offset}"),
        Window::Hop {
            slide,
            size,
            offset,
        } => format!("hop {slide} {size} {offset}"),
        Window::Cumulate { step, size, offset } => format!("cumulate {step} {size} {offset}"),
        Window::Session { gap } => format!("session {gap}"),
    }
}

fn window_of(text: &str) -> Option<Window> {
    let (kind, lengths) = text.split_once(' ').unwrap_or((text, ""));
    let lengths = lengths
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(str::parse);
    let lengths: Vec<i64> = lengths.collect::<Result<_, _>>().ok()?;
    Some(match (kind, lengths.as_slice()) {
        ("none", []) => Window::None,
        ("tumble", [size, offset]) => Window::Tumble {
            size: *size,
            offset: *offset,
        },
        ("hop", [slide, size, offset]) => Window::Hop {
            slide: *slide,
            size: *size,
            offset: *offset,
        },
        ("cumulate", [step, size, offset]) => Window::Cumulate {
            step: *step,
            size: *size,
            offset: *offset,
        },
        ("session", [gap]) => Window::Session { gap: *gap },
        _ => return None,
    })
}

#[test]
fn what_is_written_reads_back_as_the_same_case() {
    for seed in 0..200 {
        let case = super::generate::case(seed, seed % 5 == 0);
        assert_eq!(read(&write(&case)), Ok(case), "seed {seed}");
    }
}
