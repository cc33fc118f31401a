//! A certificate authority made at the first start, and a certificate for each name that is asked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::Error;
use crate::address::bucket_in_host;

/// Where the authority's certificate stands.
pub fn ca_path(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// An acceptor with certificates of the authority in `dir`, which is made if there is none yet: a server
/// that is started again keeps the authority its clients have already loaded.
pub fn acceptor(dir: &Path) -> Result<TlsAcceptor, Error> {
    let certificates = Certificates {
        issuer: authority(dir)?,
        known: Mutex::default(),
    };
    certificates.for_bucket(None)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn authority(dir: &Path) -> Result<Issuer<'static, KeyPair>, Error> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "rts3 test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

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
    issuer: Issuer<'static, KeyPair>,
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
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate()?;
        let certificate = params.signed_by(&pair, &self.issuer)?;
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
