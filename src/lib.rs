//! Headwater: a SQL streaming server for Kafka.
pub mod cli;
pub mod error;
pub mod config;
pub mod clock;
pub mod task;
pub mod telemetry;
pub mod types;
pub mod plan;
pub mod watermark;
pub mod state;
pub mod operator;
pub mod console;
pub mod demo;
