//! How far an exchange has come, and whether it moves.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::process::unacknowledged;

/// Less than this, in bytes, within a read timeout is a stall.
const LEAST: u64 = 1000;
/// What comes before the head of an answer is complete, in bytes, the beginning of its body and any number
/// of interim answers included.
const LONGEST_HEAD: u64 = 4 * 1024 * 1024;
/// How long a kept connection may leave a whole request unacknowledged: a router may have forgotten it, or the other
/// side be gone. A server that is only slow acknowledges at once.
const UNHEARD: Duration = Duration::from_secs(2);
/// How often the socket is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The request is not made yet.
    Begun,
    /// A connection is being made: name look-up, proxy and TLS included.
    Connecting,
    /// There is a connection; no answer yet.
    Waiting,
    /// The head of an answer has come.
    Answered,
}

/// Lets what has arrived be read before time is said to be over: a process that was stopped for a while finds
/// its timers at their end first.
pub(super) async fn look_at_sockets() {
    tokio::task::yield_now().await;
}

/// How long an exchange may stand still.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallLimits {
    /// Before the head of the answer has come.
    pub(super) before_answer: Duration,
    /// From then on.
    pub(super) after: Duration,
}

/// Follows one exchange at a time: its stage, and the bytes that it moves, either way.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

struct State {
    stage: Stage,
    /// When the last [`LEAST`] bytes were complete.
    since: Instant,
    moved_since: u64,
    /// The socket that was written to last, and how many bytes waited in it at that moment: what is not
    /// acknowledged has not moved yet.
    socket: Option<RawFd>,
    unacknowledged: u64,
    sent: u64,
    /// Bytes received in this stage.
    received: u64,
    /// When a kept connection was taken, as long as it is not known whether anybody hears.
    unheard_since: Option<Instant>,
}

/// Why an exchange is given up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stall {
    /// Nothing worth the name has moved for so long.
    Still(Duration),
    /// Nobody hears a kept connection.
    Unheard,
}

impl State {
    fn restart(&mut self) {
        self.since = Instant::now();
        self.moved_since = 0;
        self.unacknowledged = self.socket.and_then(unacknowledged).unwrap_or_default();
    }

    /// What has left the socket meanwhile has moved.
    fn look_at_socket(&mut self) {
        let waiting = self.socket.and_then(unacknowledged).unwrap_or_default();
        if waiting + LEAST <= self.unacknowledged {
            self.restart();
        }
        if waiting < self.sent {
            self.unheard_since = None;
        }
    }

    /// Whether nothing of this exchange was acknowledged for too long.
    fn is_unheard(&self) -> bool {
        let is_long = |since: Instant| since.elapsed() >= UNHEARD;
        self.stage == Stage::Waiting && self.sent > 0 && self.unheard_since.is_some_and(is_long)
    }
}

impl Progress {
    pub(super) fn new() -> Self {
        Progress(Arc::new(Mutex::new(State {
            stage: Stage::Begun,
            since: Instant::now(),
            moved_since: 0,
            socket: None,
            unacknowledged: 0,
            sent: 0,
            received: 0,
            unheard_since: None,
        })))
    }

    /// A new exchange begins, or comes to its next stage: counts from now on.
    pub(super) fn enter(&self, stage: Stage) {
        let mut state = self.state();
        if stage < Stage::Answered {
            state.sent = 0;
        }
        state.stage = stage;
        state.received = 0;
        state.unheard_since = None;
        state.restart();
    }

    /// A request begins on a connection that has carried one before.
    pub(super) fn enter_kept(&self) {
        self.enter(Stage::Waiting);
        self.state().unheard_since = Some(Instant::now());
    }

    pub(super) fn stage(&self) -> Stage {
        self.state().stage
    }

    pub(super) fn sent(&self, bytes: usize, socket: RawFd) {
        let mut state = self.state();
        state.sent += bytes as u64;
        state.socket = Some(socket);
        drop(state);
        self.moved(bytes);
    }

    /// The socket is closed.
    pub(super) fn forget(&self, socket: RawFd) {
        let mut state = self.state();
        state.socket = state.socket.filter(|used| *used != socket);
    }

    /// Bytes sent by the exchange so far, heads included.
    pub(super) fn bytes_sent(&self) -> u64 {
        self.state().sent
    }

    /// False: so much has come, but still no whole head of an answer.
    pub(super) fn received(&self, bytes: usize) -> bool {
        self.moved(bytes);
        let mut state = self.state();
        state.received += bytes as u64;
        state.stage != Stage::Waiting || state.received <= LONGEST_HEAD
    }

    fn moved(&self, bytes: usize) {
        let mut state = self.state();
        state.moved_since += bytes as u64;
        if state.moved_since >= LEAST {
            state.restart();
        }
    }

    /// Ends when nothing worth the name has moved for the limit, or nobody hears what is sent.
    pub(super) async fn stalled(&self, limits: StallLimits) -> Stall {
        let mut looked_at = None;
        loop {
            let (stage, since, is_unheard) = {
                let mut state = self.state();
                state.look_at_socket();
                (state.stage, state.since, state.is_unheard())
            };
            if is_unheard {
                return Stall::Unheard;
            }
            let limit = match stage {
                Stage::Answered => limits.after,
                _ => limits.before_answer,
            };
            let (until, now) = (since + limit, Instant::now());
            if until > now {
                tokio::time::sleep_until(until.min(now + LOOK_AGAIN)).await;
            } else if looked_at == Some(since) {
                return Stall::Still(limit);
            } else {
                look_at_sockets().await;
                looked_at = Some(since);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use tokio::net::TcpStream;

    const LIMITS: StallLimits = StallLimits {
        before_answer: Duration::from_millis(600),
        after: Duration::from_millis(600),
    };

    /// A connection that has taken all it can.
    async fn full() -> (Progress, TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&listener)
            .set_recv_buffer_size(16 * 1024)
            .unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().unwrap();
        let progress = Progress::new();
        progress.enter(Stage::Waiting);
        tcp.writable().await.unwrap();
        while let Ok(count) = tcp.try_write(&[0; 65_536]) {
            progress.sent(count, tcp.as_raw_fd());
        }
        (progress, tcp, peer)
    }

    #[tokio::test]
    async fn what_leaves_the_socket_has_moved() {
        let (progress, _tcp, mut peer) = full().await;
        let start = Instant::now();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            peer.read_exact(&mut [0; 200_000]).unwrap();
            peer
        });
        assert!(matches!(progress.stalled(LIMITS).await, Stall::Still(_)));
        let stalled = start.elapsed();
        assert!(stalled > Duration::from_millis(900), "{stalled:?}");
        reader.join().unwrap();
    }

    #[tokio::test]
    async fn what_stays_in_the_socket_has_not() {
        let (progress, _tcp, _peer) = full().await;
        let start = Instant::now();
        assert!(matches!(progress.stalled(LIMITS).await, Stall::Still(_)));
        let stalled = start.elapsed();
        assert!(stalled < Duration::from_millis(1500), "{stalled:?}");
    }
}
