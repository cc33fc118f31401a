//! Which direct links are given out.

use std::time::Duration;

use super::host::parse_host;
use super::options::Options;
use crate::error::quoted;

/// What SigV4 allows, in seconds.
const LONGEST: u32 = 604_800;

/// Kinds of direct link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectLink {
    /// An unsigned URL of the bucket: its policy lets anyone read.
    Public,
    /// An unsigned URL of another host, such as a CDN: scheme, name and port.
    PublicAt(String),
    /// A signed URL of the bucket, which may be private.
    Presigned {
        /// How long it lives.
        expires: Duration,
    },
}

impl DirectLink {
    /// None on a mistake: a link of another kind than the one asked for could show a document to
    /// everyone, or not at all.
    pub(super) fn parse(options: &mut Options<'_>) -> Option<Self> {
        let expires = options.whole_number("DirectLinkExpires", 1, LONGEST);
        let host = options.text("DirectLinkHost").map(parse_host);
        let problem = match (options.text("DirectLink"), host) {
            (None | Some("public"), None) => return Some(DirectLink::Public),
            (None | Some("public"), Some(Ok((https, name, port)))) => {
                let scheme = if https { "https" } else { "http" };
                let port = port.map_or(String::new(), |port| format!(":{port}"));
                return Some(DirectLink::PublicAt(format!("{scheme}://{name}{port}")));
            }
            (None | Some("public"), Some(Err(error))) => {
                error
                    .message()
                    .replacen("option Host", "option DirectLinkHost", 1)
            }
            (Some("presigned"), None) => {
                let expires = Duration::from_secs(expires.into());
                return Some(DirectLink::Presigned { expires });
            }
            (Some("presigned"), Some(_)) => {
                "option DirectLinkHost makes no sense with DirectLink 'presigned': a signature holds for one host".to_owned()
            }
            (Some(other), _) => format!(
                "option DirectLink: {} is not allowed: 'public' or 'presigned'",
                quoted(other)
            ),
        };
        options.mistake(&format!("{problem}; no direct links are given out"), false);
        None
    }
}
