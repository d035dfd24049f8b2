//! Where a column's value comes from in a message.

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathStep {
    /// A member of an object.
    Key(String),
    /// An element of an array, counted from 0.
    Index(usize),
}

/// A place in a JSON message, from its top level.
pub type JsonPath = Vec<PathStep>;

/// What a Kafka record says of itself, beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetadataColumn {
    /// The key, as text or bytes.
    Key,
    /// The partition's number, `int4`.
    Partition,
    /// The offset, `int8`.
    Offset,
    /// The record's timestamp, `timestamptz`.
    Timestamp,
    /// The headers, a JSON object of name to text.
    Headers,
}
