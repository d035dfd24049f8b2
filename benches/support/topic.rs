//! Topics that are made for a benchmark.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// Makes a topic that is not there yet.
pub(crate) async fn create_topic(servers: &str, topic: &str, partitions: i32) {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let (admin, options) = (admin(servers), AdminOptions::new());
    let made = admin.create_topics([&new], &options);
    made.await.unwrap().remove(0).unwrap();
}

/// A client that makes and removes topics.
pub(crate) fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).create().unwrap()
}
