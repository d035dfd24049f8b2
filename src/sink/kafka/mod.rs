//! Writing to Kafka: messages of INSERT, and the rows of a sink.

mod producer;
mod rows;

pub use producer::{Produced, Producer, produce};
pub use rows::{KafkaSink, KafkaSinkOptions};
