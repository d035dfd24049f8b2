//! The catalog from outside: statements in, definitions out, through restarts.

use super::*;
use crate::sql::{self, Statement};

const TRADES: &str = "CREATE TABLE trades (id text, price double precision, ts timestamptz, \
    WATERMARK FOR ts AS ts - INTERVAL '5 seconds') \
    WITH (connector = 'kafka', topic = 'trades', bootstrap_servers = 'localhost:9092')";

fn define(text: &str) -> Result<Definition> {
    Definition::parse(text, None)
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
        .drop(ObjectKind::Table, "trades", false)
        .unwrap_err();
    assert_eq!(error.state(), SqlState::DependentObjectsStillExist);
    assert!(
        error
            .detail_text()
            .unwrap()
            .contains("view a depends on table trades")
    );
    let dropped = catalog.drop(ObjectKind::Table, "trades", true).unwrap();
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
    let error = catalog.drop(ObjectKind::View, "trades", false).unwrap_err();
    assert_eq!(error.state(), SqlState::WrongObjectType);
    let error = catalog.drop(ObjectKind::Table, "trade", false).unwrap_err();
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
        SqlState::InvalidTableDefinition
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
