//! Compressed messages to clients: a room that shares a window, and what stays plain.

use roomcast::{Compression, Conn, Hub, Local, Raw, RawMessage, Target, Uncompressed};
use support::{RSV1, RawClient, Recorded, TEXT};
use zlib_rs::{Inflate, InflateFlush, Status};

/// A client that inflates what it gets.
struct Inflating {
    client: RawClient,
    inflate: Inflate,
}

impl Inflating {
    /// Connects with these offers, and joins the room `r`.
    async fn connect(server: &mut Recorded<RawMessage>, offers: &str) -> (Self, Conn<RawMessage>) {
        let mut client = RawClient::open(server.server.addr).await;
        let request = support::upgrade_request("/ws");
        let (head, end) = request.split_at(request.len() - 2);
        let offers = format!("Sec-WebSocket-Extensions: {offers}\r\n");
        client.send(format!("{head}{offers}{end}").as_bytes()).await;
        let head = client.read_head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let conn = server.events.open().await;
        conn.join("r").await.unwrap();
        (Self { client, inflate: Inflate::new(false, 15) }, conn)
    }

    /// The next message, and whether it came compressed.
    async fn next(&mut self) -> (String, bool) {
        let (first, payload) = self.client.read_frame().await.expect("a message");
        assert_eq!(first & !RSV1, TEXT);
        let is_compressed = first & RSV1 != 0;
        let payload = if is_compressed { self.inflated(&payload) } else { payload };
        (String::from_utf8(payload).unwrap(), is_compressed)
    }

    fn inflated(&mut self, payload: &[u8]) -> Vec<u8> {
        let input = [payload, &[0, 0, 0xFF, 0xFF]].concat();
        let mut output = vec![0; 1 << 16];
        let start = self.inflate.total_out();
        let status = self.inflate.decompress(&input, &mut output, InflateFlush::SyncFlush);
        assert_eq!(status, Ok(Status::Ok));
        output.truncate((self.inflate.total_out() - start) as usize);
        output
    }
}

const OFFER: &str = "permessage-deflate; client_max_window_bits";

fn news(number: usize) -> String {
    format!(
        r#"{{"type":"news","number":{number},"text":"the {number}th text for the whole room"}}"#
    )
}

async fn serve(compression: Compression) -> Recorded<RawMessage> {
    let hub = Hub::with_codec(Raw).shards(1).compression(compression.min_recipients(1));
    Recorded::serve(hub.build().unwrap()).await
}

async fn publish(hub: &Hub<RawMessage>, text: String) {
    hub.to_room("r", &RawMessage::Text(text)).await.unwrap();
}

#[tokio::test]
async fn all_members_of_a_room_read_what_was_compressed_once() {
    let mut server = serve(Compression::shared()).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Inflating::connect(&mut server, OFFER).await.0);
    }
    for number in 0..100 {
        publish(&server.hub, news(number)).await;
    }
    for member in &mut members {
        for number in 0..100 {
            assert_eq!(member.next().await, (news(number), true));
        }
    }
    let stats = server.hub.stats();
    let ratio = stats.compressed_bytes_after as f64 / stats.compressed_bytes_before as f64;
    assert!(ratio < 0.3, "{ratio}");
    assert_eq!((stats.key_frames, stats.compressors, stats.out_of_step), (1, 1, 0));
    assert_eq!(stats.deliveries, 300);
}

#[tokio::test]
async fn clients_of_all_kinds_share_a_room() {
    let mut server = serve(Compression::shared()).await;
    let mut members = Vec::new();
    for offer in [
        OFFER,
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9",
        "x-other",
    ] {
        members.push(Inflating::connect(&mut server, offer).await.0);
    }
    let mut late = None;
    for number in 0..30 {
        if number == 10 {
            late = Some(Inflating::connect(&mut server, OFFER).await.0);
        }
        publish(&server.hub, news(number)).await;
    }
    for (kind, member) in members.iter_mut().enumerate() {
        if kind == 1 {
            // Each message stands alone.
            for number in 0..30 {
                member.inflate.reset(false);
                assert_eq!(member.next().await.0, news(number));
            }
            continue;
        }
        for number in 0..30 {
            let (text, is_compressed) = member.next().await;
            assert_eq!((text, is_compressed), (news(number), kind != 3));
        }
    }
    let mut late = late.unwrap();
    for number in 10..30 {
        assert_eq!(late.next().await.0, news(number));
    }
}

#[tokio::test]
async fn direct_messages_are_plain_unless_the_hub_says_otherwise() {
    for (is_direct, compression) in [(false, Compression::once()), (true, Compression::once())] {
        let mut server = serve(compression.direct(is_direct)).await;
        let (mut client, conn) = Inflating::connect(&mut server, OFFER).await;
        conn.send(&RawMessage::Text(news(1))).await.unwrap();
        assert_eq!(client.next().await, (news(1), is_direct));
        server.hub.publish(&Target::conn(conn.id()), &RawMessage::Text(news(2))).await.unwrap();
        assert_eq!(client.next().await, (news(2), is_direct));
    }
}

#[tokio::test]
async fn uncompressed_message_stays_plain_on_every_node() {
    let bus = Local::new();
    let node = || {
        let hub = Hub::with_codec(Raw).shards(1).backplane(bus.clone(), "test");
        hub.compression(Compression::shared().min_recipients(1)).build().unwrap()
    };
    let (mut here, mut there) = (Recorded::serve(node()).await, Recorded::serve(node()).await);
    let (mut near, _conn) = Inflating::connect(&mut here, OFFER).await;
    let (mut far, conn) = Inflating::connect(&mut there, OFFER).await;
    conn.join_subscribed("r").await.unwrap();
    let secret = RawMessage::Text(news(2));
    publish(&here.hub, news(1)).await;
    here.hub.to_room("r", &Uncompressed(&secret)).await.unwrap();
    publish(&here.hub, news(3)).await;
    let encoded = here.hub.encode(&RawMessage::Text(news(4))).unwrap().uncompressed();
    here.hub.publish_encoded(&Target::room("r"), &encoded).await.unwrap();
    for client in [&mut near, &mut far] {
        for (number, is_compressed) in [(1, true), (2, false), (3, true), (4, false)] {
            assert_eq!(client.next().await, (news(number), is_compressed));
        }
    }
}

#[tokio::test]
async fn settings_out_of_range_do_not_build() {
    for compression in [
        Compression::once().window_bits(8),
        Compression::once().window_bits(16),
        Compression::shared().max_memory(0),
    ] {
        let built = Hub::<RawMessage>::with_codec(Raw).compression(compression).build();
        let error = built.expect_err("out of range").to_string();
        assert!(error.contains("Compression::"), "{error}");
    }
}
