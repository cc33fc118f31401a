//! The command line.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// Shown after a mistake.
pub const USAGE: &str = "\
usage: s3server --root DIR --log FILE --tls DIR [--faults FILE] [--rights FILE] [--key ID:SECRET]...
                [--no-list-key ID:SECRET]... [--session-token ID:TOKEN]... [--public-bucket NAME]...
                [--http-port N] [--https-port N] [--region NAME] [--owner ID] [--encryption yes|no] [--nagle yes|no]";

/// What the command line says.
#[derive(Default)]
pub struct Args {
    /// Buckets are directories in here, objects files in them.
    pub root: PathBuf,
    /// JSON lines are appended to this file.
    pub log: PathBuf,
    /// The certificate authority is written here.
    pub tls: PathBuf,
    /// Fault rules, JSON lines, read anew for each request.
    pub faults: Option<PathBuf>,
    /// More keys and public buckets, JSON lines, read anew for each request.
    pub rights: Option<PathBuf>,
    /// Secret by access key id.
    pub keys: HashMap<String, String>,
    /// Access keys without the ListBucket right.
    pub no_list: HashSet<String>,
    /// Session token by access key id.
    pub tokens: HashMap<String, String>,
    /// Buckets whose objects anyone may read.
    pub public: HashSet<String>,
    /// 0: any free port.
    pub http_port: u16,
    /// 0: any free port.
    pub https_port: u16,
    /// The region that requests must be signed for; none: any.
    pub region: Option<String>,
    /// The account that `x-amz-expected-bucket-owner` must name; none: any.
    pub owner: Option<String>,
    /// PUT with `x-amz-server-side-encryption` is answered with it.
    pub encryption: bool,
    /// Whether answers are sent with Nagle's algorithm, as many servers do that know of no other way.
    pub nagle: bool,
}

impl Args {
    /// Reads the arguments; the error is a line for the user.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self::default();
        while let Some(option) = words.next() {
            let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--root" => args.root = value.into(),
                "--log" => args.log = value.into(),
                "--tls" => args.tls = value.into(),
                "--faults" => args.faults = Some(value.into()),
                "--rights" => args.rights = Some(value.into()),
                "--key" => args.keys.extend([pair(&option, &value)?]),
                "--no-list-key" => {
                    let (id, secret) = pair(&option, &value)?;
                    args.no_list.insert(id.clone());
                    args.keys.insert(id, secret);
                }
                "--session-token" => args.tokens.extend([pair(&option, &value)?]),
                "--public-bucket" => _ = args.public.insert(value),
                "--http-port" => args.http_port = port(&option, &value)?,
                "--https-port" => args.https_port = port(&option, &value)?,
                "--region" => args.region = Some(value),
                "--owner" => args.owner = Some(value),
                "--encryption" => args.encryption = value == "yes",
                "--nagle" => args.nagle = value == "yes",
                _ => return Err(format!("unknown option {option}")),
            }
        }
        for (option, path) in [("--root", &args.root), ("--log", &args.log), ("--tls", &args.tls)] {
            if path.as_os_str().is_empty() {
                return Err(format!("{option} is missing"));
            }
        }
        Ok(args)
    }
}

fn pair(option: &str, value: &str) -> Result<(String, String), String> {
    match value.split_once(':') {
        Some((id, rest)) if !id.is_empty() && !rest.is_empty() => Ok((id.into(), rest.into())),
        _ => Err(format!("{option} wants two words joined by a colon")),
    }
}

fn port(option: &str, value: &str) -> Result<u16, String> {
    value.parse().map_err(|_| format!("{option} wants a port number"))
}
