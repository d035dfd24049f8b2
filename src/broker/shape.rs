//! The shapes of requests, checked before they are decoded.
//!
//! The decoder allocates what an array's count says before it reads the first element, so four
//! wrong bytes could ask for more memory than there is, which ends the process. Here each count is
//! held against the bytes that are left. Knows the layout of requests, nothing of their meaning.

use kafka_protocol::messages::ApiKey;

use Field::{Array, Bytes, Fixed, Since, Text, Until, Values};

/// A part of a request.
enum Field {
    /// So many bytes.
    Fixed(usize),
    /// A string, or null.
    Text,
    /// Bytes with their length, or null.
    Bytes,
    /// Structures, or null.
    Array(&'static [Field]),
    /// Plain values (no structures), or null.
    Values(&'static Field),
    /// There from this version on.
    Since(i16, &'static Field),
    /// There up to this version.
    Until(i16, &'static Field),
}

/// The fields of a request, and the version from which it has compact lengths and tagged fields.
struct Shape {
    compact_since: i16,
    fields: &'static [Field],
}

const INT8: Field = Fixed(1);
const INT16: Field = Fixed(2);
const INT32: Field = Fixed(4);
const INT64: Field = Fixed(8);

/// True when a request's body has the shape that its version prescribes.
pub(crate) fn fits(key: ApiKey, version: i16, body: &[u8]) -> bool {
    let Some(shape) = shape_of(key) else {
        return false;
    };
    let mut walk = Walk {
        rest: body,
        version,
        compact: version >= shape.compact_since,
    };
    walk.fields(shape.fields)
        .and_then(|()| walk.tags())
        .is_some()
}

/// Reads over a body; `None` where it does not fit.
struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    compact: bool,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        fields.iter().try_for_each(|field| self.field(field))
    }

    fn field(&mut self, field: &Field) -> Option<()> {
        match field {
            Fixed(bytes) => self.skip(*bytes),
            Text => {
                let length = if self.compact {
                    self.compact_length()?
                } else {
                    self.int16()?
                };
                self.skip(length)
            }
            Bytes => {
                let length = self.length()?;
                self.skip(length)
            }
            Array(fields) => {
                for _ in 0..self.count()? {
                    self.fields(fields)?;
                    self.tags()?;
                }
                Some(())
            }
            Values(field) => (0..self.count()?).try_for_each(|_| self.field(field)),
            Since(version, field) if self.version >= *version => self.field(field),
            Until(version, field) if self.version <= *version => self.field(field),
            Since(..) | Until(..) => Some(()),
        }
    }

    fn tags(&mut self) -> Option<()> {
        if self.compact {
            for _ in 0..self.varint()? {
                self.varint()?;
                let length = self.varint()?;
                self.skip(usize::try_from(length).ok()?)?;
            }
        }
        Some(())
    }

    /// The count of an array: each element takes a byte at least.
    fn count(&mut self) -> Option<usize> {
        self.length().filter(|count| *count <= self.rest.len())
    }

    fn length(&mut self) -> Option<usize> {
        if self.compact {
            return self.compact_length();
        }
        let (bytes, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        match i32::from_be_bytes(*bytes) {
            -1 => Some(0),
            length => usize::try_from(length).ok(),
        }
    }

    fn int16(&mut self) -> Option<usize> {
        let (bytes, rest) = self.rest.split_first_chunk::<2>()?;
        self.rest = rest;
        match i16::from_be_bytes(*bytes) {
            -1 => Some(0),
            length => usize::try_from(length).ok(),
        }
    }

    fn compact_length(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?.saturating_sub(1)).ok()
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }
}

/// The shapes of the requests that the broker serves, in the versions that it serves.
fn shape_of(key: ApiKey) -> Option<Shape> {
    let (compact_since, fields): (i16, &'static [Field]) = match key {
        ApiKey::Produce => (9, PRODUCE),
        ApiKey::Fetch => (12, FETCH),
        ApiKey::ListOffsets => (6, LIST_OFFSETS),
        ApiKey::Metadata => (
            9,
            &[
                Array(&[Since(10, &INT64), Since(10, &INT64), Text]),
                Since(4, &INT8),
                Since(8, &Until(10, &INT8)),
                Since(8, &INT8),
            ],
        ),
        ApiKey::OffsetCommit => (8, OFFSET_COMMIT),
        ApiKey::OffsetFetch => (6, &[Text, Array(&[Text, Values(&INT32)]), Since(7, &INT8)]),
        ApiKey::FindCoordinator => (3, &[Text, Since(1, &INT8)]),
        ApiKey::JoinGroup => (6, JOIN_GROUP),
        ApiKey::Heartbeat => (4, &[Text, INT32, Text, Since(3, &Text)]),
        ApiKey::LeaveGroup => (4, &[Text, Until(2, &Text), Since(3, &Array(&[Text, Text]))]),
        ApiKey::SyncGroup => (4, SYNC_GROUP),
        ApiKey::DescribeGroups => (5, &[Values(&Text), Since(3, &INT8)]),
        ApiKey::ListGroups => (3, &[Since(4, &Values(&Text))]),
        ApiKey::ApiVersions => (3, &[Since(3, &Text), Since(3, &Text)]),
        ApiKey::CreateTopics => (5, CREATE_TOPICS),
        ApiKey::DeleteTopics => (4, &[Values(&Text), INT32]),
        ApiKey::DeleteRecords => (2, &[Array(&[Text, Array(&[INT32, INT64])]), INT32]),
        ApiKey::InitProducerId => (2, &[Text, INT32, Since(3, &INT64), Since(3, &INT16)]),
        ApiKey::AddPartitionsToTxn => (3, &[Text, INT64, INT16, Array(&[Text, Values(&INT32)])]),
        ApiKey::AddOffsetsToTxn => (3, &[Text, INT64, INT16, Text]),
        ApiKey::EndTxn => (3, &[Text, INT64, INT16, INT8]),
        ApiKey::TxnOffsetCommit => (3, TXN_OFFSET_COMMIT),
        ApiKey::DescribeConfigs => (
            4,
            &[Array(&[INT8, Text, Values(&Text)]), INT8, Since(3, &INT8)],
        ),
        ApiKey::AlterConfigs => (2, &[Array(&[INT8, Text, Array(&[Text, Text])]), INT8]),
        ApiKey::IncrementalAlterConfigs => {
            (1, &[Array(&[INT8, Text, Array(&[Text, INT8, Text])]), INT8])
        }
        ApiKey::CreatePartitions => (2, CREATE_PARTITIONS),
        ApiKey::DeleteGroups => (2, &[Values(&Text)]),
        _ => return None,
    };
    Some(Shape {
        compact_since,
        fields,
    })
}

const PRODUCE: &[Field] = &[Text, INT16, INT32, Array(&[Text, Array(&[INT32, Bytes])])];

const FETCH: &[Field] = &[
    INT32,
    INT32,
    INT32,
    INT32,
    INT8,
    Since(7, &INT32),
    Since(7, &INT32),
    Array(&[
        Text,
        Array(&[
            INT32,
            Since(9, &INT32),
            INT64,
            Since(12, &INT32),
            Since(5, &INT64),
            INT32,
        ]),
    ]),
    Since(7, &Array(&[Text, Values(&INT32)])),
    Since(11, &Text),
];

const LIST_OFFSETS: &[Field] = &[
    INT32,
    Since(2, &INT8),
    Array(&[Text, Array(&[INT32, Since(4, &INT32), INT64])]),
];

const OFFSET_COMMIT: &[Field] = &[
    Text,
    INT32,
    Text,
    Since(7, &Text),
    Until(4, &INT64),
    Array(&[Text, Array(&[INT32, INT64, Since(6, &INT32), Text])]),
];

const JOIN_GROUP: &[Field] = &[
    Text,
    INT32,
    Since(1, &INT32),
    Text,
    Since(5, &Text),
    Text,
    Array(&[Text, Bytes]),
];

const SYNC_GROUP: &[Field] = &[
    Text,
    INT32,
    Text,
    Since(3, &Text),
    Since(5, &Text),
    Since(5, &Text),
    Array(&[Text, Bytes]),
];

const CREATE_TOPICS: &[Field] = &[
    Array(&[
        Text,
        INT32,
        INT16,
        Array(&[INT32, Values(&INT32)]),
        Array(&[Text, Text]),
    ]),
    INT32,
    INT8,
];

const TXN_OFFSET_COMMIT: &[Field] = &[
    Text,
    Text,
    INT64,
    INT16,
    Since(3, &INT32),
    Since(3, &Text),
    Since(3, &Text),
    Array(&[Text, Array(&[INT32, INT64, Since(2, &INT32), Text])]),
];

const CREATE_PARTITIONS: &[Field] = &[Array(&[Text, INT32, Array(&[Values(&INT32)])]), INT32, INT8];

#[cfg(test)]
pub(crate) mod testing {
    //! Bodies of requests, made up from their shapes.

    use super::{ApiKey, Array, Bytes, Field, Fixed, Since, Text, Until, Values, shape_of};

    /// Where made-up values come from.
    pub(crate) trait Source {
        /// A number below `limit`.
        fn below(&mut self, limit: usize) -> usize;
        /// A number for a field of the request.
        fn number(&mut self) -> i64;
        /// Such as a topic's name; `None` is null.
        fn text(&mut self) -> Option<&'static str>;
        /// Records, or what members tell each other; `None` is null.
        fn bytes(&mut self) -> Option<Vec<u8>>;
    }

    /// A body that fits.
    pub(crate) fn body(key: ApiKey, version: i16, source: &mut dyn Source) -> Vec<u8> {
        let shape = shape_of(key).expect("the request is served");
        let compact = version >= shape.compact_since;
        let mut maker = Maker {
            out: Vec::new(),
            version,
            compact,
            source,
        };
        maker.fields(shape.fields);
        maker.out
    }

    struct Maker<'a> {
        out: Vec<u8>,
        version: i16,
        compact: bool,
        source: &'a mut dyn Source,
    }

    impl Maker<'_> {
        fn fields(&mut self, fields: &[Field]) {
            for field in fields {
                self.field(field);
            }
            if self.compact {
                self.out.push(0);
            }
        }

        fn field(&mut self, field: &Field) {
            match field {
                Fixed(bytes) => {
                    let number = self.source.number().to_be_bytes();
                    self.out.extend_from_slice(&number[8 - bytes..]);
                }
                Text => {
                    let text = self.source.text();
                    match text.map(str::len) {
                        length if self.compact => self.compact_length(length),
                        None => self.out.extend_from_slice(&[0xff; 2]),
                        Some(length) => {
                            let length = u16::try_from(length).unwrap();
                            self.out.extend_from_slice(&length.to_be_bytes());
                        }
                    }
                    self.out
                        .extend_from_slice(text.unwrap_or_default().as_bytes());
                }
                Bytes => {
                    let bytes = self.source.bytes();
                    self.length(bytes.as_ref().map(Vec::len));
                    self.out.extend_from_slice(&bytes.unwrap_or_default());
                }
                Array(fields) => {
                    let count = self.source.below(3);
                    self.length(Some(count));
                    (0..count).for_each(|_| self.fields(fields));
                }
                Values(field) => {
                    let count = self.source.below(3);
                    self.length(Some(count));
                    (0..count).for_each(|_| self.field(field));
                }
                Since(version, field) if self.version >= *version => self.field(field),
                Until(version, field) if self.version <= *version => self.field(field),
                Since(..) | Until(..) => {}
            }
        }

        fn length(&mut self, length: Option<usize>) {
            if self.compact {
                return self.compact_length(length);
            }
            let length = length.map_or(-1, |length| i32::try_from(length).unwrap());
            self.out.extend_from_slice(&length.to_be_bytes());
        }

        fn compact_length(&mut self, length: Option<usize>) {
            let mut length = length.map_or(0, |length| length + 1);
            while length >= 0x80 {
                self.out.push(u8::try_from(length % 0x80).unwrap() | 0x80);
                length /= 0x80;
            }
            self.out.push(u8::try_from(length).unwrap());
        }
    }
}
