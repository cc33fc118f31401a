//! The conversation with the server, through rusoto.
//!
//! rusoto is named nowhere outside this module, so that it can be replaced here alone.

mod client;
mod connection;
mod outcome;
mod progress;
mod resolve;
mod retry;
mod sign;
mod wire;

#[cfg(test)]
pub(crate) mod testing;

pub(crate) use client::LARGEST_OBJECT;
pub use client::{Client, Head, Output, Put};
pub use retry::Budget;
