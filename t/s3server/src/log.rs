//! The log that tests read: a JSON line for each connection and for each request.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hyper::http::request::Parts;
use hyper::{StatusCode, header};
use serde_json::{Map, Value, json};

use crate::address::Target;

/// The log file.
pub struct Log {
    file: Mutex<File>,
    connections: AtomicU64,
}

impl Log {
    /// Opens the file to append to it.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file: Mutex::new(file),
            connections: AtomicU64::new(0),
        })
    }

    /// Counts and logs a connection; the number is unique in this process.
    pub fn connection(&self, tls: bool) -> u64 {
        let id = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.write(&json!({ "event": "connection", "id": id, "tls": tls }));
        id
    }

    /// Logs that a connection is over, and why if something went wrong.
    pub fn closed(&self, id: u64, error: Option<String>) {
        self.write(&json!({ "event": "closed", "id": id, "error": error }));
    }

    fn write(&self, entry: &Value) {
        let line = format!("{entry}\n");
        if let Err(error) = self.file.lock().expect("log file").write_all(line.as_bytes()) {
            eprintln!("s3server: log: {error}");
        }
    }
}

/// One request and what became of it. The line is written when `finish` is called, at the latest when the
/// last owner lets go: a request that was broken off is logged too.
pub struct Exchange {
    log: Arc<Log>,
    started: Instant,
    request: Map<String, Value>,
    outcome: Mutex<(Option<StatusCode>, Option<String>)>,
    received: AtomicU64,
    sent: AtomicU64,
    fired: Mutex<Vec<String>>,
    finished: AtomicBool,
}

impl Exchange {
    /// Begins with the head of the request.
    pub fn new(log: Arc<Log>, connection: u64, head: &Parts, target: &Target) -> Self {
        let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut headers = Map::new();
        for (name, value) in &head.headers {
            match headers.get_mut(name.as_str()) {
                Some(Value::String(known)) => *known = format!("{known}, {}", text(value)),
                _ => _ = headers.insert(name.to_string(), text(value).into()),
            }
        }
        let mut request = Map::new();
        request.insert("event".into(), "request".into());
        request.insert("connection".into(), connection.into());
        request.insert("method".into(), head.method.as_str().into());
        request.insert("uri".into(), head.uri.to_string().into());
        request.insert("host".into(), headers.get("host").cloned().unwrap_or_default());
        request.insert("headers".into(), headers.into());
        request.insert("operation".into(), target.operation.into());
        request.insert("bucket".into(), target.bucket.clone().into());
        request.insert("key".into(), target.key.clone().into());
        Self {
            log,
            started: Instant::now(),
            request,
            outcome: Mutex::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            fired: Mutex::default(),
            finished: AtomicBool::new(false),
        }
    }

    /// Bytes of the request's body that arrived.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of the answer's body that were handed to the connection; the sum so far.
    pub fn sent(&self, bytes: usize) -> u64 {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64
    }

    /// A fault that was applied, by its short name.
    pub fn fired(&self, fault: impl Into<String>) {
        self.fired.lock().expect("faults").push(fault.into());
    }

    /// The answer that is going to be sent.
    pub fn answered(&self, status: StatusCode, code: Option<String>) {
        *self.outcome.lock().expect("outcome") = (Some(status), code);
    }

    /// Writes the line, once.
    pub fn finish(&self) {
        if self.finished.swap(true, Ordering::Relaxed) {
            return;
        }
        let (status, code) = self.outcome.lock().expect("outcome").clone();
        let mut entry = self.request.clone();
        entry.insert("status".into(), status.map(|status| status.as_u16()).into());
        entry.insert("code".into(), code.into());
        entry.insert(
            "request_bytes".into(),
            self.received.load(Ordering::Relaxed).into(),
        );
        entry.insert("response_bytes".into(), self.sent.load(Ordering::Relaxed).into());
        let fired = self.fired.lock().expect("faults").join("+");
        entry.insert(
            "fault".into(),
            Some(fired).filter(|names| !names.is_empty()).into(),
        );
        let ms = (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        entry.insert("ms".into(), ms.into());
        self.log.write(&entry.into());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish();
    }
}
