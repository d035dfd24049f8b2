//! A query's rows to a table.
//!
//! Rows wait in memory until there are many or the epoch ends; a transaction begins with the first that
//! are copied. Invariant: nothing is seen of an epoch before its commit, which also sets its number.

use std::io::Write as _;

use arrow::datatypes::SchemaRef;
use postgres::Client;

use super::PostgresSinkOptions;
use super::connect::connect;
use super::copy::line;
use super::epochs::Epochs;
use super::errors::{told, told_writing};
use super::table::{list, quoted, ready};
use crate::crash_point;
use crate::error::{Error, Result};
use crate::sink::outbox::{OutboxSink, Outboxes, Relayed};
use crate::sink::texts::{Texts, Written};
use crate::sink::{Outside, Sink};
use crate::types::{ChangeBatch, Op, PostgresConnection, ProcessingTime};

/// So many bytes of rows wait before they are copied.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// The changes of an epoch, by the number of their row.
const CHANGES: &str = "headwater_changes";
const COPY_FAILED: &str = "the rows cannot be written";

/// Writes rows to a table.
pub struct PostgresSink {
    client: Client,
    epochs: Epochs,
    texts: Texts,
    form: Form,
    /// Lines that are not copied yet.
    waiting: Vec<u8>,
    /// A transaction is open.
    begun: bool,
    /// Rows of the epoch.
    staged: u64,
}

enum Form {
    Append { copy: String },
    Upsert(Upsert),
}

/// How changes are applied, and what an epoch has of them.
struct Upsert {
    copy: String,
    /// Deletes the rows whose last change says so; where keys are never NULL.
    delete: String,
    /// The same where they may be.
    delete_nulls: String,
    insert: String,
    keys: Vec<usize>,
    has_deletes: bool,
    has_deleted_nulls: bool,
}

impl PostgresSink {
    /// Connects, and makes the table if it is not there: its name is given then. Otherwise looks whether
    /// rows of the schema fit into it. What an earlier sink of its id has committed is forgotten.
    ///
    /// # Errors
    /// When the database does not answer or refuses something, or rows do not fit.
    pub fn prepare(options: &PostgresSinkOptions, schema: &SchemaRef) -> Result<Option<String>> {
        let mut client = connect(&options.connection)?;
        let made = ready(&mut client, options, schema)?;
        Epochs::forget(&mut client, &options.table, &options.id)?;
        Ok(made.then(|| options.table.name.clone()))
    }

    /// Connects a sink for rows of this schema.
    ///
    /// # Errors
    /// When the database does not answer or refuses something, or rows do not fit.
    pub fn open(options: &PostgresSinkOptions, schema: &SchemaRef) -> Result<Self> {
        let texts = Texts::try_new(schema)?;
        let mut client = connect(&options.connection)?;
        if ready(&mut client, options, schema)? {
            let table = &options.table.name;
            tracing::warn!(sink = %options.id, table, "the sink's table was gone and was made anew");
        }
        let epochs = Epochs::open(&mut client, &options.table, &options.id)?;
        let form = Form::open(&mut client, options, schema)?;
        Ok(Self {
            client,
            epochs,
            texts,
            form,
            waiting: Vec::new(),
            begun: false,
            staged: 0,
        })
    }

    /// A sink for rows that wait in an outbox until the table has them.
    ///
    /// # Errors
    /// When a column has no form as text, or what the disk says.
    pub fn relayed(
        options: &PostgresSinkOptions,
        relayed: &Relayed<'_>,
        outboxes: &Outboxes,
    ) -> Result<OutboxSink> {
        Texts::try_new(relayed.schema)?;
        // Nothing that is secret is in the form for people.
        let PostgresConnection {
            url,
            password,
            roots,
            ..
        } = &options.connection;
        let made_of = format!("{options:?} {:?}", (url, password, roots));
        let (own, schema) = (options.clone(), SchemaRef::clone(relayed.schema));
        relayed.open(&made_of, outboxes, move |_| {
            Ok(Box::new(Self::open(&own, &schema)?) as Box<dyn Sink>)
        })
    }

    fn begin(&mut self) -> Result<()> {
        if !self.begun {
            let begun = self.client.batch_execute("BEGIN");
            begun.map_err(|error| told("cannot begin a transaction", &error))?;
            self.begun = true;
        }
        Ok(())
    }

    /// Copies the rows that wait.
    fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.begin()?;
        let copied = self.client.copy_in(self.form.copy());
        let mut writer = copied.map_err(|error| told(COPY_FAILED, &error))?;
        let written = writer.write_all(&self.waiting);
        written.map_err(|error| told_writing(COPY_FAILED, &error))?;
        let finished = writer.finish();
        finished.map_err(|error| told(COPY_FAILED, &error))?;
        self.waiting.clear();
        Ok(())
    }

    fn over(&mut self) {
        self.waiting.clear();
        (self.begun, self.staged) = (false, 0);
        if let Form::Upsert(upsert) = &mut self.form {
            (upsert.has_deletes, upsert.has_deleted_nulls) = (false, false);
        }
    }
}

impl Form {
    fn open(
        client: &mut Client,
        options: &PostgresSinkOptions,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let names = || schema.fields().iter().map(|field| field.name());
        let (table, columns) = (options.table.sql(), list(names()));
        if options.key_columns.is_empty() {
            let copy = format!("COPY {table} ({columns}) FROM STDIN");
            return Ok(Self::Append { copy });
        }
        let temporary = format!(
            "CREATE TEMPORARY TABLE {CHANGES} ON COMMIT DELETE ROWS AS SELECT {columns}, \
             0::bigint AS headwater_number, false AS headwater_deleted FROM {table} WITH NO DATA"
        );
        client
            .batch_execute(&temporary)
            .map_err(|error| told("cannot make the table of changes", &error))?;
        let key = &options.key_columns;
        let newest = format!(
            "SELECT DISTINCT ON ({keys}) * FROM {CHANGES} ORDER BY {keys}, headwater_number DESC",
            keys = list(key)
        );
        let delete = |equal: &str| {
            let each = key.iter().map(|name| {
                let name = quoted(name);
                format!("kept.{name} {equal} last.{name}")
            });
            let all: Vec<String> = each.collect();
            format!(
                "DELETE FROM {table} AS kept USING ({newest}) AS last \
                 WHERE last.headwater_deleted AND {}",
                all.join(" AND ")
            )
        };
        let others = names().filter(|name| !key.contains(name));
        let set: Vec<String> = others
            .map(|name| format!("{0} = EXCLUDED.{0}", quoted(name)))
            .collect();
        let act = match set.is_empty() {
            true => "NOTHING".to_owned(),
            false => format!("UPDATE SET {}", set.join(", ")),
        };
        let insert = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM ({newest}) AS last \
             WHERE NOT headwater_deleted ON CONFLICT ({}) DO {act}",
            list(key)
        );
        let place = |name: &String| names().position(|column| column == name);
        Ok(Self::Upsert(Upsert {
            copy: format!("COPY {CHANGES} FROM STDIN"),
            delete: delete("="),
            delete_nulls: delete("IS NOT DISTINCT FROM"),
            insert,
            keys: key.iter().filter_map(place).collect(),
            has_deletes: false,
            has_deleted_nulls: false,
        }))
    }

    fn copy(&self) -> &str {
        match self {
            Self::Append { copy } => copy,
            Self::Upsert(upsert) => &upsert.copy,
        }
    }

    /// Writes a row's line; `number` counts the rows of the epoch.
    fn line(
        &mut self,
        (op, number): (Op, u64),
        rows: &Written,
        row: usize,
        into: &mut Vec<u8>,
    ) -> Result<()> {
        let deleted = match (&mut *self, op) {
            (Self::Append { .. }, Op::Insert) => {
                line(rows, row, into);
                into.push(b'\n');
                return Ok(());
            }
            (Self::Append { .. }, _) => {
                return Err(Error::internal("a row changes, and the sink only adds"));
            }
            // Its new form follows, under the same key.
            (Self::Upsert(_), Op::UpdateBefore) => return Ok(()),
            (Self::Upsert(_), Op::Insert | Op::UpdateAfter) => 'f',
            (Self::Upsert(upsert), Op::Delete) => {
                upsert.has_deletes = true;
                upsert.has_deleted_nulls |= rows.has_null(row, &upsert.keys);
                't'
            }
        };
        line(rows, row, into);
        into.extend_from_slice(format!("\t{number}\t{deleted}\n").as_bytes());
        Ok(())
    }
}

impl Sink for PostgresSink {
    fn committed(&mut self) -> Result<Outside> {
        Ok(Outside::Epoch(self.epochs.committed()))
    }

    fn sign(&mut self, writer: u64) {
        self.epochs.sign(writer);
    }

    fn committed_by(&self) -> Option<u64> {
        self.epochs.committed_by()
    }

    fn stage(&mut self, rows: &ChangeBatch, _at: ProcessingTime) -> Result<()> {
        let written = self.texts.write(rows.rows())?;
        for row in 0..rows.rows().num_rows() {
            let change = (rows.op(row), self.staged);
            self.form.line(change, &written, row, &mut self.waiting)?;
            self.staged += 1;
            if self.waiting.len() > WAITING_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<()> {
        self.flush()?;
        if !self.begun {
            // No rows: the number alone.
            self.epochs.mark(&mut self.client, epoch)?;
            self.over();
            return Ok(());
        }
        if let Form::Upsert(upsert) = &self.form {
            let delete = match (upsert.has_deletes, upsert.has_deleted_nulls) {
                (false, _) => "",
                (true, false) => &upsert.delete,
                (true, true) => &upsert.delete_nulls,
            };
            let applied = self
                .client
                .batch_execute(&format!("{delete}; {}", upsert.insert));
            applied.map_err(|error| told(COPY_FAILED, &error))?;
        }
        crash_point::reach("rows written, the epoch not in its transaction");
        self.epochs.mark(&mut self.client, epoch)?;
        crash_point::reach("the epoch in its transaction, not committed");
        let committed = self.client.batch_execute("COMMIT");
        committed.map_err(|error| told("cannot commit the rows", &error))?;
        self.over();
        Ok(())
    }

    fn abort(&mut self) -> Result<()> {
        let begun = self.begun;
        self.over();
        if !begun {
            return Ok(());
        }
        let rolled_back = self.client.batch_execute("ROLLBACK");
        rolled_back.map_err(|error| told("cannot give the rows up", &error))
    }

    fn backlog(&self) -> u64 {
        self.staged
    }
}
