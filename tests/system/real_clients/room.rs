//! The room: what is published when, and which members get it.
//!
//! Each step publishes a burst, and waits until all members have reported it. A plain client of tungstenite gets all
//! messages. What a member reports must be equal, byte for byte, to what the plain client got.

use std::time::Duration;

use roomcast::{CloseCode, Conn, RawMessage, Target, Uncompressed};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Client, KINDS};
use crate::messages::{LARGE_EACH, message};
use crate::server::{Event, Server};

/// The time limit of each wait: a browser takes long to start on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

const STEPS: usize = 90;

/// The most messages of a burst.
const BURST_MAX: usize = 9;

/// The kind of the plain client.
const PLAIN: &str = "plain";

/// The room of the test, and a second room whose compressed messages end the step of its members in the first.
const ROOMS: [&str; 2] = ["room", "side"];

/// The steps in which all members are in the second room.
const ASIDE: std::ops::Range<usize> = 20..40;

/// A member, by its kind of client.
struct Member {
    kind: &'static str,
    conn: Conn<RawMessage>,
    /// Whether it is in each of the rooms.
    is_in: [bool; 2],
    /// The numbers of the messages that it has to get.
    expected: Vec<usize>,
    reported: Vec<RawMessage>,
    _client: Client,
}

impl Member {
    /// Joins or leaves, to be in these rooms.
    async fn move_to(&mut self, is_in: [bool; 2]) {
        for (at, room) in ROOMS.iter().enumerate() {
            match (self.is_in[at], is_in[at]) {
                (false, true) => self.conn.join(room).await.expect("the connection is open"),
                (true, false) => self.conn.leave(room).await.expect("the connection is open"),
                _ => {}
            }
        }
        self.is_in = is_in;
    }
}

pub(crate) struct Room {
    pub(crate) server: Server,
    members: Vec<Member>,
    plain: support::Client,
    plain_conn: Conn<RawMessage>,
    published: Vec<RawMessage>,
    /// What the plain client got.
    heard: Vec<RawMessage>,
}

impl Room {
    /// Starts all clients, and waits until they have connected. No member is in a room yet.
    pub(crate) async fn open(mut server: Server) -> Self {
        let plain = support::Client::connect(server.plain.addr, "/member/plain").await;
        let plain_conn = opened(&mut server, PLAIN).await;
        for room in ROOMS {
            plain_conn.join(room).await.expect("the connection is open");
        }
        let mut members = Vec::new();
        // One after the other: two browsers that start at the same time disturb each other.
        for (kind, start) in KINDS {
            let client = Client::start(kind, start, server.relay.addr);
            let conn = opened(&mut server, kind).await;
            let (expected, reported) = (Vec::new(), Vec::new());
            let is_in = [false; 2];
            members.push(Member { kind, conn, is_in, expected, reported, _client: client });
        }
        let (published, heard) = (Vec::new(), Vec::new());
        Self { server, members, plain, plain_conn, published, heard }
    }

    /// Publishes all messages, and compares what all clients get.
    pub(crate) async fn run(&mut self) {
        for step in 0..STEPS {
            self.move_members(step).await;
            for number in 0..=step * 7 % BURST_MAX {
                self.publish(step, number).await;
            }
            match step % 7 {
                0 => self.publish_aside().await,
                3 => self.send_to(step % self.members.len()).await,
                _ => {}
            }
            self.publish(step, BURST_MAX).await;
            self.settle().await;
        }
        let all = self.published.len();
        for member in &self.members {
            let (kind, got) = (member.kind, member.expected.len());
            println!("{kind}: {got} of {all} messages, equal to those of the plain client");
            assert!((all / 2..all).contains(&got), "{kind} gets most messages, and misses some");
        }
    }

    /// Ends all members, and waits until they have told how the echo went.
    pub(crate) async fn close(&mut self) {
        for member in &mut self.members {
            member.expected.clear();
            member.reported.clear();
            member.conn.close_with(CloseCode::from(4_001), "go on");
        }
        let last = ["the member has ended", "all messages were echoed"]
            .map(|text| RawMessage::Text(text.to_owned()));
        while let Some(member) = self.members.iter().find(|one| one.reported.len() < last.len()) {
            self.hear(&format!("the echo of {}", member.kind)).await;
            for Member { kind, reported, .. } in &self.members {
                assert!(last.starts_with(reported), "{kind}: {reported:?}");
            }
        }
    }

    /// Joins, leaves and reconnects. After its first step, a member is away for two of 23 steps.
    async fn move_members(&mut self, step: usize) {
        for at in 0..self.members.len() {
            if step == 30 + at {
                self.reconnect(at).await;
            }
            let is_in = step > 3 * at && (step + 3 * at) % 23 >= 2;
            self.members[at].move_to([is_in, ASIDE.contains(&step)]).await;
        }
    }

    async fn reconnect(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.conn.close_with(CloseCode::from(4_000), "come back");
        member.conn = opened(&mut self.server, member.kind).await;
        member.is_in = [false; 2];
    }

    /// Publishes a message to the room. Some messages go to all but one member, and some are uncompressed.
    async fn publish(&mut self, step: usize, number: usize) {
        let message = message(self.published.len());
        let except = ((step + number) % 16 == 3).then_some(step % self.members.len());
        let target = match except {
            Some(at) => Target::room(ROOMS[0]).except(self.members[at].conn.id()),
            None => Target::room(ROOMS[0]),
        };
        // A large one would make the stream rest: it counts as a message that cannot be compressed.
        let is_plain = number % 5 == 3 && !self.published.len().is_multiple_of(LARGE_EACH);
        let published = match is_plain {
            true => self.server.hub.publish(&target, &Uncompressed(&message)).await,
            false => self.server.hub.publish(&target, &message).await,
        };
        published.expect("the hub is open");
        self.expect(message, |at, member| member.is_in[0] && except != Some(at));
    }

    async fn publish_aside(&mut self) {
        let message = message(self.published.len());
        self.server.hub.to_room(ROOMS[1], &message).await.expect("the hub is open");
        self.expect(message, |_, member| member.is_in[1]);
    }

    /// Sends a message to one member directly, and to the plain client.
    async fn send_to(&mut self, at: usize) {
        let message = message(self.published.len());
        for conn in [&self.members[at].conn, &self.plain_conn] {
            conn.send(&message).await.expect("the connection is open");
        }
        self.expect(message, |of, _| of == at);
    }

    /// Notes a message that these members and the plain client have to get.
    fn expect(&mut self, message: RawMessage, gets_it: impl Fn(usize, &Member) -> bool) {
        for (at, member) in self.members.iter_mut().enumerate() {
            if gets_it(at, member) {
                member.expected.push(self.published.len());
            }
        }
        self.published.push(message);
    }

    /// Waits until all clients have got all messages, and compares these.
    async fn settle(&mut self) {
        while self.heard.len() < self.published.len() {
            self.heard.push(match self.plain.next_data().await {
                Message::Text(text) => RawMessage::Text(text.as_str().to_owned()),
                Message::Binary(bytes) => RawMessage::Binary(bytes),
                other => panic!("{other:?} is no data"),
            });
        }
        assert!(self.heard == self.published, "the plain client gets what was published");
        let is_behind = |member: &&Member| member.reported.len() < member.expected.len();
        while let Some(member) = self.members.iter().find(is_behind) {
            let (kind, expected) = (member.kind, member.expected.len());
            self.hear(&format!("message {expected} of {kind}")).await;
        }
        for Member { kind, expected, reported, .. } in &self.members {
            assert_eq!(reported.len(), expected.len(), "{kind} reports no other message");
            for (got, &number) in reported.iter().zip(expected) {
                let plain = &self.heard[number];
                assert!(got == plain, "{kind} got {got:?}\n instead of {number}: {plain:?}");
            }
        }
    }

    /// Waits for the next report of a member.
    async fn hear(&mut self, what: &str) {
        match next(&mut self.server, what).await {
            Event::Report(kind, message) => {
                if let RawMessage::Text(text) = &message
                    && let Some(error) = text.strip_prefix("failed: ")
                {
                    panic!("{kind}, while others wait for {what}: {error}");
                }
                let member = self.members.iter_mut().find(|member| member.kind == kind);
                member.expect("a kind of client").reported.push(message);
            }
            Event::Member(kind, _) => panic!("{kind} connects again, while others wait for {what}"),
        }
    }
}

/// The connection of a kind of client that connects.
async fn opened(server: &mut Server, kind: &str) -> Conn<RawMessage> {
    match next(server, kind).await {
        Event::Member(connected, conn) if connected == kind => conn,
        Event::Member(connected, _) => panic!("{connected} connects instead of {kind}"),
        Event::Report(reporter, message) => panic!("{reporter} reports {message:?}"),
    }
}

async fn next(server: &mut Server, what: &str) -> Event {
    let event = timeout(DEADLINE, server.events.recv()).await;
    event.unwrap_or_else(|_| panic!("not in time: {what}")).expect("the server runs")
}
