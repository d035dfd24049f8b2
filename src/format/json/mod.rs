//! JSON: one object a message, one object a row.
//!
//! ```text
//! decode: message bytes → tokenizer (learned key order) → slots → a column at a time → Arrow
//! encode: Arrow → a row at a time → one buffer of lines
//! infer:  sampled messages → columns with SQL types
//! ```
//! The tokenizer checks whole messages, a block of them in step, and notes only where the wanted values
//! lie (a slot each); the converters turn slots into arrays without looking at JSON again.

mod blocks;
mod civil;
mod convert;
mod datetime;
mod decoder;
mod encode;
mod field;
mod infer;
mod lockstep;
mod marks;
mod number;
mod paths;
mod scan;
mod simd;
mod slot;
mod syntax;
mod template;
mod text_forms;
mod tokenizer;
mod unescape;

#[cfg(test)]
mod tests;

pub use decoder::JsonDecoder;
pub use encode::{EncodedRows, JsonEncoder};
pub use field::{JsonField, JsonKind};
pub use infer::{InferredColumn, InferredType, infer};
