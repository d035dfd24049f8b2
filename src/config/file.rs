//! The configuration file: TOML whose every key is known, or an error that names the line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{LogFormat, Settings, address};
use crate::error::{Error, Position, Result, SqlState, nearest};

const SETTINGS: &[&str] = &[
    "listen",
    "http_listen",
    "data_dir",
    "checkpoint_dir",
    "object_store",
    "log_format",
    "log_level",
    "kafka",
    "limits",
    "sinks",
];

const SINK_SETTINGS: &[&str] = &["allowed_hosts", "allow_private_addresses"];

/// Reads one file as a layer of settings.
///
/// # Errors
/// `F0000` with the file's name and the line when it cannot be read, is not TOML, or has a key or
/// a value that no setting understands.
pub(super) fn read(path: &Path) -> Result<Settings> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::external(
            SqlState::ConfigFileError,
            false,
            format!("could not read configuration file \"{name}\": {error}"),
        )
    })?;
    parse(&name, &text)
}

fn parse(name: &str, text: &str) -> Result<Settings> {
    let file = File { name, text };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        file.error(at, error.message())
    })?;
    let mut settings = Settings::default();
    for (key, value) in table.get_ref() {
        match key.get_ref().as_ref() {
            "listen" => settings.listen = Some(file.address(value)?),
            "http_listen" => settings.http_listen = Some(file.address(value)?),
            "data_dir" => settings.data_dir = Some(file.text(value)?.into()),
            "checkpoint_dir" => settings.checkpoint_dir = Some(file.text(value)?),
            "object_store" => file.object_options(value, &mut settings)?,
            "log_format" => settings.common.log_format = Some(file.log_format(value)?),
            "log_level" => settings.common.log_level = Some(file.text(value)?),
            "kafka" => file.kafka(value, &mut settings)?,
            "limits" => file.limits(value, &mut settings)?,
            "sinks" => file.sinks(value, &mut settings)?,
            _ => return Err(file.unknown(key, SETTINGS)),
        }
    }
    Ok(settings)
}

/// A key or a value, with its place in the file.
type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// The file being read, for messages.
struct File<'a> {
    name: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn kafka(&self, value: &Value<'_>, settings: &mut Settings) -> Result<()> {
        for (key, value) in self.table(value)? {
            if key.get_ref() == "bootstrap_servers" {
                settings.common.kafka_bootstrap_servers = Some(self.text(value)?);
            } else {
                self.property(key.get_ref(), value, settings)?;
            }
        }
        Ok(())
    }

    /// Takes `sasl.mechanism = "PLAIN"`, which TOML reads as a table in a table, as one property.
    fn property(&self, name: &str, value: &Value<'_>, settings: &mut Settings) -> Result<()> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(truth) => truth.to_string(),
            DeValue::Table(inner) => {
                for (key, value) in inner {
                    self.property(&format!("{name}.{}", key.get_ref()), value, settings)?;
                }
                return Ok(());
            }
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
                return Err(self.expected(value, "a text, a whole number or true or false"));
            }
        };
        settings
            .common
            .kafka_properties
            .push((name.to_owned(), text));
        Ok(())
    }

    fn object_options(&self, value: &Value<'_>, settings: &mut Settings) -> Result<()> {
        for (key, value) in self.table(value)? {
            let name = key.get_ref().to_ascii_lowercase();
            let name = name.strip_prefix("aws_").unwrap_or(&name).to_owned();
            let text = match value.get_ref() {
                DeValue::Boolean(truth) => truth.to_string(),
                _ => self.text(value)?,
            };
            settings.object_options.insert(name, text);
        }
        Ok(())
    }

    fn limits(&self, value: &Value<'_>, settings: &mut Settings) -> Result<()> {
        let limits = settings.common.limits.get_or_insert_default();
        for (key, value) in self.table(value)? {
            let Some(limit) = limits.named(key.get_ref()) else {
                return Err(self.unknown(key, super::Limits::NAMES));
            };
            *limit = self.whole_number(value)?;
        }
        Ok(())
    }

    fn sinks(&self, value: &Value<'_>, settings: &mut Settings) -> Result<()> {
        let rules = settings.common.sinks.get_or_insert_default();
        for (key, value) in self.table(value)? {
            match key.get_ref().as_ref() {
                "allowed_hosts" => rules.allowed_hosts = Some(self.texts(value)?),
                "allow_private_addresses" => rules.allow_private_addresses = self.truth(value)?,
                _ => return Err(self.unknown(key, SINK_SETTINGS)),
            }
        }
        Ok(())
    }

    fn texts(&self, value: &Value<'_>) -> Result<Vec<String>> {
        match value.get_ref() {
            DeValue::Array(texts) => texts.iter().map(|text| self.text(text)).collect(),
            _ => Err(self.expected(value, "a list of texts")),
        }
    }

    fn truth(&self, value: &Value<'_>) -> Result<bool> {
        match value.get_ref() {
            DeValue::Boolean(truth) => Ok(*truth),
            _ => Err(self.expected(value, "true or false")),
        }
    }

    fn table<'v, 'i>(&self, value: &'v Value<'i>) -> Result<&'v DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.expected(value, "a table")),
        }
    }

    fn text(&self, value: &Value<'_>) -> Result<String> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            _ => Err(self.expected(value, "a text")),
        }
    }

    fn whole_number(&self, value: &Value<'_>) -> Result<u64> {
        match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number
                .as_str()
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| self.expected(value, "a whole number above zero")),
            _ => Err(self.expected(value, "a whole number above zero")),
        }
    }

    fn address(&self, value: &Value<'_>) -> Result<std::net::SocketAddr> {
        let text = self.text(value)?;
        address(&text).map_err(|message| self.error(value.span().start, &message))
    }

    fn log_format(&self, value: &Value<'_>) -> Result<LogFormat> {
        match self.text(value)?.as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(self.expected(value, "\"text\" or \"json\"")),
        }
    }

    fn unknown(&self, key: &Key<'_>, known: &[&str]) -> Error {
        let error = self.error(
            key.span().start,
            &format!("unknown setting \"{}\"", key.get_ref()),
        );
        match nearest(key.get_ref(), known) {
            Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
            None => error.hint(format!("The settings here are: {}.", known.join(", "))),
        }
    }

    fn expected(&self, value: &Value<'_>, what: &str) -> Error {
        self.error(value.span().start, &format!("expected {what}"))
    }

    fn error(&self, at: usize, what: &str) -> Error {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.matches('\n').count() as u64 + 1;
        let last_line = before.rsplit('\n').next().unwrap_or_default();
        let column = last_line.chars().count() as u64 + 1;
        Error::user(
            SqlState::ConfigFileError,
            format!("{}, line {line}: {what}", self.name),
        )
        .at(Some(Position { line, column }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, parse};

    fn message(text: &str) -> String {
        let error = parse("h.toml", text).unwrap_err();
        format!(
            "{} | {}",
            error.message(),
            error.hint_text().unwrap_or_default()
        )
    }

    #[test]
    fn every_setting_can_be_given() {
        let settings = parse(
            "h.toml",
            r#"
            listen = "127.0.0.1:1"
            http_listen = "127.0.0.1:2"
            data_dir = "d"
            checkpoint_dir = "s3://bucket/path"
            log_format = "json"
            log_level = "debug"
            [kafka]
            bootstrap_servers = "k:9092"
            security.protocol = "SASL_SSL"
            "sasl.mechanism" = "PLAIN"
            socket.timeout.ms = 1000
            [object_store]
            AWS_REGION = "eu-north-1"
            allow_http = true
            [limits]
            connections_max = 7
            [sinks]
            allowed_hosts = ["hooks.slack.com", "*.example.com"]
            allow_private_addresses = true
            "#,
        )
        .unwrap();
        let rules = settings.common.sinks.as_ref().unwrap();
        let hosts = rules.allowed_hosts.as_deref().unwrap();
        assert_eq!(hosts, ["hooks.slack.com", "*.example.com"]);
        assert!(rules.allow_private_addresses);
        assert_eq!(settings.listen.unwrap().port(), 1);
        assert_eq!(settings.checkpoint_dir.as_deref(), Some("s3://bucket/path"));
        assert_eq!(settings.object_options["region"], "eu-north-1");
        assert_eq!(settings.object_options["allow_http"], "true");
        assert_eq!(settings.http_listen.unwrap().port(), 2);
        assert_eq!(settings.common.limits.as_ref().unwrap().connections_max, 7);
        let mut properties = settings.common.kafka_properties.clone();
        properties.sort();
        assert_eq!(
            properties,
            [
                ("sasl.mechanism", "PLAIN"),
                ("security.protocol", "SASL_SSL"),
                ("socket.timeout.ms", "1000"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let config = settings.decide();
        assert_eq!(config.kafka.bootstrap_servers.as_deref(), Some("k:9092"));
    }

    #[test]
    fn an_empty_file_decides_nothing() {
        assert_eq!(parse("h.toml", "# nothing\n").unwrap(), Settings::default());
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest() {
        assert_eq!(
            message("data_dir = \"d\"\nlistne = \"x\""),
            "h.toml, line 2: unknown setting \"listne\" | Did you mean \"listen\"?"
        );
        assert_eq!(
            message("[limits]\nconnection_max = 3"),
            "h.toml, line 2: unknown setting \"connection_max\" | Did you mean \"connections_max\"?"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_its_line() {
        assert_eq!(
            message("\nlisten = 5"),
            "h.toml, line 2: expected a text | "
        );
        assert_eq!(
            message("[limits]\nconnections_max = 0"),
            "h.toml, line 2: expected a whole number above zero | "
        );
        assert!(message("listen = \"nowhere\"").contains("no address of the form host:port"));
        assert_eq!(
            message("[sinks]\nallowed_hosts = \"example.com\""),
            "h.toml, line 2: expected a list of texts | "
        );
        assert_eq!(
            message("[sinks]\nallow_private_addresses = 1"),
            "h.toml, line 2: expected true or false | "
        );
        assert!(message("log_format = \"xml\"").contains("\"text\" or \"json\""));
    }

    #[test]
    fn text_that_is_not_toml_names_its_line() {
        assert!(message("listen = \"127.0.0.1:1\"\n= 3").starts_with("h.toml, line 2: "));
    }
}
