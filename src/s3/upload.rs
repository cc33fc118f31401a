//! A content on its way to the server: from borrowed memory, hashed while it is sent.

use std::cell::Cell;

use hyper::body::Bytes;
use rusoto_core::ByteStream;
use tokio::sync::mpsc;

use super::outcome::{Failure, Retry};
use crate::error::{Code, Error, Result};
use crate::key::{Hasher, Key};

/// How much of a content is copied at once for the connection: never the whole, and never the
/// caller's memory, for a connection may outlive the call.
const CHUNK: usize = 256 * 1024;

/// A content to be stored, and the key that it should have.
pub(crate) struct Upload<'a> {
    key: Key,
    content: &'a [u8],
    content_type: String,
    /// Whether the key is known to be the digest of the content.
    is_proven: Cell<bool>,
}

impl<'a> Upload<'a> {
    /// Without a key, it is computed. With one, a small content is compared with it at once, a large one
    /// while it is sent: its last piece waits for that.
    ///
    /// # Errors
    /// [`Code::Mismatch`]
    pub(crate) fn new(key: Option<&Key>, content: &'a [u8], content_type: String) -> Result<Self> {
        let upload = Upload {
            key: key.map_or_else(|| Key::of(content), |key| *key),
            content,
            content_type,
            is_proven: Cell::new(key.is_none()),
        };
        if content.len() <= CHUNK {
            upload.prove()?;
        }
        Ok(upload)
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn size(&self) -> usize {
        self.content.len()
    }

    pub(super) fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Compares the content with its key, if that was not done yet.
    pub(crate) fn prove(&self) -> Result<()> {
        if self.is_proven.get() {
            return Ok(());
        }
        self.compare(Key::of(self.content))
            .map_err(|text| Error::new(Code::Mismatch, text))
    }

    fn compare(&self, digest: Key) -> std::result::Result<(), String> {
        let key = self.key;
        self.is_proven.set(digest == key);
        match self.is_proven.get() {
            true => Ok(()),
            false => Err(format!(
                "the content given is not that of the key: its SHA-256 is {digest}, the key is {key}; nothing was stored"
            )),
        }
    }

    /// A body for the connection, and the future that fills it from memory that is only borrowed. That one
    /// fails before the last piece where the content is not that of the key.
    pub(super) fn body(
        &self,
    ) -> (
        ByteStream,
        impl std::future::Future<Output = std::result::Result<(), Failure>> + '_,
    ) {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
        let stream = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|piece| piece.map(Ok)));
        let feed = async move {
            let mut hasher = (!self.is_proven.get()).then(Hasher::default);
            let mut left = self.content.len();
            for piece in self.content.chunks(CHUNK) {
                let copy = Bytes::copy_from_slice(piece);
                left -= piece.len();
                if let Some(hasher) = &mut hasher {
                    hasher.update(&copy);
                }
                if let Some(hasher) = hasher.take_if(|_| left == 0) {
                    self.compare(hasher.finish())
                        .map_err(|text| Failure::new(Code::Mismatch, Retry::Never, text))?;
                }
                if sender.send(copy).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        (ByteStream::new_with_size(stream, self.content.len()), feed)
    }
}
