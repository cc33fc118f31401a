//! The content-addressed store: what Store, Get and Delete mean.

mod engine;
mod local;
mod upload;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{select, Either};

use crate::cache::Cache;
use crate::config::{Config, Credentials, DirectLink, Mistake};
use crate::error::{quoted, Code, Error, Result};
use crate::key::Key;
use crate::link::{self, About};
use crate::log::{Level, Message};
use crate::process::{Page, PerProcess};
use crate::s3::{Budget, Client, Head, Listing, Output};

pub(crate) use engine::Engine;
use local::Local;
pub(crate) use upload::Stored;

/// With so little time for it a server is not asked: that would say nothing about the server.
const COPIES_ONLY: Duration = Duration::from_millis(1);
/// What a link may wait for keys: a page asks for many.
const LINK_KEYS: Duration = Duration::from_secs(5);

/// Contents in one bucket, each under its SHA-256.
///
/// Any thread may use it; calls take turns. After a fork it works on in both processes.
pub struct Store {
    config: Arc<Config>,
    page: &'static Page,
    fails_fast: AtomicBool,
    local: PerProcess<Local>,
}

impl Store {
    /// No network, no thread. The mistakes become the first messages.
    pub fn new(config: Config, mistakes: Vec<Mistake>) -> Self {
        let store = Store {
            config: Arc::new(config),
            page: Page::map(),
            fails_fast: AtomicBool::new(false),
            local: PerProcess::new(),
        };
        for mistake in mistakes {
            store.tell(Level::Error, mistake.message);
        }
        if let (Credentials::Given(_), Some(warning)) =
            (&store.config.credentials, store.config.http_warning())
        {
            store.tell(Level::Warning, warning);
        }
        store
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Stores `content` under `key`, which must be its digest. Success means that the object in the
    /// bucket is known to be the content, whole.
    ///
    /// # Errors
    /// [`Code::Mismatch`] where `key` is not the digest of `content` (nothing is stored), and whatever
    /// else may go wrong.
    pub fn store(
        &self,
        key: &Key,
        content: &[u8],
        content_type: Option<&str>,
        deadline: Option<Duration>,
    ) -> Result<()> {
        let upload = self.upload(Some(key), content, content_type)?;
        self.call(deadline, async |client, budget| {
            self.store_upload(client, budget, &upload).await
        })?;
        self.page.proven.store(true, Relaxed);
        self.keep_copy(key, content);
        Ok(())
    }

    /// An engine for a thread that stores many contents.
    pub(crate) fn engine(&self) -> Result<Engine> {
        self.local().engine(&self.config)
    }

    /// As [`Store::store`], with an engine of its own, until `stop` is ready. Returns the key, which need
    /// not be given, and whether the object is new.
    pub(crate) fn store_with(
        &self,
        engine: &Engine,
        key: Option<&Key>,
        content: &[u8],
        content_type: Option<&str>,
        stop: impl Future<Output = Error>,
    ) -> Result<(Key, Stored)> {
        let upload = self.upload(key, content, content_type)?;
        let result = engine.run(self.config.deadline, false, async |client, budget| {
            let store = std::pin::pin!(self.store_upload(client, budget, &upload));
            match select(store, std::pin::pin!(stop)).await {
                Either::Left((result, _)) => result,
                Either::Right((error, _)) => Err(error),
            }
        });
        let stored = self.counted(result)?;
        self.page.proven.store(true, Relaxed);
        Ok((*upload.key(), stored))
    }

    /// Reads the content of `key` into `output` and returns its size in bytes. The digest of what
    /// arrived, from the server or from a local copy, is that of the key.
    ///
    /// # Errors
    /// What `output` holds after an error means nothing.
    pub fn get(&self, key: &Key, output: &mut dyn Output, deadline: Option<Duration>) -> Result<u64> {
        let cache = self.local().cache.as_ref();
        if let Some(size) = cache.and_then(|cache| cache.get(key, output)) {
            return Ok(size);
        }
        if deadline.is_some_and(|deadline| deadline <= COPIES_ONLY) {
            let text = format!("{key} is not at hand, and there is no time to ask the server");
            return Err(Error::new(Code::Timeout, text));
        }
        let size = self.call(deadline, async |client, budget| {
            upload::read(client, budget, key, output).await
        })?;
        self.page.proven.store(true, Relaxed);
        if let Some(content) = usize::try_from(size).ok().and_then(|size| output.content(size)) {
            self.keep_copy(key, content);
        }
        Ok(size)
    }

    /// Asks whether there is an object under `key`.
    pub fn head(&self, key: &Key, deadline: Option<Duration>) -> Result<Head> {
        let head = self.call(deadline, async |client, budget| client.head(budget, key).await)?;
        self.page.proven.store(true, Relaxed);
        Ok(head)
    }

    /// Removes the object under `key`; gone or never there is success.
    pub fn delete(&self, key: &Key, deadline: Option<Duration>) -> Result<()> {
        self.config.check_writable()?;
        if let Some(cache) = &self.local().cache {
            cache.remove(key);
        }
        self.call(deadline, async |client, budget| client.delete(budget, key).await)
    }

    /// The objects whose names come after `after`, without the prefix; one page of them.
    pub fn list(&self, after: Option<&str>, deadline: Option<Duration>) -> Result<Listing> {
        self.call(deadline, async |client, budget| client.list(budget, after).await)
    }

    /// What the bucket says of itself: a document of S3's, in XML; or what is known here:
    /// `credentials`, `learned`, `failures` or `cache`, lines of `name: value`.
    ///
    /// # Errors
    /// [`Code::Argument`] for a document that does not exist.
    pub fn inspect(&self, document: &str, deadline: Option<Duration>) -> Result<String> {
        match document {
            "learned" => return Ok(self.local().learned.describe(&self.config)),
            "failures" => return Ok(self.failures()),
            "cache" => return Ok(self.local().cache.as_ref().map_or(String::new(), Cache::describe)),
            _ => {}
        }
        self.call(deadline, async |client, budget| match document {
            "credentials" => Ok(client.keys(budget, "credentials").await?.describe()),
            _ => client.document(budget, document).await,
        })
    }

    /// Makes the bucket, in the region in force.
    pub fn create_bucket(&self, deadline: Option<Duration>) -> Result<()> {
        self.config.check_writable()?;
        let bucket = quoted(&self.config.bucket);
        if !self.config.create_bucket {
            let text = format!("bucket {bucket} is not made: the option CreateBucket is 0");
            return Err(Error::new(Code::Config, text));
        }
        self.call(deadline, async |client, budget| {
            client.keys_to_write(budget, "CreateBucket").await?;
            client.create_bucket(budget).await
        })?;
        self.local().remember_new_bucket();
        self.tell(Level::Info, format!("created the bucket {bucket}"));
        Ok(())
    }

    /// Finds out whether this configuration may write, without writing an object. Returns where the
    /// credentials come from.
    pub fn probe(&self, deadline: Option<Duration>) -> Result<&'static str> {
        self.config.check_writable()?;
        let empty = Key::of(b"");
        self.call(deadline, async |client, budget| {
            let found = client.keys_to_write(budget, "CreateMultipartUpload").await?;
            client.probe(budget, &empty).await?;
            Ok(found.source.name())
        })
    }

    /// The URL under which a browser can read the object, as the option DirectLink says. `about`: what
    /// a signed link tells the browser; others can't.
    ///
    /// # Errors
    /// [`Code::Config`] where there can be no link, or not yet: a signed one needs the bucket's region.
    pub fn direct_url(&self, key: &Key, about: About<'_>) -> Result<String> {
        let object = self.config.object_key(&key.hex());
        let learned = &self.local().learned;
        match &self.config.direct_link {
            Some(DirectLink::Public) => {
                let endpoint = learned.endpoint_as_configured(&self.config);
                link::public(&endpoint.address(&self.config.bucket, &object))
            }
            Some(DirectLink::PublicAt(host)) => link::public_at(host, &object),
            Some(DirectLink::Presigned { expires }) => {
                if !learned.knows_region(&self.config) {
                    return Err(Error::new(
                        Code::Config,
                        "no direct link yet: the bucket's region is not known before the first answer from the server; set Region",
                    ));
                }
                let endpoint = learned.endpoint(&self.config);
                let address = endpoint.address(&self.config.bucket, &object);
                let found = match self.local().credentials.at_hand(learned.now()) {
                    Some(found) => found,
                    None => self.call(Some(LINK_KEYS), async |client, budget| {
                        client.keys(budget, "a direct link").await
                    })?,
                };
                let (time, life) = link::window(*expires, learned.now(), found.expires)?;
                let presigner = self.local().presigner(&found.keys, endpoint.region(), time);
                link::presigned(&self.config, &presigner, &address, life, about)
            }
            None => Err(Error::new(
                Code::Config,
                "no direct links: a link option has a value that is not allowed",
            )),
        }
    }

    /// Whether an object was read or stored here, by this process or one that shares its page. Before that, "no such object" may as
    /// well mean a wrong Bucket or Prefix.
    pub fn is_proven(&self) -> bool {
        self.page.proven.load(Relaxed)
    }

    /// Takes the oldest message for the log out of the queue.
    pub fn next_message(&self) -> Option<Message> {
        self.local().log.next()
    }

    /// Whether calls fail at once while the server is known to be down, for somebody waits at a
    /// screen; else, as at first, they wait for its recovery within their deadline.
    pub fn set_fails_fast(&self, fails_fast: bool) {
        self.fails_fast.store(fails_fast, Relaxed);
    }

    /// Closes the connections of this process; the next call makes new ones.
    pub fn disconnect(&self) {
        self.local().disconnect();
    }

    fn call<T>(
        &self,
        deadline: Option<Duration>,
        work: impl AsyncFnOnce(&Client, &Budget) -> Result<T>,
    ) -> Result<T> {
        let deadline = deadline.unwrap_or(self.config.deadline);
        let result = self
            .local()
            .call(&self.config, deadline, self.fails_fast.load(Relaxed), work);
        self.counted(result)
    }

    /// Counts what went wrong.
    fn counted<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.page.failures.count(self.page.now(), error.code() as usize);
        }
        result
    }

    /// Calls of the last day that failed, in this process and those that share its page; by the names of the codes.
    fn failures(&self) -> String {
        let now = self.page.now();
        let count = |code: &Code| self.page.failures.of_last_day(now, *code as usize);
        Code::ALL
            .iter()
            .filter(|code| count(code) > 0)
            .map(|code| format!("{}: {}\n", code.name(), count(code)))
            .collect()
    }

    fn keep_copy(&self, key: &Key, content: &[u8]) {
        if let Some(cache) = &self.local().cache {
            cache.put(key, content);
        }
    }

    fn local(&self) -> &Local {
        self.local.get(|| Local::new(&self.config, self.page))
    }

    fn tell(&self, level: Level, text: impl AsRef<str>) {
        self.local().log.tell(level, text);
    }
}

#[cfg(test)]
mod tests;
