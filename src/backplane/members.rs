//! The members of this node, as the backplane sees them: a trait that the hub implements.

use std::pin::Pin;

use bytes::Bytes;

use crate::engine::{Action, Address, ConnKey, Overloaded};

/// The members here, as the bridge sees them.
pub(crate) trait Members: Send + Sync + 'static {
    /// Hands frames, one or a run of whole ones, to those that they are for.
    fn deliver(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        frames: &Bytes,
    ) -> Result<(), Overloaded>;

    /// Hands over what [`deliver`](Self::deliver) has refused, as soon as there is space.
    fn deliver_later<'a>(
        &'a self,
        address: Address<'a>,
        except: &'a [ConnKey],
        frames: &'a Bytes,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// Has an action happen to connections. Why else it may be refused is counted.
    fn act(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        action: Action<'_>,
    ) -> Result<(), Overloaded>;

    /// Has what [`act`](Self::act) has refused happen as soon as there is space.
    fn act_later<'a>(
        &'a self,
        address: Address<'a>,
        except: &'a [ConnKey],
        action: Action<'a>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    /// How many connections there are.
    fn connections(&self) -> u64;

    /// How many members a room has.
    fn members_of(&self, room: &str) -> u64;

    /// Shows rooms with their members to `visit`. One may come in several parts.
    fn for_each_room(&self, visit: &mut dyn FnMut(&str, usize));
}

impl dyn Members {
    /// Hands frames over, as soon as there is space. What has come this far is not lost to a shard that is
    /// busy: the queue before the task that delivers is bounded, and counts what it has no space for.
    pub(crate) async fn deliver_in_time(
        &self,
        address: Address<'_>,
        except: &[ConnKey],
        frames: &Bytes,
    ) {
        if self.deliver(address, except, frames).is_err() {
            self.deliver_later(address, except, frames).await;
        }
    }
}
