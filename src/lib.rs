//! Headwater: a SQL streaming server for Kafka.
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod demo;
pub mod error;
pub mod operator;
pub mod plan;
pub mod state;
pub mod task;
pub mod telemetry;
pub mod types;
pub mod watermark;
