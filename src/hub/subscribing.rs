//! [`Conn::join_subscribed`]: joining a room, and waiting for the subscription of the node.

use futures_util::FutureExt;

use super::{Conn, Hub, events};
use crate::backplane::Bridge;
use crate::engine::JoinError;
use crate::runtime::deadline::timeout;
use crate::runtime::shield::shielded;

impl<Out: 'static, In: Send + 'static> Conn<Out, In> {
    /// Joins a room as [`join`](Self::join) does, and then waits until the backplane has
    /// acknowledged the subscription of this node to the room.
    ///
    /// - `true`: this node now receives all messages of other nodes to the room. Without a
    ///   backplane, the call returns `true` at once.
    /// - `false`: [`subscribe_timeout`](crate::Builder::subscribe_timeout) is over, such as while
    ///   the backplane is down, or the hub is closing.
    ///
    /// The connection is a member in both cases. It gets the messages of its own node at once, and
    /// the messages of other nodes as soon as this node has subscribed.
    /// [`Stats::subscribe_timeouts`](crate::Stats::subscribe_timeouts) counts the calls that timed
    /// out.
    ///
    /// # Errors
    /// As `join`, and [`JoinError::Closed`] if the connection ends while the call waits.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, the connection may or may not have joined.
    pub async fn join_subscribed(&self, room: &str) -> Result<bool, JoinError> {
        self.join(room).await?;
        let Some(bridge) = &self.hub().inner.bridge else { return Ok(true) };
        if bridge.subscribed_to(room).now_or_never().is_some() {
            return Ok(true);
        }
        Box::pin(self.subscribed(bridge, room)).await
    }

    async fn subscribed(&self, bridge: &Bridge, room: &str) -> Result<bool, JoinError> {
        let hub = self.hub();
        let waiting = async {
            tokio::select! {
                biased;
                () = bridge.subscribed_to(room) => Ok(true),
                () = self.wait_until(|| false) => Err(JoinError::Closed),
                () = hub.when(|| hub.is_closing()) => Ok(false),
            }
        };
        let waited = shielded(timeout(hub.inner.subscribe_timeout, waiting)).await;
        waited.unwrap_or_else(|_| {
            hub.counters().subscribe_timeouts.add(1);
            hub.warn_unsubscribed();
            Ok(false)
        })
    }
}

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    fn warn_unsubscribed(&self) {
        if let Some(times) = self.inner.warnings.unsubscribed.add() {
            events::not_subscribed(self.name(), self.inner.subscribe_timeout, times);
        }
    }
}
