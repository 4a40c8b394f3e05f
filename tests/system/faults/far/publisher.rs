//! The publisher of a room: a member on the server's machine, over loopback.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::member::{Heard, Listening};
use support::scene::crowd::{Client, connect};
use support::scene::oracle::Line;

/// Lines that are sent evenly over some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) lines: usize,
    /// The bytes of a text.
    pub(super) bytes: usize,
    pub(super) over: Duration,
}

pub(super) struct Publisher {
    sink: SplitSink<Client, Message>,
    /// The publisher's own lines, received back: when all have come, the hub has accepted all.
    heard: JoinHandle<Heard>,
    began: Instant,
}

impl Publisher {
    pub(super) async fn enter(server: SocketAddr, listening: Listening) -> Self {
        let (sink, mut stream) = connect(server, "room").await.split();
        let heard = tokio::spawn(async move { listening.hear(&mut stream).await });
        Self { sink, heard, began: listening.began }
    }

    /// Sends all lines. Returns when the publisher has also received them all.
    pub(super) async fn say(mut self, flow: Flow) -> Heard {
        let begin = Instant::now();
        let text = "x".repeat(flow.bytes);
        for seq in 0..flow.lines {
            sleep_until(begin + flow.over * seq as u32 / flow.lines as u32).await;
            let ts = self.began.elapsed().as_micros() as f64;
            let user = "room/publisher".to_owned();
            let line = Line { text: text.clone(), user, seq: seq as u64, ts };
            let line = simd_json::to_string(&line).expect("encodable");
            self.sink.send(Message::text(line)).await.expect("the publisher is connected");
        }
        self.heard.await.expect("the task does not panic")
    }
}
