//! The house rules that a compiler does not know: walls between rooms, heads, sizes, banned words, licences.
//!
//! Std only, over the source text, so that `rustc --test tests/tidy.rs` checks them in seconds before anything else
//! is built; `cargo test` runs the same file. Each message says the rule, the place and the mend.
//! Invariant: nothing is excepted; a rule that is wrong is changed here, for all.

#[path = "tidy/licences.rs"]
mod licences;
#[path = "tidy/source.rs"]
mod source;

use source::{File, named_rooms, project, words};

/// Rooms that the unit tests of every room may name.
const FOR_TESTS: [&str; 2] = ["broker", "functions"];

/// Rooms that every room may name: they name none but each other.
const SHARED: &str =
    "types error config clock task crash_point directory_lock redb_file bucket telemetry";

/// The rooms in the reading order of `src/lib.rs`, each with the rooms that it may name beside the shared ones.
const ROOMS: &str = "
cli:        *
error:
config:
clock:
task:
crash_point:
directory_lock:
redb_file:
bucket:
telemetry:
types:
sql:
catalog:    sql plan
plan:
planner:    sql catalog plan functions
functions:  plan
format:
watermark:
state:
operator:   state watermark plan
source:
scan:       source format plan
sink:       source format
alert:      format
checkpoint:
engine:     plan source scan watermark operator sink alert checkpoint
session:    sql catalog planner plan engine format source scan sink alert checkpoint
server:     session
console:    session engine sink
broker:
demo:
feed:       source sink
";

/// Words of the code (not of comments or texts) that belong in few places or in none, and what to do instead.
const WORDS: &[(&str, Place, &str)] = &[
    (
        "rdkafka rdkafka_sys",
        Only("src/source/kafka src/sink/kafka"),
        "use `source` or `sink`",
    ),
    (
        "pgwire",
        Only("src/server"),
        "keep the wire protocol in `server`",
    ),
    (
        "kafka_protocol",
        Only("src/broker"),
        "keep Kafka's protocol in `broker`",
    ),
    (
        "mio",
        Only("src/source/direct"),
        "keep sockets to brokers in `source/direct`",
    ),
    (
        "rustls tokio_rustls",
        Only("src/source/direct src/sink/postgres/tls src/feed/websocket/tls"),
        "keep encryption where the sockets are",
    ),
    (
        "postgres::Client postgres::Error postgres::config postgres::tls",
        Only("src/sink/postgres"),
        "keep the client of databases in `sink/postgres`",
    ),
    (
        "tokio_tungstenite",
        Only("src/feed"),
        "keep other people's endpoints in `feed`",
    ),
    (
        "axum",
        Only("src/console src/feed/slack/events_api"),
        "keep HTTP in `console`, and what Slack sends in `feed/slack/events_api`",
    ),
    (
        "reqwest",
        Only("src/sink/http src/feed"),
        "keep requests in `sink/http` and `feed`",
    ),
    (
        "redb",
        Only("src/redb_file src/engine/set_aside src/engine/alert src/sink/outbox"),
        "keep it in `engine/set_aside`, `engine/alert` or `sink/outbox`",
    ),
    ("object_store", Only("src/bucket"), "use a `Bucket`"),
    ("indicatif", Only("src/cli"), "show progress in `cli`"),
    (
        "datafusion_pg_catalog",
        Only("src/session"),
        "keep PostgreSQL's catalog in `session`",
    ),
    (
        "sqlparser",
        Only("src/sql src/catalog src/planner src/functions src/session"),
        "hand it in as a plan",
    ),
    (
        "SystemTime Instant::now Utc::now Local::now",
        Door("src/clock"),
        "ask a `Clock`",
    ),
    (
        "tokio::spawn thread::spawn JoinSet",
        Door("src/task"),
        "use `crate::task`",
    ),
    (
        "tokio::task::spawn_blocking thread::Builder",
        Door("src/task"),
        "use `crate::task`",
    ),
    (
        "env::var",
        Door("src/config"),
        "read the environment in `config`",
    ),
    (
        "HashMap HashSet",
        NotIn(ORDERED),
        "use a BTreeMap or an index: the order must not vary",
    ),
    (
        ".await tokio std::fs std::net",
        NotIn(PURE),
        "decide here, act in the caller",
    ),
    ("unbounded_channel", Nowhere, "give the queue a limit"),
    ("todo! unimplemented!", Nowhere, "write it, or leave it out"),
    ("dbg!", Nowhere, "use tracing, or remove it"),
];

/// Rooms whose output order must not depend on a hash.
const ORDERED: &str = "src/operator src/state src/checkpoint src/watermark";
/// Rooms that do no input or output.
const PURE: &str = "src/operator src/state src/watermark src/alert src/checkpoint/decide";

const LINES_MAX: usize = 600;
const MAP_LINES_MAX: usize = 300;

/// Where a word may stand; places are folders, or files without `.rs`.
#[derive(Clone, Copy)]
enum Place {
    Only(&'static str),
    /// The same, but unit tests stand outside of the doors.
    Door(&'static str),
    NotIn(&'static str),
    Nowhere,
}
use Place::{Door, NotIn, Nowhere, Only};

impl Place {
    fn allows(self, path: &str) -> bool {
        let path = path.trim_end_matches(".rs");
        let under = |places: &str| {
            places.split(' ').any(|place| {
                let rest = path.strip_prefix(place);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        match self {
            Only(places) | Door(places) => under(places),
            NotIn(places) => !under(places),
            Nowhere => false,
        }
    }
}

/// The rooms with what they may name.
fn rooms() -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = ROOMS.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(room, others)| (room, others.split_whitespace().collect()))
        .collect()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let rooms = rooms();
    let mut faults = Vec::new();
    for file in project().iter().filter(|file| file.is_rust()) {
        let Some(room) = file.room() else { continue };
        let Some((_, allowed)) = rooms.iter().find(|(name, _)| *name == room) else {
            faults.push(format!(
                "{}: add room `{room}` to the table of tests/tidy.rs",
                file.path
            ));
            continue;
        };
        let tests_start = file.tests_start();
        for (byte, named) in named_rooms(&file.code) {
            let shared = SHARED.split(' ').any(|name| name == named);
            let for_tests = byte >= tests_start && FOR_TESTS.contains(&named);
            let is_room = rooms.iter().any(|(name, _)| *name == named);
            let listed = allowed.iter().any(|name| *name == "*" || *name == named);
            if is_room && !(named == room || shared || for_tests || listed) {
                let mend = "move the shared word to `types`, or hand it in";
                faults.push(file.fault(byte, &format!("`{room}` may not name `{named}`: {mend}")));
            }
        }
        faults.extend(escaping_supers(file));
    }
    report(&faults);
}

#[test]
fn the_crate_root_lists_the_rooms_in_reading_order() {
    let files = project();
    let lib = files
        .iter()
        .find(|file| file.path == "src/lib.rs")
        .expect("there is a crate root");
    let mut last = 0;
    let mut faults = Vec::new();
    for byte in words(&lib.code, "mod") {
        let room = source::identifier(&lib.code[byte + 3..]);
        match rooms().iter().position(|(name, _)| *name == room) {
            None => {
                faults.push(lib.fault(byte, &format!("add `{room}` to the table of tests/tidy.rs")))
            }
            Some(place) if place < last => {
                faults.push(lib.fault(
                    byte,
                    &format!("`mod {room}` comes earlier in the table of tests/tidy.rs"),
                ));
            }
            Some(place) => last = place,
        }
    }
    report(&faults);
}

#[test]
fn words_stand_only_where_they_belong() {
    let mut faults = Vec::new();
    for file in project()
        .iter()
        .filter(|file| file.path.starts_with("src/"))
    {
        for (list, place, mend) in WORDS
            .iter()
            .filter(|(_, place, _)| !place.allows(&file.path))
        {
            let end = if matches!(place, Door(_)) {
                file.tests_start()
            } else {
                file.code.len()
            };
            for word in list.split(' ') {
                for byte in words(&file.code[..end], word) {
                    let what = format!("`{word}` does not belong here: {mend}");
                    faults.push(file.fault(byte, &what));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn nothing_is_imported_by_a_star() {
    let mut faults = Vec::new();
    for file in project().iter().filter(|file| file.is_rust()) {
        for byte in words(&file.code, "use") {
            let import = file.code[byte..].split(';').next().unwrap_or_default();
            let of_the_tested = import == "use super::*" && byte > file.tests_start();
            if import.contains("::*") && !of_the_tested {
                faults.push(file.fault(byte, "name what is imported instead of `*`"));
            }
        }
    }
    report(&faults);
}

#[test]
fn every_file_has_a_head() {
    let mut faults = Vec::new();
    for file in project() {
        let first = file.text.lines().next().unwrap_or_default();
        let (mark, what) = match file.path.rsplit('.').next() {
            Some("rs") => (
                "//! ",
                "what the file owns, must not know, and what always holds",
            ),
            Some("slt") => ("# ", "what the file shows, as a sentence that is true"),
            Some("sql") => ("-- ", "what the query shows"),
            _ => continue,
        };
        if !first.starts_with(mark) {
            faults.push(format!("{}:1: begin with `{mark}` and {what}", file.path));
        }
    }
    report(&faults);
}

#[test]
fn every_query_has_its_expected_output() {
    let files = project();
    let faults: Vec<String> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("queries/")?.strip_suffix(".sql"))
        .filter(|name| {
            !files
                .iter()
                .any(|file| file.path == format!("queries/{name}.expected"))
        })
        .map(|name| {
            format!(
                "queries/{name}.sql: write queries/{name}.expected: its rows on tests/data, as CSV"
            )
        })
        .collect();
    report(&faults);
}

#[test]
fn files_stay_small() {
    let mut faults = Vec::new();
    for file in project() {
        let lines = file.text.lines().count();
        let max = match file.path.as_str() {
            "ARCHITECTURE.md" => MAP_LINES_MAX,
            _ if file.is_rust() => LINES_MAX,
            _ => continue,
        };
        if lines > max {
            faults.push(format!(
                "{}: {lines} lines, at most {max}: give one responsibility its own file",
                file.path
            ));
        }
    }
    report(&faults);
}

#[test]
fn no_text_holds_a_word_that_must_not_land() {
    // Put together here, so that this file does not hold them.
    let banned = [
        (["FIX", "ME"], "mend it"),
        (["XX", "X:"], "mend it"),
        (["/wo", "rk/"], "no place of one machine"),
        (["/ro", "ot/"], "no place of one machine"),
        (["/ho", "me/"], "no place of one machine"),
    ];
    let mut faults = Vec::new();
    for file in project() {
        for (number, line) in file.text.lines().enumerate() {
            for (halves, mend) in &banned {
                let word = halves.concat();
                if line.contains(&word) {
                    faults.push(format!("{}:{}: `{word}`: {mend}", file.path, number + 1));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn tests_wait_for_conditions_and_do_not_sleep() {
    let mend = "wait with FLUSH, or with support/wait.rs, the one place that polls";
    let mut faults = Vec::new();
    for file in project()
        .iter()
        .filter(|file| file.path.starts_with("tests/"))
    {
        if file.is_rust() && !file.path.ends_with("support/wait.rs") {
            faults.extend(words(&file.code, "sleep(").map(|byte| file.fault(byte, mend)));
        }
        if file.path.ends_with(".slt") && file.text.lines().any(|line| line.starts_with("sleep ")) {
            faults.push(format!("{}: {mend}", file.path));
        }
    }
    report(&faults);
}

/// Paths with so many `super` that they leave the room, past the table.
fn escaping_supers(file: &File) -> Vec<String> {
    let inside = file
        .path
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .trim_end_matches("/mod");
    let depth = inside.split('/').count();
    let tests_start = file.tests_start();
    let mut faults = Vec::new();
    let mut counted_to = 0;
    for byte in words(&file.code, "super::") {
        if byte < counted_to {
            continue;
        }
        let mut supers = 0;
        let mut rest = &file.code[byte..];
        while let Some(next) = rest.strip_prefix("super::") {
            supers += 1;
            rest = next;
        }
        counted_to = file.code.len() - rest.len();
        if supers >= depth + usize::from(byte >= tests_start) {
            faults.push(file.fault(byte, "write `crate::` to leave the room"));
        }
    }
    faults
}

pub(crate) fn report(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} to mend (STYLE in ARCHITECTURE.md):\n{}\n",
        faults.len(),
        faults.join("\n")
    );
}
