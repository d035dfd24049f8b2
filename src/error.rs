//! Errors: whose fault it is, what happened, where in the statement, and what to do about it.
//!
//! Texts follow PostgreSQL's rules: the message is short, in lower case, without a full stop;
//! detail and hint are whole sentences.

mod clause;
mod signature;
mod translate;
mod value;

use std::fmt;

pub use translate::{from_arrow, from_datafusion, nearest, sql_name};

/// The project's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault an error is; decides logging and retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The statement or its data; the same request fails again.
    User,
    /// The outside world: a broker, a disk, a network.
    External {
        /// True when the same act may succeed later.
        retry: bool,
    },
    /// Ours.
    Internal,
}

/// A place in the text of a statement; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// What an error is about, for errors that are found where no places are known any more: who has the
/// statement looks for it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// A call of the function of this name.
    Function(String),
    /// A string with this text, where it is cast to another type.
    Text(String),
    /// A cast to this type.
    Cast(String),
    /// The column of the result with this number, from 0 on.
    Item(usize),
    /// An interval that is multiplied or divided.
    Scaled,
    /// A column of this name.
    Column(String),
    /// A comparison of a column of this name.
    Compared(String),
    /// A field of a row, of this name.
    Field(String),
    /// The expression of GROUP BY with this number, from 0 on.
    Group(usize),
    /// A join.
    Join,
    /// A sub-query where an expression stands.
    SubQuery,
    /// `OVER (..)`.
    Over,
    /// WHERE.
    Where,
    /// ORDER BY.
    OrderBy,
    /// LIMIT.
    Limit,
    /// OFFSET.
    Offset,
    /// The option of this name.
    Option(String),
    /// A row that is written: whoever refused it will refuse it again.
    Row,
}

/// The SQLSTATE codes that the server uses (PostgreSQL, appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are PostgreSQL's condition names")]
pub enum SqlState {
    SuccessfulCompletion,
    SyntaxError,
    SyntaxErrorOrAccessRuleViolation,
    UndefinedTable,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedObject,
    UndefinedParameter,
    UndefinedCursor,
    UndefinedPreparedStatement,
    AmbiguousColumn,
    DuplicateTable,
    DuplicateColumn,
    DuplicateObject,
    DuplicateAlias,
    DuplicateCursor,
    DuplicatePreparedStatement,
    DatatypeMismatch,
    WrongObjectType,
    DependentObjectsStillExist,
    InvalidParameterValue,
    InvalidTextRepresentation,
    InvalidRegularExpression,
    InvalidDatetimeFormat,
    InvalidBinaryRepresentation,
    InvalidTableDefinition,
    InvalidColumnReference,
    GroupingError,
    WindowingError,
    NumericValueOutOfRange,
    DivisionByZero,
    DatetimeFieldOverflow,
    DataException,
    CharacterNotInRepertoire,
    UndefinedSchema,
    NotNullViolation,
    UniqueViolation,
    UndefinedDatabase,
    FeatureNotSupported,
    InFailedSqlTransaction,
    NoActiveSqlTransaction,
    ActiveSqlTransaction,
    QueryCanceled,
    AdminShutdown,
    InsufficientPrivilege,
    ConnectionFailure,
    ConnectionUnable,
    TooManyConnections,
    InvalidAuthorizationSpecification,
    OutOfMemory,
    ProgramLimitExceeded,
    ConfigurationLimitExceeded,
    StatementTooComplex,
    ObjectNotInPrerequisiteState,
    ObjectInUse,
    CannotChangeParameter,
    IoError,
    DiskFull,
    ConfigFileError,
    LockFileExists,
    ProtocolViolation,
    DataCorrupted,
    Internal,
}

impl SqlState {
    /// The five characters that go over the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::SuccessfulCompletion => "00000",
            Self::SyntaxError => "42601",
            Self::SyntaxErrorOrAccessRuleViolation => "42000",
            Self::UndefinedTable => "42P01",
            Self::UndefinedColumn => "42703",
            Self::UndefinedFunction => "42883",
            Self::UndefinedObject => "42704",
            Self::UndefinedParameter => "42P02",
            Self::UndefinedCursor => "34000",
            Self::UndefinedPreparedStatement => "26000",
            Self::AmbiguousColumn => "42702",
            Self::DuplicateTable => "42P07",
            Self::DuplicateColumn => "42701",
            Self::DuplicateObject => "42710",
            Self::DuplicateAlias => "42712",
            Self::DuplicateCursor => "42P03",
            Self::DuplicatePreparedStatement => "42P05",
            Self::DatatypeMismatch => "42804",
            Self::WrongObjectType => "42809",
            Self::DependentObjectsStillExist => "2BP01",
            Self::InvalidParameterValue => "22023",
            Self::InvalidTextRepresentation => "22P02",
            Self::InvalidRegularExpression => "2201B",
            Self::InvalidDatetimeFormat => "22007",
            Self::InvalidBinaryRepresentation => "22P03",
            Self::InvalidTableDefinition => "42P16",
            Self::InvalidColumnReference => "42P10",
            Self::GroupingError => "42803",
            Self::WindowingError => "42P20",
            Self::NumericValueOutOfRange => "22003",
            Self::DivisionByZero => "22012",
            Self::DatetimeFieldOverflow => "22008",
            Self::DataException => "22000",
            Self::CharacterNotInRepertoire => "22021",
            Self::UndefinedSchema => "3F000",
            Self::NotNullViolation => "23502",
            Self::UniqueViolation => "23505",
            Self::UndefinedDatabase => "3D000",
            Self::FeatureNotSupported => "0A000",
            Self::InFailedSqlTransaction => "25P02",
            Self::NoActiveSqlTransaction => "25P01",
            Self::ActiveSqlTransaction => "25001",
            Self::QueryCanceled => "57014",
            Self::AdminShutdown => "57P01",
            Self::InsufficientPrivilege => "42501",
            Self::ConnectionFailure => "08006",
            Self::ConnectionUnable => "08001",
            Self::TooManyConnections => "53300",
            Self::InvalidAuthorizationSpecification => "28000",
            Self::OutOfMemory => "53200",
            Self::ProgramLimitExceeded => "54000",
            Self::ConfigurationLimitExceeded => "53400",
            Self::StatementTooComplex => "54001",
            Self::ObjectNotInPrerequisiteState => "55000",
            Self::ObjectInUse => "55006",
            Self::CannotChangeParameter => "55P02",
            Self::IoError => "58030",
            Self::DiskFull => "53100",
            Self::ConfigFileError => "F0000",
            Self::LockFileExists => "F0001",
            Self::ProtocolViolation => "08P01",
            Self::DataCorrupted => "XX001",
            Self::Internal => "XX000",
        }
    }
}

/// An error as the user sees it.
#[derive(Debug, Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    fault: Fault,
    state: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<Position>,
    culprit: Option<Culprit>,
}

impl Error {
    /// An error of the statement or its data.
    pub fn user(state: SqlState, message: impl Into<String>) -> Self {
        Self::new(Fault::User, state, message)
    }

    /// An error of the outside world; `retry` says whether trying again may help.
    pub fn external(state: SqlState, retry: bool, message: impl Into<String>) -> Self {
        Self::new(Fault::External { retry }, state, message)
    }

    /// A mistake of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Fault::Internal, SqlState::Internal, message)
    }

    fn new(fault: Fault, state: SqlState, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            inner: Box::new(Inner {
                fault,
                state,
                message,
                detail: None,
                hint: None,
                position: None,
                culprit: None,
            }),
        }
    }

    /// Adds what to do about it: a whole sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds more facts: whole sentences.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.inner.detail = Some(detail.into());
        self
    }

    /// Adds the place in the statement.
    #[must_use]
    pub fn at(mut self, position: Option<Position>) -> Self {
        self.inner.position = position.or(self.inner.position);
        self
    }

    /// Says what in the statement it is about, for who knows the places there.
    #[must_use]
    pub fn about(mut self, culprit: Culprit) -> Self {
        self.inner.culprit = Some(culprit);
        self
    }

    /// Names the function that it is about as the statement does, not as the function does itself.
    #[must_use]
    pub fn called(mut self, own: &str, written: &str) -> Self {
        let (own, written) = (format!("function {own}("), format!("function {written}("));
        self.inner.message = self.inner.message.replace(&own, &written);
        self
    }

    /// What in the statement it is about.
    pub fn culprit(&self) -> Option<&Culprit> {
        self.inner.culprit.as_ref()
    }

    /// True when a value is at fault, and not what is done with it: SQLSTATE class 22, and a length
    /// that nothing can have.
    pub fn is_of_data(&self) -> bool {
        let state = self.inner.state;
        let of_data = state.code().starts_with("22") || state == SqlState::ProgramLimitExceeded;
        self.inner.fault == Fault::User && of_data
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        self.inner.fault
    }

    /// The SQLSTATE.
    pub fn state(&self) -> SqlState {
        self.inner.state
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// More facts.
    pub fn detail_text(&self) -> Option<&str> {
        self.inner.detail.as_deref()
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// The place in the statement.
    pub fn position(&self) -> Option<Position> {
        self.inner.position
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        if let Some(detail) = &self.inner.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
