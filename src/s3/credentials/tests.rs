use std::collections::HashMap;

use super::super::testing::{answer, Seen, Server};
use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/rt";

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

fn told(options: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
    Bench::new(options, variables).told()
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

fn sts(action: &str, id: &str) -> Vec<u8> {
    let end = in_seconds(3600);
    let text = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>\
         <Expiration>{end}</Expiration></Credentials></{action}Result></{action}Response>"
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

fn file(name: &str, text: &str) -> String {
    let directory = std::env::temp_dir().join(format!("rts3-credentials-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const ENVIRONMENT: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "secret")];
const NO_INSTANCE: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");

#[test]
fn the_chain_goes_on_from_what_is_not_set_up_and_stops_at_what_fails() {
    let given = [("AccessKeyId", "GIVEN"), ("SecretAccessKey", "secret")];
    assert_eq!(told(&given, &ENVIRONMENT), "options GIVEN");
    assert_eq!(told(&[], &ENVIRONMENT), "environment ENV");
    let half = [
        ENVIRONMENT[0],
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/"),
    ];
    assert_eq!(
        told(&[], &half),
        "no credentials from environment: AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not"
    );
    let container = Server::with(|_, _| Some(json("BOX", 3600)));
    let url = format!("{}/keys", container.host);
    let later = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str());
    assert_eq!(told(&[], &[later]), "container BOX");
    assert_eq!(
        told(
            &[("CredentialSource", "container")],
            &[ENVIRONMENT[0], ENVIRONMENT[1], later]
        ),
        "container BOX"
    );
    let nothing = told(&[], &[NO_INSTANCE]);
    for part in [
        "no credentials: set the options AccessKeyId and SecretAccessKey",
        "environment: AWS_ACCESS_KEY_ID is not set",
        "web-identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set",
        "profile: there is no profile 'default'",
        "instance: AWS_EC2_METADATA_DISABLED is true",
    ] {
        assert!(nothing.contains(part), "{nothing}");
    }
}

#[test]
fn an_instance_gives_keys_to_whoever_has_a_token() {
    let server = Server::with(|seen, _| Some(metadata(seen, "INSTANCE", 3600)));
    let host = format!("{}/", server.host);
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", host.as_str());
    assert_eq!(told(&[], &[endpoint]), "instance INSTANCE");
    assert_eq!(server.methods(), ["PUT", "GET", "GET"]);
    // One that knows version 1 only.
    let old = Server::with(|seen, _| (seen.method == "PUT").then(no_such_thing));
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", old.host.as_str());
    let text = told(&[], &[endpoint]);
    assert!(text.contains("version 1 is not used"), "{text}");
    assert_eq!(old.methods(), ["PUT"]);
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
    let failure = Bench::new(&[], &[endpoint]).get().unwrap_err();
    assert_eq!((failure.code, failure.retry), (Code::Credentials, Retry::Backoff));
}

#[test]
fn a_container_sends_its_token_to_nobody_else() {
    let server =
        Server::with(|seen, _| (seen.header("authorization") != "Bearer x").then(|| answer(403, "", b"")));
    let token = file("token", "Bearer y\n");
    let url = format!("{}/keys", server.host);
    let url = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str());
    let text = told(&[], &[url, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)]);
    assert!(
        text.ends_with("the container's service answers with status 403"),
        "{text}"
    );
    assert_eq!(server.state().requests[0].header("authorization"), "Bearer y");
    for (url, problem) in [
        ("http://192.0.2.1/keys", "only this machine"),
        ("http://evil.example/keys", "only this machine"),
        ("ftp://127.0.0.1/", "no URL with http"),
        ("http://a@127.0.0.1/", "user name"),
    ] {
        let text = told(&[], &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)]);
        assert!(text.contains(problem), "{text}");
    }
}

#[test]
fn a_web_identity_becomes_a_role() {
    let server = Server::with(|seen, _| {
        let body = String::from_utf8(seen.body.clone()).unwrap();
        assert!(body.contains("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws"));
        assert_eq!(seen.header("authorization"), "");
        Some(match body.contains("WebIdentityToken=good") {
            true => sts("AssumeRoleWithWebIdentity", "WEB"),
            false => answer(
                400,
                "",
                b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>not bad-token</Message></Error></ErrorResponse>",
            ),
        })
    });
    let (good, bad) = (file("good", "good\n"), file("bad", "bad-token"));
    let fixed = [("AWS_ROLE_ARN", ROLE), ("AWS_ENDPOINT_URL_STS", &*server.host)];
    let variables = |token| [fixed[0], fixed[1], ("AWS_WEB_IDENTITY_TOKEN_FILE", token)];
    assert_eq!(told(&[], &variables(&good)), "web-identity WEB");
    let failure = Bench::new(&[], &variables(&bad)).get().unwrap_err();
    assert_eq!(failure.retry, Retry::Never);
    assert_eq!(
        failure.text,
        "no credentials from web-identity: AssumeRoleWithWebIdentity is answered with status 400, InvalidIdentityToken: not ***"
    );
}

#[test]
fn profiles() {
    let server = Server::with(|seen, _| {
        let scope = format!("/{}/sts/aws4_request", "eu-west-1");
        let authorization = seen.header("authorization").to_owned();
        let body = String::from_utf8(seen.body.clone()).unwrap();
        let by =
            |id: &str| authorization.contains(&format!("Credential={id}/")) && authorization.contains(&scope);
        Some(match body.contains("first") {
            true if by("BASE") => sts("AssumeRole", "FIRST"),
            false if by("FIRST") && body.contains("ExternalId=x%20y") => sts("AssumeRole", "SECOND"),
            _ => answer(
                403,
                "",
                b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>",
            ),
        })
    });
    let credentials = file(
        "credentials",
        "[base]\naws_access_key_id = BASE\naws_secret_access_key = secret\n\
         [own]\naws_access_key_id = BASE\naws_secret_access_key = secret\n",
    );
    let config = file(
        "config",
        "[profile first]\nrole_arn = first\nsource_profile = base\nregion = eu-west-1\n\
         [profile second]\nrole_arn = second\nsource_profile = first\nexternal_id = x y\nregion = eu-west-1\n\
         [profile own]\nrole_arn = first\nsource_profile = own\nregion = eu-west-1\n\
         [profile loop]\nrole_arn = r\nsource_profile = pool\n[profile pool]\nrole_arn = r\nsource_profile = loop\n\
         [profile sso]\nsso_session = x\n[profile person]\nrole_arn = r\nsource_profile = base\nmfa_serial = m\n\
         [profile lost]\nrole_arn = r\nsource_profile = gone\n\
         [profile program]\ncredential_process = echo '{\"Version\":1,\"AccessKeyId\":\"ECHO\",\"SecretAccessKey\":\"s\"}'\n\
         [profile old]\ncredential_process = echo '{\"Version\":2,\"AccessKeyId\":\"ECHO\",\"SecretAccessKey\":\"s\"}'\n\
         [profile silent]\ncredential_process = true\n[profile fails]\ncredential_process = exit 4\n",
    );
    let variables = [
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()),
        ("AWS_CONFIG_FILE", config.as_str()),
        ("AWS_ENDPOINT_URL_STS", server.host.as_str()),
        NO_INSTANCE,
    ];
    for (profile, expected) in [
        ("base", "profile BASE"),
        ("first", "profile FIRST"),
        ("second", "profile SECOND"),
        ("own", "profile FIRST"),
        ("program", "profile ECHO"),
        (
            "loop",
            "no credentials from profile: the profile 'loop' is its own source_profile in the end",
        ),
        (
            "none",
            &format!("no credentials from profile: there is no profile 'none' in {credentials} and {config}"),
        ),
    ] {
        assert_eq!(told(&[("Profile", profile)], &variables), expected);
    }
    for (profile, part) in [
        ("sso", "has sso_session, which is not supported"),
        ("person", "has mfa_serial, which is not supported"),
        ("lost", "there is no profile 'gone'"),
        ("old", "a Version other than 1"),
        ("silent", "not JSON"),
        ("fails", "exit status: 4"),
    ] {
        let text = told(&[("Profile", profile)], &variables);
        assert!(text.contains(part), "{text}");
    }
    let with_name = [&variables[..], &[("AWS_PROFILE", "base")]].concat();
    assert_eq!(told(&[], &with_name), "profile BASE");
    assert!(told(&[], &variables).contains("profile: there is no profile 'default'"));
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
