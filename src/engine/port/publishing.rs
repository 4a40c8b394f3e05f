//! A publish: to all shards with recipients, or to none.
//!
//! The numbers of invariants are those of [`port`](super).

use std::slice;
use std::sync::Arc;

use super::{Address, Port};
use crate::engine::command::{Command, Delivery, Follow};
use crate::engine::frames::Frames;
use crate::engine::inbox::Overloaded;
use crate::engine::link::ConnKey;

/// When a publish or an action is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// If an inbox is full.
    Urgent,
    /// Also while [`PENDING_BYTES_MAX`](crate::engine::PENDING_BYTES_MAX) are on their way to the
    /// address in a shard, or an inbox is congested. For callers that wait and try again.
    Patient,
}

/// Publishes `frames` to all shards with recipients, or to none
/// if one of their inboxes is full.
pub fn publish<S>(
    ports: &[Arc<Port<S>>],
    address: Address<'_>,
    except: &[ConnKey],
    frames: &Frames,
) -> Result<(), Overloaded> {
    publish_at(ports, &Publish { pace: Pace::Urgent, address, except, frames, follow: None })
}

/// [`publish`] with all options.
///
/// `ports` are those of the shards 0, 1, 2 and so on. The call recurses through them, one level
/// each. On the way down it finds the recipients. At the bottom it reserves space in every inbox.
/// On the way back, when nothing can fail any more, it pushes the deliveries. So it needs no list
/// of the shards that take part.
pub fn publish_at<S>(ports: &[Arc<Port<S>>], publish: &Publish<'_>) -> Result<(), Overloaded> {
    let ports = concerned(ports, publish.address);
    // Two copies of the code: nearly no publish is followed, and those without a follower would pay
    // for the check in each shard.
    match publish.follow {
        None => publish.visit::<S, false>(ports, None),
        Some(_) => publish.visit::<S, true>(ports, None),
    }
}

/// The ports that an address can concern: that of the connection, or all.
pub(super) fn concerned<'p, S>(
    ports: &'p [Arc<Port<S>>],
    address: Address<'_>,
) -> &'p [Arc<Port<S>>] {
    match address {
        Address::Conn(id) => ports.get(id.shard()).map(slice::from_ref).unwrap_or_default(),
        _ => ports,
    }
}

/// A publish with all options.
pub struct Publish<'a> {
    /// When the publish is refused.
    pub pace: Pace,
    /// The recipients.
    pub address: Address<'a>,
    /// The recipients that are left out.
    pub except: &'a [ConnKey],
    /// The frames.
    pub frames: &'a Frames,
    /// Makes the replies that report when the frames are out.
    pub follow: Option<Follow<'a>>,
}

/// A port with recipients that the recursion has passed on its way down, and the ones before it.
struct Passed<'a, S> {
    port: &'a Port<S>,
    before: Option<&'a Passed<'a, S>>,
}

impl Publish<'_> {
    fn visit<S, const IS_FOLLOWED: bool>(
        &self,
        ports: &[Arc<Port<S>>],
        passed: Option<&Passed<'_, S>>,
    ) -> Result<(), Overloaded> {
        let Some((port, others)) = ports.split_first() else {
            return self.reserve(passed);
        };
        let Some(audience) = port.resolve(self.address) else {
            return self.visit::<S, IS_FOLLOWED>(others, passed);
        };
        // Invariant 3.
        if self.pace == Pace::Patient && (port.is_pending(&audience) || port.inbox.is_congested()) {
            return Err(Overloaded);
        }
        // Invariant 1: the push waits until all reservations have succeeded.
        self.visit::<S, IS_FOLLOWED>(others, Some(&Passed { port, before: passed }))?;
        let (counted_in, except) = (port.counted_in(&audience), port.resolve_except(self.except));
        let follow = self.follow.filter(|_| IS_FOLLOWED);
        let delivery = Delivery::new(self.frames.clone(), audience, except, counted_in, follow);
        port.inbox.push(Command::Deliver(delivery));
        Ok(())
    }

    /// Reserves space in the inboxes of all ports that were passed, or in none (invariant 1).
    fn reserve<S>(&self, passed: Option<&Passed<'_, S>>) -> Result<(), Overloaded> {
        let Some(Passed { port, before }) = passed else {
            return Ok(());
        };
        let bytes = self.frames.len();
        port.inbox.reserve(bytes).inspect_err(|_| port.counters.inbox_refusals.add(1))?;
        self.reserve(*before).inspect_err(|_| port.inbox.give_back(1, bytes))
    }
}
