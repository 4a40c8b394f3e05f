//! The facts about a client from its TLS handshake.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use roomcast::{Handler, Hub, Raw, RawMessage, Reject, TlsInfo, UpgradeRequest};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Files;
use support::{Client, Listening, bind, within};

/// Passes the TLS info of each request to the test.
struct Witness(mpsc::UnboundedSender<Option<TlsInfo>>);

impl Handler<RawMessage> for Witness {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        let info = request.extensions().get().cloned();
        self.0.send(info).expect("the test listens");
        Ok(())
    }
}

/// The certificate of a client, and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["client".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        Self { certificate: cert.into(), key }
    }
}

fn roots(certificate: &CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    roots
}

/// A configuration that accepts clients with and without a certificate.
fn config(files: &Files, client: &Identity) -> Arc<ServerConfig> {
    let tls = files.load().expect("good files");
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(roots(&client.certificate));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .allow_unauthenticated()
        .build()
        .expect("a verifier");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(tls.config().cert_resolver.clone());
    Arc::new(config)
}

async fn shake_hands(
    files: &Files,
    stream: TcpStream,
    identity: Option<&Identity>,
) -> TlsStream<TcpStream> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .with_root_certificates(roots(&files.certificate));
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(Identity { certificate, key }) => config
            .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
            .expect("certificate and key match"),
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    within("TLS", connected).await.expect("trusted")
}

#[tokio::test]
async fn request_has_the_server_name_and_the_client_certificates() {
    let (files, identity) = (Files::new("info"), Identity::new());
    let hub: Hub<RawMessage> = Hub::with_codec(Raw).build().expect("a hub");
    let (sender, mut seen) = mpsc::unbounded_channel();
    let server = bind().await.tls_config(&config(&files, &identity));
    let server = server.route("/ws", hub.handle(Witness(sender))).expect("a free path");
    let server = Listening::run(server);
    for shown in [Some(&identity), None] {
        let stream = TcpStream::connect(server.addr).await.expect("the server listens");
        let stream = shake_hands(&files, stream, shown).await;
        let _client = Client::over(stream, "/ws").await.expect("a handshake");
        let info = seen.recv().await.expect("a request").expect("the request came over TLS");
        assert_eq!(info.server_name(), Some("localhost"));
        let expected: Vec<_> = shown.map(|shown| shown.certificate.clone()).into_iter().collect();
        assert_eq!(info.peer_certificates(), expected);
    }
}

#[tokio::test]
async fn request_without_tls_has_no_info() {
    let hub: Hub<RawMessage> = Hub::with_codec(Raw).build().expect("a hub");
    let (sender, mut seen) = mpsc::unbounded_channel();
    let server = bind().await.route("/ws", hub.handle(Witness(sender))).expect("a free path");
    let server = Listening::run(server);
    let _client = Client::connect(server.addr, "/ws").await;
    assert!(seen.recv().await.expect("a request").is_none());
}
