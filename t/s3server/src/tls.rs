//! A certificate authority made at the first start, and a certificate for each name that is asked for.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;

use crate::Error;
use crate::address::bucket_in_host;

mod old;

/// Where the authority's certificate stands.
pub fn ca_path(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// How a listener for TLS behaves.
#[derive(Clone)]
pub enum Tls {
    /// With certificates of this authority.
    Certified(TlsAcceptor, Arc<Authority>),
    /// TLS 1.1 at most.
    Old,
    /// Says nothing.
    Silent,
}

impl Tls {
    /// With certificates of the authority in `dir`, which is made if there is none yet: a server that is
    /// started again keeps the authority its clients have already loaded.
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let tls = Self::with(Arc::new(authority(Some(dir))?), Validity::Good)?;
        Ok(tls)
    }

    /// The listeners that something is wrong with, by name.
    pub fn odd_ones(&self) -> Result<Vec<(&'static str, Self)>, Error> {
        let mut odd = vec![
            (
                "unknown_ca",
                Self::with(Arc::new(authority(None)?), Validity::Good)?,
            ),
            ("tls11", Self::Old),
            ("stall", Self::Silent),
        ];
        if let Self::Certified(_, issuer) = self {
            odd.push(("expired", Self::with(Arc::clone(issuer), Validity::Expired)?));
            odd.push(("other_name", Self::with(Arc::clone(issuer), Validity::OtherName)?));
        }
        Ok(odd)
    }

    fn with(issuer: Arc<Authority>, validity: Validity) -> Result<Self, Error> {
        let certificates = Certificates {
            issuer: Arc::clone(&issuer),
            validity,
            known: Mutex::default(),
        };
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        Ok(Self::Certified(TlsAcceptor::from(Arc::new(config)), issuer))
    }

    /// The handshake.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        match self {
            Self::Certified(acceptor, _) => acceptor.accept(stream).await,
            Self::Old => old::refuse(stream).await,
            Self::Silent => old::stay_silent(stream).await,
        }
    }
}

/// Signs certificates.
type Authority = Issuer<'static, KeyPair>;

/// What is wrong with certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Validity {
    Good,
    Expired,
    OtherName,
}

/// The authority in `dir`; without it one that nobody knows.
fn authority(dir: Option<&Path>) -> Result<Authority, Error> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "rts3 test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

    let Some(dir) = dir else {
        return Ok(Issuer::new(params, KeyPair::generate()?));
    };
    let (certificate, key) = (ca_path(dir), dir.join("ca.key"));
    if certificate.exists() && key.exists() {
        let pair = KeyPair::from_pem(&std::fs::read_to_string(&key)?)?;
        return Ok(Issuer::new(params, pair));
    }
    std::fs::create_dir_all(dir)?;
    let pair = KeyPair::generate()?;
    std::fs::write(&key, pair.serialize_pem())?;
    std::fs::write(&certificate, params.self_signed(&pair)?.pem())?;
    Ok(Issuer::new(params, pair))
}

/// `*.localhost` is a wildcard that OpenSSL refuses (one label only behind it), so each virtual host gets a
/// certificate of its own when it is first asked for.
struct Certificates {
    issuer: Arc<Authority>,
    validity: Validity,
    known: Mutex<HashMap<Option<String>, Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Certificates {
    fn for_bucket(&self, bucket: Option<&str>) -> Result<Arc<CertifiedKey>, Error> {
        let mut known = self.known.lock().expect("certificates");
        if let Some(certified) = known.get(&bucket.map(str::to_owned)) {
            return Ok(Arc::clone(certified));
        }
        let mut names = vec![
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "s3.test".to_owned(),
        ];
        if let Some(bucket) = bucket {
            names.extend([format!("{bucket}.localhost"), format!("{bucket}.s3.test")]);
        }
        if self.validity == Validity::OtherName {
            names = vec!["other.example".to_owned()];
        }
        let mut params = CertificateParams::new(names)?;
        if self.validity == Validity::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate()?;
        let certificate = params.signed_by(&pair, &*self.issuer)?;
        let key = PrivateKeyDer::try_from(pair.serialize_der())?;
        let certified = Arc::new(CertifiedKey::new(
            vec![certificate.der().clone()],
            ring::sign::any_supported_type(&key)?,
        ));
        known.insert(bucket.map(str::to_owned), Arc::clone(&certified));
        Ok(certified)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_bucket(hello.server_name().and_then(bucket_in_host)).ok()
    }
}
