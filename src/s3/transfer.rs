//! An object on its way to the caller, gone on with where it broke.

use futures::StreamExt;
use hyper::body::Bytes;
use rusoto_s3::GetObjectOutput;

use super::hashing::Hashing;
use super::outcome::{Failure, Retry};
use super::retry::Budget;
use crate::error::{quoted, Code};
use crate::key::Key;

/// S3's bound for one PUT.
pub(crate) const LARGEST_OBJECT: u64 = 5 * 1024 * 1024 * 1024;

/// Where a content that is read goes.
pub trait Output {
    /// Makes room for `size` bytes in all, like realloc; false if there is none.
    fn reserve(&mut self, size: usize) -> bool;
    /// Takes the bytes at this offset, within the room.
    fn write(&mut self, offset: usize, piece: &[u8]);
    /// The first `size` bytes of what was written, where they are at hand.
    fn content(&self, size: usize) -> Option<&[u8]>;
}

/// An object on its way to the caller, over as many answers as it takes.
pub(super) struct Download<'a> {
    key: &'a Key,
    output: &'a mut dyn Output,
    room: usize,
    hashing: Hashing,
    /// Bytes that have arrived.
    size: u64,
    /// Bytes of the whole object, where the server has told.
    told: Option<u64>,
    e_tag: Option<String>,
}

impl<'a> Download<'a> {
    pub(super) fn new(key: &'a Key, output: &'a mut dyn Output) -> Self {
        Download {
            key,
            output,
            room: 0,
            hashing: Hashing::of(None),
            size: 0,
            told: None,
            e_tag: None,
        }
    }

    /// What to ask for so that it goes on where it broke: `Range` and `If-Match`.
    pub(super) fn rest(&self) -> Option<(String, String)> {
        let e_tag = self.e_tag.clone()?;
        let is_part = self.size > 0 && self.told.is_some_and(|told| self.size < told);
        is_part.then(|| (format!("bytes={}-", self.size), e_tag))
    }

    /// Forgets what has arrived.
    pub(super) fn restart(&mut self) {
        self.hashing = Hashing::of(None);
        self.size = 0;
        self.told = None;
        self.e_tag = None;
    }

    /// Reads the body of an answer to GET, whole or the rest. `has_end`: whether the answer tells where that ends.
    /// Returns the size of the whole.
    pub(super) async fn receive(
        &mut self,
        budget: &Budget,
        object: GetObjectOutput,
        has_end: bool,
    ) -> std::result::Result<u64, Failure> {
        let length = object
            .content_length
            .and_then(|length| u64::try_from(length).ok());
        match &object.content_range {
            None => {
                self.restart();
                self.told = length;
                self.hashing = Hashing::of(length);
                self.e_tag = object.e_tag;
            }
            // Anything but the very rest that was asked for can't be used.
            Some(range) => {
                let told = self.told.unwrap_or_default();
                let wanted = format!("bytes {}-{}/{told}", self.size, told.saturating_sub(1));
                if *range != wanted || object.e_tag != self.e_tag {
                    let text = format!("the answer has {} of the object, not {wanted}", quoted(range));
                    self.restart();
                    return Err(Failure::new(Code::Server, Retry::Backoff, text));
                }
            }
        }
        if let Some(size) = self.told {
            budget.allow_for(size);
            make_room(self.output, size, &mut self.room)?;
        }
        let mut body = object.body.ok_or_else(|| Failure::not_s3s("no body"))?;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| {
                let of = self.told.map_or(String::new(), |told| format!(" of {told}"));
                let text = format!(
                    "the connection broke after {}{of} bytes of the object: {error}",
                    self.size
                );
                Failure::new(Code::Network, Retry::Backoff, text)
            })?;
            self.take(piece)?;
            budget.allow_for(self.size);
        }
        let found = std::mem::replace(&mut self.hashing, Hashing::of(None)).finish();
        if found == *self.key {
            return Ok(self.size);
        }
        if self.e_tag.is_none() {
            return Err(Failure::not_s3s(
                "an object without an ETag, and with another content",
            ));
        }
        if !has_end {
            let text = format!(
                "the connection ended after {} bytes, which are not the object; how many they should be was not told",
                self.size
            );
            return Err(Failure::new(Code::Network, Retry::Backoff, text));
        }
        let text = format!(
            "the object is damaged: its {} bytes have the SHA-256 {found}, not that of its key",
            self.size
        );
        Err(Failure::new(Code::Corrupt, Retry::Never, text))
    }

    fn take(&mut self, piece: Bytes) -> std::result::Result<(), Failure> {
        let end = self.size + piece.len() as u64;
        if end > self.room as u64 {
            // Length not told: room grows by half.
            let more = end.saturating_add(self.room as u64 / 2).min(LARGEST_OBJECT);
            make_room(self.output, end.max(more), &mut self.room)?;
        }
        self.output.write(self.size as usize, &piece);
        self.hashing.update(piece);
        self.size = end;
        Ok(())
    }
}

fn make_room(output: &mut dyn Output, size: u64, room: &mut usize) -> std::result::Result<(), Failure> {
    let wanted = usize::try_from(size).ok().filter(|_| size <= LARGEST_OBJECT);
    match wanted {
        Some(wanted) if wanted <= *room => Ok(()),
        Some(wanted) if output.reserve(wanted) => {
            *room = wanted;
            Ok(())
        }
        Some(wanted) => {
            let text = format!("no room for an object of {wanted} bytes");
            Err(Failure::new(Code::Argument, Retry::Never, text))
        }
        None => {
            let text =
                format!("an object of {size} bytes is larger than the largest allowed, {LARGEST_OBJECT}");
            Err(Failure::new(Code::Corrupt, Retry::Never, text))
        }
    }
}
