//! A topic's settings: which exist, what they default to, which of them act here.
//!
//! Every setting of Apache Kafka's topics is accepted, kept and shown, so that scripts written for
//! it work. Only the five of [`ACTING`] change what this broker does. A topic with
//! `cleanup.policy=compact` keeps everything: nothing is compacted.

use std::collections::BTreeMap;

use super::config::BrokerConfig;
use super::log::LogLimits;

/// The settings that this broker heeds, with the type that DescribeConfigs tells.
const ACTING: [&str; 5] = [
    CLEANUP_POLICY,
    MAX_MESSAGE,
    RETENTION_BYTES,
    RETENTION_MS,
    SEGMENT,
];

const CLEANUP_POLICY: &str = "cleanup.policy";
const MAX_MESSAGE: &str = "max.message.bytes";
const RETENTION_BYTES: &str = "retention.bytes";
const RETENTION_MS: &str = "retention.ms";
const SEGMENT: &str = "segment.bytes";

/// The others that exist.
const KEPT: [&str; 23] = [
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "max.compaction.lag.ms",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
];
/// Settings whose other values would make the broker say what it does not do.
const FIXED: [(&str, &str); 1] = [("message.timestamp.type", "CreateTime")];

/// Small segments would make many files.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// What a topic was given beyond the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    /// Invariant: only settings that exist, with values that parse.
    given: BTreeMap<String, String>,
}

/// A setting as DescribeConfigs tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) is_default: bool,
}

impl TopicConfig {
    /// Checks the given settings.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub(crate) fn try_new(given: BTreeMap<String, String>) -> Result<Self, String> {
        for (name, value) in &given {
            check(name, value)?;
        }
        Ok(Self { given })
    }

    /// The given settings.
    pub(crate) fn given(&self) -> &BTreeMap<String, String> {
        &self.given
    }

    /// How much a partition of the topic keeps.
    pub(crate) fn limits(&self, broker: &BrokerConfig) -> LogLimits {
        let deletes = self
            .given
            .get(CLEANUP_POLICY)
            .is_none_or(|policy| policy.contains("delete"));
        let retention_bytes = self
            .unsigned(RETENTION_BYTES)
            .map_or(broker.retention_bytes_max, |bytes| {
                bytes.min(broker.retention_bytes_max)
            });
        let segment_bytes = self
            .unsigned(SEGMENT)
            .map_or(broker.segment_bytes_max, |bytes| {
                bytes.min(broker.segment_bytes_max)
            })
            .min(retention_bytes / 8)
            .max(SEGMENT_BYTES_MIN);
        let retention_ms = self.number(RETENTION_MS).filter(|ms| *ms >= 0 && deletes);
        LogLimits {
            retention_bytes: deletes.then_some(retention_bytes),
            retention_ms,
            segment_bytes,
        }
    }

    /// Bytes of the largest batch.
    pub(crate) fn batch_bytes_max(&self, broker: &BrokerConfig) -> u64 {
        self.unsigned(MAX_MESSAGE).unwrap_or(broker.batch_bytes_max)
    }

    /// What acts and what was given, by name.
    pub(crate) fn settings(&self, broker: &BrokerConfig) -> Vec<Setting> {
        let limits = self.limits(broker);
        let or_unlimited = |limit: Option<i64>| limit.unwrap_or(-1).to_string();
        let retention_bytes = limits
            .retention_bytes
            .map_or("-1".to_owned(), |b| b.to_string());
        let mut settings: BTreeMap<&str, (String, bool)> = ACTING
            .into_iter()
            .map(|name| {
                let value = match name {
                    MAX_MESSAGE => self.batch_bytes_max(broker).to_string(),
                    RETENTION_BYTES => retention_bytes.clone(),
                    RETENTION_MS => or_unlimited(limits.retention_ms),
                    SEGMENT => limits.segment_bytes.to_string(),
                    _ => "delete".to_owned(),
                };
                (name, (value, true))
            })
            .collect();
        settings.extend(FIXED.map(|(name, value)| (name, (value.to_owned(), true))));
        settings.extend(
            self.given
                .iter()
                .map(|(name, v)| (name.as_str(), (v.clone(), false))),
        );
        let setting = |(name, (value, is_default)): (&str, (String, bool))| Setting {
            name: name.to_owned(),
            value,
            is_default,
        };
        settings.into_iter().map(setting).collect()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.given.get(name)?.parse().ok()
    }

    fn unsigned(&self, name: &str) -> Option<u64> {
        self.number(name)
            .and_then(|number| u64::try_from(number).ok())
    }
}

fn check(name: &str, value: &str) -> Result<(), String> {
    let is_valid = match name {
        CLEANUP_POLICY => value
            .split(',')
            .all(|p| matches!(p.trim(), "delete" | "compact")),
        MAX_MESSAGE => value.parse::<u32>().is_ok(),
        SEGMENT => value.parse::<u32>().is_ok_and(|bytes| bytes > 0),
        RETENTION_BYTES | RETENTION_MS => value.parse::<i64>().is_ok_and(|limit| limit >= -1),
        _ => match FIXED.iter().find(|(fixed, _)| *fixed == name) {
            Some((_, only)) => value == *only,
            None if KEPT.contains(&name) => true,
            None => return Err(format!("Unknown topic config name: {name}")),
        },
    };
    is_valid
        .then_some(())
        .ok_or_else(|| format!("Invalid value {value} for configuration {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(given: &[(&str, &str)]) -> Result<TopicConfig, String> {
        TopicConfig::try_new(
            given
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        )
    }

    #[test]
    fn settings_lower_the_brokers_limits_but_do_not_raise_them() {
        let broker = BrokerConfig {
            retention_bytes_max: 80 << 20,
            ..BrokerConfig::default()
        };
        let limits = |given: &[(&str, &str)]| config(given).unwrap().limits(&broker);
        let plain = limits(&[]);
        assert_eq!(plain.retention_bytes, Some(80 << 20));
        assert_eq!((plain.segment_bytes, plain.retention_ms), (10 << 20, None));
        assert_eq!(
            limits(&[("retention.bytes", "-1")]).retention_bytes,
            Some(80 << 20)
        );
        assert_eq!(
            limits(&[("retention.bytes", "1000")]).retention_bytes,
            Some(1000)
        );
        assert_eq!(
            limits(&[("retention.bytes", "1000")]).segment_bytes,
            SEGMENT_BYTES_MIN
        );
        assert_eq!(
            limits(&[("segment.bytes", "2000000")]).segment_bytes,
            2_000_000
        );
        assert_eq!(
            limits(&[("retention.ms", "60000")]).retention_ms,
            Some(60_000)
        );
        assert_eq!(limits(&[("retention.ms", "-1")]).retention_ms, None);
        let compacted = limits(&[("cleanup.policy", "compact"), ("retention.ms", "1")]);
        assert_eq!(
            (compacted.retention_bytes, compacted.retention_ms),
            (None, None)
        );
    }

    #[test]
    fn unknown_names_and_wrong_values_are_refused() {
        let refused = |name, value| config(&[(name, value)]).unwrap_err();
        assert_eq!(
            refused("retention", "1"),
            "Unknown topic config name: retention"
        );
        for (name, value) in [
            ("retention.ms", "soon"),
            ("segment.bytes", "0"),
            ("cleanup.policy", "delete,keep"),
            ("message.timestamp.type", "LogAppendTime"),
        ] {
            let message = format!("Invalid value {value} for configuration {name}");
            assert_eq!(refused(name, value), message);
        }
        assert!(
            config(&[("min.insync.replicas", "1")]).is_ok(),
            "known, without effect"
        );
    }

    #[test]
    fn given_settings_are_told_apart_from_defaults() {
        let config = config(&[("retention.ms", "60000")]).unwrap();
        let settings = config.settings(&BrokerConfig::default());
        let of = |name| {
            settings
                .iter()
                .find(|setting| setting.name == name)
                .unwrap()
        };
        assert_eq!(
            (
                of("retention.ms").value.as_str(),
                of("retention.ms").is_default
            ),
            ("60000", false)
        );
        assert_eq!(
            (
                of("cleanup.policy").value.as_str(),
                of("cleanup.policy").is_default
            ),
            ("delete", true)
        );
    }
}
