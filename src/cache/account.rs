//! How many bytes the copies of one user take, over all processes.
//!
//! A file beside the copies, changed only by whoever has locked it; the system takes the lock from a process that
//! dies. What is written there is never less than what the copies take: room is counted before it is taken,
//! and given back after it is free. Where it is more, because somebody died in between, it is
//! corrected when room is made next.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use super::directory::{Directory, Found, Trouble, Writing};
use crate::process::{section, try_lock};

const NAME: &str = "account";
/// What the file begins with; then the bytes, 8 of them.
const MAGIC: &[u8; 8] = b"rts3-1\n\0";
/// How often, and after which pauses, one tries to get the lock.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);
/// When there is no room, so much is made: this part of the whole.
const MADE_PART: u64 = 10;

pub(super) struct Account<'a> {
    directory: &'a Directory,
    file: File,
}

/// What is counted, without waiting for anyone; None where nobody knows.
pub(super) fn bytes(directory: &Directory) -> Option<u64> {
    counted(&directory.file(NAME, false).ok()??)
}

fn counted(file: &File) -> Option<u64> {
    let mut text = [0; 16];
    file.read_exact_at(&mut text, 0).ok()?;
    let (magic, number) = text.split_at(8);
    (magic == MAGIC).then(|| u64::from_le_bytes(number.try_into().unwrap_or_default()))
}

impl<'a> Account<'a> {
    /// What `work` returns, who has the account to itself meanwhile. None: others have it. No fork happens while it is locked, for
    /// a child would have the lock as well.
    pub fn with<T>(
        directory: &'a Directory,
        mut work: impl FnMut(Self) -> Result<T, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        for attempt in 0..TRIES {
            if attempt > 0 {
                thread::sleep(PAUSE);
            }
            let result = section(|| Account::lock(directory)?.map(&mut work).transpose())?;
            if result.is_some() {
                return Ok(result);
            }
        }
        Ok(None)
    }

    fn lock(directory: &'a Directory) -> Result<Option<Self>, Trouble> {
        let file = directory.file(NAME, true)?.filter(try_lock);
        Ok(file.map(|file| Account { directory, file }))
    }

    /// Room for a copy of this size, taken and counted. None: it can't be had.
    pub fn admit(self, size: u64, limit: u64) -> Result<Option<Writing>, Trouble> {
        let mut held = match counted(&self.file) {
            Some(held) => held,
            None => sum(&self.directory.copies()?),
        };
        if held.saturating_add(size) > limit {
            held = self.make_room(limit - limit / MADE_PART, size)?;
        }
        if held.saturating_add(size) > limit {
            self.write(held)?;
            return Ok(None);
        }
        self.write(held + size)?;
        self.directory.create(size).map(Some)
    }

    /// So many bytes are free again.
    pub fn give_back(self, size: u64) -> Result<(), Trouble> {
        match counted(&self.file) {
            Some(held) => self.write(held.saturating_sub(size)),
            None => Ok(()),
        }
    }

    /// Drops what was not used for longest, until `size` more fit below `limit`. Returns what is left.
    fn make_room(&self, limit: u64, size: u64) -> Result<u64, Trouble> {
        let mut copies = self.directory.copies()?;
        copies.sort_unstable_by_key(|copy| copy.used);
        let mut held = sum(&copies);
        for copy in copies {
            if held.saturating_add(size) <= limit {
                break;
            }
            copy.remove()?;
            held -= copy.size;
        }
        Ok(held)
    }

    fn write(&self, held: u64) -> Result<(), Trouble> {
        let mut text = [0; 16];
        text[..8].copy_from_slice(MAGIC);
        text[8..].copy_from_slice(&held.to_le_bytes());
        self.file
            .write_all_at(&text, 0)
            .map_err(|error| Trouble::new("its account can't be written", error))
    }
}

fn sum(copies: &[Found]) -> u64 {
    copies.iter().map(|copy| copy.size).sum()
}
