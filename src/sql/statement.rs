//! What a client asked for: one type a statement, in our words.
//!
//! Queries, expressions and types stay the parser library's; everything else is plain data with
//! the places that errors need. Knows nothing of what exists: names are only spelled here.

use sqlparser::ast;

use super::alert::{AckAlert, Backtest, CreateAlert, SilenceAlert};
use super::alter::AlterQuery;
use super::alter_table::AlterTable;
use super::replay::Replay;
use super::secret::{CreateSecret, SecretRef};
use crate::error::Position;

/// One statement of a text, with where it stood.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub statement: Statement,
    /// Its own text, exactly as written, without the semicolon and what surrounds it.
    pub text: String,
    /// Where it starts in the whole text; positions in `statement` count from the whole text too.
    pub start: Position,
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is the statement of its name")]
pub enum Statement {
    CreateTable(CreateTable),
    CreateView(CreateView),
    CreateMaterializedView(CreateMaterializedView),
    CreateSink(CreateSink),
    CreateSecret(CreateSecret),
    CreateAlert(Box<CreateAlert>),
    AckAlert(AckAlert),
    SilenceAlert(SilenceAlert),
    Backtest(Backtest),
    Drop(Drop),
    AlterQuery(AlterQuery),
    AlterTable(AlterTable),
    Replay(Replay),
    Show(Show),
    Describe(Name),
    Query(StreamQuery),
    Explain(Explain),
    Insert(Box<ast::Insert>),
    Flush,
    CopyOut(CopyOut),
    CopyIn(CopyIn),
    Declare(Declare),
    Fetch(Fetch),
    Move(Fetch),
    Close(Close),
    Set(Set),
    SetTransaction(SetTransaction),
    Reset(Reset),
    Discard(Discard),
    Begin(TransactionModes),
    Commit(EndTransaction),
    Rollback(EndTransaction),
    Savepoint(Name),
    ReleaseSavepoint(Name),
    RollbackToSavepoint(Name),
    Prepare(Prepare),
    Execute(Execute),
    /// `None` is `DEALLOCATE ALL`.
    Deallocate(Option<Name>),
    Listen(Name),
    /// `None` is `UNLISTEN *`.
    Unlisten(Option<Name>),
    Notify(Notify),
    CancelQuery(Name),
    /// A text without a statement: white space and comments.
    Empty,
}

/// The name of a thing, folded to lower case unless it was quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The schema, if one was written.
    pub schema: Option<String>,
    /// The name itself.
    pub name: String,
    /// Where it stands.
    pub position: Position,
}

/// A query and how its rows are emitted.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamQuery {
    /// The query, its windows in the one canonical form (see [`crate::sql`]).
    pub query: Box<ast::Query>,
    /// How rows are emitted; `None` asks for a snapshot.
    pub emit: Option<Emit>,
    /// Where the `EMIT` clause stands.
    pub emit_position: Option<Position>,
    /// The query's text as written, with its `EMIT` clause.
    pub text: String,
    /// `SUBSCRIBE TO`: its rows show what each does to the rows before it.
    pub subscription: Option<Subscription>,
}

/// `SUBSCRIBE TO name | (query) WITH (..)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The view or table, if it was named; the query then reads all of it.
    pub relation: Option<Name>,
    /// `snapshot`: the rows that a materialized view holds come first.
    pub snapshot: bool,
    /// `progress`: rows tell how the watermark moves.
    pub progress: bool,
}

/// When rows of a live query go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// `EMIT FINAL`, `EMIT ON WINDOW CLOSE`: a window's row once, when the window has closed.
    Final,
    /// `EMIT CHANGES`: every changed row after each micro-batch.
    Changes,
    /// `EMIT EVERY interval`: changed rows at this pace, in microseconds.
    Every(i64),
}

/// `CREATE TABLE name (..) WITH (..)`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The table's name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// The columns in the order written; empty when they are to be inferred.
    pub columns: Vec<ColumnClause>,
    /// The primary key's columns, from a column or the table's clause.
    pub primary_key: Vec<Identifier>,
    /// `WATERMARK FOR`.
    pub watermark: Option<WatermarkClause>,
    /// `WITH (..)`.
    pub options: Vec<OptionClause>,
    /// The statement's text.
    pub text: String,
}

/// A name inside a statement, such as a column's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    /// Folded to lower case unless it was quoted.
    pub name: String,
    /// Where it stands.
    pub position: Position,
}

/// One column of `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnClause {
    /// Its name.
    pub name: String,
    /// Its type as written.
    pub data_type: ast::DataType,
    /// `NOT NULL`.
    pub not_null: bool,
    /// Where its value comes from.
    pub kind: ColumnKind,
    /// Where the column's name stands.
    pub position: Position,
    /// Where its type stands.
    pub type_position: Position,
}

/// Where a declared column's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// The payload's field of the same name.
    Plain,
    /// The record itself: `METADATA FROM 'this'`.
    Metadata(String),
    /// `AS (expression)`: other columns, or a path into the payload.
    Computed(Box<ast::Expr>),
}

/// `WATERMARK FOR column AS expression`.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkClause {
    /// The event-time column.
    pub column: String,
    /// The watermark that a row brings.
    pub expr: Box<ast::Expr>,
    /// Where the column's name stands.
    pub position: Position,
}

/// One `name = value` of `WITH (..)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionClause {
    /// In lower case; dots are underscores, except under `kafka.`, where the rest is as written.
    pub name: String,
    /// What it is set to.
    pub value: OptionValue,
    /// Where the name stands.
    pub position: Position,
    /// Where the value stands.
    pub value_position: Position,
}

/// The value of an option; its text is what counts, its kind helps errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// `'text'`.
    Text(String),
    /// `12`, `-1`, `0.5`.
    Number(String),
    /// `true`, `earliest`: a word without quotes, in lower case.
    Word(String),
    /// `INTERVAL '..'`, in microseconds.
    Interval(i64),
    /// `SECRET name`.
    Secret(SecretRef),
}

/// `CREATE VIEW name AS query`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// Names for the query's columns; empty keeps the query's own.
    pub columns: Vec<Identifier>,
    /// What it stands for; never with an `EMIT` clause.
    pub query: StreamQuery,
    /// The statement's text.
    pub text: String,
}

/// `CREATE MATERIALIZED VIEW name [WITH (..)] AS query`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateMaterializedView {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// Names for the query's columns; empty keeps the query's own.
    pub columns: Vec<Identifier>,
    /// `WITH (..)`.
    pub options: Vec<OptionClause>,
    /// What it keeps.
    pub query: StreamQuery,
    /// The statement's text.
    pub text: String,
}

/// `CREATE SINK name [PRIMARY KEY (..)] WITH (..) [AS query]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateSink {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// `PRIMARY KEY (..)`: the columns that make the message's key.
    pub primary_key: Vec<Identifier>,
    /// `WITH (..)`.
    pub options: Vec<OptionClause>,
    /// What goes out; `None`: what others bring.
    pub query: Option<StreamQuery>,
    /// The statement's text.
    pub text: String,
}

/// The kinds of things that have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the kind of its name")]
pub enum ObjectKind {
    Table,
    View,
    MaterializedView,
    Sink,
    Secret,
    Alert,
    Query,
}

/// `DROP kind [IF EXISTS] name, .. [CASCADE | RESTRICT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drop {
    /// What kind of thing.
    pub kind: ObjectKind,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// Which.
    pub names: Vec<Name>,
    /// `CASCADE`: with everything that depends on them.
    pub cascade: bool,
}

/// `SHOW ..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// `SHOW TABLES [LIKE 'pattern']` and the like.
    Objects {
        /// Which kind.
        kind: ObjectKind,
        /// Only names that match this pattern.
        like: Option<String>,
    },
    /// `SHOW COLUMNS FROM name`.
    Columns(Name),
    /// `SHOW CREATE kind name`; `kind` is `None` for `SHOW CREATE name`.
    Create {
        /// The kind written, if any.
        kind: Option<ObjectKind>,
        /// Which.
        name: Name,
    },
    /// `SHOW variable`, in lower case.
    Variable(Identifier),
    /// `SHOW ALL`.
    All,
}

/// `EXPLAIN ..`.
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    /// `ANALYZE`.
    pub analyze: bool,
    /// `VERBOSE`.
    pub verbose: bool,
    /// What is explained.
    pub target: ExplainTarget,
}

/// What `EXPLAIN` explains.
#[derive(Debug, Clone, PartialEq)]
pub enum ExplainTarget {
    /// A statement that has a query.
    Statement(Box<Statement>),
    /// `EXPLAIN PROGRESS name`: a running query.
    Progress(Name),
}

/// `COPY .. TO STDOUT`.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyOut {
    /// What is copied; `COPY t TO ..` is `SELECT * FROM t`.
    pub query: StreamQuery,
    /// How.
    pub options: CopyOptions,
}

/// `COPY table FROM STDIN`.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyIn {
    /// Where to.
    pub table: Name,
    /// The columns named; empty means all.
    pub columns: Vec<Identifier>,
    /// How.
    pub options: CopyOptions,
}

/// The options of `COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// `FORMAT`.
    pub format: CopyFormat,
    /// `DELIMITER`: a tab for text, a comma for CSV unless it is given. One byte.
    pub delimiter: char,
    /// `NULL`: `\N` for text, nothing for CSV unless it is given.
    pub null: String,
    /// `HEADER`: a first line with the names.
    pub header: bool,
    /// `QUOTE` (CSV). One byte.
    pub quote: char,
    /// `ESCAPE` (CSV). One byte.
    pub escape: char,
    /// `FORCE_QUOTE` (CSV): which columns are quoted always.
    pub force_quote: ForceQuote,
}

/// The formats of `COPY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the format of its name")]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
}

/// Which columns CSV quotes although they need not be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ForceQuote {
    None,
    All,
    Columns(Vec<String>),
}

/// `DECLARE name CURSOR FOR query`.
#[derive(Debug, Clone, PartialEq)]
pub struct Declare {
    /// The cursor's name.
    pub name: Name,
    /// `BINARY`: rows in the binary format.
    pub binary: bool,
    /// `WITH HOLD`: it outlives the transaction.
    pub hold: bool,
    /// `SCROLL`: it is asked to go backward too.
    pub scroll: bool,
    /// What it reads.
    pub query: StreamQuery,
}

/// `FETCH .. FROM name`, `MOVE .. FROM name`; forward only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The cursor's name.
    pub name: Name,
    /// How many rows.
    pub count: FetchCount,
    /// `WITH (timeout = ..)`: how long to wait for the first row, in microseconds.
    pub timeout: Option<i64>,
}

/// How many rows `FETCH` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum FetchCount {
    Rows(u64),
    All,
}

/// `CLOSE name` or `CLOSE ALL`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Close {
    Cursor(Name),
    All,
}

/// `SET name = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The variable, in lower case; `TIME ZONE` is `timezone`, `NAMES` is `client_encoding`.
    pub name: Identifier,
    /// `SET LOCAL`: only until the transaction ends.
    pub local: bool,
    /// What it is set to; `None` is `DEFAULT`. Several values are joined by `, `.
    pub value: Option<String>,
}

/// `SET TRANSACTION ..`, `SET SESSION CHARACTERISTICS AS TRANSACTION ..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetTransaction {
    /// True for the session's later transactions, false for this one.
    pub session: bool,
    /// What.
    pub modes: TransactionModes,
}

/// The modes of a transaction; `None` where nothing was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// `ISOLATION LEVEL`, in lower case.
    pub isolation: Option<String>,
    /// `READ ONLY` or `READ WRITE`.
    pub read_only: Option<bool>,
    /// `[NOT] DEFERRABLE`.
    pub deferrable: Option<bool>,
}

/// `COMMIT`, `ROLLBACK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransaction {
    /// `AND CHAIN`: a new transaction begins at once.
    pub chain: bool,
}

/// `RESET name`, `RESET ALL`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Reset {
    Variable(Identifier),
    All,
}

/// `DISCARD ..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temporary,
}

/// `PREPARE name [(types)] AS statement`.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepare {
    /// Its name.
    pub name: Name,
    /// The parameters' types, as far as they were given.
    pub types: Vec<ast::DataType>,
    /// The statement.
    pub statement: Box<Statement>,
    /// The statement's text.
    pub text: String,
}

/// `EXECUTE name [(arguments)]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Execute {
    /// The prepared statement's name.
    pub name: Name,
    /// The parameters' values.
    pub arguments: Vec<ast::Expr>,
}

/// `NOTIFY channel [, 'payload']`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The channel.
    pub channel: Name,
    /// What is told.
    pub payload: String,
}

impl Name {
    /// The name as a user would write it: quoted where it must be.
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", super::quote(schema), super::quote(&self.name)),
            None => super::quote(&self.name),
        }
    }
}

impl OptionValue {
    /// The value's text; an interval's is its number of microseconds with the unit, a secret's
    /// is its name.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Word(text) => text.clone(),
            Self::Interval(micros) => format!("{micros} microseconds"),
            Self::Secret(secret) => secret.sql(),
        }
    }
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            format: CopyFormat::Text,
            delimiter: '\t',
            null: "\\N".to_owned(),
            header: false,
            quote: '"',
            escape: '"',
            force_quote: ForceQuote::None,
        }
    }
}
