//! A publish: to all shards that have somebody to give the frames to, or to none.

use std::slice;
use std::sync::Arc;

use bytes::Bytes;

use super::{Address, Port};
use crate::engine::command::{Command, Delivery, Follow};
use crate::engine::inbox::Overloaded;
use crate::engine::link::ConnKey;

/// When a publish is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Where an inbox is full.
    Urgent,
    /// Also while [`PENDING_BYTES_MAX`](crate::engine::PENDING_BYTES_MAX) are on their way to the address in a
    /// shard, or an inbox is congested: for callers that wait and try again.
    Patient,
}

/// Publishes `frames`, one or a run of whole ones, to the shards that have somebody to give them to:
/// to all of them, or, where one has no space, to none.
pub fn publish<S>(
    ports: &[Arc<Port<S>>],
    address: Address<'_>,
    except: &[ConnKey],
    frames: &Bytes,
) -> Result<(), Overloaded> {
    publish_at(ports, &Publish { pace: Pace::Urgent, address, except, frames, follow: None })
}

/// [`publish`], at a pace, and followed if need be.
///
/// The ports are those of shards 0, 1, 2 and so on. Goes through them one call deep each. On the way
/// down it finds out who is meant; at the bottom it reserves space in every inbox; on the way back,
/// when nothing can fail any more, it pushes the deliveries.
pub fn publish_at<S>(ports: &[Arc<Port<S>>], publish: &Publish<'_>) -> Result<(), Overloaded> {
    let ports = concerned(ports, publish.address);
    // Apart: nearly no publish is followed, and the others would pay for the question in each shard.
    match publish.follow {
        None => publish.visit::<S, false>(ports, None),
        Some(_) => publish.visit::<S, true>(ports, None),
    }
}

/// The ports that an address can concern: all, or that of the connection.
pub(super) fn concerned<'p, S>(
    ports: &'p [Arc<Port<S>>],
    address: Address<'_>,
) -> &'p [Arc<Port<S>>] {
    match address {
        Address::Conn(id) => ports.get(id.shard()).map(slice::from_ref).unwrap_or_default(),
        _ => ports,
    }
}

/// Frames to publish, one or a run of whole ones.
pub struct Publish<'a> {
    /// When the publish is refused.
    pub pace: Pace,
    /// To whom the frames go.
    pub address: Address<'a>,
    /// To whom of those they do not.
    pub except: &'a [ConnKey],
    /// The frames.
    pub frames: &'a Bytes,
    /// Who is told when they are out.
    pub follow: Option<Follow<'a>>,
}

/// A port that a publish has passed on its way down, and those before it.
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
        // Before anything is reserved: what is given back wakes others who wait, and they this one.
        if self.pace == Pace::Patient && (port.is_pending(&audience) || port.inbox.is_congested()) {
            return Err(Overloaded);
        }
        self.visit::<S, IS_FOLLOWED>(others, Some(&Passed { port, before: passed }))?;
        let (counted_in, except) = (port.counted_in(&audience), port.resolve_except(self.except));
        let follow = self.follow.filter(|_| IS_FOLLOWED);
        let delivery = Delivery::new(self.frames.clone(), audience, except, counted_in, follow);
        port.inbox.push(Command::Deliver(delivery));
        Ok(())
    }

    /// Reserves space in the inboxes of all ports that were passed, or in none.
    fn reserve<S>(&self, passed: Option<&Passed<'_, S>>) -> Result<(), Overloaded> {
        let Some(Passed { port, before }) = passed else {
            return Ok(());
        };
        let bytes = self.frames.len();
        port.inbox.reserve(bytes).inspect_err(|_| port.counters.refused.add(1))?;
        self.reserve(*before).inspect_err(|_| port.inbox.give_back(1, bytes))
    }
}
