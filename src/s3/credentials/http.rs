//! Requests to the services that give out keys: short, bounded, each on a new connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use hyper::http::header::DATE;
use hyper::http::uri::Scheme;
use hyper::{Body, Request, Uri};

use super::super::answer::AnswerBody;
use super::super::connection::{Connections, Network};
use super::super::outcome::date;
use crate::config::{Address, Config};
use crate::error::seconds;

/// Bytes of an answer.
const LARGEST_ANSWER: u64 = 64 * 1024;

/// Whom to ask, and how long to wait for each answer.
pub(super) struct Http {
    connections: Arc<Connections>,
    limit: Duration,
}

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// The time that the service has.
    pub(super) date: Option<SystemTime>,
}

impl Http {
    /// Never through a proxy.
    pub(super) fn direct(limit: Duration) -> Self {
        Http {
            connections: Arc::new(Connections::direct()),
            limit,
        }
    }

    /// As the server itself is reached.
    pub(super) fn configured(config: &Config, limit: Duration) -> Self {
        Http {
            connections: Arc::new(Connections::new(config, &Network::default())),
            limit,
        }
    }

    /// Asks once. An error says what failed, without what was sent.
    pub(super) async fn send(
        &self,
        method: &str,
        address: &Address,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, String> {
        match tokio::time::timeout(self.limit, self.exchange(method, address, headers, body)).await {
            Ok(result) => result,
            Err(_) => Err(format!(
                "no answer from {} within {}",
                address.authority,
                seconds(self.limit)
            )),
        }
    }

    async fn exchange(
        &self,
        method: &str,
        address: &Address,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, String> {
        // Through a proxy, where it does not just open a tunnel, goes the whole URL.
        let target = match self.connections.asks_proxy(address) {
            true => address.url(),
            false => address.path.clone(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", &address.authority)
            .header("content-length", body.len());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|_| "a request that HTTP does not allow".to_owned())?;
        let broken =
            |error: &dyn std::fmt::Display| format!("the connection to {} broke: {error}", address.authority);
        let mut live = self
            .connections
            .take(address, true, self.limit)
            .await
            .map_err(|failure| failure.text)?;
        let answer = live.send(request).await.map_err(|error| broken(&error))?;
        let status = answer.status().as_u16();
        let date = answer
            .headers()
            .get(DATE)
            .and_then(|value| date(value.to_str().ok()?));
        let owner = (live, address.authority.clone());
        let mut pieces = AnswerBody::new(answer.into_body(), LARGEST_ANSWER, owner, &self.connections);
        let mut body = Vec::new();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(|error| broken(&error))?);
        }
        Ok(Answer {
            status,
            body,
            date: date.map(SystemTime::from),
        })
    }
}

/// The address that a URL names; an error says what is wrong with it.
pub(super) fn address(url: &str) -> Result<Address, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
    let https = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err("it is no URL with http:// or https://"),
    };
    let authority = uri.authority().ok_or("it names no host")?;
    if authority.as_str().contains('@') {
        return Err("it has a user name or password in it");
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Address {
        https,
        host: authority.host().trim_matches(['[', ']']).to_owned(),
        port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
        authority: authority.as_str().to_owned(),
        path: path.to_owned(),
    })
}
