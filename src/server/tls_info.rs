//! Facts about a client from its TLS handshake.

use std::sync::Arc;

use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

/// Facts about a client from its TLS handshake. [`Server`](crate::Server) sets them as an extension
/// of each request over TLS.
///
/// [`on_upgrade`](crate::Handler::on_upgrade) finds them in
/// [`extensions`](crate::UpgradeRequest::extensions), other services in the request. Clones share
/// one block of memory, which is freed with the last clone. A connection does not keep it.
///
/// # Examples
/// ```
/// use roomcast::{Reject, StatusCode, TlsInfo, UpgradeRequest};
///
/// // In `on_upgrade`, behind a verifier that makes client certificates optional:
/// fn check(request: &UpgradeRequest) -> Result<(), Reject> {
///     let info = request.extensions().get::<TlsInfo>();
///     match info.and_then(|info| info.peer_certificates().first()) {
///         Some(_certificate) => Ok(()),
///         None => Err(Reject::new(StatusCode::FORBIDDEN).with_body("certificate required")),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct TlsInfo(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    server_name: Option<Box<str>>,
    peer_certificates: Box<[CertificateDer<'static>]>,
}

impl TlsInfo {
    pub(super) fn of(session: &ServerConnection) -> Self {
        let certificates = session.peer_certificates().unwrap_or_default();
        Self(Arc::new(Facts {
            server_name: session.server_name().map(Into::into),
            peer_certificates: certificates.iter().map(|one| one.clone().into_owned()).collect(),
        }))
    }

    /// Returns the server name that the client sent (SNI), in lower case. `None` if the client sent
    /// no name, for example because it connected to an IP address.
    ///
    /// The client chooses the name: it may differ from the names of this server, and from the
    /// `Host` of the request.
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// Returns the certificates that the client sent. The client's own certificate is the first.
    /// Empty without client authentication, or if the client sent none.
    ///
    /// The verifier of the [`rustls::ServerConfig`] has accepted the certificates: see
    /// [`Server::tls_config`](crate::Server::tls_config).
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.peer_certificates
    }
}
