//! The title case of header names, for clients that compare header names with their case.

use roomcast::header::{HeaderValue, WWW_AUTHENTICATE};
use roomcast::{Hub, Reject, Server, StatusCode};

use support::{Listening, RawClient, bind, eventually, upgrade_request};

async fn served(with: impl FnOnce(Server) -> Server) -> Listening {
    let hub = Hub::<u32>::new();
    let handlers = hub.handlers().on_upgrade(async |mut request| {
        request.select_protocol("chat");
        let basic = HeaderValue::from_static("Basic");
        match request.query("refuse") {
            Some(_) => {
                Err(Reject::new(StatusCode::UNAUTHORIZED).with_header(WWW_AUTHENTICATE, basic))
            }
            None => Ok(request),
        }
    });
    Listening::run(with(bind().await.route("/ws", hub.handle(handlers)).expect("a free path")))
}

/// The header names in the response to a handshake with one extra header.
async fn names(server: &Listening, path: &str, header: &str) -> Vec<String> {
    let mut client = RawClient::open(server.addr).await;
    let request = upgrade_request(path);
    let (start, end) = request.split_at(request.len() - 2);
    client.send([start, header, end].concat().as_bytes()).await;
    let head = client.read_head().await;
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut names: Vec<String> = lines.map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn header_names_are_in_title_case_when_the_setting_is_on() {
    let server = served(|server| server.title_case_headers(true)).await;
    assert_eq!(
        names(&server, "/ws", "Sec-WebSocket-Protocol: chat\r\n").await,
        ["Connection", "Date", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Upgrade"]
    );
    assert_eq!(
        names(&server, "/ws?refuse", "").await,
        ["Content-Length", "Date", "WWW-Authenticate"]
    );
    assert_eq!(
        names(&server, "/ws", "Sec-WebSocket-Version: 7\r\n").await,
        ["Connection", "Content-Length", "Date", "Sec-WebSocket-Version", "Upgrade"]
    );
}

#[tokio::test]
async fn header_names_are_in_lower_case_by_default_and_when_the_setting_is_off() {
    for server in [
        served(|server| server).await,
        served(|server| server.title_case_headers(true).title_case_headers(false)).await,
    ] {
        let names = names(&server, "/ws", "").await;
        assert_eq!(names, ["connection", "date", "sec-websocket-accept", "upgrade"]);
    }
}

#[tokio::test]
async fn refusals_before_a_request_follow_the_setting_too() {
    let server = bind().await.title_case_headers(true).max_pending(1);
    let monitor = server.monitor();
    let server = Listening::run(server);
    let _pending = RawClient::open(server.addr).await;
    eventually("it was accepted", || monitor.stats().accepted == 1).await;
    let head = RawClient::open(server.addr).await.read_head().await;
    assert!(head.contains("\r\nRetry-After: ") && head.contains("\r\nConnection: "), "{head}");
}
