//! The catalog from outside: statements in, definitions out, through restarts.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert_eq, proptest};

use super::{Catalog, CreateMode, Created, Definition, Definitions, TableDefinition};
use crate::error::{Result, SqlState};
use crate::sql::{self, ObjectKind, Statement};

const TRADES: &str = "CREATE TABLE trades (id text, price double precision, ts timestamptz, \
    WATERMARK FOR ts AS ts - INTERVAL '5 seconds') \
    WITH (connector = 'kafka', topic = 'trades', bootstrap_servers = 'localhost:9092')";

fn define(text: &str) -> Result<Definition> {
    Definition::parse(text, None, &Definitions::default())
}

fn names(catalog: &Catalog) -> Vec<String> {
    catalog
        .snapshot()
        .all()
        .map(|definition| definition.name().to_owned())
        .collect()
}

fn create(catalog: &Catalog, text: &str) -> Result<Created> {
    catalog.create(define(text)?, CreateMode::Fail)
}

#[test]
fn definitions_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let catalog = Catalog::open(dir.path(), None).unwrap();
        create(&catalog, TRADES).unwrap();
        create(&catalog, "CREATE VIEW a AS SELECT * FROM trades").unwrap();
        create(&catalog, "CREATE VIEW z AS SELECT * FROM a").unwrap();
    }
    let catalog = Catalog::open(dir.path(), None).unwrap();
    assert_eq!(names(&catalog), ["a", "trades", "z"]);
    assert_eq!(catalog.snapshot().table("trades").unwrap().columns.len(), 3);
}

#[test]
fn a_directory_serves_one_server_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Catalog::open(dir.path(), None).unwrap();
    let error = Catalog::open(dir.path(), None).unwrap_err();
    assert_eq!(error.state(), SqlState::LockFileExists);
    drop(first);
    Catalog::open(dir.path(), None).unwrap();
}

#[test]
fn a_sink_has_an_id_of_its_server_unless_it_names_one() {
    let catalog = Catalog::in_memory();
    create(&catalog, TRADES).unwrap();
    let sink = |name: &str, more: &str| {
        create(
            &catalog,
            &format!(
                "CREATE SINK {name} WITH (connector = 'kafka', topic = 't', \
                 bootstrap_servers = 'localhost:9092'{more}) AS SELECT id FROM trades"
            ),
        )
    };
    let id_of = |name: &str| match catalog.snapshot().get(name) {
        Some(Definition::Sink(sink)) => sink.transactional_id(catalog.server_id()),
        _ => panic!("no sink {name}"),
    };
    sink("a", ", delivery = 'exactly once'").unwrap();
    sink("b", ", delivery = 'at least once'").unwrap();
    sink(
        "c",
        ", delivery = 'exactly once', transactional_id = 'mine'",
    )
    .unwrap();
    let of_a = format!("headwater-{}-a", catalog.server_id());
    assert_eq!(id_of("a"), Some(of_a.clone()));
    assert_eq!(id_of("b"), None);
    assert_eq!(id_of("c").as_deref(), Some("mine"));
    let told = "CREATE SINK told WITH (topic = 't', bootstrap_servers = 'localhost:9092')";
    create(&catalog, told).unwrap();
    assert_eq!(id_of("told"), None, "what alerts tell has no transactions");
    for taken in ["mine", &of_a] {
        let more = format!(", delivery = 'exactly once', transactional_id = '{taken}'");
        let error = sink("d", &more).unwrap_err();
        assert_eq!(error.state(), SqlState::DuplicateObject, "{error}");
    }
}

#[test]
fn a_changed_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    create(&Catalog::open(dir.path(), None).unwrap(), TRADES).unwrap();
    let path = dir.path().join("catalog.json");
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("5 seconds", "9 seconds");
    std::fs::write(&path, text).unwrap();
    let error = Catalog::open(dir.path(), None).unwrap_err();
    assert_eq!(error.state(), SqlState::DataCorrupted);
}

#[test]
fn what_others_depend_on_is_not_dropped_alone() {
    let catalog = Catalog::in_memory();
    create(&catalog, TRADES).unwrap();
    create(&catalog, "CREATE VIEW a AS SELECT * FROM trades").unwrap();
    create(
        &catalog,
        "CREATE VIEW b AS WITH trades2 AS (SELECT 1) SELECT * FROM a",
    )
    .unwrap();
    let error = catalog
        .drop(ObjectKind::Table, &["trades"], false)
        .unwrap_err();
    assert_eq!(error.state(), SqlState::DependentObjectsStillExist);
    assert!(
        error
            .detail_text()
            .unwrap()
            .contains("view a depends on table trades")
    );
    let dropped = catalog.drop(ObjectKind::Table, &["trades"], true).unwrap();
    let dropped: Vec<&str> = dropped.iter().map(Definition::name).collect();
    assert_eq!(dropped, ["b", "a", "trades"]);
    assert!(names(&catalog).is_empty());
}

#[test]
fn names_are_taken_once_and_kinds_are_told_apart() {
    let catalog = Catalog::in_memory();
    create(&catalog, TRADES).unwrap();
    assert_eq!(
        create(&catalog, TRADES).unwrap_err().state(),
        SqlState::DuplicateTable
    );
    let again = catalog
        .create(define(TRADES).unwrap(), CreateMode::IfNotExists)
        .unwrap();
    assert_eq!(again, Created::Existed);
    let error = catalog
        .drop(ObjectKind::View, &["trades"], false)
        .unwrap_err();
    assert_eq!(error.state(), SqlState::WrongObjectType);
    assert_eq!(
        error.hint_text(),
        Some("It is a table: use DROP TABLE trades.")
    );
    let error = catalog
        .drop(ObjectKind::Table, &["trade"], false)
        .unwrap_err();
    assert_eq!(error.hint_text(), Some("Perhaps you meant \"trades\"."));
    let error = create(&catalog, "CREATE VIEW v AS SELECT * FROM nothing").unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable);
}

fn table_error(text: &str) -> (SqlState, Option<String>) {
    let error = define(text).unwrap_err();
    (error.state(), error.hint_text().map(str::to_owned))
}

#[test]
fn bad_options_are_told_with_the_nearest() {
    let with = |options: &str| {
        format!("CREATE TABLE t (a text) WITH (topic = 't', bootstrap_servers = 'b:1', {options})")
    };
    let (state, hint) = table_error(&with("idle_timout = '1 s'"));
    assert_eq!(state, SqlState::UndefinedObject);
    assert_eq!(hint.unwrap(), "Perhaps you meant \"idle_timeout\".");
    assert_eq!(
        table_error(&with("scan_startup = 'soon'")).0,
        SqlState::InvalidParameterValue
    );
    assert_eq!(
        table_error(&with("on_error = 'panic'")).0,
        SqlState::InvalidParameterValue
    );
    assert_eq!(
        table_error("CREATE TABLE t (a text) WITH (topic = 't')").0,
        SqlState::InvalidParameterValue
    );
}

#[test]
fn a_table_s_columns_say_where_they_come_from() {
    let text = "CREATE TABLE t (a text, k text METADATA FROM 'key', city text AS (x.address.city), \
        first int AS (x['list'][0]), b text AS (upper(a))) \
        WITH (topic = 't', bootstrap_servers = 'b:1', kafka.security.protocol = 'SASL_SSL', \
        kafka.sasl.password = 'hush')";
    let Ok(Statement::CreateTable(clause)) =
        sql::parse(text).map(|mut parsed| parsed.remove(0).statement)
    else {
        panic!("it is a table")
    };
    let table = TableDefinition::try_new(&clause, None).unwrap();
    let origins: Vec<String> = table
        .columns
        .iter()
        .map(|c| format!("{:?}", c.origin))
        .collect();
    assert_eq!(origins[0], "Payload([Key(\"a\")])");
    assert_eq!(origins[1], "Metadata(Key)");
    assert_eq!(
        origins[2],
        "Payload([Key(\"x\"), Key(\"address\"), Key(\"city\")])"
    );
    assert_eq!(origins[3], "Payload([Key(\"x\"), Key(\"list\"), Index(0)])");
    assert!(origins[4].starts_with("Computed("), "{}", origins[4]);
    assert_eq!(
        table.options.connection.properties["security.protocol"],
        "SASL_SSL"
    );
    assert!(!table.sql.contains("hush"), "{}", table.sql);
}

#[test]
fn several_are_dropped_together_or_not_at_all() {
    let catalog = Catalog::in_memory();
    create(&catalog, TRADES).unwrap();
    create(&catalog, "CREATE VIEW a AS SELECT * FROM trades").unwrap();
    create(&catalog, "CREATE VIEW b AS SELECT * FROM a").unwrap();
    let error = catalog
        .drop(ObjectKind::View, &["b", "nothing"], false)
        .unwrap_err();
    assert_eq!(error.state(), SqlState::UndefinedTable);
    let error = catalog.drop(ObjectKind::View, &["a"], false).unwrap_err();
    assert_eq!(error.detail_text(), Some("view b depends on view a."));
    assert_eq!(names(&catalog), ["a", "b", "trades"]);
    let dropped = catalog.drop(ObjectKind::View, &["a", "b"], false).unwrap();
    let dropped: Vec<&str> = dropped.iter().map(Definition::name).collect();
    assert_eq!(dropped, ["b", "a"]);
}

#[test]
fn a_view_cannot_come_to_read_itself() {
    let catalog = Catalog::in_memory();
    create(&catalog, TRADES).unwrap();
    create(&catalog, "CREATE VIEW a AS SELECT * FROM trades").unwrap();
    create(&catalog, "CREATE VIEW b AS SELECT * FROM a").unwrap();
    for text in [
        "CREATE VIEW a AS SELECT * FROM b",
        "CREATE VIEW a AS SELECT * FROM a",
    ] {
        let error = catalog
            .create(define(text).unwrap(), CreateMode::Replace)
            .unwrap_err();
        assert_eq!(error.state(), SqlState::InvalidTableDefinition, "{text}");
    }
    let other = define("CREATE VIEW a AS SELECT price FROM trades").unwrap();
    assert_eq!(
        catalog.create(other, CreateMode::Replace).unwrap(),
        Created::New
    );
    let table = define(&TRADES.replace("TABLE trades", "TABLE a")).unwrap();
    let error = catalog.create(table, CreateMode::Replace).unwrap_err();
    assert_eq!(error.state(), SqlState::DuplicateTable);
    assert_eq!(error.detail_text(), Some("It is a view."));
}

#[test]
fn a_sink_is_not_read() {
    let catalog = Catalog::in_memory();
    create(&catalog, TRADES).unwrap();
    let sink =
        "CREATE SINK s WITH (topic = 'x', bootstrap_servers = 'b:1') AS SELECT * FROM trades";
    create(&catalog, sink).unwrap();
    let error = create(&catalog, "CREATE VIEW v AS SELECT * FROM s").unwrap_err();
    assert_eq!(error.state(), SqlState::WrongObjectType);
}

#[test]
fn secrets_are_masked_however_they_are_quoted() {
    let text = "CREATE TABLE t (a text) /* it's */ WITH (topic = 'a', bootstrap_servers = 'a', \
        kafka.sasl.password = $x$a$x$, 'kafka.ssl.key.password' = E'\\x61')";
    let table = define(text).unwrap();
    assert_eq!(
        table.sql(),
        "CREATE TABLE t (a text) /* it's */ WITH (topic = 'a', bootstrap_servers = 'a', \
        kafka.sasl.password = '********', 'kafka.ssl.key.password' = '********')"
    );
    assert_eq!(table.statement(), text);
}

#[test]
fn half_a_file_is_refused_and_half_a_new_one_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    create(&Catalog::open(dir.path(), None).unwrap(), TRADES).unwrap();
    std::fs::write(dir.path().join("catalog.new"), "{\"version\": 1, \"sta").unwrap();
    assert_eq!(names(&Catalog::open(dir.path(), None).unwrap()), ["trades"]);
    let path = dir.path().join("catalog.json");
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 3] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Catalog::open(dir.path(), None).unwrap_err();
        assert_eq!(error.state(), SqlState::DataCorrupted, "{length} bytes");
        assert!(error.hint_text().is_some(), "it says what to do");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(names(&Catalog::open(dir.path(), None).unwrap()), ["trades"]);
}

#[test]
fn a_version_of_the_future_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    create(&Catalog::open(dir.path(), None).unwrap(), TRADES).unwrap();
    let path = dir.path().join("catalog.json");
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("\"version\": 1", "\"version\": 2");
    std::fs::write(&path, text).unwrap();
    let error = Catalog::open(dir.path(), None).unwrap_err();
    assert!(
        error.detail_text().unwrap().contains("version 2"),
        "{error}"
    );
}

/// One step of a random life of a catalog.
#[derive(Debug, Clone)]
enum Step {
    /// A view over others (or over nothing), with how to take a name that is there.
    Create {
        name: usize,
        reads: Vec<usize>,
        replace: bool,
    },
    Drop {
        name: usize,
        cascade: bool,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..5_usize;
    proptest::prop_oneof![
        4 => (name(), prop::collection::vec(name(), 0..3), proptest::bool::ANY)
            .prop_map(|(name, reads, replace)| Step::Create { name, reads, replace }),
        2 => (name(), proptest::bool::ANY).prop_map(|(name, cascade)| Step::Drop { name, cascade }),
        1 => proptest::strategy::Just(Step::Reopen),
    ]
}

/// What must be in the catalog: each view's text and what it reads.
#[derive(Debug, Default)]
struct Model {
    views: BTreeMap<usize, (String, Vec<usize>)>,
}

impl Model {
    fn reads(&self, from: usize, to: usize) -> bool {
        from == to
            || self
                .views
                .get(&from)
                .is_some_and(|(_, reads)| reads.iter().any(|next| self.reads(*next, to)))
    }

    fn create(&mut self, name: usize, reads: &[usize], replace: bool, text: &str) -> bool {
        let free = replace || !self.views.contains_key(&name);
        let there = reads.iter().all(|read| self.views.contains_key(read));
        let straight = !reads.iter().any(|read| self.reads(*read, name));
        if free && there && straight {
            self.views.insert(name, (text.to_owned(), reads.to_vec()));
        }
        free && there && straight
    }

    fn drop(&mut self, name: usize, cascade: bool) -> bool {
        let above: Vec<usize> = self
            .views
            .keys()
            .copied()
            .filter(|from| self.reads(*from, name))
            .collect();
        let allowed = self.views.contains_key(&name) && (cascade || above.len() == 1);
        if allowed {
            self.views.retain(|view, _| !above.contains(view));
        }
        allowed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_life_leaves_the_same_definitions_after_a_restart(
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut catalog = Catalog::open(dir.path(), None).unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Create { name, reads, replace } => {
                    let from: Vec<String> = reads.iter().map(|read| format!("v{read}")).collect();
                    let from = if from.is_empty() { "headwater.queries".to_owned() } else { from.join(", ") };
                    let text = format!("CREATE VIEW v{name} AS SELECT 1 FROM {from}");
                    let mode = if replace { CreateMode::Replace } else { CreateMode::Fail };
                    let created = catalog.create(define(&text).unwrap(), mode).is_ok();
                    prop_assert_eq!(created, model.create(name, &reads, replace, &text));
                }
                Step::Drop { name, cascade } => {
                    let name_sql = format!("v{name}");
                    let dropped = catalog.drop(ObjectKind::View, &[&name_sql], cascade).is_ok();
                    prop_assert_eq!(dropped, model.drop(name, cascade));
                }
                Step::Reopen => {
                    drop(catalog);
                    catalog = Catalog::open(dir.path(), None).unwrap();
                }
            }
            let found: Vec<String> =
                catalog.snapshot().all().map(|view| view.sql().to_owned()).collect();
            let expected: Vec<String> =
                model.views.values().map(|(text, _)| text.clone()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
