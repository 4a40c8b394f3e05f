//! The hub as one of several nodes: its backplane, and the cluster.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use super::Hub;
use crate::backplane::{
    BackplaneChanges, BackplaneError, BackplaneHealth, Bridge, Cluster, NodeId, ThisNode,
};
use crate::engine::{Action, ActionError, Address, ConnKey, Frames, Overloaded, Pace};
use crate::shards::Shards;

impl<Out: 'static, In: Send + 'static> Hub<Out, In> {
    /// The id of this hub among the nodes that share a backplane. It is random, and new for each
    /// hub.
    pub fn node_id(&self) -> NodeId {
        self.inner.node
    }

    /// The state of the backplane at this moment, with its counters. `None` without a backplane.
    pub fn backplane_health(&self) -> Option<BackplaneHealth> {
        self.inner.bridge.as_ref().map(Bridge::health)
    }

    /// The current error of the backplane. `None` while the backplane works or connects for the
    /// first time, and without a backplane. For details, see
    /// [`backplane_health`](Self::backplane_health).
    pub fn backplane_err(&self) -> Option<BackplaneError> {
        self.inner.bridge.as_ref().and_then(Bridge::error)
    }

    /// Returns a stream of the changes of the backplane's state from now on. `None` without a
    /// backplane.
    ///
    /// # Examples
    /// ```
    /// # async fn example(hub: roomcast::Hub<String>) {
    /// if let Some(mut changes) = hub.backplane_changes() {
    ///     tokio::spawn(async move {
    ///         while let Some(state) = changes.next().await {
    ///             eprintln!("the backplane is {state}");
    ///         }
    ///     });
    /// }
    /// # }
    /// ```
    pub fn backplane_changes(&self) -> Option<BackplaneChanges> {
        self.inner.bridge.as_ref().map(Bridge::changes)
    }

    /// The nodes that share the backplane, with their numbers of connections and of members of
    /// rooms. Without a backplane, this hub alone.
    ///
    /// # Examples
    /// ```
    /// # fn example(hub: roomcast::Hub<String>) {
    /// let cluster = hub.cluster();
    /// let lobby = cluster.members("lobby");
    /// println!("{} nodes, {} connections", cluster.nodes().len(), cluster.connections());
    /// println!("{} in the lobby, {:?} ago", lobby.members, lobby.age);
    /// # }
    /// ```
    pub fn cluster(&self) -> Cluster {
        let here: Weak<Shards> = Arc::downgrade(&self.inner.shards);
        let peers = self.inner.bridge.as_ref().map(Bridge::peers).unwrap_or_default();
        Cluster::new(self.inner.node, here, peers)
    }
}

/// The delivery of messages and actions from other nodes to this node's shards.
impl ThisNode for Shards {
    fn deliver(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        frames: &Frames,
    ) -> Result<(), Overloaded> {
        // A congested inbox makes the readers of clients pause. So messages of other nodes wait in
        // the incoming queue of the backplane instead.
        if self.is_congested() {
            Err(Overloaded)
        } else {
            self.publish(Pace::Urgent, address, except, frames)
        }
    }

    fn deliver_later<'a>(
        &'a self,
        address: Address<'a>,
        except: &'a [ConnKey],
        frames: &'a Frames,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.until(move || self.deliver(address, except, frames).ok()))
    }

    fn act(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        action: Action<'_>,
    ) -> Result<(), Overloaded> {
        if self.is_congested() {
            return Err(Overloaded);
        }
        match self.act(Pace::Urgent, address, except, action) {
            Err(ActionError::Overloaded) => return Err(Overloaded),
            // The node that sent the action may have other limits.
            Err(ActionError::NameTooLong { .. }) => {
                self.note_refused_name();
            }
            // The shard counts a join that exceeds the limit of rooms.
            Err(_) | Ok(()) => {}
        }
        Ok(())
    }

    fn act_later<'a>(
        &'a self,
        address: Address<'a>,
        except: &'a [ConnKey],
        action: Action<'a>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.until(move || ThisNode::act(self, address, except, action).ok()))
    }

    fn connections(&self) -> u64 {
        self.connections() as u64
    }

    fn members_of(&self, room: &str) -> u64 {
        self.members(room) as u64
    }

    fn for_each_room(&self, visit: &mut dyn FnMut(&str, usize)) {
        for port in self.ports() {
            port.rooms().for_each(|room| visit(room.name(), room.members()));
        }
    }
}
