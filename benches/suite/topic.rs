//! The topics that the suite makes: named after this run, and removed at the end.

use rdkafka::admin::AdminOptions;

use crate::topics::{admin, create_topic};

/// A topic, for as long as it is needed.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) servers: String,
    pub(crate) partitions: i32,
    /// Messages that it holds once it is filled.
    pub(crate) rows: u64,
}

impl Topic {
    /// Makes a topic for so many messages.
    pub(crate) fn create(servers: &str, name: &str, partitions: i32, rows: u64) -> Self {
        let name = format!("bench-{}-{name}", std::process::id());
        futures::executor::block_on(create_topic(servers, &name, partitions));
        Self {
            name,
            servers: servers.to_owned(),
            partitions,
            rows,
        }
    }

    /// The options of a table over it.
    pub(crate) fn options(&self) -> String {
        let (topic, servers) = (&self.name, &self.servers);
        format!("connector = 'kafka', topic = '{topic}', bootstrap_servers = '{servers}'")
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let (admin, options) = (admin(&self.servers), AdminOptions::new());
        // A cluster that is gone keeps nothing either.
        let _ = futures::executor::block_on(admin.delete_topics(&[&self.name], &options));
    }
}
