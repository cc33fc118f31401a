//! Which address, Host header and region go out, for the servers and names that there are. A proxy
//! sees them all, so that no name has to be looked up.

use super::*;

const KEY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a GET sends out: the URL, the Host header, the region of the signature.
fn sent(given: &[(&str, &str)]) -> (String, String, String) {
    let server = Server::start();
    let store = open(&server, &[&[("Proxy", server.host.as_str())], given].concat());
    let _ = store.get(&Key::of(b""), &mut Discard, None);
    let state = server.state();
    let seen = state.requests.first().expect("a request goes out");
    let scope: Vec<&str> = seen.header("authorization").split('/').collect();
    (
        seen.target.clone(),
        seen.header("host").to_owned(),
        scope[2].to_owned(),
    )
}

/// http:// everywhere, for a tunnel would hide the request.
#[test]
fn servers() {
    let table = [
        // Host, Region, Bucket; Host header, path before the key, region
        (
            "s3.amazonaws.com",
            "",
            "files",
            "files.s3.amazonaws.com",
            "/",
            "us-east-1",
        ),
        (
            "s3.amazonaws.com",
            "eu-west-1",
            "files",
            "files.s3.eu-west-1.amazonaws.com",
            "/",
            "eu-west-1",
        ),
        (
            "s3.amazonaws.com",
            "cn-north-1",
            "files",
            "files.s3.cn-north-1.amazonaws.com.cn",
            "/",
            "cn-north-1",
        ),
        (
            "s3.amazonaws.com",
            "us-gov-west-1",
            "files",
            "files.s3.us-gov-west-1.amazonaws.com",
            "/",
            "us-gov-west-1",
        ),
        (
            "s3.eu-west-1.amazonaws.com",
            "",
            "files",
            "files.s3.eu-west-1.amazonaws.com",
            "/",
            "eu-west-1",
        ),
        (
            "s3.cn-north-1.amazonaws.com.cn",
            "",
            "files",
            "files.s3.cn-north-1.amazonaws.com.cn",
            "/",
            "cn-north-1",
        ),
        (
            "s3.us-gov-west-1.amazonaws.com",
            "",
            "files",
            "files.s3.us-gov-west-1.amazonaws.com",
            "/",
            "us-gov-west-1",
        ),
        (
            "s3.dualstack.eu-west-1.amazonaws.com",
            "",
            "files",
            "files.s3.dualstack.eu-west-1.amazonaws.com",
            "/",
            "eu-west-1",
        ),
        (
            "s3-fips.us-west-2.amazonaws.com",
            "",
            "files",
            "files.s3-fips.us-west-2.amazonaws.com",
            "/",
            "us-west-2",
        ),
        (
            "s3-eu-west-1.amazonaws.com",
            "",
            "files",
            "files.s3-eu-west-1.amazonaws.com",
            "/",
            "eu-west-1",
        ),
        (
            "s3-external-1.amazonaws.com",
            "",
            "files",
            "files.s3-external-1.amazonaws.com",
            "/",
            "us-east-1",
        ),
        (
            "s3-accelerate.amazonaws.com",
            "eu-west-1",
            "files",
            "files.s3-accelerate.amazonaws.com",
            "/",
            "eu-west-1",
        ),
        (
            "s3.eu-west-1.amazonaws.com",
            "",
            "my.files",
            "s3.eu-west-1.amazonaws.com",
            "/my.files/",
            "eu-west-1",
        ),
        (
            "s3.amazonaws.com",
            "",
            "Files",
            "s3.amazonaws.com",
            "/Files/",
            "us-east-1",
        ),
        (
            "s3.amazonaws.com",
            "",
            "my_files",
            "s3.amazonaws.com",
            "/my_files/",
            "us-east-1",
        ),
        // MinIO, Garage, Ceph
        ("minio:9000", "", "files", "minio:9000", "/files/", "us-east-1"),
        (
            "10.1.2.3:9000",
            "",
            "files",
            "10.1.2.3:9000",
            "/files/",
            "us-east-1",
        ),
        (
            "[fd00::1]:9000",
            "",
            "files",
            "[fd00::1]:9000",
            "/files/",
            "us-east-1",
        ),
        (
            "localhost:3900",
            "garage",
            "files",
            "localhost:3900",
            "/files/",
            "garage",
        ),
        (
            "rgw.example.org:80",
            "",
            "files",
            "rgw.example.org",
            "/files/",
            "us-east-1",
        ),
        (
            "rgw.example.org",
            "",
            "My.Files_1",
            "rgw.example.org",
            "/My.Files_1/",
            "us-east-1",
        ),
        // Cloudflare R2, Backblaze B2, Wasabi, Scaleway
        (
            "abc.r2.cloudflarestorage.com",
            "",
            "files",
            "abc.r2.cloudflarestorage.com",
            "/files/",
            "auto",
        ),
        (
            "s3.us-west-004.backblazeb2.com",
            "",
            "files",
            "s3.us-west-004.backblazeb2.com",
            "/files/",
            "us-west-004",
        ),
        (
            "s3.eu-central-1.wasabisys.com",
            "",
            "files",
            "s3.eu-central-1.wasabisys.com",
            "/files/",
            "eu-central-1",
        ),
        (
            "s3.wasabisys.com",
            "",
            "files",
            "s3.wasabisys.com",
            "/files/",
            "us-east-1",
        ),
        (
            "s3.fr-par.scw.cloud",
            "",
            "files",
            "s3.fr-par.scw.cloud",
            "/files/",
            "fr-par",
        ),
    ];
    for (host, region, bucket, header, path, signed) in table {
        let host = format!("http://{host}");
        let mut given = vec![("Host", host.as_str()), ("Bucket", bucket)];
        given.extend(Some(("Region", region)).filter(|(_, region)| !region.is_empty()));
        let expected = (
            format!("http://{header}{path}{KEY}"),
            header.to_owned(),
            signed.to_owned(),
        );
        assert_eq!(sent(&given), expected, "{given:?}");
    }
}

#[test]
fn a_style_that_is_given_holds() {
    for (host, bucket, style, header, path) in [
        (
            "http://s3.amazonaws.com",
            "files",
            "path",
            "s3.amazonaws.com",
            "/files/",
        ),
        ("http://minio:9000", "files", "virtual", "files.minio:9000", "/"),
        (
            "http://minio:9000",
            "my.files",
            "virtual",
            "my.files.minio:9000",
            "/",
        ),
        ("http://minio:9000", "Files", "virtual", "minio:9000", "/Files/"),
    ] {
        let (url, host_header, _) = sent(&[("Host", host), ("Bucket", bucket), ("AddressingStyle", style)]);
        assert_eq!(
            (url, host_header),
            (format!("http://{header}{path}{KEY}"), header.to_owned()),
            "{bucket} {style}"
        );
    }
}

#[test]
fn prefixes() {
    for (prefix, path) in [
        ("rt/", "rt/"),
        ("a b/c", "a%20b/c"),
        ("Übersicht/日本/", "%C3%9Cbersicht/%E6%97%A5%E6%9C%AC/"),
        (
            "100%/a+b=c&d?e#f'\"(x)*!~,;:@$",
            "100%25/a%2Bb%3Dc%26d%3Fe%23f%27%22%28x%29%2A%21~%2C%3B%3A%40%24",
        ),
    ] {
        let (url, ..) = sent(&[("Host", "http://minio"), ("Prefix", prefix)]);
        assert_eq!(url, format!("http://minio/files/{path}{KEY}"));
    }
}
