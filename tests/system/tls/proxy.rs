//! The PROXY protocol in front of TLS.

use roomcast::{Hub, Raw, RawMessage};
use rustls::version::TLS13;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::Files;
use support::{Client, Recorded, bind, eventually};

#[tokio::test]
async fn proxy_protocol_header_precedes_the_tls_handshake() {
    let files = Files::new("proxy");
    let hub: Hub<RawMessage> = Hub::with_codec(Raw).build().expect("a hub");
    let server = bind().await.tls(&files.load().expect("good files"));
    let server = server.proxy_protocol(["127.0.0.0/8".parse().expect("a network")]);
    let monitor = server.monitor();
    let mut recorded = Recorded::serve_on(server, hub);
    let addr = recorded.server.addr;

    let mut stream = TcpStream::connect(addr).await.expect("the server listens");
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4242 443\r\n";
    stream.write_all(header).await.expect("sent");
    let stream = files.shake_hands(stream, &[&TLS13]).await.expect("trusted");
    let _client = Client::over(stream, "/ws").await.expect("a handshake");
    let conn = recorded.events.open().await;
    assert_eq!(conn.remote_addr(), "192.0.2.7:4242".parse().ok());

    assert!(files.connect(addr).await.is_err(), "without a header");
    eventually("the fault is counted", || monitor.stats().proxy_headers_malformed == 1).await;
}
