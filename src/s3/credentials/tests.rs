use std::collections::HashMap;

use super::super::testing::{answer, Seen, Server};
use super::*;

mod sources;

/// Credentials in an environment of their own.
struct Bench {
    credentials: Credentials,
    log: Arc<Log>,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(options: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let given = [&[("Bucket", "files")], options].concat();
        let (config, _) = Config::parse_in(given, |_| None).unwrap();
        let (config, log) = (Arc::new(config), Arc::<Log>::default());
        let variables: HashMap<String, String> = variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let look_up = move |name: &str| variables.get(name).cloned();
        Bench {
            credentials: Credentials::in_environment(config, Page::map(), Arc::clone(&log), look_up),
            log,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn get_at(&self, now: SystemTime) -> Result<Arc<Found>, Failure> {
        let budget = Budget::new(Duration::from_secs(20), 0);
        self.runtime.block_on(self.credentials.get(&budget, now))
    }

    fn get(&self) -> Result<Arc<Found>, Failure> {
        self.get_at(SystemTime::now())
    }

    /// Source and id of the keys, or the message.
    fn told(&self) -> String {
        match self.get() {
            Ok(found) => format!("{} {}", found.source.name(), found.keys.access_key_id),
            Err(failure) => failure.text,
        }
    }

    fn lines(&self) -> Vec<String> {
        std::iter::from_fn(|| self.log.next())
            .map(|message| message.text)
            .collect()
    }
}

fn in_seconds(seconds: i64) -> String {
    (chrono::Utc::now() + chrono::TimeDelta::seconds(seconds)).to_rfc3339()
}

fn json(id: &str, life: i64) -> Vec<u8> {
    let end = in_seconds(life);
    let text = format!(
        "{{\"Code\":\"Success\",\"Version\":1,\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"secret\",\
         \"Token\":\"token\",\"SessionToken\":\"token\",\"Expiration\":\"{end}\"}}"
    );
    answer(200, "", text.as_bytes())
}

fn no_such_thing() -> Vec<u8> {
    answer(404, "", b"")
}

/// The metadata service of an instance with one role.
fn metadata(seen: &Seen, id: &str, life: i64) -> Vec<u8> {
    match (&*seen.method, &*seen.target) {
        ("PUT", "/latest/api/token") if !seen.header("x-aws-ec2-metadata-token-ttl-seconds").is_empty() => {
            answer(200, "", b"TOKEN")
        }
        (_, _) if seen.header("x-aws-ec2-metadata-token") != "TOKEN" => answer(401, "", b""),
        ("GET", "/latest/meta-data/iam/security-credentials/") => answer(200, "", b"my role"),
        ("GET", "/latest/meta-data/iam/security-credentials/my%20role") => json(id, life),
        _ => no_such_thing(),
    }
}

/// A metadata service that can be broken, and how often it was asked for keys.
fn instance(life: i64) -> (Server, Arc<Mutex<bool>>) {
    let broken = Arc::<Mutex<bool>>::default();
    let is_broken = Arc::clone(&broken);
    let mut given = 0;
    let server = Server::with(move |seen, _| {
        if *is_broken.lock().unwrap() {
            return Some(answer(500, "", b""));
        }
        given += 1;
        Some(metadata(seen, &format!("KEY{}", given / 3), life))
    });
    (server, broken)
}

#[test]
fn keys_are_replaced_before_they_expire_and_good_ones_used_on() {
    let (server, broken) = instance(900);
    let bench = Bench::new(&[], &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server.host)]);
    let now = SystemTime::now();
    let id_at = |seconds| {
        let found = bench.get_at(now + Duration::from_secs(seconds));
        found.map(|found| found.keys.access_key_id.clone())
    };
    assert_eq!(id_at(0).unwrap(), "KEY1");
    assert_eq!(id_at(590).unwrap(), "KEY1");
    assert_eq!(
        bench.lines(),
        ["the credentials come from instance: access key KEY1"]
    );
    assert!(bench
        .credentials
        .at_hand(now + Duration::from_secs(610))
        .is_none());
    *broken.lock().unwrap() = true;
    let before = server.state().requests.len();
    for _ in 0..5 {
        assert_eq!(id_at(610).unwrap(), "KEY1", "still good");
    }
    assert_eq!(server.state().requests.len(), before + 1, "asked once");
    let lines = bench.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("the keys could not be replaced"),
        "{lines:?}"
    );
    let failure = id_at(1000).unwrap_err();
    assert!(
        failure.text.contains("they are looked for again in"),
        "{}",
        failure.text
    );
    assert!(failure.retry_after.is_some());
    assert_eq!(server.state().requests.len(), before + 1);
    *broken.lock().unwrap() = false;
    bench.credentials.page.no_keys_until.store(0, Relaxed);
    assert_eq!(id_at(610).unwrap(), "KEY2");
    assert_eq!(bench.lines(), [""; 0], "the same source");
}

#[test]
fn a_failed_search_is_repeated_later_and_later() {
    let (server, broken) = instance(900);
    *broken.lock().unwrap() = true;
    let bench = Bench::new(&[], &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server.host)]);
    let page = bench.credentials.page;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert!(bench.get().is_err());
        pauses.push(page.no_keys_for.load(Relaxed) / 1000);
        page.no_keys_until.store(0, Relaxed);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    *broken.lock().unwrap() = false;
    bench.get().unwrap();
    assert_eq!(page.no_keys_for.load(Relaxed), 0);
}

#[test]
fn refused_keys_are_replaced_once_in_a_call() {
    let (server, _) = instance(900);
    let bench = Bench::new(&[], &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server.host)]);
    let failure = |code: &str| Failure {
        s3_code: Some(code.to_owned()),
        ..Failure::new(Code::Credentials, Retry::Never, "x")
    };
    let first = bench.get().unwrap();
    let budget = Budget::new(Duration::from_secs(1), 0);
    let is_replaced = |found, code| bench.credentials.refused(found, &budget, &failure(code));
    assert!(!is_replaced(&first, "AccessDenied"));
    assert!(is_replaced(&first, "ExpiredToken"));
    let second = bench.get().unwrap();
    assert_eq!(second.keys.access_key_id, "KEY2");
    assert_eq!(
        second.earlier.apply("secret"),
        "***",
        "the first ones are masked on"
    );
    assert_eq!(first.earlier.apply("secret"), "secret");
    assert!(!is_replaced(&second, "ExpiredToken"), "no loop");
    assert!(
        is_replaced(&first, "ExpiredToken"),
        "another thread has replaced them"
    );
    assert_eq!(bench.get().unwrap().keys.access_key_id, "KEY2");
    let given = Bench::new(&[("AccessKeyId", "A"), ("SecretAccessKey", "s")], &[]);
    let found = given.get().unwrap();
    let budget = Budget::new(Duration::from_secs(1), 0);
    assert!(!given
        .credentials
        .refused(&found, &budget, &failure("ExpiredToken")));
}

#[test]
fn a_clock_that_is_ahead_makes_no_keys_old() {
    let at = |seconds: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let ends = |told, now: u64| {
        let held = Held {
            expires: at(5000),
            told,
            ..Held::for_good(Keys::checked("ID", "s", None).unwrap())
        };
        held.by_our_clock(at(now).unwrap()).expires
    };
    assert_eq!(ends(at(4000), 4100), at(5000));
    assert_eq!(ends(at(4000), 9000), at(10_000));
    assert_eq!(ends(at(6000), 9000), at(5000), "they are old");
    assert_eq!(ends(None, 9000), at(5000));
}

#[test]
fn who_else_may_have_them() {
    let (named, _) =
        Config::parse_in([("Bucket", "b"), ("CredentialSource", "environment")], |_| None).unwrap();
    let (profile, _) = Config::parse_in([("Bucket", "b"), ("Profile", "p")], |_| None).unwrap();
    let (chain, _) = Config::parse_in([("Bucket", "b")], |_| None).unwrap();
    for (source, config, personal) in [
        (Source::Environment, &chain, true),
        (Source::Profile, &chain, true),
        (Source::Environment, &named, false),
        (Source::Profile, &profile, false),
        (Source::Instance, &chain, false),
        (Source::Container, &chain, false),
        (Source::WebIdentity, &chain, false),
    ] {
        assert_eq!(are_personal(source, config), personal, "{source:?}");
    }
}
