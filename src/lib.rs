//! Headwater: a SQL streaming server for Kafka.
pub mod clock;
pub mod error;
pub mod operator;
pub mod plan;
pub mod state;
pub mod task;
pub mod types;
pub mod watermark;
