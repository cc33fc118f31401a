//! Contents on their way: from borrowed memory to the connection, and from there to the caller.

use futures::StreamExt;
use hyper::body::Bytes;
use rusoto_core::ByteStream;
use rusoto_s3::GetObjectOutput;
use tokio::sync::mpsc;

use super::outcome::{Failure, Retry};
use super::retry::Budget;
use crate::error::Code;
use crate::key::{Hasher, Key};

/// How much of a content is copied at once for the connection: never the whole, and never the
/// caller's memory, for a connection may outlive the call.
const CHUNK: usize = 256 * 1024;
/// S3's bound for one PUT.
pub(crate) const LARGEST_OBJECT: u64 = 5 * 1024 * 1024 * 1024;

/// Where a content that is read goes.
pub trait Output {
    /// Makes room for `size` bytes in all, like realloc; false if there is none.
    fn reserve(&mut self, size: usize) -> bool;
    /// Takes the bytes at this offset, within the room.
    fn write(&mut self, offset: usize, piece: &[u8]);
}

/// A body for the connection, and the future that fills it from memory that is only borrowed.
pub(super) fn body_of(content: &[u8]) -> (ByteStream, impl std::future::Future<Output = ()> + '_) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let size = content.len();
    let stream = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|piece| piece.map(Ok)));
    let feed = async move {
        for piece in content.chunks(CHUNK) {
            if sender.send(Bytes::copy_from_slice(piece)).await.is_err() {
                return;
            }
        }
    };
    (ByteStream::new_with_size(stream, size), feed)
}

/// Reads the body of an answer to GET.
pub(super) async fn receive(
    budget: &Budget,
    key: &Key,
    object: GetObjectOutput,
    output: &mut dyn Output,
) -> std::result::Result<u64, Failure> {
    let told = object
        .content_length
        .and_then(|length| u64::try_from(length).ok());
    let mut room = 0;
    if let Some(size) = told {
        budget.allow_for(size);
        make_room(output, size, &mut room)?;
    }
    let mut body = object.body.ok_or_else(|| Failure::not_s3s("no body"))?;
    let mut hasher = Hasher::default();
    let mut size = 0u64;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            let of = told.map_or(String::new(), |told| format!(" of {told}"));
            let text = format!("the connection broke after {size}{of} bytes of the object: {error}");
            Failure::new(Code::Network, Retry::Backoff, text)
        })?;
        let end = size + piece.len() as u64;
        if end > room as u64 {
            // Length not told: room grows by half.
            make_room(
                output,
                end.max(end.saturating_add(room as u64 / 2).min(LARGEST_OBJECT)),
                &mut room,
            )?;
        }
        hasher.update(&piece);
        output.write(size as usize, &piece);
        size = end;
        budget.allow_for(size);
    }
    let found = hasher.finish();
    if found == *key {
        return Ok(size);
    }
    let text =
        format!("the object is damaged: its {size} bytes have the SHA-256 {found}, not that of its key");
    Err(Failure::new(Code::Corrupt, Retry::Never, text))
}

fn make_room(output: &mut dyn Output, size: u64, room: &mut usize) -> std::result::Result<(), Failure> {
    let wanted = usize::try_from(size).ok().filter(|_| size <= LARGEST_OBJECT);
    match wanted {
        Some(0) => Ok(()),
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
