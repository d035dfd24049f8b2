//! The grammar's tests, as data: a text, and what it means in a short form or the error it gives.

mod errors;
mod limits;
mod queries;
mod statements;
mod windows;

use super::{
    Close, ColumnClause, ColumnKind, CopyFormat, CopyOptions, CreateTable, ExplainTarget, Fetch,
    Name, ObjectKind, OptionClause, Reset, Show, Statement, StreamQuery, TableChange,
    TransactionModes, parse,
};
use crate::error::Error;

/// What a text means: its statements in their short forms, or its error.
fn shown(text: &str) -> String {
    match parse(text) {
        Ok(parsed) => {
            let shown: Vec<String> = parsed.iter().map(|one| short(&one.statement)).collect();
            shown.join(" ; ")
        }
        Err(error) => shown_error(&error),
    }
}

fn shown_error(error: &Error) -> String {
    let place = match error.position() {
        Some(place) => format!("{}:{}", place.line, place.column),
        None => "nowhere".to_owned(),
    };
    let mut text = format!("{} {place} {}", error.state().code(), error.message());
    for more in [error.detail_text(), error.hint_text()]
        .into_iter()
        .flatten()
    {
        text.push_str(" | ");
        text.push_str(more);
    }
    text
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(shown(text), expected, "{text}");
}

/// Only the code and the place of the error, and that its words are there.
#[track_caller]
fn check_error(text: &str, code_and_place: &str, words: &str) {
    let found = shown(text);
    assert!(found.starts_with(code_and_place), "{text}\n  gives {found}");
    assert!(
        found.contains(words),
        "{text}\n  gives {found}\n  without {words}"
    );
}

fn query(query: &StreamQuery) -> String {
    match query.emit {
        None => format!("{}", query.query),
        Some(emit) => format!("{} {emit:?}", query.query),
    }
}

fn options(options: &[OptionClause]) -> String {
    let shown: Vec<String> = options
        .iter()
        .map(|option| format!("{}={:?}", option.name, option.value))
        .collect();
    format!("[{}]", shown.join(", "))
}

fn flags(flags: &[(bool, &str)]) -> String {
    flags
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, name)| format!(" {name}"))
        .collect()
}

fn short(statement: &Statement) -> String {
    match statement {
        Statement::CreateTable(table) => short_table(table),
        Statement::CreateView(view) => {
            let flags = flags(&[(view.if_not_exists, "maybe"), (view.or_replace, "replace")]);
            let columns: Vec<&str> = view.columns.iter().map(|c| c.name.as_str()).collect();
            format!(
                "view{flags} {}{columns:?} = {}",
                view.name.sql(),
                query(&view.query)
            )
        }
        Statement::CreateMaterializedView(view) => {
            let flags = flags(&[(view.if_not_exists, "maybe"), (view.or_replace, "replace")]);
            let options = options(&view.options);
            format!(
                "kept{flags} {} {options} = {}",
                view.name.sql(),
                query(&view.query)
            )
        }
        Statement::CreateSink(sink) => {
            let flags = flags(&[(sink.if_not_exists, "maybe"), (sink.or_replace, "replace")]);
            let options = options(&sink.options);
            let shown = sink
                .query
                .as_ref()
                .map_or_else(|| "nothing".to_owned(), query);
            format!("sink{flags} {} {options} = {shown}", sink.name.sql())
        }
        Statement::Drop(drop) => {
            let names: Vec<String> = drop.names.iter().map(Name::sql).collect();
            let flags = flags(&[(drop.if_exists, "maybe"), (drop.cascade, "cascade")]);
            format!("drop {}{flags} {}", drop.kind.noun(), names.join(" "))
        }
        Statement::Query(stream) => query(stream),
        Statement::Explain(explain) => {
            let flags = flags(&[(explain.analyze, "analyze"), (explain.verbose, "verbose")]);
            match &explain.target {
                ExplainTarget::Statement(inner) => format!("explain{flags} ({})", short(inner)),
                ExplainTarget::Progress(name) => format!("progress {}", name.sql()),
            }
        }
        Statement::Insert(insert) => format!("{insert}"),
        Statement::CopyOut(copy) => {
            format!("copy ({}) {}", query(&copy.query), copied(&copy.options))
        }
        Statement::CopyIn(copy) => {
            format!("copy into {} {}", copy.table.sql(), copied(&copy.options))
        }
        other => short_of_session(other),
    }
}

/// The statements that mend a table and what was rejected by it.
fn short_of_mending(statement: &Statement) -> String {
    match statement {
        Statement::Replay(replay) => format!("replay {}", replay.query.query),
        Statement::AlterTable(alter) => {
            let changes: Vec<String> = alter.changes.iter().map(short_of_change).collect();
            format!("alter table {} {}", alter.name.sql(), changes.join(", "))
        }
        other => panic!("{other:?} is shown elsewhere"),
    }
}

fn short_of_change(change: &TableChange) -> String {
    match change {
        TableChange::Add { text, .. } => format!("add {text:?}"),
        TableChange::Drop { column, .. } => format!("drop {}", column.name),
        TableChange::Type { column, text, .. } => format!("type {} {text:?}", column.name),
        TableChange::NotNull { column, not_null } => format!("{} {not_null}", column.name),
        TableChange::Set(options) => format!("set {}", options.len()),
    }
}

/// The statements about a session, its transactions and names.
fn short_of_session(statement: &Statement) -> String {
    match statement {
        Statement::Declare(declare) => {
            let flags = flags(&[
                (declare.binary, "binary"),
                (declare.scroll, "scroll"),
                (declare.hold, "hold"),
            ]);
            format!(
                "cursor{flags} {} = {}",
                declare.name.sql(),
                query(&declare.query)
            )
        }
        Statement::Fetch(fetch) => short_fetch("fetch", fetch),
        Statement::Move(fetch) => short_fetch("move", fetch),
        Statement::Prepare(prepare) => format!(
            "prepare {} {:?} ({}) {:?}",
            prepare.name.sql(),
            prepare
                .types
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            short(&prepare.statement),
            prepare.text,
        ),
        Statement::Execute(execute) => {
            let arguments: Vec<String> =
                execute.arguments.iter().map(ToString::to_string).collect();
            format!("execute {} {arguments:?}", execute.name.sql())
        }
        Statement::Set(set) => {
            let local = if set.local { " local" } else { "" };
            format!("set{local} {} {:?}", set.name.name, set.value)
        }
        Statement::Show(show) => short_show(show),
        Statement::Describe(name) => format!("describe {}", name.sql()),
        Statement::Begin(modes) => format!("begin{}", short_modes(modes)),
        Statement::SetTransaction(set) => {
            let scope = if set.session { "session" } else { "this" };
            format!("transaction {scope}{}", short_modes(&set.modes))
        }
        Statement::Savepoint(name) => format!("savepoint {}", name.sql()),
        Statement::ReleaseSavepoint(name) => format!("release {}", name.sql()),
        Statement::RollbackToSavepoint(name) => format!("rollback to {}", name.sql()),
        Statement::Commit(end) => format!("commit{}", if end.chain { " chain" } else { "" }),
        Statement::Rollback(end) => format!("rollback{}", if end.chain { " chain" } else { "" }),
        Statement::Deallocate(name) => format!("deallocate {:?}", name.as_ref().map(Name::sql)),
        Statement::Listen(name) => format!("listen {}", name.sql()),
        Statement::Unlisten(name) => format!("unlisten {:?}", name.as_ref().map(Name::sql)),
        Statement::Notify(notify) => {
            format!("notify {} {:?}", notify.channel.sql(), notify.payload)
        }
        Statement::AlterQuery(alter) => {
            let kind = alter.kind.noun();
            format!("alter {kind} {} {:?}", alter.name.sql(), alter.change)
        }
        Statement::Replay(_) | Statement::AlterTable(_) => short_of_mending(statement),
        Statement::CancelQuery(name) => format!("cancel {}", name.sql()),
        Statement::Close(Close::All) => "close all".to_owned(),
        Statement::Close(Close::Cursor(name)) => format!("close {}", name.sql()),
        Statement::Reset(Reset::All) => "reset all".to_owned(),
        Statement::Reset(Reset::Variable(name)) => format!("reset {}", name.name),
        Statement::Discard(what) => format!("discard {what:?}"),
        Statement::Flush => "flush".to_owned(),
        Statement::Empty => "empty".to_owned(),
        other => panic!("{other:?} is shown elsewhere"),
    }
}

fn short_table(table: &CreateTable) -> String {
    let flags = flags(&[
        (table.if_not_exists, "maybe"),
        (table.or_replace, "replace"),
    ]);
    let columns: Vec<String> = table.columns.iter().map(short_column).collect();
    let key: Vec<&str> = table
        .primary_key
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    let watermark = match &table.watermark {
        Some(clause) => format!(" watermark {}: {}", clause.column, clause.expr),
        None => String::new(),
    };
    let key = if key.is_empty() {
        String::new()
    } else {
        format!(" key {key:?}")
    };
    let options = options(&table.options);
    format!(
        "table{flags} {} ({}){key}{watermark} {options}",
        table.name.sql(),
        columns.join(", ")
    )
}

fn short_column(column: &ColumnClause) -> String {
    let kind = match &column.kind {
        ColumnKind::Plain => String::new(),
        ColumnKind::Metadata(key) => format!(" from {key}"),
        ColumnKind::Computed(expr) => format!(" as {expr}"),
    };
    let not_null = if column.not_null { " not null" } else { "" };
    format!("{} {}{not_null}{kind}", column.name, column.data_type)
}

fn copied(options: &CopyOptions) -> String {
    let mut text = format!(
        "{:?} {:?} {:?}",
        options.format, options.delimiter, options.null
    );
    if options.header {
        text.push_str(" header");
    }
    if options.format == CopyFormat::Csv {
        let CopyOptions {
            quote,
            escape,
            force_quote,
            ..
        } = options;
        text.push_str(&format!(" {quote} {escape} {force_quote:?}"));
    }
    text
}

fn short_fetch(what: &str, fetch: &Fetch) -> String {
    let timeout = fetch
        .timeout
        .map(|micros| format!(" within {micros}"))
        .unwrap_or_default();
    format!("{what} {:?} {}{timeout}", fetch.count, fetch.name.sql())
}

fn short_show(show: &Show) -> String {
    match show {
        Show::Objects { kind, like: None } => format!("show {}s", kind.noun()),
        Show::Objects {
            kind,
            like: Some(like),
        } => format!("show {}s like {like}", kind.noun()),
        Show::Columns(name) => format!("show columns {}", name.sql()),
        Show::Create { kind, name } => {
            format!(
                "show create {:?} {}",
                kind.map(ObjectKind::noun),
                name.sql()
            )
        }
        Show::Variable(name) => format!("show variable {}", name.name),
        Show::All => "show all".to_owned(),
    }
}

fn short_modes(modes: &TransactionModes) -> String {
    let mut text = String::new();
    if let Some(isolation) = &modes.isolation {
        text.push_str(&format!(" {isolation}"));
    }
    match modes.read_only {
        Some(true) => text.push_str(" read only"),
        Some(false) => text.push_str(" read write"),
        None => {}
    }
    match modes.deferrable {
        Some(true) => text.push_str(" deferrable"),
        Some(false) => text.push_str(" not deferrable"),
        None => {}
    }
    text
}
