//! Each source, and their order.

use super::*;

const ROLE: &str = "arn:aws:iam::123456789012:role/rt";

fn told(options: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
    Bench::new(options, variables).told()
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
