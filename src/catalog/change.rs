//! A change of the definitions that is looked at before it is made.

use std::sync::{Arc, Mutex};

use super::{Catalog, CreateMode, Created, Definition, Definitions, Inner};
use crate::error::Result;

/// All definitions, as they are and as they would be.
#[derive(Debug, Clone)]
pub struct DefinitionsChange {
    /// What exists.
    pub before: Arc<Definitions>,
    /// What would exist.
    pub after: Arc<Definitions>,
}

impl DefinitionsChange {
    /// One definition is added, or takes the place of another.
    pub(super) fn with(before: Arc<Definitions>, definition: Definition) -> Self {
        let mut after = before.by_name().clone();
        after.insert(definition.name().to_owned(), definition);
        let after = Arc::new(Definitions::new(after));
        Self { before, after }
    }
}

impl Catalog {
    /// The same server's catalog with these definitions, which is gone with the process.
    pub fn trial(&self, definitions: Arc<Definitions>) -> Self {
        Self {
            inner: Arc::new(Inner {
                server_id: self.server_id().to_owned(),
                current: Mutex::new(definitions),
                store: None,
            }),
        }
    }

    /// What a definition would change; `None`: it is there already, and that is all right.
    ///
    /// # Errors
    /// As of [`Self::check`].
    pub fn change(
        &self,
        definition: &Definition,
        mode: CreateMode,
    ) -> Result<Option<DefinitionsChange>> {
        let before = self.snapshot();
        let created = super::check(definition, mode, &before, self.server_id())?;
        let change = || DefinitionsChange::with(before, definition.clone());
        Ok((created == Created::New).then(change))
    }

    /// Makes it so; false, and nothing is changed, if something else was changed since. It lasts when
    /// this returns.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn put(&self, change: &DefinitionsChange) -> Result<bool> {
        let mut current = self.lock();
        if !Arc::ptr_eq(&current, &change.before) {
            return Ok(false);
        }
        self.replace(&mut current, change.after.by_name().clone())?;
        Ok(true)
    }
}
