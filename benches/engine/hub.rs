//! A hub for the benchmarks: shards without a runtime, and sockets without a kernel.

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use roomcast::engine::{
    Action, Address, ConnKey, DisconnectReason, FrameKind, Frames, InboxLimits, LARGE_AUDIENCE,
    Link, Overflow, Pace, Port, QueueLimits, RoomLimits, RunState, Shard, ShardConfig, Socket,
    act_at, frame, publish,
};

/// A socket that accepts each write in full, at once.
pub(crate) struct Sink;

impl Socket for Sink {
    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(frames.iter().map(|frame| black_box(frame).len()).sum()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shut_down(&mut self) {}

    fn abort(&mut self) {}
}

/// Shards with connections, and with the default settings of a hub.
pub(crate) struct Hub {
    pub(crate) front: Front,
    pub(crate) shards: Shards,
}

/// The parts that any thread may use while the shards do not run.
pub(crate) struct Front {
    pub(crate) ports: Vec<Arc<Port<Sink>>>,
    pub(crate) links: Vec<Arc<Link>>,
}

/// The shards; one thread runs them all.
pub(crate) struct Shards(Vec<Shard<Sink>>);

impl Hub {
    /// Shards without connections.
    pub(crate) fn empty(shards: usize) -> Self {
        let inbox = InboxLimits { messages: 1 << 20, bytes: 1 << 30 };
        let rooms = RoomLimits { name_bytes: 255, rooms_per_conn: 1_024 };
        let config = ShardConfig {
            queue: QueueLimits { slots: 16, bytes: 1 << 20, overflow: Overflow::Evict },
            ping_interval: Some(Duration::from_secs(30)),
            write_timeout: Duration::from_secs(5),
            large_audience: LARGE_AUDIENCE,
        };
        let ports: Vec<_> =
            (0..shards).map(|index| Arc::new(Port::new(index, inbox, rooms))).collect();
        let shards = ports.iter().map(|port| Shard::new(config, port.clone())).collect();
        Self { front: Front { ports, links: Vec::new() }, shards: Shards(shards) }
    }

    /// Shards with this many connections.
    pub(crate) fn new(shards: usize, connections: usize) -> Self {
        let mut hub = Self::empty(shards);
        hub.front.connect(connections);
        hub.shards.run();
        hub
    }

    /// Shards with one room, named `room`; all connections are members.
    pub(crate) fn with_room(shards: usize, members: usize) -> Self {
        Self::with_rooms(shards, members, &["room".to_owned()])
    }

    /// Shards with these rooms; each connection is in one room, and the rooms have equally many members.
    pub(crate) fn with_rooms(shards: usize, connections: usize, names: &[String]) -> Self {
        let mut hub = Self::new(shards, connections);
        hub.join_all(names);
        hub
    }

    /// Lets each connection join one of the rooms; the rooms get equally many members.
    pub(crate) fn join_all(&mut self, names: &[String]) {
        self.front.join_all(names);
        self.shards.run();
    }

    /// Lets each connection leave the room that it joined.
    pub(crate) fn leave_all(&mut self, names: &[String]) {
        self.front.leave_all(names);
        self.shards.run();
    }
}

impl Shards {
    /// Runs the shards until all are idle.
    pub(crate) fn run(&mut self) {
        for shard in &mut self.0 {
            while shard.run(Duration::ZERO, usize::MAX / 2) == RunState::Busy {}
        }
    }
}

impl Shards {
    /// Runs the shards in slices until this many messages were handed to connections.
    pub(crate) fn run_until_deliveries(&mut self, front: &Front, deliveries: u64) {
        let handed =
            || front.ports.iter().map(|port| port.counters().deliveries.get()).sum::<u64>();
        while handed() < deliveries {
            for shard in &mut self.0 {
                shard.run(Duration::ZERO, 64);
            }
        }
    }
}

impl Front {
    /// Adds connections, to each shard in turn.
    pub(crate) fn connect(&mut self, connections: usize) {
        for serial in self.links.len()..self.links.len() + connections {
            let shard = serial % self.ports.len();
            let link = Arc::new(Link::new(ConnKey::new(serial as u64, shard)));
            self.ports[shard].attach(link.clone(), Sink);
            self.links.push(link);
        }
    }

    /// Ends all connections, as sessions do when their socket is reset.
    pub(crate) fn disconnect_all(&self) {
        for link in &self.links {
            let port = &self.ports[link.id().shard()];
            port.close(link.id(), DisconnectReason::Io(io::ErrorKind::ConnectionReset));
            port.detach(link.id());
        }
    }

    pub(crate) fn join(&self, connection: usize, room: &str) {
        let link = &self.links[connection];
        self.ports[link.id().shard()].join(link, room).expect("within the limits");
    }

    pub(crate) fn leave(&self, connection: usize, room: &str) {
        let link = &self.links[connection];
        self.ports[link.id().shard()].leave(link, room).expect("within the limits");
    }

    pub(crate) fn join_all(&self, names: &[String]) {
        (0..self.links.len()).for_each(|index| self.join(index, &names[index % names.len()]));
    }

    pub(crate) fn leave_all(&self, names: &[String]) {
        (0..self.links.len()).for_each(|index| self.leave(index, &names[index % names.len()]));
    }

    pub(crate) fn publish(&self, room: &str, frame: &Frames) {
        publish(&self.ports, Address::Room(room), &[], frame).expect("within the limits");
    }

    pub(crate) fn publish_to(&self, conn: ConnKey, frame: &Frames) {
        publish(&self.ports, Address::Conn(conn), &[], frame).expect("within the limits");
    }

    /// Applies an action to the members of a room.
    pub(crate) fn act(&self, room: &str, action: Action<'_>) {
        act_at(Pace::Urgent, &self.ports, Address::Room(room), &[], action)
            .expect("within the limits");
    }

    /// Discards the contents of all inboxes: deliveries of `frame_bytes` each.
    pub(crate) fn discard(&self, frame_bytes: usize) {
        for port in &self.ports {
            while port.inbox().pop().is_some() {
                port.inbox().release(1, frame_bytes);
            }
        }
    }
}

/// A message of 128 bytes.
pub(crate) fn message() -> Frames {
    frame::encode(FrameKind::Text, &[b'x'; 128]).into()
}

/// The frame that a thread publishes. With one frame for all, the threads would contend for its reference count.
pub(crate) fn frame_of(frames: &[Frames; 2], thread: usize) -> &Frames {
    black_box(&frames[thread])
}

/// The names of this many rooms.
pub(crate) fn room_names(rooms: usize) -> Vec<String> {
    (0..rooms).map(|room| format!("room{room}")).collect()
}
