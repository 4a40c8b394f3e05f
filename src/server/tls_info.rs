//! Facts about a client that its TLS handshake has told.

use std::sync::Arc;

use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

/// The facts that the TLS handshake has told, as a request extension that [`Server`](crate::Server) sets on each request over
/// TLS.
///
/// [`on_upgrade`](crate::Handler::on_upgrade) finds it in
/// [`extensions`](crate::UpgradeRequest::extensions), other services in the request. Clones share
/// one block of memory, which goes when the last of them does; a connection does not keep it.
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
pub struct TlsInfo(Arc<Told>);

#[derive(Debug)]
struct Told {
    server_name: Option<Box<str>>,
    peer_certificates: Box<[CertificateDer<'static>]>,
}

impl TlsInfo {
    pub(super) fn of(session: &ServerConnection) -> Self {
        let certificates = session.peer_certificates().unwrap_or_default();
        Self(Arc::new(Told {
            server_name: session.server_name().map(Into::into),
            peer_certificates: certificates.iter().map(|one| one.clone().into_owned()).collect(),
        }))
    }

    /// The name by which the client called the server (SNI), in lower case. `None` if it named none, as clients do
    /// that connect to an IP address.
    ///
    /// The client chose it: it need be none of this server's, and need not be the `Host` of the request.
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// The certificates of the client, its own first, as the client sent them. Empty without client
    /// authentication, and if the client sent none.
    ///
    /// The verifier of the [`rustls::ServerConfig`] has accepted them: see
    /// [`Server::tls_config`](crate::Server::tls_config).
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.peer_certificates
    }
}
