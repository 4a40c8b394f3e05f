//! The channels that this node needs, and the state of their subscriptions.
//!
//! The common channel and the plain one are always needed. The channel of a room is needed while
//! the room has members here. The thread that makes a room asks for its channel, and the
//! subscribing task subscribes. A channel that is needed no longer is released a while later,
//! because rooms often come back at once. A channel is *followed* while it is wanted or subscribed
//! to.
//!
//! # Invariants
//!
//! 1. While a room has members here, its channel is wanted or subscribed to. (Within a call of
//!    `release` the channel may be `Absent` for a moment: the same call, or the thread that made
//!    the room, sets it back.)
//! 2. Only the subscribing task moves a channel to `Subscribed`, or away from `Subscribed` or
//!    `Wanted`. The threads that make rooms only move a channel from `Absent` to `Wanted`.
//! 3. A thread that makes a room counts the room, and then looks at the state of the channel.
//!    `release` moves the channel to `Absent`, and then looks at the count. A `SeqCst` fence
//!    between the two steps on each side makes sure that at least one side sees the other.
//! 4. Every move from `Absent` to `Wanted` by a thread that makes a room is followed by a ring of
//!    `wanted`. A ring that comes while the subscribing task is busy is kept for it.
//! 5. Every move to `Subscribed` is followed by a ring of `subscribed`.
//!
//! Models check that no channel is lost and nobody waits in vain (`tests/models/loom/interest.rs`).

use std::sync::Arc;

use crate::backplane::channels::{Channel, Channels};
use crate::engine::RoomWatch;
use crate::engine::sync::{AtomicU8, AtomicUsize, Ordering, fence};
use crate::runtime::bell::Bell;
use crate::runtime::notify::Notify;

/// The state of the subscription to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Subscription {
    /// Not followed.
    Absent,
    /// The subscribing task has to subscribe to the channel.
    Wanted,
    /// The backplane has acknowledged the subscription.
    Subscribed,
}

/// The channels of a node, as rooms and the subscribing task see them.
#[derive(Debug)]
pub(crate) struct Interest {
    channels: Arc<Channels>,
    /// By the index of the channel.
    needs: Box<[Need]>,
    /// Rung when a channel is newly wanted (invariant 4).
    wanted: Notify,
    /// Rung when channels are newly subscribed to (invariant 5).
    subscribed: Bell,
}

/// The need for a channel, and the subscription that follows from the need.
#[derive(Debug)]
struct Need {
    /// The rooms of the channel that have members here. A room counts once per shard. The threads
    /// that make and remove rooms write.
    rooms: AtomicUsize,
    /// A [`Subscription`]. Invariant 2 says who writes.
    subscription: AtomicU8,
}

impl Need {
    fn new(subscription: Subscription) -> Self {
        Self { rooms: AtomicUsize::new(0), subscription: AtomicU8::new(subscription as u8) }
    }

    fn is(&self, subscription: Subscription) -> bool {
        // Pairs with `advance`: a thread that sees a subscription sees what was noted of it before.
        self.subscription.load(Ordering::Acquire) == subscription as u8
    }

    /// Moves the subscription on; `false` if it is not in the state `from`.
    fn advance(&self, from: Subscription, to: Subscription) -> bool {
        // Pairs with `is`.
        self.subscription
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn has_rooms(&self) -> bool {
        // Relaxed: the count guards no other memory, and invariant 3 orders it where it matters.
        self.rooms.load(Ordering::Relaxed) > 0
    }
}

impl Interest {
    pub(crate) fn new(channels: Arc<Channels>) -> Self {
        let need = |channel| {
            let is_needed = channels.is_always_needed(channel);
            Need::new(if is_needed { Subscription::Wanted } else { Subscription::Absent })
        };
        let needs = channels.listened().map(need).collect();
        Self { channels, needs, wanted: Notify::new(), subscribed: Bell::default() }
    }

    fn need(&self, channel: Channel) -> &Need {
        &self.needs[channel.index()]
    }

    fn all_in(&self, subscription: Subscription) -> impl Iterator<Item = Channel> + '_ {
        self.channels.listened().filter(move |&channel| self.need(channel).is(subscription))
    }

    /// The channels that are needed and not subscribed to.
    pub(crate) fn wanted(&self) -> Vec<Channel> {
        self.all_in(Subscription::Wanted).collect()
    }

    /// The channels that are subscribed to.
    pub(crate) fn subscribed(&self) -> impl Iterator<Item = Channel> + '_ {
        self.all_in(Subscription::Subscribed)
    }

    pub(crate) fn is_subscribed(&self, channel: Channel) -> bool {
        self.need(channel).is(Subscription::Subscribed)
    }

    /// Whether a channel is wanted or subscribed to, even if it is not needed any longer.
    pub(crate) fn is_followed(&self, channel: Channel) -> bool {
        !self.need(channel).is(Subscription::Absent)
    }

    /// The channels that are followed and not needed.
    pub(crate) fn unneeded(&self) -> impl Iterator<Item = Channel> + '_ {
        self.channels.listened().filter(|&channel| {
            let need = self.need(channel);
            !self.channels.is_always_needed(channel)
                && !need.is(Subscription::Absent)
                && !need.has_rooms()
        })
    }

    /// Waits until a channel is newly wanted. For the subscribing task alone.
    ///
    /// # Cancel safety
    /// No ring is lost.
    pub(crate) async fn changed(&self) {
        self.wanted.notified().await;
    }

    /// Notes that a subscription was acknowledged. [`notify_subscribed`](Self::notify_subscribed)
    /// follows when all subscriptions of a batch are (invariant 5). For the subscribing task alone.
    pub(crate) fn acknowledge(&self, channel: Channel) {
        self.need(channel).advance(Subscription::Wanted, Subscription::Subscribed);
    }

    /// Wakes the calls that wait for subscriptions.
    pub(crate) fn notify_subscribed(&self) {
        self.subscribed.ring();
    }

    /// Notes that a subscription was lost. For the subscribing task alone.
    pub(crate) fn lose(&self, channel: Channel) {
        self.need(channel).advance(Subscription::Subscribed, Subscription::Wanted);
    }

    /// Releases a channel unless one of its rooms has come back; `true` if the caller has to
    /// unsubscribe. For the subscribing task alone.
    pub(crate) fn release(&self, channel: Channel) -> bool {
        let need = self.need(channel);
        // The state does not move between the look and the `advance` (invariant 2), unless it is
        // absent.
        let before = match need.is(Subscription::Subscribed) {
            true => Subscription::Subscribed,
            false => Subscription::Wanted,
        };
        if !need.advance(before, Subscription::Absent) {
            return false;
        }
        // Invariant 3: pairs with the fence in `made`.
        fence(Ordering::SeqCst);
        if !need.has_rooms() {
            return true;
        }
        // A room has come: the channel stays. If the thread that made the room saw `Absent`, that
        // thread has already set `Wanted` and rung: the caller then subscribes once more.
        if need.advance(Subscription::Absent, before) && before == Subscription::Subscribed {
            // Invariant 5.
            self.notify_subscribed();
        }
        false
    }

    /// Waits until this node is subscribed to the channel of the room. The room must have members
    /// here.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub(crate) async fn subscribed_to(&self, room: &str) {
        let channel = self.channels.of_room(room);
        self.subscribed.until(|| self.is_subscribed(channel)).await;
    }
}

impl RoomWatch for Interest {
    fn made(&self, room: &str) {
        let need = self.need(self.channels.of_room(room));
        need.rooms.fetch_add(1, Ordering::Relaxed);
        // Invariant 3: pairs with the fence in `release`.
        fence(Ordering::SeqCst);
        if need.advance(Subscription::Absent, Subscription::Wanted) {
            // Invariant 4.
            self.wanted.notify_one();
        }
    }

    fn gone(&self, room: &str) {
        let need = self.need(self.channels.of_room(room));
        need.rooms.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interest() -> Interest {
        Interest::new(Arc::new(Channels::new("c", 8, None)))
    }

    #[test]
    fn the_common_channel_is_always_wanted_and_others_while_they_have_rooms() {
        let interest = interest();
        let lobby = interest.channels.of_room("lobby");
        assert_eq!(interest.wanted(), [Channel::COMMON]);
        interest.made("lobby");
        assert_eq!(interest.wanted(), [Channel::COMMON, lobby]);
        interest.acknowledge(Channel::COMMON);
        interest.acknowledge(lobby);
        assert!(interest.wanted().is_empty() && interest.unneeded().next().is_none());
        interest.gone("lobby");
        assert!(interest.unneeded().eq([lobby]));
        assert!(interest.release(lobby));
        assert!(!interest.is_subscribed(lobby));
    }

    #[test]
    fn the_plain_channel_is_always_wanted() {
        let interest = Interest::new(Arc::new(Channels::new("c", 8, Some("in".into()))));
        let plain = interest.channels.find("in").expect("it is there");
        assert_eq!(interest.wanted(), [Channel::COMMON, plain]);
        interest.acknowledge(plain);
        assert!(interest.is_subscribed(plain) && interest.unneeded().next().is_none());
        interest.lose(plain);
        assert_eq!(interest.wanted(), [Channel::COMMON, plain]);
    }

    #[test]
    fn a_room_that_comes_back_keeps_its_channel() {
        let interest = interest();
        let lobby = interest.channels.of_room("lobby");
        interest.made("lobby");
        interest.acknowledge(lobby);
        interest.gone("lobby");
        interest.made("lobby");
        assert!(!interest.release(lobby));
        assert!(interest.is_subscribed(lobby));
    }

    #[test]
    fn a_room_made_after_the_release_wants_its_channel_again() {
        let interest = interest();
        let lobby = interest.channels.of_room("lobby");
        interest.made("lobby");
        interest.acknowledge(lobby);
        interest.gone("lobby");
        assert!(interest.release(lobby));
        interest.made("lobby");
        assert_eq!(interest.wanted(), [Channel::COMMON, lobby]);
    }

    #[test]
    fn a_channel_that_could_not_be_had_is_let_go_of_with_its_last_room() {
        let interest = interest();
        interest.made("lobby");
        interest.gone("lobby");
        assert!(interest.unneeded().all(|channel| interest.release(channel)));
        assert_eq!(interest.wanted(), [Channel::COMMON]);
    }

    #[test]
    fn a_lost_subscription_is_wanted_again_but_not_a_released_one() {
        let interest = interest();
        let lobby = interest.channels.of_room("lobby");
        interest.made("lobby");
        interest.acknowledge(lobby);
        interest.lose(lobby);
        assert_eq!(interest.wanted(), [Channel::COMMON, lobby]);
        interest.acknowledge(lobby);
        interest.gone("lobby");
        interest.release(lobby);
        interest.lose(lobby);
        assert_eq!(interest.wanted(), [Channel::COMMON]);
    }
}
