//! The resident memory of servers.

use std::time::Duration;

use crate::Result;
use crate::contestants::Contestant;
use crate::figures::{Busy, Memory};
use crate::pair::Pair;
use crate::requests::Load;
use shared::process;

/// The connections that are there before the memory is measured, so that one-time allocations are not counted.
const FIRST: usize = 100;

/// The members of each of many rooms.
const MEMBERS: usize = 2;

/// Measures the memory of idle connections.
pub(crate) fn count_idle(contestant: Contestant, connections: usize) -> Result<Memory> {
    let mut pair = Pair::connected(contestant, None, 1, FIRST)?;
    let before = process::resident(pair.server.pid())?;
    pair.connect(1, connections)?;
    let held = process::resident(pair.server.pid())?.saturating_sub(before);
    Ok(Memory { contestant, connections, bytes_each: held as f64 / connections as f64 })
}

/// Measures the memory with as many rooms as the connections allow, all of them with traffic.
pub(crate) fn count_busy(
    contestant: Contestant,
    connections: usize,
    duration: Duration,
) -> Result<Busy> {
    let mut pair = Pair::connected(contestant, None, 1, FIRST)?;
    let rooms = connections / MEMBERS;
    let empty = process::resident(pair.server.pid())?;
    pair.connect(rooms, MEMBERS)?;
    let connected = process::resident(pair.server.pid())?;
    pair.measure(Load { in_flight: 1, bytes: 1_024, duration })?;
    let busy = process::resident(pair.server.pid())?;
    Ok(Busy { contestant, rooms, connections: rooms * MEMBERS, empty, connected, busy })
}
