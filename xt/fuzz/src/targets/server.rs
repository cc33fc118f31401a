//! A server that answers what it is told to, on a loopback address of this process.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// No client of ours is silent for longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// When an answer is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum When {
    /// When the whole request is there.
    #[default]
    Asked,
    /// When its head is there.
    Head,
    /// When the connection is.
    Connected,
}

/// One answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// That an answer to HEAD stops with.
    pub(super) head: usize,
    pub(super) when: When,
    /// Whether the connection stays open after it.
    pub(super) keep: bool,
    /// In how many pieces it is written.
    pub(super) pieces: usize,
}

/// One request, as far as it came, and what was answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) body: Vec<u8>,
    pub(super) answer: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<Vec<Answer>>,
    requests: Mutex<Vec<Request>>,
    ended: AtomicBool,
}

/// It listens until it is ended.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl Server {
    /// Gives these answers, in their order; then it only closes connections.
    pub(super) fn start(mut answers: Vec<Answer>) -> io::Result<Server> {
        answers.reverse();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            answers: Mutex::new(answers),
            ..Shared::default()
        });
        let of_thread = Arc::clone(&shared);
        let listener = thread::spawn(move || listen(&listener, &of_thread));
        Ok(Server {
            address,
            shared,
            listener,
        })
    }

    /// Waits until every connection is closed. Returns what was asked, in its order.
    pub(super) fn end(self) -> Vec<Request> {
        self.shared.ended.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        self.listener.join().expect("the server panicked");
        std::mem::take(&mut *lock(&self.shared.requests))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::Acquire) {
            break;
        }
        if let Ok(stream) = stream {
            let shared = Arc::clone(shared);
            connections.push(thread::spawn(move || {
                // It is no concern of ours how the client ends.
                let _ = serve(stream, &shared);
            }));
        }
    }
    for connection in connections {
        connection.join().expect("a connection panicked");
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    loop {
        let Some(answer) = lock(&shared.answers).pop() else {
            return Ok(());
        };
        let index = {
            let mut requests = lock(&shared.requests);
            requests.push(Request::default());
            requests.len() - 1
        };
        let mut sent = false;
        let mut send = |stream: &mut TcpStream, request: &mut Request| {
            let bytes = match request.method.as_str() {
                "HEAD" => &answer.bytes[..answer.head],
                _ => &answer.bytes,
            };
            request.answer = bytes.to_vec();
            sent = true;
            let size = bytes.len().div_ceil(answer.pieces.max(1)).max(1);
            bytes.chunks(size).try_for_each(|piece| {
                thread::yield_now();
                stream.write_all(piece)
            })
        };
        let mut request = Request::default();
        let result = receive(&mut stream, &mut request, |stream, request, stage| {
            if stage == answer.when {
                send(stream, request)?;
                if !answer.keep {
                    stream.shutdown(Shutdown::Write)?;
                }
            }
            Ok(())
        });
        lock(&shared.requests)[index] = request;
        if !sent {
            // No request came: the answer is for another one.
            lock(&shared.answers).push(answer);
            return result;
        }
        result?;
        if !answer.keep {
            return Ok(());
        }
    }
}

/// Reads one request, and says when a stage of it is reached.
fn receive(
    stream: &mut TcpStream,
    request: &mut Request,
    mut reached: impl FnMut(&mut TcpStream, &mut Request, When) -> io::Result<()>,
) -> io::Result<()> {
    reached(stream, request, When::Connected)?;
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut read)?;
    };
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    request.method = String::from_utf8_lossy(&read[..end])
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned();
    reached(stream, request, When::Head)?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    let mut body = read.split_off(end);
    while body.len() < length {
        if let Err(error) = more(stream, &mut body) {
            request.body = body;
            return Err(error);
        }
    }
    request.body = body;
    reached(stream, request, When::Asked)
}

fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 65536];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        size => {
            read.extend_from_slice(&buffer[..size]);
            Ok(())
        }
    }
}
