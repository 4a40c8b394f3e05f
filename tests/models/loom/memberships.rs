//! The count of a connection's rooms: a join reserves a place, and the shard releases the place.

use std::sync::Arc;

use loom::thread;
use roomcast::engine::{JoinError, RunState, Shard};

use super::fake::{Client, FakeSocket, Settings};
use super::{check_within, run};

/// One shard, and a connection in the room `first`. The connection may be in at most one room.
fn member() -> (Shard<FakeSocket>, Client) {
    let mut rig = Settings::default().rooms(8, 1).build();
    let client = rig.attach();
    client.join("first");
    rig.run();
    (rig.shards.remove(0), client)
}

/// Guards that the shard subtracts a leave and its membership in one step: between two steps the bound would be one
/// too low.
#[test]
fn leave_frees_a_place_for_a_join_at_every_step_of_the_shard() {
    check_within(3, || {
        let (mut shard, client) = member();
        let session = {
            let client = client.clone();
            thread::spawn(move || {
                client.leave("first");
                client.join("second");
            })
        };
        run(&mut shard);
        session.join().unwrap();
        run(&mut shard);
        let port = &client.port;
        assert_eq!(port.join(&client.link, "third"), Err(JoinError::TooManyRooms { rooms_max: 1 }));
        assert!(port.rooms().snapshot().names().eq(["second"]));
    });
}

/// Guards the same from the other side: between two steps the bound would be one too high.
#[test]
fn leave_frees_a_place_for_only_one_join() {
    check_within(3, || {
        let (mut shard, client) = member();
        let session = {
            let client = client.clone();
            thread::spawn(move || {
                client.leave("first");
                ["second", "third"].map(|room| client.port.join(&client.link, room))
            })
        };
        run(&mut shard);
        let joined = session.join().unwrap();
        while shard.run(Default::default(), 8) != RunState::Idle {}
        assert_eq!(joined.iter().filter(|joined| joined.is_ok()).count(), 1);
        assert_eq!(client.port.rooms().len(), 1);
    });
}

/// Guards that `reserve_membership` checks and reserves in one atomic step.
#[test]
fn two_joins_at_once_do_not_exceed_the_bound() {
    check_within(3, || {
        let mut rig = Settings::default().rooms(8, 1).build();
        let client = Arc::new(rig.attach());
        let joiner = {
            let client = client.clone();
            thread::spawn(move || client.port.join(&client.link, "one"))
        };
        let other = client.port.join(&client.link, "two");
        let joined = [joiner.join().unwrap(), other];
        rig.run();
        assert_eq!(joined.iter().filter(|joined| joined.is_ok()).count(), 1);
        assert_eq!(client.port.rooms().len(), 1);
        assert_eq!(rig.rooms_of(&client).len(), 1);
    });
}
