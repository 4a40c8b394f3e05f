//! TLS for the server: certificates and their renewal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// A certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read, is not PEM, or does not contain a certificate or key.
    #[error("cannot use {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or their algorithm is not supported.
    #[error("certificate and key do not serve")]
    Identity(#[from] rustls::Error),
}

/// A certificate with its key, for [`Server::tls`](crate::Server::tls). Clones share the
/// certificate: a reload applies to all of them.
///
/// # Examples
/// ```no_run
/// use roomcast::{Server, Tls};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::from_pem_files("cert.pem", "key.pem")?;
/// let server = Server::bind("0.0.0.0:443").await?.tls(&tls);
/// // In a task that learns of renewed files:
/// tls.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    identity: Arc<Identity>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads a certificate chain and its private key from two PEM files. The server's own
    /// certificate is the first of the chain. The key is PKCS #8, PKCS #1 or SEC 1.
    ///
    /// The server speaks TLS 1.2 and 1.3, without client certificates. For other settings see
    /// [`Server::tls_config`](crate::Server::tls_config). Blocks while it reads the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn from_pem_files(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = (certificates.into(), key.into());
        let provider = Arc::new(ring::default_provider());
        let current = ArcSwap::new(Arc::new(read(&files.0, &files.1, &provider)?));
        let identity = Arc::new(Identity { files, current });
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(identity.clone());
        Ok(Self { identity, config: Arc::new(config) })
    }

    /// Reads the files again. Handshakes that begin after this call use the new certificate. Open
    /// connections do not change. Blocks while it reads the files.
    ///
    /// # Errors
    /// See [`TlsError`]. The former certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Identity { files, current } = &*self.identity;
        current.store(Arc::new(read(&files.0, &files.1, self.config.crypto_provider())?));
        Ok(())
    }

    /// Returns the configuration for rustls, for a TLS acceptor of your own.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

/// Makes an acceptor whose ALPN protocol is HTTP/1.1.
pub(super) fn acceptor(config: &Arc<ServerConfig>) -> TlsAcceptor {
    let mut config = ServerConfig::clone(config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// The certificate and key with which the server proves its identity.
struct Identity {
    /// The paths of the certificates and of the key.
    files: (PathBuf, PathBuf),
    current: ArcSwap<CertifiedKey>,
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(
    certificates: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let of = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(of(certificates))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(of(key))?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}
