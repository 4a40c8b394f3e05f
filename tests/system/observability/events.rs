//! Spans and events, as a subscriber of another crate writes them.

use std::time::Duration;

use roomcast::{
    Backplane, Close, Conn, DisconnectReason, Encoded, Handler, Hub, Local, Parcel, Publisher,
    Reject, RoomState, UpgradeRequest,
};
use tokio_tungstenite::tungstenite::Error;

use crate::log::Log;
use support::faulty::Faulty;
use support::{Client, Listening, RawClient, eventually, serve};

/// A handler that logs its own events.
struct Talkative;

impl Handler<String> for Talkative {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        match request.query("refuse") {
            Some(_) => Err(Reject::new(roomcast::StatusCode::UNAUTHORIZED)),
            None => Ok(()),
        }
    }

    async fn on_connect(&self, _: &Conn<String>) -> Result<(), Close> {
        tracing::info!("in on_connect");
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<String>, text: String) -> Result<(), Close> {
        assert_ne!(text, "panic", "as it was told to");
        tokio::task::yield_now().await;
        if text == "log" {
            tracing::info!(conn = %conn.id(), "in on_message");
        }
        conn.try_send(&text).expect("the connection is open");
        Ok(())
    }

    async fn on_disconnect(&self, _: &Conn<String>, _: &DisconnectReason) -> Result<(), Close> {
        tracing::info!("in on_disconnect");
        Ok(())
    }
}

async fn talkative() -> (Hub<String>, Listening) {
    let hub = Hub::<String>::new();
    let server = serve(hub.handle(Talkative)).await;
    (hub, server)
}

#[tokio::test]
async fn connection_events_and_handler_events_are_logged_in_the_span_of_the_connection() {
    let log = Log::new("debug");
    let (_hub, server) = talkative().await;
    let mut client = Client::connect(server.addr, "/ws").await;
    let addr = client.0.get_ref().local_addr().expect("the client is connected");
    client.send_text("\"log\"").await;
    assert_eq!(client.get::<String>().await, "log");
    client.send_text("no JSON").await;
    client.close_with(1000, "bye\nERROR forged").await;
    eventually("the end", || !log.with("in on_disconnect").is_empty()).await;

    let own = log.only("in on_message");
    let id = own.split("conn=").nth(1).expect("its field");
    let span = format!("roomcast::conn{{id={id} remote_addr={addr}}}: ");
    for (level, text) in [
        ("DEBUG", "roomcast::conn: connected"),
        ("INFO", "in on_connect"),
        ("INFO", "in on_message"),
        ("WARN", "roomcast::conn: message not decoded: `on_decode_error` can answer it"),
        (
            "DEBUG",
            r#"disconnected reason=ClosedByClient(Close { code: CloseCode(1000), reason: "bye\n"#,
        ),
        ("INFO", "in on_disconnect"),
    ] {
        let line = log.only(text);
        assert!(line.starts_with(&format!("{level} {span}")), "{line}");
    }
    assert!(log.lines().iter().all(|line| !line.starts_with("ERROR")), "{:#?}", log.lines());
}

#[tokio::test]
async fn messages_and_connections_leave_no_lines_in_a_log_of_level_info() {
    let log = Log::new("info");
    let (hub, server) = talkative().await;
    let mut client = Client::connect(server.addr, "/ws").await;
    for _ in 0..100 {
        client.send_text("\"hello\"").await;
        assert_eq!(client.get::<String>().await, "hello");
    }
    client.send_text("no JSON").await;
    client.send_text("x".repeat(100_000)).await;
    assert_eq!(client.closed().await.0, 1009);
    assert!(Client::try_connect(server.addr, "/ws?refuse").await.is_err());
    eventually("the end", || !log.with("in on_disconnect").is_empty()).await;
    let told = log.lines();
    assert_eq!(log.with("message not decoded").len(), 1, "once a second at most: {told:#?}");
    assert_eq!(told.len(), 3, "but of the handler: {told:#?}");
    let own = told.iter().filter(|line| !line.contains("message not decoded"));
    assert!({ own }.all(|line| line.starts_with("INFO roomcast::conn{id=")), "{told:#?}");

    hub.shutdown(Duration::from_secs(20)).await;
    let report = log.only("hub shut down");
    assert!(report.starts_with("INFO roomcast::hub: hub shut down hub=\""), "{report}");
    assert!(report.contains("connections=0 unfinished=0"), "{report}");
}

/// The client controls the text, and must not be able to forge lines of the log.
#[tokio::test]
async fn undecodable_message_is_logged_with_its_reason_and_a_bounded_excerpt() {
    let log = Log::new("debug");
    let (hub, server) = talkative().await;
    let mut client = Client::connect(server.addr, "/ws").await;
    let hostile = format!("{{\"\u{1b}[31m\nERROR forged \u{202e}{}", "x".repeat(60_000));
    for _ in 0..10 {
        client.send_text(&*hostile).await;
    }
    client.send_text("\"log\"").await;
    assert_eq!(client.get::<String>().await, "log", "it is served on");
    assert_eq!(hub.stats().decode_errors, 10);
    let told = log.with("message not decoded");
    assert_eq!(told.len(), 10);
    let first = &told[0];
    assert!(first.starts_with("WARN roomcast::conn{id="), "{first}");
    assert!(first.ends_with("x\""), "{first}");
    let expected =
        format!("bytes={} start=\"{{\\\"\\u{{1b}}[31m\\nERROR forged \\u{{202e}}x", hostile.len());
    assert!(first.contains(&expected), "{first}");
    assert!(first.contains(" times=1 error=\"message not decodable: "), "{first}");
    assert!(told.iter().all(|line| line.len() < 1_000), "{} bytes", first.len());
    let rest = &told[1..];
    assert!(rest.iter().filter(|line| line.starts_with("WARN")).count() <= 2, "{told:#?}");
    assert!(log.lines().iter().all(|line| !line.starts_with("ERROR")), "{:#?}", log.lines());
}

#[tokio::test]
async fn shedding_logs_the_number_of_clients() {
    let log = Log::new("info");
    let (hub, server) = talkative().await;
    let mut client = Client::connect(server.addr, "/ws").await;
    assert_eq!(hub.shed(1.0, Duration::ZERO).await, 1);
    assert_eq!(client.closed().await.0, 1_001);
    let begun = log.only("shedding");
    assert!(begun.starts_with("INFO roomcast::hub: shedding hub=\""), "{begun}");
    assert!(begun.ends_with("share=1.0 window=0ns"), "{begun}");
    assert!(log.only("asked=1").starts_with("INFO roomcast::hub: shed hub=\""));
}

#[tokio::test]
async fn panic_of_a_handler_is_an_error_in_the_span_of_its_connection() {
    let log = Log::new("info");
    let (_hub, server) = talkative().await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("\"panic\"").await;
    assert_eq!(client.closed().await.0, 1011);
    let line = log.only("handler panicked");
    assert!(line.starts_with("ERROR roomcast::conn{id="), "{line}");
    assert!(line.contains("as it was told to"), "{line}");
}

#[tokio::test]
async fn refused_handshake_is_logged_with_its_status() {
    let log = Log::new("debug");
    let (_hub, server) = talkative().await;
    let refused = Client::try_connect(server.addr, "/ws?refuse").await;
    assert!(matches!(refused, Err(Error::Http(_))));
    let line = log.only("handshake refused");
    assert!(
        line.starts_with("DEBUG roomcast::hub: handshake refused remote_addr=127.0.0.1:"),
        "{line}"
    );
    assert!(line.ends_with(r#"reason="refused by the handler" status=401"#), "{line}");
}

#[tokio::test]
async fn refused_origin_is_logged_with_the_requested_host_both_truncated() {
    let log = Log::new("debug");
    let (_hub, server) = talkative().await;
    let long = format!("https://{}.example", "x".repeat(1_000));
    for origin in ["https://evil.example", &long] {
        assert!(Client::knock(server.addr, "/ws", &[("origin", origin)]).await.is_err());
    }
    let told = log.with("origin refused");
    let host = server.addr;
    let line = &told[0];
    assert!(
        line.starts_with("DEBUG roomcast::hub: origin refused remote_addr=127.0.0.1:"),
        "{line}"
    );
    let end = format!(r#"origin="https://evil.example" host="{host}" reason="origin not allowed""#);
    assert!(line.ends_with(&end), "{line}");
    let start = &long[..256];
    assert!(told[1].contains(&format!(r#"origin="{start}" host="#)), "{}", told[1]);
}

#[tokio::test]
async fn filter_by_target_omits_the_span() {
    let log = Log::new("info,roomcast::conn=off");
    let (_hub, server) = talkative().await;
    let mut client = Client::connect(server.addr, "/ws").await;
    client.send_text("\"log\"").await;
    client.get::<String>().await;
    let line = log.only("in on_connect");
    assert!(line.starts_with("INFO observability::events: in on_connect"), "{line}");
}

#[tokio::test]
async fn each_change_of_the_backplane_is_logged_once() {
    let log = Log::new("info");
    let bus = Faulty::new();
    let hub = Hub::<String>::builder().backplane(bus.clone(), "told").build().expect("valid");
    eventually("up", || !log.with("backplane up").is_empty()).await;
    bus.set(|faults| &faults.is_away, true);
    hub.try_broadcast(&"to all".to_owned()).expect("published");
    eventually("down", || !log.with("backplane down").is_empty()).await;
    let retried = || hub.backplane_health().is_some_and(|health| health.reconnects >= 3);
    eventually("the hub retries", retried).await;
    bus.set(|faults| &faults.is_away, false);
    eventually("up again", || log.with("backplane up").len() == 2).await;
    let node = hub.node_id();
    let down = log.only("backplane down");
    assert!(
        down.starts_with(&format!("WARN roomcast::backplane: backplane down node={node}")),
        "{down}"
    );
    assert!(down.contains("as it was told to"), "{down}");
    let up = &log.with("backplane up")[0];
    assert!(up.starts_with(&format!("INFO roomcast::backplane: backplane up node={node}")), "{up}");
}

#[tokio::test]
async fn lost_messages_are_logged_as_totals() {
    let log = Log::new("warn");
    let bus = Faulty::new();
    let hub = || Hub::<String>::builder().backplane(bus.clone(), "lost").build().expect("valid");
    let (here, there) = (hub(), hub());
    let health = |hub: &Hub<String>| hub.backplane_health().expect("there is one");
    eventually("the nodes know each other", || {
        [&here, &there].iter().all(|hub| hub.cluster().nodes().len() == 2)
    })
    .await;
    // The count begins with the first message that arrives.
    here.try_broadcast(&"first".to_owned()).expect("published");
    eventually("the message has arrived", || health(&there).received == 1).await;
    for lost in 1..=30 {
        bus.set(|faults| &faults.swallows, true);
        here.try_broadcast(&"lost".to_owned()).expect("published");
        eventually("the message is swallowed", || health(&here).published == 2 * lost).await;
        bus.set(|faults| &faults.swallows, false);
        here.try_broadcast(&"not lost".to_owned()).expect("published");
        eventually("the message has arrived", || health(&there).received == 1 + lost).await;
    }
    assert_eq!(health(&there).lost, 30);
    let told = log.with("messages of other nodes lost");
    let first = format!(
        "WARN roomcast::backplane: messages of other nodes lost node={} lost=1",
        there.node_id()
    );
    assert_eq!(told.first(), Some(&first));
    assert!(told.len() < 30, "{told:#?}");
}

/// Runs in the thread of the test, because the log belongs to this thread.
fn in_a_runtime<V>(act: impl FnOnce() -> V) -> V {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    act()
}

#[test]
fn shards_whose_runtime_has_ended_are_logged_once() {
    let log = Log::new("info");
    let hub = in_a_runtime(|| Hub::<String>::builder().shards(4).build().unwrap());
    assert!(hub.is_closed());
    let line = log.only("shard gone");
    assert!(line.starts_with("ERROR roomcast::hub: shard gone shard="), "{line}");
    assert!(line.ends_with(r#"reason="its runtime has ended""#), "{line}");
}

#[test]
fn shards_that_end_with_or_after_their_hub_are_not_logged() {
    let log = Log::new("info");
    in_a_runtime(|| drop(Hub::<String>::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hub = runtime.block_on(async {
        let hub = Hub::<String>::new();
        hub.shutdown(Duration::ZERO).await;
        // The shards notice the end, and have nothing to do.
        hub.members("room").await;
        tokio::task::yield_now().await;
        hub
    });
    drop(runtime);
    assert!(hub.is_closed());
    assert_eq!(log.with("shard gone"), Vec::<String>::new());
}

#[tokio::test]
async fn panics_of_a_room_state_are_logged_at_most_once_a_second() {
    struct Panicking;

    impl RoomState for Panicking {
        fn on_publish(&self, _: &str, _: &Encoded) {
            panic!("as it was told to");
        }
    }

    let log = Log::new("info");
    let hub = Hub::<u32>::builder().room_state(Panicking).build().expect("valid");
    (0..100).for_each(|message| hub.try_to_room("r", &message).expect("the hub is idle"));
    assert_eq!(hub.stats().room_state_panics, 100);
    let told = log.with("room state panicked");
    let line = r#"ERROR roomcast::hub: room state panicked panic="as it was told to" times=1"#;
    assert_eq!(told.first().map(String::as_str), Some(line));
    assert!(told.len() < 10, "{told:#?}");
}

#[tokio::test]
async fn limits_too_low_for_the_settings_are_logged_when_the_hub_is_built() {
    let log = Log::new("debug");
    let _enough = Hub::<String>::builder().name("enough").build().expect("valid");
    let found = log.only("hub=\"enough\"");
    assert!(found.contains("roomcast::hub: memory") || found.contains("small memory"), "{found}");
    assert!(found.contains(" source=") && found.contains(" max_queued_bytes="), "{found}");
    let too_much = Hub::<String>::builder().name("too much").max_connections(usize::MAX);
    let _hub = too_much.max_queued_bytes(usize::MAX).build().expect("valid");
    for (what, remedy) in [
        ("max_connections is ", "raise RLIMIT_NOFILE"),
        ("bytes may wait", "lower max_queued_bytes"),
    ] {
        let line = log.only(what);
        assert!(line.starts_with("WARN roomcast::hub: "), "{line}");
        assert!(line.contains(remedy) && line.contains("hub=\"too much\""), "{line}");
    }
}

#[tokio::test]
async fn rejected_connection_is_logged_with_its_reason() {
    let log = Log::new("debug");
    let (_hub, server) = talkative().await;
    let mut client = RawClient::open(server.addr).await;
    let addr = client.stream.local_addr().expect("the client is connected");
    client.send(b"no request\r\n\r\n").await;
    client.ended().await;
    let line = format!("remote_addr={addr} reason=\"malformed\"");
    eventually("the error or event is reported", || !log.with(&line).is_empty()).await;
    let line = log.only("connection rejected");
    assert!(line.starts_with("DEBUG roomcast::server: connection rejected"), "{line}");
}

#[tokio::test]
async fn rejected_plain_payloads_are_logged_as_totals_by_reason_without_their_content() {
    let log = Log::new("warn");
    let bus = Local::new();
    let hub = Hub::<u32>::builder().backplane(bus.clone(), "told").plain_channel("told:in");
    let hub = hub.build().expect("valid");
    let health = || hub.backplane_health().expect("there is one");
    eventually("the hub subscribes", || health().subscriptions == 2).await;
    let mut publisher = bus.connect_publisher().await.expect("it is there");
    for _ in 0..1_000 {
        for payload in [
            r#"{"room":"r","message":1,"password":"secret"}"#,
            r#"{"room":"r","message":"secret"}"#,
            "secret\nERROR forged",
        ] {
            let parcel = Parcel { channel: "told:in".into(), payload: payload.into() };
            publisher.publish(&mut vec![parcel]).await.expect("it is there");
        }
    }
    eventually("each is counted", || health().plain_rejected() == 3_000).await;
    let told = log.with("plain messages rejected");
    for reason in [
        "the payload has a field that is not known",
        "the codec cannot decode the message",
        "the payload is not a JSON object, or nests too deep",
    ] {
        let node = hub.node_id();
        let first = format!(
            "WARN roomcast::backplane: plain messages rejected node={node} channel=\"told:in\" \
             reason={reason} rejected=1"
        );
        assert!(told.contains(&first), "{told:#?}");
    }
    assert!(told.len() < 300, "{}", told.len());
    assert!(log.lines().iter().all(|line| !line.contains("secret")), "{told:#?}");
}

#[tokio::test]
async fn garbage_payloads_are_logged_as_totals() {
    let log = Log::new("info");
    let bus = Local::new();
    let hub = Hub::<String>::builder().backplane(bus.clone(), "strangers").build().expect("valid");
    eventually("up", || !log.with("backplane up").is_empty()).await;
    let mut publisher = bus.connect_publisher().await.expect("it is there");
    let parcel =
        || Parcel { channel: "roomcast:strangers:all".into(), payload: "no envelope".into() };
    for _ in 0..3 {
        publisher.publish(&mut vec![parcel()]).await.expect("the bus takes it");
    }
    let garbage = || hub.backplane_health().is_some_and(|health| health.garbage == 3);
    eventually("all are counted", garbage).await;
    let told = log.only("payloads of strangers dropped");
    let expected = format!(
        "WARN roomcast::backplane: payloads of strangers dropped node={} payloads=1 why=Garbage",
        hub.node_id(),
    );
    assert!(told.starts_with(&expected), "{told}");
}
