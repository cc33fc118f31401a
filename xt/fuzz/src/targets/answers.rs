//! What a server answers, over a real connection to the library's own store.
//!
//! An input is a text. Its first line says what is asked, one letter each: `G`et, `S`tore, `L`arge
//! Store, `H`ead, `D`elete, `C`reate the bucket, `P`robe; and how: `a` as of AWS, through a proxy, `r`
//! with another attempt, `f` failing fast, `e` encrypted. What follows a line that begins with `%` is
//! one answer. The rest of that line says how it is sent: `h` when the head of the request is there,
//! `n` when the connection is, `k` the connection stays open, `s` in pieces; a number is the status.
//!
//! In the target `raw` an answer is sent as it is. In `answer` it is headers, an empty line, and a body,
//! which are made an answer of HTTP: with a Content-Length, or `c` chunked, `l` until the connection
//! closes, `t` ending too early. `{key}`, `{content}` and such stand for what can't be guessed.

use std::time::{Duration, Instant};

use rts3::config::Config;
use rts3::error::Result;
use rts3::key::Key;
use rts3::link::About;
use rts3::s3::Output;
use rts3::store::Store;

use super::server::{Answer, Request, Server, When};
use super::{check_error, check_line, check_parts, SECRET};

const TOKEN: &str = "TokenOfTheFuzzer/77";
const CONTENT: &[u8] =
    b"The content that is stored and read, 0123456789, \xff\x00\r\n\r\nand its end, of 87 bytes in all ";
/// Above the size from which a Store asks first.
const LARGE: usize = 1024 * 1024 + 1;
/// Room for what is read.
const ROOM: usize = 1024 * 1024;
/// Less than a server that is down is waited for, which would take most of the time.
const DEADLINE: Duration = Duration::from_millis(300);
/// By then a call has ended, on a busy machine too.
const LONGEST: Duration = Duration::from_secs(20);
const MOST_ANSWERS: usize = 8;
const MOST_CALLS: usize = 3;

/// Answers that are well-formed.
pub fn answer(data: &[u8]) {
    run(data, well_formed);
}

/// Answers of any bytes.
pub fn raw(data: &[u8]) {
    run(data, |flags, bytes| Answer {
        head: bytes.len(),
        bytes,
        ..sending(flags)
    });
}

fn run(data: &[u8], make: impl Fn(&[u8], Vec<u8>) -> Answer) {
    let mut parts = blocks(data).into_iter();
    let asked = parts.next().unwrap_or_default();
    let answers = parts
        .take(MOST_ANSWERS)
        .map(|block| {
            let end = block
                .iter()
                .position(|c| *c == b'\n')
                .map_or(block.len(), |end| end + 1);
            make(&block[..end], filled_in(&block[end..]))
        })
        .collect();
    let server = Server::start(answers).expect("a server");
    let address = server.address.to_string();
    let store = open(asked, &address);
    let calls = asked.iter().filter(|letter| b"GSLHDCP".contains(letter));
    let mut stored = Vec::new();
    for letter in calls.take(MOST_CALLS) {
        let start = Instant::now();
        let result = call(&store, *letter, &mut stored);
        assert!(start.elapsed() < LONGEST, "{:?}", start.elapsed());
        if let Err(error) = result {
            check_error(&error, &[SECRET, TOKEN]);
            check_parts(error.message(), data);
        }
        while let Some(message) = store.next_message() {
            check_line(&message.text, &[SECRET, TOKEN]);
            check_parts(&message.text, data);
        }
    }
    let url = store
        .direct_url(&Key::of(CONTENT), About::default())
        .expect("a public link");
    check_line(&url, &[SECRET, TOKEN]);
    store.disconnect();
    drop(store);
    let requests = server.end();
    for content in stored {
        assert!(
            is_with_the_server(&content, &requests),
            "stored, but the server does not have it: {requests:?}"
        );
    }
}

/// The parts of an input: what is asked, and the answers.
fn blocks(data: &[u8]) -> Vec<&[u8]> {
    let mut blocks = Vec::new();
    let mut start = 0;
    for at in 0..data.len().saturating_sub(1) {
        if &data[at..at + 2] == b"\n%" {
            blocks.push(&data[start..at]);
            start = at + 2;
        }
    }
    blocks.push(&data[start..]);
    blocks
}

fn open(asked: &[u8], address: &str) -> Store {
    let has = |flag: u8| asked.contains(&flag);
    let url = format!("http://{address}");
    let mut options = vec![
        ("Bucket", "files"),
        ("AccessKeyId", "AKIDFUZZ"),
        ("SecretAccessKey", SECRET),
        ("SessionToken", TOKEN),
        ("ConnectTimeout", "0.2"),
        ("ReadTimeout", "0.1"),
        ("Retries", if has(b'r') { "1" } else { "0" }),
    ];
    if has(b'e') {
        options.push(("ServerSideEncryption", "AES256"));
    }
    if has(b'a') {
        options.extend([("Host", "http://s3.amazonaws.com"), ("Proxy", url.as_str())]);
    } else {
        // Nobody is asked where files.127.0.0.1 is.
        options.extend([("Host", url.as_str()), ("AddressingStyle", "path")]);
    }
    let (config, mistakes) = Config::parse_in(options, |_| None).expect("options that are right");
    assert_eq!(mistakes, []);
    let store = Store::new(config, mistakes);
    store.set_fails_fast(has(b'f'));
    store
}

/// What was stored is added to `stored`.
fn call(store: &Store, letter: u8, stored: &mut Vec<Vec<u8>>) -> Result<()> {
    let key = Key::of(CONTENT);
    let deadline = Some(DEADLINE);
    match letter {
        b'G' => {
            let mut room = Room::default();
            let size = store.get(&key, &mut room, deadline)?;
            assert_eq!(size, CONTENT.len() as u64);
            assert_eq!(&room.0[..CONTENT.len()], CONTENT);
        }
        b'S' => {
            store.store(&key, CONTENT, Some("text/html"), deadline)?;
            stored.push(CONTENT.to_vec());
        }
        b'L' => {
            let content: Vec<u8> = CONTENT.iter().copied().cycle().take(LARGE).collect();
            store.store(&Key::of(&content), &content, None, deadline)?;
            stored.push(content);
        }
        b'H' => {
            store.head(&key, deadline)?;
        }
        b'D' => store.delete(&key, deadline)?,
        b'C' => store.create_bucket(deadline)?,
        _ => assert_eq!(store.probe(deadline)?, "options"),
    }
    Ok(())
}

/// It was sent to the server whole, or the server has shown that it has it: by the content itself or,
/// as AWS, by its checksum.
fn is_with_the_server(content: &[u8], requests: &[Request]) -> bool {
    let sent = requests
        .iter()
        .any(|request| request.method == "PUT" && request.body == content);
    let answers = |method: &str| {
        let of_method = requests.iter().filter(|request| request.method == method);
        of_method
            .flat_map(|request| request.answer.clone())
            .collect::<Vec<u8>>()
    };
    let shown = || {
        // In whatever chunks.
        let mut answered = answers("GET").into_iter();
        content.iter().all(|byte| answered.any(|other| other == *byte))
    };
    let promised = || {
        let checksum = base64(Key::of(content).as_bytes());
        answers("HEAD")
            .windows(checksum.len())
            .any(|window| window == checksum.as_bytes())
    };
    sent || shown() || promised()
}

#[derive(Default)]
struct Room(Vec<u8>);

impl Output for Room {
    fn reserve(&mut self, size: usize) -> bool {
        assert!(size > 0);
        if size > ROOM {
            return false;
        }
        self.0.resize(size, 0);
        true
    }

    fn write(&mut self, offset: usize, piece: &[u8]) {
        self.0[offset..offset + piece.len()].copy_from_slice(piece);
    }

    fn content(&self, _size: usize) -> Option<&[u8]> {
        None
    }
}

/// Flags that say how an answer is sent.
fn sending(flags: &[u8]) -> Answer {
    let has = |flag: u8| flags.contains(&flag);
    Answer {
        when: match (has(b'h'), has(b'n')) {
            (_, true) => When::Connected,
            (true, _) => When::Head,
            _ => When::Asked,
        },
        keep: has(b'k'),
        pieces: if has(b's') { 3 } else { 1 },
        ..Answer::default()
    }
}

fn well_formed(flags: &[u8], bytes: Vec<u8>) -> Answer {
    let has = |flag: u8| flags.contains(&flag);
    let digits: String = flags
        .iter()
        .filter(|c| c.is_ascii_digit())
        .take(3)
        .map(|c| char::from(*c))
        .collect();
    let status = digits
        .parse::<u16>()
        .ok()
        .filter(|status| (200..600).contains(status))
        .unwrap_or(200);
    let mut answer = format!("HTTP/1.1 {status} Fuzzed\r\n").into_bytes();
    let (headers, body) = match bytes.windows(2).position(|window| window == b"\n\n") {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => match bytes.strip_prefix(b"\n") {
            Some(body) => (&[][..], body),
            None => (&bytes[..], &[][..]),
        },
    };
    let mut tells_length = false;
    for line in headers.split(|c| *c == b'\n') {
        let Some(colon) = line.iter().position(|c| *c == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let name_ok = !name.is_empty() && name.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-');
        let value_ok = value.iter().all(|c| *c == b'\t' || (*c >= b' ' && *c != 0x7f));
        let is_framing =
            name.eq_ignore_ascii_case(b"transfer-encoding") || name.eq_ignore_ascii_case(b"connection");
        if name_ok && value_ok && !is_framing {
            tells_length = tells_length || name.eq_ignore_ascii_case(b"content-length");
            answer.extend_from_slice(line);
            answer.extend_from_slice(b"\r\n");
        }
    }
    let chunked = has(b'c') && !tells_length;
    let sends_length = !chunked && !has(b'l') && !tells_length;
    if chunked {
        answer.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    } else if sends_length {
        let length = body.len() + if has(b't') { 7 } else { 0 };
        answer.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    let keep = has(b'k') && (chunked || sends_length) && !has(b't');
    if !keep {
        answer.extend_from_slice(b"Connection: close\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    let head = answer.len();
    // These have no body, whatever their head says.
    let body = if matches!(status, 204 | 304) { &[] } else { body };
    if chunked {
        for piece in body.chunks(33) {
            answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            answer.extend_from_slice(piece);
            answer.extend_from_slice(b"\r\n");
        }
        if !has(b't') {
            answer.extend_from_slice(b"0\r\n\r\n");
        }
    } else {
        answer.extend_from_slice(body);
    }
    Answer {
        bytes: answer,
        head,
        keep,
        ..sending(flags)
    }
}

/// `template` with what stands in braces filled in.
fn filled_in(template: &[u8]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.iter().position(|c| *c == b'{') {
        filled.extend_from_slice(&rest[..start]);
        rest = &rest[start..];
        let value = rest
            .iter()
            .take(16)
            .position(|c| *c == b'}')
            .and_then(|end| Some((end + 1, meaning(std::str::from_utf8(&rest[1..end]).ok()?)?)));
        let (length, value) = value.unwrap_or((1, b"{".to_vec()));
        filled.extend_from_slice(&value);
        rest = &rest[length..];
    }
    filled.extend_from_slice(rest);
    filled
}

fn meaning(name: &str) -> Option<Vec<u8>> {
    let (name, number) = name.split_once(' ').unwrap_or((name, ""));
    let at = number.parse::<usize>().unwrap_or(0).min(CONTENT.len());
    let large = || CONTENT.iter().copied().cycle().take(LARGE).collect::<Vec<u8>>();
    Some(match name {
        "key" => Key::of(CONTENT).hex().into_bytes(),
        "sum" => base64(Key::of(CONTENT).as_bytes()).into_bytes(),
        "largesum" => base64(Key::of(&large()).as_bytes()).into_bytes(),
        "size" => CONTENT.len().to_string().into_bytes(),
        "last" => (CONTENT.len() - 1).to_string().into_bytes(),
        "largesize" => LARGE.to_string().into_bytes(),
        "content" | "rest" => CONTENT[at..].to_vec(),
        "first" => CONTENT[..at].to_vec(),
        "secret" => SECRET.into(),
        "token" => TOKEN.into(),
        _ => return None,
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0, |number, index| {
            number << 8 | u32::from(group.get(index).copied().unwrap_or(0))
        });
        for index in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= group.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}
