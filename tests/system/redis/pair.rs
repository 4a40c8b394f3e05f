//! Two nodes with a client on each, and the count of the messages from one node to the other.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use roomcast::{BackplaneError, BackplaneHealth, BackplaneState, Builder, Conn, Hub};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::feed::{Feed, Numbered, ROOM};
use support::{Client, DEADLINE, Recorded, eventually, within};

/// The channel of all hubs.
pub(crate) const CHANNEL: &str = "chat";

/// The name of the common channel at the server.
pub(crate) const COMMON: &str = "roomcast:chat:all";

/// The time in which a node notices a fault: a probe every 4.5 seconds, two seconds for its answer, and
/// half a second for a busy machine.
pub(crate) const NOTICED: Duration = Duration::from_secs(7);

/// The settings of a node. The send queues are large, so that only the backplane can lose messages.
pub(crate) fn node(url: &str) -> Builder<Numbered> {
    let builder = Hub::builder().shards(2).send_buffer(65_536).send_buffer_bytes(256 << 20);
    builder.redis(url, CHANNEL)
}

pub(crate) fn health<T: Send + 'static>(hub: &Hub<T>) -> BackplaneHealth {
    hub.backplane_health().expect("the hub has a backplane")
}

pub(crate) fn is_up<T: Send + 'static>(hub: &Hub<T>) -> bool {
    health(hub).state == BackplaneState::Up
}

/// Whether the backplane of a hub is down now, for this reason.
pub(crate) fn is_down_by(
    hub: &Hub<Numbered>,
    is_reason: impl FnOnce(&BackplaneError) -> bool,
) -> bool {
    hub.backplane_err().is_some_and(|error| is_reason(&error))
}

/// A client in the room that records the numbers of its messages.
pub(crate) struct Reader {
    numbers: Arc<Mutex<Vec<u64>>>,
    task: JoinHandle<()>,
}

impl Reader {
    pub(crate) fn new(client: Client) -> Self {
        let numbers = Arc::new(Mutex::new(Vec::new()));
        Self { numbers: numbers.clone(), task: tokio::spawn(read(client, numbers)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.lock().expect("the reader has not panicked").len()
    }

    /// Whether this number or a higher number has come.
    pub(crate) fn has_reached(&self, number: u64) -> bool {
        let numbers = self.numbers.lock().expect("the reader has not panicked");
        numbers.last().is_some_and(|last| *last >= number)
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.numbers.lock().expect("the reader has not panicked").clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(mut client: Client, numbers: Arc<Mutex<Vec<u64>>>) {
    while let Some(message) = client.0.next().await {
        let Message::Text(text) = message.expect("the connection does not break") else { continue };
        let message: Numbered = serde_json::from_str(&text).expect("what was published is JSON");
        numbers.lock().expect("the test has not panicked").push(message.number);
    }
}

/// Two nodes: `a`, which publishes, with the client `local`, and `b` with the client `remote`.
pub(crate) struct Pair {
    pub(crate) a: Recorded<Numbered>,
    pub(crate) b: Recorded<Numbered>,
    pub(crate) local: Reader,
    pub(crate) remote: Reader,
    remote_conn: Conn<Numbered>,
}

impl Pair {
    /// Serves two hubs; they need not reach each other.
    pub(crate) async fn start(a: Hub<Numbered>, b: Hub<Numbered>) -> (Self, Feed) {
        let feed = Feed::new(a.clone());
        let (mut a, mut b) = (Recorded::serve(a).await, Recorded::serve(b).await);
        let (local, local_conn) = a.connect().await;
        let (remote, remote_conn) = b.connect().await;
        local_conn.try_join(ROOM).expect("the room is new");
        remote_conn.try_join(ROOM).expect("the room is new");
        let (local, remote) = (Reader::new(local), Reader::new(remote));
        (Self { a, b, local, remote, remote_conn }, feed)
    }

    /// Serves two hubs, and waits until a first message has reached the other hub: the count of lost
    /// messages begins there.
    pub(crate) async fn linked(a: Hub<Numbered>, b: Hub<Numbered>) -> (Self, Feed) {
        let (pair, mut feed) = Self::start(a, b).await;
        eventually("both nodes are up", || is_up(&pair.a.hub) && is_up(&pair.b.hub)).await;
        let joined = pair.remote_conn.join_subscribed(ROOM);
        within("a subscription", joined).await.expect("the connection is open");
        feed.publish();
        eventually("the first message arrives", || pair.remote.len() == 1).await;
        (pair, feed)
    }

    /// Feeds until a message that is published from now on has arrived at the other node.
    pub(crate) async fn flow(&self, feed: &mut Feed) {
        self.flow_within(DEADLINE, feed).await;
    }

    /// Feeds until a message that is published from now on has arrived at the other node, in time.
    pub(crate) async fn flow_within(&self, limit: Duration, feed: &mut Feed) {
        let next = feed.published;
        feed.run_until_within(limit, "messages flow", || self.remote.has_reached(next)).await;
    }

    /// Waits until each message is accounted for: delivered at `b` once and in order, dropped by
    /// `a`, or lost by `b`. Checks that `a` has delivered each message to its own client.
    pub(crate) async fn account_for(&self, feed: &mut Feed) {
        // Twice, because a sum that grows too far is right for a moment.
        for _ in 0..2 {
            feed.publish();
            eventually("each message is accounted for", || self.accounted() >= feed.published)
                .await;
            assert_eq!(self.accounted(), feed.published, "{self:?}");
        }
        let all = feed.published as usize;
        eventually("local members got everything", || self.local.len() >= all).await;
        assert!(self.local.numbers().into_iter().eq(0..feed.published), "in order, and once");
        let remote = self.remote.numbers();
        assert!(remote.is_sorted_by(|one, next| one < next), "in order, and once");
    }

    fn accounted(&self) -> u64 {
        let delivered = self.remote.len() as u64;
        delivered + health(&self.a.hub).dropped + health(&self.b.hub).lost
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("a", &self.a.hub.backplane_health())
            .field("b", &self.b.hub.backplane_health())
            .field("local", &self.local.len())
            .field("remote", &self.remote.len())
            .finish_non_exhaustive()
    }
}
