//! Content-addressed store in S3 for Request Tracker's attachments, with a C ABI.
//!
//! The floors, each using only those below it: [`ffi`], [`bulk`], [`store`], [`link`](mod@link), [`s3`],
//! [`process`], [`log`](mod@log), [`config`], `content_type`, [`key`], [`error`](mod@error).
#![deny(unsafe_code)]

pub mod bulk;
pub(crate) mod cache;
pub mod config;
pub(crate) mod content_type;
pub mod error;
#[allow(unsafe_code)]
pub mod ffi;
pub mod key;
pub mod link;
pub mod log;
#[allow(unsafe_code)]
pub mod process;
pub mod s3;
pub mod store;
