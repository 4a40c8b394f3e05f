//! [`Hub::shed`]: asks some clients to reconnect to other nodes.

use std::sync::Arc;
use std::time::Duration;

use super::shutdown::WINDOW_MAX;
use super::{Hub, events};
use crate::engine::{Close, CloseCode, Closing, Shedding};

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Asks a share of this node's clients to reconnect to other nodes, spread over a window of
    /// time. Returns the number of clients that were asked, when the window is over.
    ///
    /// Use it for a node that has too many of the clients, such as after a rolling restart: the
    /// first node that is back gets most of the clients, and the last node few. It suits a balancer
    /// that chooses the node with the fewest connections. With a round-robin balancer, some of the
    /// clients come back to this node.
    ///
    /// The clients are chosen at random among those that are connected now. `share` is the part of
    /// them, from 0 to 1; a value outside counts as the nearer bound, and NaN as 0. Each shard
    /// rounds its part up or down at random. `window` is at most a day; zero asks all clients at
    /// once. A client that is asked gets the messages that were sent to it, and then a close frame
    /// with 1001 and `retry-after-ms` of at most 500. Its `on_disconnect` gets
    /// [`DisconnectReason::Shed`](crate::DisconnectReason::Shed), and
    /// [`Stats::shed`](crate::Stats::shed) counts it. New clients are accepted, and are not asked.
    ///
    /// A second call, or a [`shutdown`](Self::shutdown), stops the first call, which then returns
    /// the number of clients that it has asked. While a hub shuts down, and when it is closed,
    /// `shed` asks no client and returns 0. A shard that is gone counts as 0.
    ///
    /// Cost: one step per connection of this node at the beginning, and one write per client that
    /// is asked.
    ///
    /// # Cancel safety
    /// When the future is dropped, the hub goes on asking clients.
    ///
    /// # Examples
    /// ```
    /// # async fn example(hub: roomcast::Hub<String>) {
    /// use std::time::Duration;
    ///
    /// // 200 clients on two nodes, 181 of them here.
    /// let cluster = hub.cluster();
    /// let (here, all) = (hub.count() as f64, cluster.connections() as f64);
    /// let surplus = 1.0 - all / cluster.nodes().len() as f64 / here.max(1.0);
    /// let asked = hub.shed(surplus, Duration::from_secs(10)).await;
    /// println!("{asked} clients were asked to come back elsewhere");
    /// # }
    /// ```
    pub async fn shed(&self, share: f64, window: Duration) -> usize {
        let close = Close::new(CloseCode::GOING_AWAY, "too many clients here");
        let closing = Closing { close, retry_after: None, window: window.min(WINDOW_MAX) };
        let closing = Arc::new(closing.elsewhere());
        events::shedding(self.name(), share, closing.window);
        let asked = self.ask_shards(|port, reply| {
            let seed = getrandom::u64().unwrap_or_default();
            port.shed(Shedding { closing: closing.clone(), share, seed }, reply);
        });
        let asked = asked.await.into_iter().sum();
        events::shed(self.name(), asked);
        asked
    }
}
