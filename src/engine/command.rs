//! What can be asked of a shard.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::close::DisconnectReason;
use super::closing::Closing;
use super::link::{ConnKey, Newcomer};
use super::room_index::Room;

/// Takes the answer to a question.
pub type Reply<V> = Box<dyn FnOnce(V) + Send>;

/// One entry of an inbox.
pub enum Command<S> {
    /// A connection begins.
    Attach {
        /// What the shard and the session will share.
        newcomer: Newcomer,
        /// Where its frames go.
        socket: S,
    },
    /// A connection enters a room, which its joiner has claimed.
    Join(ConnKey, Arc<Room>),
    /// A connection leaves a room.
    Leave(ConnKey, Arc<Room>),
    /// A frame goes to connections of this shard.
    Deliver(Delivery),
    /// Pings are to be answered with these frames.
    Pong(ConnKey, Bytes),
    /// A connection is to end, after what was sent to it before.
    Close(ConnKey, DisconnectReason),
    /// The session is over: the socket can go.
    Detach(ConnKey),
    /// A socket that had blocked may take bytes again.
    Writable(ConnKey),
    /// All connections are to end in time, and no new one is to begin.
    CloseAll(Arc<Closing>),
    /// All connections that are left are to be given up; how many there were?
    CutAll(Reply<usize>),
    /// Who is in the room?
    Members(Arc<Room>, Reply<Vec<ConnKey>>),
    /// Where is the connection?
    Rooms(ConnKey, Reply<Vec<Arc<Room>>>),
    /// Tell when what was sent to these connections before is out.
    Probe(Probe),
    /// The hub is gone.
    Stop,
}

impl<S> fmt::Debug for Command<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attach { newcomer, .. } => write!(f, "Attach({newcomer:?})"),
            Self::Join(conn, room) => write!(f, "Join({conn}, {:?})", room.name()),
            Self::Leave(conn, room) => write!(f, "Leave({conn}, {:?})", room.name()),
            Self::Deliver(delivery) => delivery.fmt(f),
            Self::Pong(conn, _) => write!(f, "Pong({conn})"),
            Self::Close(conn, reason) => write!(f, "Close({conn}, {reason})"),
            Self::Detach(conn) => write!(f, "Detach({conn})"),
            Self::Writable(conn) => write!(f, "Writable({conn})"),
            Self::CloseAll(closing) => write!(f, "CloseAll({closing:?})"),
            Self::CutAll(_) => f.write_str("CutAll"),
            Self::Members(room, _) => write!(f, "Members({:?})", room.name()),
            Self::Rooms(conn, _) => write!(f, "Rooms({conn})"),
            Self::Probe(probe) => probe.fmt(f),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// Frames on their way to some connections of one shard.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// One frame, or a run of whole ones, shared by all who get them. Few enough bytes for a send
    /// queue, unless it is one.
    pub frames: Bytes,
    /// Who gets it.
    pub audience: Audience,
    /// Who of those does not.
    pub except: Except,
}

/// The connections of one shard that a delivery goes to.
#[derive(Debug, Clone)]
pub enum Audience {
    /// All.
    Everyone,
    /// The members of a room.
    Room(Arc<Room>),
    /// The members of any of these rooms, each once.
    Rooms(Arc<[Arc<Room>]>),
    /// One.
    Conn(ConnKey),
}

/// The question when a delivery is out.
pub struct Probe {
    /// Whom it was for.
    pub audience: Audience,
    /// Told when all that came for them before has been written, or has been queued where a socket takes
    /// no more: how many messages their shard joined for them. None, where nobody was left to get any.
    pub reply: Reply<usize>,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("audience", &self.audience).finish_non_exhaustive()
    }
}

/// Connections of an audience that a delivery passes by.
#[derive(Debug, Clone, Default)]
pub enum Except {
    /// Nobody is passed by.
    #[default]
    Nobody,
    /// One is, as when a sender does not want its own message.
    One(ConnKey),
    /// Several are; sorted.
    Many(Arc<[ConnKey]>),
}

impl Except {
    /// The connections that are passed by.
    pub fn ids(&self) -> &[ConnKey] {
        match self {
            Self::Nobody => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    /// Whether a connection is passed by.
    pub fn passes_by(&self, id: ConnKey) -> bool {
        self.ids().binary_search(&id).is_ok()
    }
}
