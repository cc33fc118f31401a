//! Looking up names, in a thread of our own.
//!
//! getaddrinfo can't be given a time limit, so it runs in a thread that may outlive the call.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::process::spawn_without_signals;

type Name = (String, u16);
type Answer = Option<Result<Vec<SocketAddr>, String>>;

type UnderWay = HashMap<Name, watch::Receiver<Answer>>;

/// The look-ups under way in this process.
///
/// A look-up that hangs is joined by the next call that needs the same name, not repeated, so that
/// threads don't pile up during an outage.
#[derive(Clone, Default)]
pub(super) struct Resolver {
    under_way: Arc<Mutex<UnderWay>>,
}

impl Resolver {
    /// The addresses of a host, at least one.
    pub(super) async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        // RFC 6761, section 6.3; it lets virtual-host addressing work with a server on this machine.
        if host.ends_with(".localhost") {
            let loopback = [
                IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::from(Ipv6Addr::LOCALHOST),
            ];
            return Ok(loopback.map(|address| SocketAddr::new(address, port)).to_vec());
        }
        let mut answer = self.join_or_start(host, port)?;
        let answer = match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        match answer {
            Some(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Some(Err(error)) => Err(io::Error::new(io::ErrorKind::NotFound, error)),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        }
    }

    fn join_or_start(&self, host: &str, port: u16) -> io::Result<watch::Receiver<Answer>> {
        let name = (host.to_owned(), port);
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = under_way.get(&name) {
            return Ok(answer.clone());
        }
        let (send, receive) = watch::channel(None);
        let table = Arc::clone(&self.under_way);
        let wanted = name.clone();
        spawn_without_signals("rts3-lookup", move || {
            let found = (wanted.0.as_str(), wanted.1)
                .to_socket_addrs()
                .map(Iterator::collect)
                .map_err(|error| error.to_string());
            table
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&wanted);
            // Nobody may be waiting any more.
            let _ = send.send(Some(found));
        })?;
        under_way.insert(name, receive.clone());
        Ok(receive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses() {
        let resolver = Resolver::default();
        let found = resolver.lookup("localhost", 80).await.unwrap();
        assert!(
            found.iter().all(|address| address.ip().is_loopback()),
            "{found:?}"
        );
        assert_eq!(resolver.lookup("::1", 7).await.unwrap()[0].to_string(), "[::1]:7");
        assert!(resolver.lookup("no.such.host.invalid", 80).await.is_err());
        assert!(resolver.under_way.lock().unwrap().is_empty());
    }
}
