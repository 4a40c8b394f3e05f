//! This node, as the backplane sees it: a trait that the hub implements.

use std::pin::Pin;

use crate::engine::{Action, Address, ConnKey, Frames, Overloaded};

/// What the backplane delivers to, and what a node reports to the others: the connections and rooms
/// of this node.
pub(crate) trait ThisNode: Send + Sync + 'static {
    /// Hands frames to the members at an address, except some
    /// connections.
    ///
    /// # Errors
    /// [`Overloaded`]: nothing was handed over, because a shard has no space.
    fn deliver(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        frames: &Frames,
    ) -> Result<(), Overloaded>;

    /// Waits for space, and then hands over the frames that [`deliver`](Self::deliver) has refused.
    fn deliver_later<'a>(
        &'a self,
        address: Address<'a>,
        except: &'a [ConnKey],
        frames: &'a Frames,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// Applies an action to the connections at an address. Refusals for other reasons than space
    /// are counted.
    ///
    /// # Errors
    /// [`Overloaded`]: nothing was done, because a shard has no space.
    fn act(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        action: Action<'_>,
    ) -> Result<(), Overloaded>;

    /// Waits for space, and then applies the action that [`act`](Self::act) has refused.
    fn act_later<'a>(
        &'a self,
        address: Address<'a>,
        except: &'a [ConnKey],
        action: Action<'a>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// The number of open connections.
    fn connections(&self) -> u64;

    /// The number of members of a room.
    fn members_of(&self, room: &str) -> u64;

    /// Calls `visit` with each room and its number of members. A room may come several times, with
    /// a part each time.
    fn for_each_room(&self, visit: &mut dyn FnMut(&str, usize));
}

impl dyn ThisNode {
    /// Hands frames over, and waits for space first if necessary. A busy shard does not cause a
    /// loss here: the task waits. Losses happen only in the bounded queue before this task, which
    /// counts them.
    pub(crate) async fn deliver_in_time(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        frames: &Frames,
    ) {
        if self.deliver(address, except, frames).is_err() {
            self.deliver_later(address, except, frames).await;
        }
    }
}
