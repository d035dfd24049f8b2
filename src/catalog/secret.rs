//! Secrets: texts under a name, which options use and nobody is shown.
//!
//! Invariant: what is formatted, shown or told of a secret is its name. Its text is in the catalog's
//! file, which only the server's user can read.

use std::fmt;
use std::sync::Arc;

use super::{Catalog, CreateMode, Created, Definition, Definitions, check};
use crate::error::{Error, Result, SqlState, nearest};
use crate::sql::{
    self, CreateSecret, OptionClause, OptionValue, QueryChange, Statement, TableChange,
};
use crate::types::KafkaConnection;

/// A text that is not shown.
#[derive(Clone)]
pub struct SecretDefinition {
    /// Its name.
    pub name: String,
    /// The CREATE statement without the text.
    pub sql: String,
    value: String,
    /// The CREATE statement.
    statement: String,
}

impl fmt::Debug for SecretDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretDefinition({})", self.name)
    }
}

impl SecretDefinition {
    /// A secret as declared.
    pub fn new(clause: &CreateSecret) -> Self {
        let create = |value: &str| {
            let name = sql::quote(&clause.name.name);
            format!("CREATE SECRET {name} AS {}", sql::literal(value))
        };
        Self {
            name: clause.name.name.clone(),
            sql: create("********"),
            statement: create(&clause.value),
            value: clause.value.clone(),
        }
    }

    pub(super) fn statement(&self) -> &str {
        &self.statement
    }
}

impl Definitions {
    /// Gives the options of a statement the texts of the secrets that they name.
    ///
    /// # Errors
    /// 42704 for a secret that does not exist; where an option takes none.
    pub fn resolve_secrets(&self, statement: &mut Statement) -> Result<()> {
        match statement {
            Statement::CreateTable(clause) => self.fill_secrets(&mut clause.options),
            Statement::CreateSink(clause) => self.fill_secrets(&mut clause.options),
            Statement::CreateMaterializedView(clause) => refuse(&clause.options),
            Statement::AlterQuery(alter) => match &alter.change {
                QueryChange::Set(options) => refuse(options),
                QueryChange::Pause | QueryChange::Resume => Ok(()),
            },
            Statement::AlterTable(alter) => {
                alter.changes.iter().try_for_each(|change| match change {
                    TableChange::Set(options) => refuse(options),
                    _ => Ok(()),
                })
            }
            Statement::Prepare(prepare) => self.resolve_secrets(&mut prepare.statement),
            Statement::Explain(explain) => match &mut explain.target {
                sql::ExplainTarget::Statement(inner) => self.resolve_secrets(inner),
                sql::ExplainTarget::Progress(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    pub(super) fn fill_secrets(&self, options: &mut [OptionClause]) -> Result<()> {
        for option in options {
            if let OptionValue::Secret(secret) = &mut option.value {
                let at = |error: Error| error.at(Some(secret.name.position));
                let found = find(&secret.name.name, self).map_err(at)?;
                secret.value = Some(found.value.clone());
            }
        }
        Ok(())
    }
}

impl Catalog {
    /// Adds a secret, or replaces one: what uses it has the new text from then on. It lasts when this
    /// returns.
    ///
    /// # Errors
    /// A taken name, a text with which something that uses it cannot be, a disk that refuses.
    pub fn put_secret(
        &self,
        secret: SecretDefinition,
        mode: CreateMode,
        defaults: Option<&KafkaConnection>,
    ) -> Result<Created> {
        let mut current = self.lock();
        let name = secret.name.clone();
        let definition = Definition::Secret(Arc::new(secret));
        if check(&definition, mode, &current, self.server_id())? == Created::Existed {
            return Ok(Created::Existed);
        }
        let mut next = current.by_name().clone();
        next.insert(name.clone(), definition);
        let with_secret = Definitions::new(next.clone());
        for user in users(&name, &current) {
            let text = user.statement();
            let parsed = Definition::parse(text, defaults, &with_secret)?;
            next.insert(user.name().to_owned(), parsed.with_paused(user.is_paused()));
        }
        self.replace(&mut current, next)?;
        Ok(Created::New)
    }
}

/// What names a secret.
fn users<'a>(name: &str, current: &'a Definitions) -> impl Iterator<Item = &'a Definition> {
    let name = name.to_owned();
    current
        .all()
        .filter(move |definition| definition.secrets().contains(&name))
}

/// The secret of a name.
///
/// # Errors
/// 42704 when there is none.
pub(super) fn find<'a>(name: &str, current: &'a Definitions) -> Result<&'a SecretDefinition> {
    match current.get(name) {
        Some(Definition::Secret(secret)) => Ok(secret),
        _ => Err(missing(name, current)),
    }
}

pub(super) fn missing(name: &str, current: &Definitions) -> Error {
    let text = format!("secret \"{name}\" does not exist");
    let error = Error::user(SqlState::UndefinedObject, text);
    let secrets = current.all().filter(|d| matches!(d, Definition::Secret(_)));
    let names: Vec<&str> = secrets.map(Definition::name).collect();
    match nearest(name, &names) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None => error.hint("SHOW SECRETS lists them; CREATE SECRET name AS '..' makes one."),
    }
}

/// An option that says nothing secret takes no secret.
fn refuse(options: &[OptionClause]) -> Result<()> {
    let found = options.iter().find_map(|option| match &option.value {
        OptionValue::Secret(secret) => Some((option, secret)),
        _ => None,
    });
    match found {
        None => Ok(()),
        Some((option, secret)) => Err(Error::user(
            SqlState::FeatureNotSupported,
            format!("option \"{}\" takes no SECRET here", option.name),
        )
        .hint("Options of tables and sinks take one when these are created.")
        .at(Some(secret.name.position))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    fn secret(text: &str) -> SecretDefinition {
        match parse(text).unwrap().remove(0).statement {
            Statement::CreateSecret(clause) => SecretDefinition::new(&clause),
            other => panic!("not a secret: {other:?}"),
        }
    }

    fn password(catalog: &Catalog) -> Option<String> {
        let definitions = catalog.snapshot();
        let Some(Definition::Sink(sink)) = definitions.get("told") else {
            panic!("there is no sink");
        };
        let connection = &sink.kafka()?.connection;
        connection.properties.get("sasl.password").cloned()
    }

    const SINK: &str = "CREATE SINK told WITH (topic = 't', bootstrap_servers = 'b:1', \
        kafka.sasl.password = SECRET pw)";

    #[test]
    fn what_names_a_secret_has_its_text_through_restarts_and_changes() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path(), None).unwrap();
        let put = |text: &str, mode| catalog.put_secret(secret(text), mode, None);
        put("CREATE SECRET pw AS 'it''s'", CreateMode::Fail).unwrap();
        let sink = Definition::parse(SINK, None, &catalog.snapshot()).unwrap();
        catalog.create(sink, CreateMode::Fail).unwrap();
        assert_eq!(password(&catalog).as_deref(), Some("it's"));
        put("CREATE SECRET pw AS 'x'", CreateMode::Fail).unwrap_err();
        put("CREATE SECRET pw AS 'new'", CreateMode::Replace).unwrap();
        assert_eq!(password(&catalog).as_deref(), Some("new"));
        drop(catalog);
        let catalog = Catalog::open(dir.path(), None).unwrap();
        assert_eq!(password(&catalog).as_deref(), Some("new"));
        let kind = sql::ObjectKind::Secret;
        let error = catalog.drop(kind, &["pw"], false).unwrap_err();
        assert_eq!(error.state(), SqlState::DependentObjectsStillExist);
        assert_eq!(catalog.drop(kind, &["pw"], true).unwrap().len(), 2);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let text = "CREATE SECRET pw AS 'hunter2'";
        let parsed = parse(text).unwrap().remove(0).statement;
        let shown = format!("{parsed:?} {:?} {}", secret(text), secret(text).sql);
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_servers_user_can_read_what_holds_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path(), None).unwrap();
        let secret = secret("CREATE SECRET pw AS 'x'");
        catalog.put_secret(secret, CreateMode::Fail, None).unwrap();
        let file = std::fs::metadata(dir.path().join("catalog.json")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }
}
