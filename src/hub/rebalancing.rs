//! Some clients are asked to come back elsewhere.

use std::sync::Arc;
use std::time::Duration;

use super::shutdown::WINDOW_MAX;
use super::{Hub, events};
use crate::engine::{Close, CloseCode, Closing, Shedding};

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// Asks a share of the clients of this node to come back elsewhere, spread over a window of time, and
    /// returns how many were asked when that is over.
    ///
    /// For a node that has more than its part, as after a rolling restart: the first node that is back gets
    /// most of the clients, and the last one few. It suits a balancer that chooses the node with the fewest
    /// connections; with one that takes the nodes in turns, some of the clients come back to this one.
    ///
    /// The clients are chosen by chance among those that are connected now. `share` is a part of them, from
    /// 0 to 1; a value outside counts as the nearer bound, and NaN as 0. Each shard rounds its part up or down
    /// by chance. `window` is at most a day; zero asks all at once. A client that is asked gets what was sent
    /// to it, and then a close frame with 1001 and `retry-after-ms` of at most 500. Its `on_disconnect` is
    /// told [`DisconnectReason::Shed`](crate::DisconnectReason::Shed), and
    /// [`Stats::shed`](crate::Stats::shed) counts it. New clients are let in, and stay.
    ///
    /// A second call, or a [`shutdown`](Self::shutdown), stops the first one, which then returns how many it had
    /// asked. While a hub shuts down, and when it is closed,
    /// `shed` asks nobody and returns 0. A shard that is gone counts as 0.
    ///
    /// Cost: one step per connection of this node when it begins, and one write per client that is asked.
    ///
    /// # Cancel safety
    /// When the future is dropped, clients go on being asked.
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
