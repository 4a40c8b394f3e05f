//! A server that ends while many messages wait for a client: all of them arrive, and then the close code.

use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, interval};
use tokio_tungstenite::tungstenite::Message;

use super::member::{End, Heard, Listening, connect};
use super::publisher::{Flow, Publisher};
use super::stage::Stage;
use support::network::Profile;
use support::scene::server::DEADLINE;

/// 900 kB at once: less than the send queue holds. The kernel buffers more than the client reads in a
/// second, and a reset would discard it if the server's socket ended before the client.
const FLOW: Flow = Flow { lines: 220, bytes: 4_096, over: Duration::from_millis(220) };

/// The time for a line at 300 kB a second.
const PACE: Duration = Duration::from_micros(13_653);

/// The client pings, as many clients do: a ping that arrives after the socket's end causes a reset.
const PING_EVERY: Duration = Duration::from_millis(500);

/// A slow client.
#[derive(Debug, Clone, Copy)]
struct Reader {
    pace: Duration,
    receive_buffer: Option<u32>,
}

async fn read_and_ping(mut client: support::scene::crowd::Client, listening: Listening) -> Heard {
    let (mut sink, mut stream) = (&mut client).split();
    let pinging = async {
        let mut due = interval(PING_EVERY);
        loop {
            due.tick().await;
            if sink.send(Message::Ping("far".into())).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        heard = listening.hear(&mut stream) => heard,
        () = pinging => unreachable!("it never ends"),
    }
}

async fn close(stage: Stage, reader: Reader) -> (Heard, Duration) {
    let began = Instant::now();
    let all = Listening::to(FLOW.lines, began, began + DEADLINE);
    let slow = Listening { pace: reader.pace, until_end: true, ..all };
    let addr = stage.addr();
    let member = stage.network.clients.spawn(async move {
        let client = connect(addr, 0, reader.receive_buffer).await;
        read_and_ping(client, slow).await
    });
    stage.joined(1).await;
    let publisher = Publisher::enter(stage.server.addr(), all).await;
    stage.joined(2).await;
    let heard = publisher.say(FLOW).await;
    assert_eq!(heard.end, End::Complete, "the hub has accepted all lines");
    let told = Instant::now();
    let killed = Command::new("kill").arg(stage.server.pid().to_string()).status();
    assert!(killed.expect("the system has kill").success());
    let heard = member.await.expect("a member does not panic");
    let took = heard.end_at - told;
    (heard, took)
}

fn play(link: Profile, reader: Reader) {
    let Some((heard, took)) = Stage::play(&[link], move |stage| close(stage, reader)) else {
        return;
    };
    println!(
        "the server ends behind {} lines of {} B: {} came, then {}, {took:.2?} after the signal",
        FLOW.lines, FLOW.bytes, heard.lines, heard.end
    );
    assert_eq!(heard.lines, FLOW.lines as u64, "all lines from before the end arrive");
    assert!(heard.in_order);
    // 1012: service restart; 1001: going away.
    assert!([End::Closed(1_012), End::Closed(1_001)].contains(&heard.end), "{:?}", heard.end);
}

#[test]
fn slow_reader_gets_all_messages_and_the_close_code_of_an_ending_server() {
    let link = Profile::new(Duration::from_millis(50), 100_000_000);
    play(link, Reader { pace: PACE, receive_buffer: Some(128 * 1024) });
}

/// The link has a queue of more than a second, as many links do.
#[test]
fn client_on_a_thin_link_gets_all_messages_and_the_close_code_of_an_ending_server() {
    let link = Profile::new(Duration::from_millis(50), 2_400_000);
    let link = Profile { queue_bytes: 400_000, ..link };
    play(link, Reader { pace: Duration::ZERO, receive_buffer: None });
}
