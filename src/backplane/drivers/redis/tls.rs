//! Settings of TLS for connections to Redis.

use std::fmt;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::backplane::contract::BackplaneError;

/// How connections to Redis use TLS: which servers are trusted, and which certificate this client
/// has.
///
/// Default: the certificate of the server must name its host, and must be signed by an authority
/// that the system trusts. The client has no certificate. These settings need `rediss://` URLs.
///
/// # Examples
/// ```no_run
/// use roomcast::{Hub, Redis, RedisTls};
///
/// # fn hub() -> Result<Hub<String>, Box<dyn std::error::Error>> {
/// let tls = RedisTls::new()
///     .authority(std::fs::read("ca.pem")?)
///     .client_certificate(std::fs::read("client.pem")?, std::fs::read("client-key.pem")?);
/// let redis = Redis::open("rediss://10.0.0.7")?.tls(tls)?;
/// let hub = Hub::builder().backplane(redis, "chat").build()?;
/// # Ok(hub)
/// # }
/// ```
#[derive(Clone, Default)]
pub struct RedisTls {
    authority: Option<Vec<u8>>,
    /// The chain and the private key, both PEM.
    client: Option<(Vec<u8>, Vec<u8>)>,
    accepts_invalid: bool,
}

impl RedisTls {
    /// The default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// The authorities that may sign the certificates of servers, instead of those that the system
    /// trusts: one or several PEM certificates. A self-signed certificate of a server is allowed,
    /// too.
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// The certificate of this client, for servers that ask for one. Redis does so by default
    /// (`tls-auth-clients yes`).
    ///
    /// `chain_pem` is the chain, with the client's own certificate first. `key_pem` is its private
    /// key (PKCS #8, PKCS #1 or SEC 1). Both are PEM.
    pub fn client_certificate(
        mut self,
        chain_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.client = Some((chain_pem.into(), key_pem.into()));
        self
    }

    /// Accepts any certificate without verification. An attacker on the network can then read and
    /// change everything, including the password. For tests only.
    pub fn danger_accept_invalid_certificates(mut self) -> Self {
        self.accepts_invalid = true;
        self
    }

    /// Returns the address of a server with these settings.
    ///
    /// # Errors
    /// [`BackplaneError::Settings`]: the settings can never work.
    pub(super) fn apply(&self, info: &ConnectionInfo) -> Result<ConnectionInfo, BackplaneError> {
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Err(settings("TLS is set up, but the URL is not rediss://"));
        }
        self.check()?;
        let client_tls = self
            .client
            .clone()
            .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls, root_cert: self.authority.clone() };
        let client = Client::build_with_tls(info.clone(), certificates)
            .map_err(|error| settings(format!("TLS: {error}")))?;
        let ConnectionAddr::TcpTls { host, port, tls_params, .. } =
            client.get_connection_info().addr().clone()
        else {
            unreachable!("the address was one with TLS");
        };
        let insecure = self.accepts_invalid;
        Ok(info.clone().set_addr(ConnectionAddr::TcpTls { host, port, insecure, tls_params }))
    }

    /// Validates the PEM now. The Redis client would report an error only when it connects, or
    /// would accept an empty list.
    fn check(&self) -> Result<(), BackplaneError> {
        if self.accepts_invalid && self.authority.is_some() {
            let text = "certificates are accepted without verification, so the authority has no effect: remove one of the two";
            return Err(settings(text));
        }
        if let Some(pem) = &self.authority {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem, "authority")? {
                let added = roots.add(certificate);
                added.map_err(|error| settings(format!("authority: {error}")))?;
            }
        }
        if let Some((chain, key)) = &self.client {
            let chain = certificates(chain, "client certificate")?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| settings(format!("key of the client certificate: {error}")))?;
            let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
            let config = config.with_client_auth_cert(chain, key);
            config.map_err(|error| settings(format!("client certificate and key: {error}")))?;
        }
        Ok(())
    }
}

/// The certificates of a PEM, which must have at least one.
fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, BackplaneError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(settings(format!("{what}: there is no certificate in the PEM")))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(settings(format!("{what}: {error}"))),
    }
}

fn settings(text: impl Into<String>) -> BackplaneError {
    BackplaneError::Settings(text.into())
}

/// Shows which settings are made, not the keys.
impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTls")
            .field("has_authority", &self.authority.is_some())
            .field("has_client_certificate", &self.client.is_some())
            .field("accepts_invalid_certificates", &self.accepts_invalid)
            .finish()
    }
}
