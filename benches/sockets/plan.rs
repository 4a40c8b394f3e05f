//! The plan of the benchmark: scenes, each with its contestants and cells.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::contestants::Contestant;
use support::network::Profile;

/// A scene: its rooms, the servers that take part, and the loads.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) rooms: usize,
    /// Members of each room.
    pub(crate) members: usize,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) cells: Vec<Cell>,
    /// The network link between a client and the server; `None` is loopback.
    pub(crate) link: Option<Profile>,
}

impl Scene {
    /// Keeps only the cells that show most.
    pub(crate) fn shorten(&mut self) {
        self.cells
            .retain(|cell| cell.in_flight == 16 || *cell == Cell { in_flight: 1, bytes: SMALL });
    }
}

/// One load of a scene.
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
const MEDIUM: usize = 1_024;
const LARGE: usize = 4_096;

/// The fan-out scenes, with servers of all kinds.
pub(crate) fn fan_out() -> Vec<Scene> {
    let cells: Vec<Cell> = [SMALL, LARGE]
        .into_iter()
        .flat_map(|bytes| [1, 4, 16].map(|in_flight| Cell { in_flight, bytes }))
        .collect();
    let contestants = vec![
        Contestant::Floor1,
        Contestant::Floor2,
        Contestant::Floor3,
        Contestant::Roomcast,
        Contestant::RoomcastJson,
        Contestant::RoomcastJsonSend,
        Contestant::Axum,
        Contestant::AxumJoined,
        Contestant::Fastwebsockets,
        Contestant::Socketioxide,
    ];
    let busy_cells = [4, 16].map(|in_flight| Cell { in_flight, bytes: SMALL }).to_vec();
    [
        ("1 room of 100", 1, 100, &busy_cells),
        ("1 room of 300", 1, 300, &busy_cells),
        ("1 room of 1,000", 1, 1_000, &cells),
        ("1 room of 8,000", 1, 8_000, &cells),
        ("1,000 rooms of 8", 1_000, 8, &cells),
    ]
    .map(|(name, rooms, members, cells)| Scene {
        name,
        rooms,
        members,
        contestants: contestants.clone(),
        cells: cells.clone(),
        link: None,
    })
    .into()
}

/// The scene that compares one shard with two.
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

/// The scenes that are played with 1 to 16 shards.
pub(crate) fn scaling() -> Vec<Scene> {
    let scene = |name, rooms, members, in_flight: &[usize]| Scene {
        name,
        rooms,
        members,
        contestants: Vec::new(),
        cells: in_flight.iter().map(|&in_flight| Cell { in_flight, bytes: SMALL }).collect(),
        link: None,
    };
    vec![
        scene("1 room of 1,000", 1, 1_000, &[1, 16]),
        scene("1 room of 8,000", 1, 8_000, &[1]),
        scene("1,000 rooms of 8", 1_000, 8, &[1, 4]),
    ]
}

/// The scenes that compare a shard in a task with a shard on a thread of its own.
pub(crate) fn threads() -> [Scene; 2] {
    [("1 room of 1,000, by threads", 1, 1_000), ("1,000 rooms of 8, by threads", 1_000, 8)].map(
        |(name, rooms, members)| Scene {
            name,
            rooms,
            members,
            contestants: vec![Contestant::RoomcastJson, Contestant::RoomcastJsonThreads],
            cells: [1, 4, 16].map(|in_flight| Cell { in_flight, bytes: SMALL }).into(),
            link: None,
        },
    )
}

/// The scene that measures the effect of clients that do not read on the clients that do.
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

/// The scene that compares the crate's own server with axum and with TLS.
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

/// The scenes with members as far away as real users, each behind a link of its own.
pub(crate) fn away() -> Vec<Scene> {
    [("1 room of 200, 20 ms away", 20), ("1 room of 200, 50 ms away", 50)]
        .map(|(name, round_trip)| Scene {
            name,
            rooms: 1,
            members: 200,
            contestants: vec![
                Contestant::Floor1,
                Contestant::Floor2,
                Contestant::Floor3,
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

/// The start of the names of all scenes of compression, which are played only on request.
pub(crate) const COMPRESSION: &str = "compression";

/// The scenes with messages that are compressed.
pub(crate) fn compression() -> Vec<Scene> {
    let cells = |in_flight: [usize; 2], sizes: &[usize]| -> Vec<Cell> {
        let with_size = |&bytes: &usize| in_flight.map(|in_flight| Cell { in_flight, bytes });
        sizes.iter().flat_map(with_size).collect()
    };
    let scene = |name, rooms, members, contestants, cells| Scene {
        name,
        rooms,
        members,
        contestants,
        cells,
        link: None,
    };
    let hubs = vec![
        Contestant::Roomcast,
        Contestant::RoomcastUnasked,
        Contestant::RoomcastShared,
        Contestant::RoomcastOnce,
    ];
    let others = vec![Contestant::Yawc, Contestant::NodeWs, Contestant::NodeWsAlone];
    let small_rooms = vec![
        Contestant::Roomcast,
        Contestant::RoomcastUnasked,
        Contestant::RoomcastShared,
        Contestant::RoomcastSharedByTwo,
        Contestant::Yawc,
        Contestant::NodeWs,
    ];
    let sizes = [SMALL, MEDIUM, LARGE];
    vec![
        scene(
            "compression: 1 room of 1,000",
            1,
            1_000,
            [hubs.clone(), others].concat(),
            cells([1, 16], &sizes),
        ),
        // Servers with a compressor for each connection would need minutes for each measurement.
        scene("compression: 1 room of 8,000", 1, 8_000, hubs, cells([1, 16], &sizes)),
        scene(
            "compression: 1,000 rooms of 8",
            1_000,
            8,
            small_rooms,
            cells([1, 4], &[SMALL, MEDIUM]),
        ),
    ]
}

/// The contestants whose memory is measured idle, and in many small rooms with traffic.
pub(crate) fn compressors() -> Vec<Contestant> {
    vec![
        Contestant::Roomcast,
        Contestant::RoomcastShared,
        Contestant::RoomcastSharedByTwo,
        Contestant::RoomcastOnce,
        Contestant::Yawc,
        Contestant::NodeWs,
    ]
}

/// The scene in which servers flood a room.
pub(crate) const FLOODED: &str = "a room of 200 is flooded";

/// The numbers of tasks that flood a room at the same time. With 0 tasks, echoes are timed without a flood.
pub(crate) const FLOODS: [usize; 4] = [0, 1, 4, 16];

/// The contestants of the flood scene.
pub(crate) fn flooders() -> Vec<Contestant> {
    vec![Contestant::Floor2, Contestant::RoomcastJson]
}

/// The contestants whose connections are all dropped at once.
pub(crate) fn droppers() -> Vec<Contestant> {
    vec![
        Contestant::Floor1,
        Contestant::Roomcast,
        Contestant::Axum,
        Contestant::Fastwebsockets,
        Contestant::Socketioxide,
    ]
}

/// The contestants whose idle connections' memory is measured.
pub(crate) fn idlers() -> Vec<Contestant> {
    [droppers(), vec![Contestant::RoomcastAxum, Contestant::RoomcastTls]].concat()
}
