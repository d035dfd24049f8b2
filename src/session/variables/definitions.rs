//! The variables that there are, each with its default and what it takes.

use super::SERVER_VERSION;

/// Which values a variable takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Bool,
    /// A number of the unit, between 0 and the greatest.
    Number {
        max: i64,
    },
    /// Milliseconds; other units may be given.
    Milliseconds,
    OneOf(&'static [&'static str]),
    Zone,
    Encoding,
    LiveStart,
    /// An option of a query, as views and sinks have it.
    QueryOption,
    /// Shown, never set.
    Fixed,
}

pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) kind: Kind,
    /// True if PostgreSQL's protocol tells the client each change.
    pub(super) reported: bool,
    pub(super) about: &'static str,
}

const fn told(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    about: &'static str,
) -> Definition {
    Definition {
        name,
        default,
        kind,
        reported: true,
        about,
    }
}

const fn quiet(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    about: &'static str,
) -> Definition {
    Definition {
        name,
        default,
        kind,
        reported: false,
        about,
    }
}

const ISOLATION: Kind = Kind::OneOf(&[
    "read committed",
    "read uncommitted",
    "repeatable read",
    "serializable",
]);
const LEVELS: Kind = Kind::OneOf(&[
    "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error",
]);

/// Sorted by name, so that SHOW ALL is.
#[rustfmt::skip]
pub(super) static DEFINITIONS: &[Definition] = &[
    quiet(
        "allowed_lateness",
        "off",
        Kind::QueryOption,
        "How long a live query's windows still take rows after they have closed",
    ),
    told(
        "application_name",
        "",
        Kind::Text,
        "Name of the program that is connected",
    ),
    quiet(
        "bytea_output",
        "hex",
        Kind::OneOf(&["hex"]),
        "How bytea is written as text",
    ),
    quiet(
        "check_function_bodies",
        "on",
        Kind::Bool,
        "Accepted for compatibility",
    ),
    told(
        "client_encoding",
        "UTF8",
        Kind::Encoding,
        "Encoding of the client's text",
    ),
    quiet(
        "client_min_messages",
        "notice",
        LEVELS,
        "The least important notices that are sent",
    ),
    told(
        "DateStyle",
        "ISO, MDY",
        Kind::Text,
        "How dates are written: always ISO",
    ),
    quiet(
        "default_transaction_isolation",
        "read committed",
        ISOLATION,
        "Accepted for compatibility",
    ),
    told(
        "default_transaction_read_only",
        "off",
        Kind::Bool,
        "Accepted for compatibility",
    ),
    quiet(
        "extra_float_digits",
        "1",
        Kind::Text,
        "Floats are always written in full",
    ),
    quiet(
        "idle_in_transaction_session_timeout",
        "0",
        Kind::Milliseconds,
        "Accepted for compatibility",
    ),
    told("in_hot_standby", "off", Kind::Fixed, "Always off"),
    told("integer_datetimes", "on", Kind::Fixed, "Always on"),
    told(
        "IntervalStyle",
        "postgres",
        Kind::OneOf(&["postgres"]),
        "How intervals are written",
    ),
    told(
        "is_superuser",
        "on",
        Kind::Fixed,
        "Whether the user may do everything",
    ),
    quiet("jit", "off", Kind::Bool, "Accepted for compatibility"),
    quiet(
        "lc_collate",
        "C",
        Kind::Fixed,
        "Text is compared by its bytes",
    ),
    quiet(
        "lc_ctype",
        "C",
        Kind::Fixed,
        "Text is compared by its bytes",
    ),
    quiet("lc_messages", "C", Kind::Text, "Accepted for compatibility"),
    quiet(
        "live_start",
        "open windows",
        Kind::LiveStart,
        "Where a live query starts: open windows, latest, earliest, or a time",
    ),
    quiet(
        "lock_timeout",
        "0",
        Kind::Milliseconds,
        "Accepted for compatibility",
    ),
    quiet(
        "max_connections",
        "100",
        Kind::Fixed,
        "How many clients may be connected",
    ),
    quiet(
        "max_identifier_length",
        "63",
        Kind::Fixed,
        "Bytes of a name",
    ),
    quiet(
        "max_index_keys",
        "32",
        Kind::Fixed,
        "Accepted for compatibility",
    ),
    quiet(
        "row_security",
        "on",
        Kind::Bool,
        "Accepted for compatibility",
    ),
    quiet(
        "search_path",
        "\"$user\", public",
        Kind::Text,
        "Where unqualified names are looked up: always public",
    ),
    told(
        "server_encoding",
        "UTF8",
        Kind::Fixed,
        "Encoding of the server's text",
    ),
    told(
        "server_version",
        SERVER_VERSION,
        Kind::Fixed,
        "The PostgreSQL version that is spoken",
    ),
    quiet(
        "server_version_num",
        "150000",
        Kind::Fixed,
        "The same as a number",
    ),
    told(
        "session_authorization",
        "",
        Kind::Fixed,
        "The connected user",
    ),
    told(
        "standard_conforming_strings",
        "on",
        Kind::OneOf(&["on"]),
        "Backslashes in strings are plain",
    ),
    quiet(
        "state_ttl",
        "off",
        Kind::QueryOption,
        "After which silence a live query drops a group that has no window",
    ),
    quiet(
        "statement_timeout",
        "0",
        Kind::Milliseconds,
        "Time after which a statement is cancelled; 0 is never",
    ),
    quiet(
        "synchronize_seqscans",
        "on",
        Kind::Bool,
        "Accepted for compatibility",
    ),
    told(
        "TimeZone",
        "UTC",
        Kind::Zone,
        "Zone in which a timestamptz is written",
    ),
    quiet(
        "transaction_isolation",
        "read committed",
        ISOLATION,
        "Accepted for compatibility",
    ),
    quiet(
        "transaction_read_only",
        "off",
        Kind::Bool,
        "Accepted for compatibility",
    ),
    quiet(
        "trigger",
        "continuous",
        Kind::QueryOption,
        "When a live query's micro-batches run: continuous, interval 200 ms, available now",
    ),
    quiet(
        "work_mem",
        "4096",
        Kind::Number { max: 2_147_483_647 },
        "Accepted for compatibility",
    ),
];
