//! The random operations of a model run.

use std::time::Duration;

use roomcast::engine::ClientInflater;

use super::coding::draw_inflater;
use super::dice::Dice;

/// The maximum number of attached connections.
pub(crate) const CONNS_MAX: usize = 12;

/// The room names in use. The empty name is a room like any other.
pub(crate) const ROOMS: [&str; 5] = ["", "lobby", "a", "b", "c"];

/// The target of an operation that publishes; rooms and connections by index.
#[derive(Debug, Clone)]
pub(crate) enum To {
    Everyone,
    Room(usize),
    Rooms(Vec<usize>),
    Conn(usize),
}

/// The action on the connections of a target; rooms by index.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Close,
    Join(usize),
    Leave(usize),
}

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// A connection attaches, with its socket or before its socket.
    Attach {
        is_early: bool,
        inflater: Option<ClientInflater>,
    },
    /// The socket arrives of a connection that attached without it.
    Arrive {
        conn: usize,
    },
    Join {
        conn: usize,
        room: usize,
    },
    Leave {
        conn: usize,
        room: usize,
    },
    Publish {
        to: To,
        except: Vec<usize>,
        payload_bytes: usize,
        is_compressible: bool,
        /// Whether the shards answer when the message is written.
        is_followed: bool,
    },
    /// An action on the connections of a target.
    Act {
        to: To,
        except: Vec<usize>,
        change: Change,
    },
    Pong {
        conn: usize,
    },
    /// The socket accepts no more bytes.
    Block {
        conn: usize,
    },
    /// The socket accepts some more bytes.
    Take {
        conn: usize,
        bytes: usize,
    },
    /// The socket accepts everything.
    Unblock {
        conn: usize,
    },
    /// The socket accepts bytes and does not flush.
    HoldFlush {
        conn: usize,
    },
    /// The socket wakes its waker without a reason.
    Wake {
        conn: usize,
    },
    /// The socket fails from now on.
    Fail {
        conn: usize,
    },
    /// The client sends something.
    Hear {
        conn: usize,
    },
    Close {
        conn: usize,
        by_client: bool,
    },
    Detach {
        conn: usize,
    },
    /// A share of the connections, in percent, is asked to leave.
    Shed {
        percent: usize,
        window: Duration,
    },
    Pass {
        time: Duration,
    },
    /// One slice of each shard.
    Run {
        writes: usize,
    },
    /// The shards run until they are idle, and the model compares them with the oracle.
    Settle,
}

/// The kind of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Connections end only by a close or a detach, so the model accounts for every frame.
    Gentle,
    /// As gentle, with compression. Mostly a message has left before the next is published, so that compressed messages
    /// follow each other on a connection.
    Steady,
    /// Anything may happen.
    Rough,
}

impl Operation {
    /// Draws the next operation; `None` where the drawn one makes no sense now.
    pub(crate) fn draw(
        dice: &mut impl Dice,
        kind: Kind,
        conns: usize,
        attached: usize,
    ) -> Option<Self> {
        let is_rough = kind == Kind::Rough;
        if conns == 0 {
            return Some(Self::draw_attach(dice));
        }
        // Mostly one of the newest: the others are gone.
        let conn = conns - 1 - dice.draw(0..conns.min(CONNS_MAX + 2));
        let room = dice.draw(0..ROOMS.len());
        if kind == Kind::Steady {
            match dice.draw(0..6) {
                0..2 => return Some(Self::draw_publish(dice, conn, room, conns)),
                2..4 => return Some(Self::Settle),
                _ => {}
            }
        }
        Some(match dice.draw(0..100) {
            0..6 => (attached < CONNS_MAX).then(|| Self::draw_attach(dice))?,
            6..8 => Self::Arrive { conn },
            8..22 => Self::Join { conn, room },
            22..28 => Self::Leave { conn, room },
            28..55 => Self::draw_publish(dice, conn, room, conns),
            55..60 => Self::draw_act(dice, conn, room, conns),
            60..64 => Self::Pong { conn },
            64..68 => Self::Block { conn },
            68..72 => Self::Take { conn, bytes: dice.draw(1..400) },
            72..76 => Self::Unblock { conn },
            76 => Self::HoldFlush { conn },
            77..79 => Self::Wake { conn },
            79 => is_rough.then_some(Self::Fail { conn })?,
            80..82 => Self::Hear { conn },
            82 => Self::Close { conn, by_client: dice.flip() },
            83 => Self::Detach { conn },
            84..87 => Self::Pass { time: Duration::from_millis(dice.draw(0..4_000) as u64) },
            87 => is_rough.then_some(Self::Shed {
                percent: dice.draw(0..101),
                window: Duration::from_millis(dice.draw(0..4_000) as u64),
            })?,
            88..97 => Self::Run { writes: dice.draw(1..6) },
            _ => Self::Settle,
        })
    }

    fn draw_attach(dice: &mut impl Dice) -> Self {
        Self::Attach { is_early: dice.flip(), inflater: draw_inflater(dice) }
    }

    fn draw_target(dice: &mut impl Dice, conn: usize, room: usize) -> To {
        match dice.draw(0..10) {
            0..2 => To::Everyone,
            2..6 => To::Room(room),
            6..8 => {
                let rooms = dice.draw(1..4);
                To::Rooms((0..rooms).map(|_| dice.draw(0..ROOMS.len())).collect())
            }
            _ => To::Conn(conn),
        }
    }

    fn draw_act(dice: &mut impl Dice, conn: usize, room: usize, conns: usize) -> Self {
        let to = Self::draw_target(dice, conn, room);
        let except = Self::draw_except(dice, conns);
        let room = dice.draw(0..ROOMS.len());
        let change = match dice.draw(0..12) {
            0..7 => Change::Join(room),
            7..11 => Change::Leave(room),
            _ => Change::Close,
        };
        Self::Act { to, except, change }
    }

    fn draw_except(dice: &mut impl Dice, conns: usize) -> Vec<usize> {
        let excepted = dice.pick([0, 0, 0, 1, 1, 2, 3]);
        (0..excepted).map(|_| dice.draw(0..conns)).collect()
    }

    fn draw_publish(dice: &mut impl Dice, conn: usize, room: usize, conns: usize) -> Self {
        let to = Self::draw_target(dice, conn, room);
        let except = Self::draw_except(dice, conns);
        let payload_bytes = match dice.draw(0..40) {
            0..36 => dice.draw(4..40),
            36..39 => dice.draw(120..130),
            _ => dice.draw(65_530..65_540),
        };
        let (is_compressible, is_followed) = (dice.draw(0..16) > 0, dice.draw(0..16) == 0);
        Self::Publish { to, except, payload_bytes, is_compressible, is_followed }
    }
}
