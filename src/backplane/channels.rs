//! The channels that nodes share, and the channel that each message uses.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::backplane::identity::ConnId;
use crate::engine::Address;

/// The most channels that rooms can be spread over. Each channel costs a node a subscription, and a
/// heartbeat every five seconds. More channels would cost more than they save.
pub(crate) const CHANNELS_MAX: u16 = 4_096;

/// A channel of a [`Channels`], by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Channel(u16);

impl Channel {
    /// The channel that all nodes are subscribed to.
    pub(crate) const COMMON: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        self.0.into()
    }

    pub(crate) fn number(self) -> u16 {
        self.0
    }
}

/// The channels of a hub: the common channel, for messages that concern all nodes, and the channels
/// that rooms are spread over. If rooms have a single channel, the common channel carries
/// everything. If other programs may publish, there is also the plain channel. Nodes never publish
/// on the plain channel.
pub(crate) struct Channels {
    /// The channels of nodes, followed by the plain channel if there is one.
    names: Box<[Arc<str>]>,
    by_name: HashMap<Arc<str>, Channel>,
    spread: u16,
    plain: Option<Channel>,
}

impl Channels {
    /// Names the channels: `roomcast:NAME:all` is the common channel, and `roomcast:NAME:0`,
    /// `roomcast:NAME:1`… are the channels of rooms. Colons in `NAME` are encoded, so that hubs
    /// with different names share no channel. The plain channel keeps its own name.
    pub(crate) fn new(name: &str, spread: u16, plain: Option<Arc<str>>) -> Self {
        let name = name.replace('%', "%25").replace(':', "%3A");
        let channel = |part: &dyn fmt::Display| Arc::from(format!("roomcast:{name}:{part}"));
        let common = std::iter::once(channel(&"all"));
        let of_rooms = (0..spread).map(|number| channel(&number));
        let mut names: Vec<Arc<str>> =
            if spread == 1 { common.collect() } else { common.chain(of_rooms).collect() };
        let plain = plain.map(|name| {
            names.push(name);
            Channel(names.len() as u16 - 1)
        });
        let by_name = (0..).map(Channel).zip(&names).map(|(channel, name)| (name.clone(), channel));
        Self { by_name: by_name.collect(), names: names.into(), spread, plain }
    }

    /// The number of channels that rooms are spread over.
    pub(crate) fn spread(&self) -> u16 {
        self.spread
    }

    /// The channels that nodes publish on.
    pub(crate) fn all(&self) -> impl Iterator<Item = Channel> + use<> {
        let plain = usize::from(self.plain.is_some());
        (0..(self.names.len() - plain) as u16).map(Channel)
    }

    /// The channels that a node may listen to: [`all`](Self::all), and the plain channel.
    pub(crate) fn listened(&self) -> impl Iterator<Item = Channel> + use<> {
        self.all().chain(self.plain)
    }

    /// The channel that other programs publish on.
    #[cfg(feature = "json")]
    pub(crate) fn plain(&self) -> Option<Channel> {
        self.plain
    }

    /// Whether a node needs the channel even if it has no rooms.
    pub(crate) fn is_always_needed(&self, channel: Channel) -> bool {
        channel == Channel::COMMON || Some(channel) == self.plain
    }

    pub(crate) fn name(&self, channel: Channel) -> &Arc<str> {
        &self.names[channel.index()]
    }

    /// The channel of nodes with this number, if it exists. The plain channel has no number that
    /// nodes share.
    pub(crate) fn numbered(&self, number: u16) -> Option<Channel> {
        let is_of_nodes = usize::from(number) < self.names.len();
        is_of_nodes.then_some(Channel(number)).filter(|&channel| Some(channel) != self.plain)
    }

    /// The channel with this name.
    pub(crate) fn find(&self, name: &str) -> Option<Channel> {
        self.by_name.get(name).copied()
    }

    /// The channel of a room. It is the same on every node with the same number of channels.
    pub(crate) fn of_room(&self, room: &str) -> Channel {
        if self.spread == 1 {
            return Channel::COMMON;
        }
        Channel(1 + (room_hash(room) % u64::from(self.spread)) as u16)
    }

    /// The channel of a message. A message to rooms of several channels uses the common channel, so
    /// that each node receives it once.
    pub(crate) fn of(&self, address: Address<'_, ConnId>) -> Channel {
        match address {
            Address::Everyone | Address::Conn(_) => Channel::COMMON,
            Address::Room(room) => self.of_room(room),
            Address::Rooms(rooms) => {
                let mut channels = rooms.iter().map(|room| self.of_room(room));
                let first = channels.next().unwrap_or(Channel::COMMON);
                if channels.all(|other| other == first) { first } else { Channel::COMMON }
            }
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels")
            .field("name", &self.names[0])
            .field("spread", &self.spread)
            .field("plain", &self.plain.map(|plain| self.name(plain)))
            .finish()
    }
}

/// A hash of a room's name (XXH3, 64 bits, no seed). It is the same on all nodes and in all
/// versions.
pub(crate) fn room_hash(room: &str) -> u64 {
    xxh3_64(room.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_channel_carries_everything() {
        let channels = Channels::new("chat", 1, None);
        assert_eq!(channels.all().count(), 1);
        assert_eq!(&**channels.name(Channel::COMMON), "roomcast:chat:all");
        assert_eq!(channels.of_room("r"), Channel::COMMON);
    }

    #[test]
    fn colons_and_percent_signs_of_a_name_are_encoded() {
        let common = |name| Channels::new(name, 1, None).name(Channel::COMMON).to_string();
        assert_eq!(common("a:b"), "roomcast:a%3Ab:all");
        assert_eq!(common("a%3Ab"), "roomcast:a%253Ab:all");
    }

    #[test]
    fn rooms_are_spread_by_a_hash_that_never_changes() {
        let channels = Channels::new("chat", 64, None);
        assert_eq!(channels.all().count(), 65);
        assert_eq!(
            room_hash("lobby"),
            0x6210_5012_f2df_29a2,
            "other nodes may run another version"
        );
        let lobby = channels.of_room("lobby");
        assert_eq!(channels.find(channels.name(lobby)), Some(lobby));
        let used: std::collections::HashSet<_> =
            (0..1_000).map(|number| channels.of_room(&number.to_string())).collect();
        assert_eq!(used.len(), 64);
        assert!(!used.contains(&Channel::COMMON));
    }

    #[test]
    fn the_plain_channel_is_listened_to_and_carries_nothing_of_nodes() {
        for spread in [1, 64] {
            let without = Channels::new("chat", spread, None);
            let channels = Channels::new("chat", spread, Some("in".into()));
            let plain = channels.find("in").expect("the plain channel has its name");
            assert_eq!(&**channels.name(plain), "in");
            assert_eq!(channels.numbered(plain.index() as u16), None);
            assert!(channels.is_always_needed(plain));
            assert!(channels.all().eq(without.all()), "nodes do not publish on the plain channel");
            assert!(channels.listened().eq(channels.all().chain([plain])));
            assert_eq!(channels.of_room("lobby"), without.of_room("lobby"));
        }
    }

    #[test]
    fn rooms_of_several_channels_share_the_common_one() {
        let channels = Channels::new("chat", 64, None);
        let of = |rooms: &[&str]| {
            let rooms: Vec<_> = rooms.iter().copied().map(Into::into).collect();
            channels.of(Address::Rooms(&rooms))
        };
        assert_eq!(of(&["lobby", "lobby"]), channels.of_room("lobby"));
        assert_eq!(of(&["lobby", "tea"]), Channel::COMMON);
        assert_eq!(of(&[]), Channel::COMMON);
    }
}
