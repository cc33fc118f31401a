//! An event loop and a client, for one thread at a time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::local::Local;
use crate::config::Config;
use crate::error::{Code, Error, Result};
use crate::process::{check_descriptors, section};
use crate::s3::{Budget, Client, Network};

/// What an event loop opens.
const RUNTIME_DESCRIPTORS: usize = 6;

pub(crate) struct Engine {
    config: Arc<Config>,
    runtime: Runtime,
    client: Client,
}

impl Engine {
    /// Connects to nothing yet; `network`: what the connections of several engines share.
    pub(super) fn new(config: &Arc<Config>, local: &Local, network: &Network) -> Result<Self> {
        check_descriptors(RUNTIME_DESCRIPTORS)
            .map_err(|error| Error::new(Code::Network, format!("no event loop: {error}")))?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime =
            runtime.map_err(|error| Error::new(Code::Internal, format!("no event loop: {error}")))?;
        let client = Client::new(
            Arc::clone(config),
            Arc::clone(&local.learned),
            Arc::clone(&local.credentials),
            network,
            local.page,
            Arc::clone(&local.log),
        );
        Ok(Engine {
            config: Arc::clone(config),
            runtime,
            client,
        })
    }

    /// Runs `work` to its end on the calling thread. `deadline`: for how long; `fails_fast`: whether it
    /// fails at once while the server is known to be down. Forks happen only while it waits.
    pub(super) fn run<T>(
        &self,
        deadline: Duration,
        fails_fast: bool,
        work: impl AsyncFnOnce(&Client, &Budget) -> Result<T>,
    ) -> Result<T> {
        let work = async {
            let budget = Budget::new(deadline, self.config.retries)
                .reserving(self.config.connect_timeout)
                .failing_fast(fails_fast);
            #[cfg(debug_assertions)]
            panic_if_asked();
            work(&self.client, &budget).await
        };
        drive(&self.runtime, work)
    }
}

fn drive<T>(runtime: &Runtime, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    runtime.block_on(std::future::poll_fn(|cx| section(|| work.as_mut().poll(cx))))
}

/// For tests of what a mistake in here does: not in a release build.
#[cfg(debug_assertions)]
fn panic_if_asked() {
    assert!(
        std::env::var_os("RTS3_TEST_PANIC").is_none(),
        "RTS3_TEST_PANIC asks for it"
    );
}
