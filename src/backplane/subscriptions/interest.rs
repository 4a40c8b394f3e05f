//! Which channels this node needs, and which it has.
//!
//! A channel is needed while a room of it has members here; the common one and the plain one always. Whoever makes a
//! room needs its channel; the subscribing task follows. A channel that is not needed any more is
//! released a while later, since rooms that flap are common.
//!
//! # Orderings
//!
//! Making a room and releasing its channel are a store-load race on two variables: the maker counts
//! the room and then looks at the phase, the releaser sets the phase and then looks at the count.
//! Both are `SeqCst`, so at least one of them sees the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::backplane::channels::{Channel, Channels};
use crate::engine::RoomWatch;

/// How far a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Not needed.
    Absent,
    /// Needed, and not subscribed to.
    Wanted,
    /// The subscription is acknowledged.
    Subscribed,
}

/// The channels of a node, as rooms and the subscribing task see them.
#[derive(Debug)]
pub(crate) struct Interest {
    channels: Arc<Channels>,
    states: Box<[State]>,
    /// Rung when a channel is newly wanted.
    wanted: Notify,
    /// Rung when channels are newly subscribed.
    subscribed: Notify,
}

#[derive(Debug)]
struct State {
    /// Rooms with members here.
    rooms: AtomicUsize,
    /// A [`Phase`].
    phase: AtomicU8,
}

impl State {
    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) == phase as u8
    }

    fn advance(&self, from: Phase, to: Phase) -> bool {
        self.phase
            .compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

impl Interest {
    pub(crate) fn new(channels: Arc<Channels>) -> Self {
        let phase = |channel| {
            if channels.is_always_needed(channel) { Phase::Wanted } else { Phase::Absent }
        };
        let state = |channel| State {
            rooms: AtomicUsize::new(0),
            phase: AtomicU8::new(phase(channel) as u8),
        };
        let states = channels.listened().map(state).collect();
        Self { channels, states, wanted: Notify::new(), subscribed: Notify::new() }
    }

    fn state(&self, channel: Channel) -> &State {
        &self.states[channel.index()]
    }

    fn in_phase(&self, phase: Phase) -> impl Iterator<Item = Channel> + '_ {
        self.channels.listened().filter(move |&channel| self.state(channel).is(phase))
    }

    /// The channels that are needed and not subscribed to.
    pub(crate) fn wanted(&self) -> Vec<Channel> {
        self.in_phase(Phase::Wanted).collect()
    }

    /// The channels that are subscribed to.
    pub(crate) fn subscribed(&self) -> impl Iterator<Item = Channel> + '_ {
        self.in_phase(Phase::Subscribed)
    }

    pub(crate) fn is_subscribed(&self, channel: Channel) -> bool {
        self.state(channel).is(Phase::Subscribed)
    }

    /// Whether a channel is wanted or subscribed to.
    pub(crate) fn is_needed(&self, channel: Channel) -> bool {
        !self.state(channel).is(Phase::Absent)
    }

    /// The channels that are wanted or subscribed to, and not needed.
    pub(crate) fn unneeded(&self) -> impl Iterator<Item = Channel> + '_ {
        self.channels.listened().filter(|&channel| {
            let state = self.state(channel);
            !self.channels.is_always_needed(channel)
                && !state.is(Phase::Absent)
                && state.rooms.load(Ordering::SeqCst) == 0
        })
    }

    /// Waits until a channel is newly wanted. For the subscribing task alone.
    ///
    /// # Cancel safety
    /// No ring is lost.
    pub(crate) async fn changed(&self) {
        self.wanted.notified().await;
    }

    /// Notes that a subscription was acknowledged; to be told when all of a batch are.
    pub(crate) fn acknowledge(&self, channel: Channel) {
        self.state(channel).advance(Phase::Wanted, Phase::Subscribed);
    }

    /// Tells those who wait for subscriptions.
    pub(crate) fn tell_subscribed(&self) {
        self.subscribed.notify_waiters();
    }

    /// Notes that a subscription was lost.
    pub(crate) fn lose(&self, channel: Channel) {
        self.state(channel).advance(Phase::Subscribed, Phase::Wanted);
    }

    /// Lets go of a channel, unless a room has come meanwhile: `true` if it is to be unsubscribed.
    pub(crate) fn release(&self, channel: Channel) -> bool {
        let state = self.state(channel);
        // Only the caller moves the phase between these two.
        let phase = if state.is(Phase::Subscribed) { Phase::Subscribed } else { Phase::Wanted };
        if !state.advance(phase, Phase::Absent) {
            return false;
        }
        if state.rooms.load(Ordering::SeqCst) == 0 {
            return true;
        }
        // Its maker may have seen the channel absent, and wants it now: then it is asked for again.
        if state.advance(Phase::Absent, phase) && phase == Phase::Subscribed {
            self.tell_subscribed();
        }
        false
    }

    /// Waits until the channel of a room with members is subscribed to.
    ///
    /// # Cancel safety
    /// Nothing happens when the future is dropped.
    pub(crate) async fn subscribed_to(&self, room: &str) {
        let channel = self.channels.of_room(room);
        loop {
            let mut subscribed = std::pin::pin!(self.subscribed.notified());
            // From here on a ring is not missed, so look.
            subscribed.as_mut().enable();
            if self.is_subscribed(channel) {
                return;
            }
            subscribed.await;
        }
    }
}

impl RoomWatch for Interest {
    fn made(&self, room: &str) {
        let state = self.state(self.channels.of_room(room));
        state.rooms.fetch_add(1, Ordering::SeqCst);
        if state.advance(Phase::Absent, Phase::Wanted) {
            self.wanted.notify_one();
        }
    }

    fn gone(&self, room: &str) {
        let state = self.state(self.channels.of_room(room));
        state.rooms.fetch_sub(1, Ordering::SeqCst);
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
