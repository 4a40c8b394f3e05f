//! Compressed messages over all kinds of streams: TLS, axum and Unix sockets, with a client of yawc.

mod claim;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use roomcast::{Server, Tls};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use support::folder::Folder;
use support::servers::Authority;
use support::{Recorded, Recorder, bind, within};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use claim::{hub, messages_are_compressed_both_ways};

#[tokio::test]
async fn messages_are_compressed_over_tcp() {
    let Recorded { hub, mut events, server } = Recorded::serve(hub()).await;
    let stream = TcpStream::connect(server.addr).await.expect("the server listens");
    messages_are_compressed_both_ways(stream, &hub, &mut events).await;
}

#[tokio::test]
async fn messages_are_compressed_over_tls() {
    let authority = Authority::new("authority of the test");
    let certificate = authority.sign();
    let tls = Tls::from_pem_files(certificate.path(), certificate.key_path()).expect("good files");
    let Recorded { hub, mut events, server } = Recorded::serve_on(bind().await.tls(&tls), hub());
    let stream = TcpStream::connect(server.addr).await.expect("the server listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let handshake = connector(&authority).connect(name, stream);
    let stream = within("TLS", handshake).await.expect("the certificate is trusted");
    messages_are_compressed_both_ways(stream, &hub, &mut events).await;
}

/// A client that trusts the authority.
fn connector(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(&authority.pem()).expect("a certificate");
    roots.add(certificate).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of the provider")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn messages_are_compressed_in_axum() {
    let hub = hub();
    let (recorder, mut events) = Recorder::new();
    let app = Router::new().route("/ws", get(hub.handle(recorder)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("the listener is bound");
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let stream = TcpStream::connect(addr).await.expect("the server listens");
    messages_are_compressed_both_ways(stream, &hub, &mut events).await;
    server.abort();
}

#[tokio::test]
async fn messages_are_compressed_over_a_unix_socket() {
    let folder = Folder::new();
    let path = folder.path().join("chat.sock");
    let hub = hub();
    let (recorder, mut events) = Recorder::new();
    let server = Server::bind_unix(&path).await.expect("a new socket");
    let server = server.route("/ws", hub.handle(recorder)).expect("a free path");
    let server = tokio::spawn(server.run());
    let stream = UnixStream::connect(&path).await.expect("the server listens");
    messages_are_compressed_both_ways(stream, &hub, &mut events).await;
    server.abort();
}
