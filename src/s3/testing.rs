//! A server for the tests of this crate: a bucket in memory, with a hook that may answer anything
//! instead. It checks no signature; that is the job of the S3 server that the Perl tests run.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Looks at a request before the bucket does; what it returns is written as it is, and the
/// connection is closed.
type Hook = Box<dyn FnMut(&Seen, &mut State) -> Option<Vec<u8>> + Send>;

#[derive(Default)]
pub(crate) struct State {
    /// By path.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    pub(crate) no_bucket: bool,
    pub(crate) requests: Vec<Seen>,
}

pub(crate) struct Server {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Server::with(|_, _| None)
    }

    pub(crate) fn with(hook: impl FnMut(&Seen, &mut State) -> Option<Vec<u8>> + Send + 'static) -> Self {
        Server::run(hook, || {})
    }

    /// `pause` is called before each answer. The thread ends with the test's process.
    fn run(
        hook: impl FnMut(&Seen, &mut State) -> Option<Vec<u8>> + Send + 'static,
        pause: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let hook: Arc<Mutex<Hook>> = Arc::new(Mutex::new(Box::new(hook)));
        let (shared, pause) = (Arc::clone(&state), Arc::new(pause));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (state, hook, pause) = (Arc::clone(&shared), Arc::clone(&hook), Arc::clone(&pause));
                thread::spawn(move || serve(connection, stream.unwrap(), &state, &hook, &*pause));
            }
        });
        Server { host, state }
    }

    /// Each answer takes so long. Counts the requests under way, and how many they were at most.
    pub(crate) fn slow(delay: Duration, now: Arc<AtomicUsize>, most: Arc<AtomicUsize>) -> Self {
        let pause = move || {
            most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
            thread::sleep(delay);
            now.fetch_sub(1, Relaxed);
        };
        Server::run(|_, _| None, pause)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Method and status-relevant headers of what arrived, in order.
    pub(crate) fn methods(&self) -> Vec<String> {
        let state = self.state();
        let with_condition = |seen: &Seen| match seen.header("if-none-match") {
            "" => seen.method.clone(),
            condition => format!("{} if-none-match:{condition}", seen.method),
        };
        state.requests.iter().map(with_condition).collect()
    }
}

fn serve(connection: usize, stream: TcpStream, state: &Mutex<State>, hook: &Mutex<Hook>, pause: &dyn Fn()) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(seen) = read_request(connection, &mut reader) {
        pause();
        let mut state = state.lock().unwrap();
        state.requests.push(seen.clone());
        let answered = hook.lock().unwrap()(&seen, &mut state);
        let (answer, close) = match answered {
            Some(raw) => (raw, true),
            None => (state.answer(&seen), false),
        };
        drop(state);
        if writer.write_all(&answer).is_err() || close {
            return;
        }
    }
}

fn read_request(connection: usize, reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_owned(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        connection,
        method,
        target,
        headers,
        body,
    })
}

impl State {
    pub(crate) fn answer(&mut self, seen: &Seen) -> Vec<u8> {
        let path = seen.target.split('?').next().unwrap().to_owned();
        // In virtual-host style an object's path has one slash too.
        let is_bucket = path.matches('/').count() == 1 && path.len() < 64;
        if self.no_bucket && !is_bucket {
            return error(404, "NoSuchBucket");
        }
        match (seen.method.as_str(), self.objects.get(&path)) {
            ("PUT", _) if is_bucket => {
                self.no_bucket = false;
                answer(200, "", b"")
            }
            ("PUT", Some(_)) if seen.header("if-none-match") == "*" => error(412, "PreconditionFailed"),
            ("PUT", _) => {
                self.objects.insert(path, seen.body.clone());
                answer(200, "ETag: \"1\"\r\n", b"")
            }
            ("POST", _) => answer(
                200,
                "",
                b"<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>",
            ),
            ("DELETE", _) => {
                self.objects.remove(&path);
                answer(204, "", b"")
            }
            (_, None) => match seen.method.as_str() {
                "HEAD" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
                _ => error(404, "NoSuchKey"),
            },
            ("HEAD", Some(object)) => head(200, "ETag: \"1\"\r\n", object.len()),
            (_, Some(object)) => answer(200, "ETag: \"1\"\r\n", object),
        }
    }
}

fn head(status: u16, headers: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n").into_bytes()
}

/// A whole answer. `headers`: each with its line end.
pub(crate) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = if status == 204 { 0 } else { body.len() };
    [head(status, headers, length).as_slice(), body].concat()
}

/// An answer with S3's error document.
pub(crate) fn error(status: u16, code: &str) -> Vec<u8> {
    let document = format!("<Error><Code>{code}</Code><Message>said so</Message></Error>");
    answer(
        status,
        "Content-Type: application/xml\r\nx-amz-request-id: 4711\r\n",
        document.as_bytes(),
    )
}
