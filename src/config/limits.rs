//! The limits of one server: everything that could grow has one, with its unit last in its name.
//!
//! Owns the defaults and the names that the configuration file uses for them.

/// Declares the limits once: field, default and doc; the file's names are the fields' names.
macro_rules! limits {
    ($( $(#[doc = $doc:literal])+ $name:ident = $default:expr; )+) => {
        /// What one server takes on at most.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Limits {
            $( $(#[doc = $doc])+ pub $name: u64, )+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $( $name: $default, )+ }
            }
        }

        impl Limits {
            /// The names under `[limits]` in the configuration file.
            pub const NAMES: &'static [&'static str] = &[ $( stringify!($name), )+ ];

            /// The limit of that name, to be set.
            pub(crate) fn named(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $( stringify!($name) => Some(&mut self.$name), )+
                    _ => None,
                }
            }
        }
    };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

limits! {
    /// Open PostgreSQL connections; one more is refused with SQLSTATE 53300.
    connections_max = 100;
    /// Length of one statement's text; a longer one is refused with SQLSTATE 54000.
    statement_bytes_max = 16 * MIB;
    /// Open portals and prepared statements of one connection; one more is refused with 54000.
    portals_max = 1_000;
    /// State of one query; reaching it stops the query with SQLSTATE 53400, nothing is evicted
    /// silently.
    query_memory_bytes_max = GIB;
    /// State of all queries together; reaching it stops the query that holds the most with SQLSTATE 53400.
    memory_bytes_max = 4 * GIB;
    /// Memory of all snapshot queries together; reaching it stops the query with SQLSTATE 53200.
    snapshot_memory_bytes_max = GIB;
    /// Broken messages kept for `headwater.dead_letters`; the oldest make room.
    dead_letters_rows_max = 10_000;
    /// Notifications kept in `headwater.alert_events`; the oldest make room.
    alert_events_rows_max = 100_000;
    /// Late rows kept for `headwater.late_rows`; the oldest make room.
    late_rows_max = 10_000;
    /// Messages of one micro-batch of one lane.
    micro_batch_rows_max = 8_192;
    /// Bytes of the messages of one micro-batch of one lane.
    micro_batch_bytes_max = 4 * MIB;
    /// How long a clean stop may take before what is still open is cut off.
    shutdown_ms_max = 1_500;
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn every_name_sets_its_own_limit() {
        let mut limits = Limits::default();
        for (i, name) in Limits::NAMES.iter().enumerate() {
            *limits.named(name).unwrap() = i as u64;
        }
        for (i, name) in Limits::NAMES.iter().enumerate() {
            assert_eq!(*limits.named(name).unwrap(), i as u64, "{name}");
        }
        assert_eq!(limits.named("connections"), None);
    }

    #[test]
    fn the_operator_s_page_explains_every_limit() {
        let page = include_str!("../../docs/operations.md");
        for name in Limits::NAMES {
            assert!(
                page.contains(&format!("| `{name}` |")),
                "{name} is not explained"
            );
        }
    }
}
