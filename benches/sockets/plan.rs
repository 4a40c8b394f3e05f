//! What is measured: scenes, each with its contestants and cells.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::contestants::Contestant;
use support::network::Profile;

/// Servers that take part in a scene, and what each is loaded with.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) rooms: usize,
    /// Members of each room.
    pub(crate) members: usize,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) cells: Vec<Cell>,
    /// What is between a client and the server; `None` is loopback.
    pub(crate) link: Option<Profile>,
}

impl Scene {
    /// Leaves the cells that show most.
    pub(crate) fn shorten(&mut self) {
        self.cells
            .retain(|cell| cell.in_flight == 16 || *cell == Cell { in_flight: 1, bytes: SMALL });
    }
}

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    /// Messages in flight in each room.
    pub(crate) in_flight: usize,
    /// Bytes of a message.
    pub(crate) bytes: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_flight, bytes } = self;
        match bytes {
            1_024.. => write!(f, "{in_flight} × {} KiB", bytes / 1_024),
            _ => write!(f, "{in_flight} × {bytes} B"),
        }
    }
}

const SMALL: usize = 128;
const LARGE: usize = 4_096;

/// The scenes in which everybody takes part: fan-out.
pub(crate) fn fan_out() -> Vec<Scene> {
    let cells: Vec<Cell> = [SMALL, LARGE]
        .into_iter()
        .flat_map(|bytes| [1, 4, 16].map(|in_flight| Cell { in_flight, bytes }))
        .collect();
    let contestants = vec![
        Contestant::Floor1,
        Contestant::Floor2,
        Contestant::Roomcast,
        Contestant::RoomcastJson,
        Contestant::Axum,
        Contestant::AxumJoined,
        Contestant::Fastwebsockets,
        Contestant::Socketioxide,
    ];
    [("1 room of 1,000", 1, 1_000), ("1 room of 8,000", 1, 8_000), ("1,000 rooms of 8", 1_000, 8)]
        .map(|(name, rooms, members)| Scene {
            name,
            rooms,
            members,
            contestants: contestants.clone(),
            cells: cells.clone(),
            link: None,
        })
        .into()
}

/// One shard against two.
pub(crate) fn shards() -> Scene {
    Scene {
        name: "1 room of 8,000, by shards",
        rooms: 1,
        members: 8_000,
        contestants: vec![Contestant::Roomcast, Contestant::RoomcastTwoShards],
        cells: [1, 16].map(|in_flight| Cell { in_flight, bytes: SMALL }).into(),
        link: None,
    }
}

/// What clients that do not read mean for those that do.
pub(crate) fn paused() -> Scene {
    Scene {
        name: "1 room of 1,000, some of them paused",
        rooms: 1,
        members: 1_000,
        contestants: vec![Contestant::RoomcastLossy, Contestant::RoomcastPaused],
        cells: [1, 4, 16].map(|in_flight| Cell { in_flight, bytes: SMALL }).into(),
        link: None,
    }
}

/// What it costs to come in through something else than the server of its own.
pub(crate) fn fronts() -> Scene {
    Scene {
        name: "1 room of 8,000, by fronts",
        rooms: 1,
        members: 8_000,
        contestants: vec![Contestant::Roomcast, Contestant::RoomcastAxum, Contestant::RoomcastTls],
        cells: vec![
            Cell { in_flight: 1, bytes: SMALL },
            Cell { in_flight: 16, bytes: SMALL },
            Cell { in_flight: 16, bytes: LARGE },
        ],
        link: None,
    }
}

/// Members who are as far away as users are, each behind a link of its own.
pub(crate) fn away() -> Vec<Scene> {
    [("1 room of 200, 20 ms away", 20), ("1 room of 200, 50 ms away", 50)]
        .map(|(name, round_trip)| Scene {
            name,
            rooms: 1,
            members: 200,
            contestants: vec![
                Contestant::Floor1,
                Contestant::Floor2,
                Contestant::Roomcast,
                Contestant::AxumJoined,
                Contestant::Fastwebsockets,
            ],
            cells: vec![
                Cell { in_flight: 1, bytes: SMALL },
                Cell { in_flight: 16, bytes: SMALL },
                Cell { in_flight: 16, bytes: LARGE },
            ],
            link: Some(Profile::new(Duration::from_millis(round_trip), 100_000_000)),
        })
        .into()
}

/// The scene in which servers flood a room.
pub(crate) const FLOODED: &str = "a room of 200 is flooded";

/// Tasks that flood a room at the same time. With none of them, echoes are timed alone.
pub(crate) const FLOODS: [usize; 4] = [0, 1, 4, 16];

/// Those who flood a room of their own.
pub(crate) fn flooders() -> Vec<Contestant> {
    vec![Contestant::Floor2, Contestant::RoomcastJson]
}

/// Those whose connections are dropped.
pub(crate) fn droppers() -> Vec<Contestant> {
    vec![
        Contestant::Floor1,
        Contestant::Roomcast,
        Contestant::Axum,
        Contestant::Fastwebsockets,
        Contestant::Socketioxide,
    ]
}

/// Those whose connections are weighed.
pub(crate) fn idlers() -> Vec<Contestant> {
    [droppers(), vec![Contestant::RoomcastAxum, Contestant::RoomcastTls]].concat()
}
