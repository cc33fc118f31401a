//! The conversation with the server, through rusoto.
//!
//! rusoto is named nowhere outside this module, so that it can be replaced here alone.

mod answer;
mod breaker;
mod buffered;
mod client;
mod connection;
mod credentials;
mod document;
mod hashing;
mod inspection;
mod learned;
mod listing;
mod outage;
mod outcome;
mod pace;
mod presign;
mod progress;
mod proxy;
mod put;
mod resolve;
mod retry;
mod session;
mod sign;
mod stream;
mod transfer;
mod upload;
mod wire;

#[cfg(test)]
pub(crate) mod testing;

pub use client::{Client, Head};
pub use connection::Network;
pub use credentials::{Credentials, Found};
pub use learned::Learned;
pub use listing::{Listed, Listing};
pub(crate) use pace::ASK_ABOVE;
pub(crate) use presign::encode_value;
pub use presign::Presigner;
pub use put::{Put, Write};
pub use retry::Budget;
pub use transfer::Output;
pub(crate) use transfer::LARGEST_OBJECT;
pub(crate) use upload::Upload;
