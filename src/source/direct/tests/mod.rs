//! The direct fetch from outside: what comes of answers, also of those that no broker would send.

mod answers;
mod behaviour;
mod fake_broker;
