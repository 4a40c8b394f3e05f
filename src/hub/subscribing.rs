//! Joining a room, and waiting until messages of other nodes to it come here.

use futures_util::FutureExt;

use super::{Conn, Hub, events};
use crate::backplane::Bridge;
use crate::engine::JoinError;
use crate::runtime::deadline::timeout;
use crate::runtime::shield::shielded;

impl<Out: 'static, In: Send + 'static> Conn<Out, In> {
    /// Joins a room as [`join`](Self::join) does, and then waits until the backplane has acknowledged the subscription
    /// of this node to the room.
    ///
    /// - `true`: this node now receives all messages of other nodes to the room. Without a backplane, `true` comes at
    ///   once.
    /// - `false`: [`subscribe_timeout`](crate::Builder::subscribe_timeout) is over, as while the backplane is away, or
    ///   the hub closes.
    ///
    /// The connection is a member in both cases: it gets the messages of its own node, and
    /// those of other nodes as soon as the backplane has subscribed.
    /// [`Stats::subscribe_timeouts`](crate::Stats::subscribe_timeouts) counts the waits that took too long.
    ///
    /// # Errors
    /// As `join`; and [`JoinError::Closed`] where the connection ends while it waits.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, the connection may have joined or not.
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
