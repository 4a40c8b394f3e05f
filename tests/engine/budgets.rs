//! The budgets that the shards of a hub share: the number of rooms, and the bytes that wait in queues.

use std::time::Duration;

use roomcast::engine::{
    Address, CloseCode, DisconnectReason, Eviction, JoinError, Overflow, RunState,
};

use super::fake::{Client, Rig, Settings, text_frame};

#[test]
fn rooms_of_all_shards_share_one_bound_and_existing_rooms_can_be_joined() {
    let mut rig = Settings::default().shards(2).max_rooms(3).build();
    let clients: Vec<Client> = (0..4).map(|_| rig.attach()).collect();
    let join = |client: usize, room: &str| clients[client].port.join(&clients[client].link, room);
    assert_eq!(join(0, "a"), Ok(()));
    assert_eq!(join(1, "a"), Ok(()), "a room counts once for each shard");
    assert_eq!(join(0, "b"), Ok(()));
    assert_eq!(join(2, "c"), Err(JoinError::NoMoreRooms { rooms_max: 3 }));
    assert_eq!(join(1, "b"), Err(JoinError::NoMoreRooms { rooms_max: 3 }));
    assert_eq!(join(2, "b"), Ok(()));
    rig.run();
    assert_eq!(rig.total(|counters| &counters.room_refusals), 2);
    assert_eq!(rig.budgets.rooms.used(), 3);
    clients[1].leave("a");
    rig.run();
    assert_eq!(join(2, "c"), Ok(()));
    clients.iter().for_each(Client::close);
    rig.run();
    assert_eq!(rig.budgets.rooms.used(), 0);
}

#[test]
fn refused_join_leaves_no_reservation_and_no_membership() {
    let settings = Settings::default().max_rooms(1).rooms(64, 1).inbox(4, 1 << 20);
    let mut rig = settings.build();
    let clients: Vec<Client> = (0..2).map(|_| rig.attach()).collect();
    clients[0].join("a");
    for _ in 0..100 {
        let refused = clients[1].port.join(&clients[1].link, "b");
        assert_eq!(refused, Err(JoinError::NoMoreRooms { rooms_max: 1 }));
    }
    clients[1].join("a");
    rig.run();
    super::fake::assert_nothing_reserved(&rig.ports[0], settings.inbox);
}

/// Clients with this many queued frames each, and the bytes of one frame.
fn waiting(rig: &mut Rig, frames: &[usize]) -> (Vec<Client>, usize) {
    let clients: Vec<Client> = frames.iter().map(|_| rig.attach()).collect();
    clients.iter().for_each(|client| client.block());
    rig.run();
    for (client, frames) in clients.iter().zip(frames) {
        for n in 0..*frames {
            rig.publish(Address::Conn(client.id()), &format!("{n:04}"));
            rig.run();
        }
    }
    (clients, text_frame("0000").len())
}

fn open(clients: &[Client]) -> Vec<usize> {
    (0..clients.len()).filter(|&at| clients[at].reason().is_none()).collect()
}

#[test]
fn queued_bytes_are_counted_until_they_are_sent_or_lost() {
    let bytes = 8 * text_frame("0000").len();
    let mut rig = Settings::default().queue(16, bytes, Overflow::DropOldest).build();
    let (clients, frame) = waiting(&mut rig, &[1, 5, 20]);
    assert_eq!(rig.budgets.queued_bytes.used(), (1 + 5 + 8) * frame);
    clients[1].take(2 * frame + 1);
    rig.run();
    assert_eq!(rig.budgets.queued_bytes.used(), (1 + 3 + 8) * frame, "a torn frame counts whole");
    clients[2].port.detach(clients[2].id());
    rig.run();
    assert_eq!(rig.budgets.queued_bytes.used(), (1 + 3) * frame);
    clients[1].unblock();
    rig.run();
    assert_eq!(rig.budgets.queued_bytes.used(), frame);
    rig.shards.clear();
    assert_eq!(rig.budgets.queued_bytes.used(), 0);
}

#[test]
fn sent_bytes_up_to_the_end_of_a_frame_are_no_longer_counted() {
    let mut rig = Settings::default().build();
    let client = rig.attach_to("r", 1).remove(0);
    let frame = text_frame("0000").len();
    client.wire().window = Some(2 * frame);
    rig.run();
    (0..4).for_each(|_| rig.publish(Address::Room("r"), "0000"));
    rig.run();
    // The pong overtakes the unsent frames, which move to a separate buffer.
    client.port.pong(client.id(), b"");
    rig.run();
    assert_eq!(rig.budgets.queued_bytes.used(), 2 * frame);
    assert_eq!(client.link.waiting(), 2 * frame);
    client.unblock();
    rig.run();
    assert_eq!((rig.budgets.queued_bytes.used(), client.link.waiting()), (0, 0));
}

#[test]
fn past_the_bound_connections_with_the_longest_queues_are_evicted() {
    let frame = text_frame("0000").len();
    let mut rig = Settings::default().max_queued_bytes(10 * frame).build();
    let (clients, _) = waiting(&mut rig, &[2, 4, 1, 3]);
    assert_eq!(open(&clients), [0, 1, 2, 3], "at the bound");
    rig.publish(Address::Conn(clients[2].id()), "one more");
    rig.run();
    assert_eq!(open(&clients), [0, 2, 3]);
    let bytes = 4 * frame;
    assert_eq!(
        clients[1].reason(),
        Some(DisconnectReason::SlowClient { cause: Eviction::Memory, messages: 4, bytes })
    );
    assert_eq!(rig.counters().evicted_for_memory.get(), 1);
    assert_eq!(rig.counters().dropped_at_end.get(), 4);
    assert!(rig.budgets.queued_bytes.used() <= 10 * frame);
}

#[test]
fn one_burst_to_many_slow_clients_evicts_no_more_than_necessary() {
    let frame = text_frame("0000").len();
    let mut rig = Settings::default().max_queued_bytes(50 * frame).build();
    let clients = rig.attach_to("r", 100);
    clients.iter().for_each(|client| client.block());
    rig.run();
    rig.publish(Address::Room("r"), "0000");
    rig.run();
    assert_eq!(open(&clients).len(), 50);
    assert_eq!(rig.counters().evicted_for_memory.get(), 50);
}

#[test]
fn torn_frame_that_an_evicted_client_still_holds_evicts_nobody_else() {
    let frame = text_frame("0000").len();
    let mut rig = Settings::default().max_queued_bytes(9 * frame).build();
    let clients = rig.attach_to("r", 10);
    clients.iter().for_each(|client| client.wire().window = Some(1));
    rig.run();
    rig.publish(Address::Room("r"), "0000");
    rig.run();
    assert_eq!(rig.budgets.queued_bytes.used(), 10 * frame, "the torn frame is to be finished");
    assert_eq!(open(&clients).len(), 9);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.budgets.queued_bytes.used(), 9 * frame);
    assert_eq!(rig.counters().evicted_for_memory.get(), 1);
}

#[test]
fn shard_that_has_no_more_than_its_share_evicts_nobody() {
    let frame = text_frame("0000").len();
    let mut rig = Settings::default().shards(2).max_queued_bytes(8 * frame).build();
    // The clients attach to the shards in turn, five to each. Those of the first shard have twice as much queued.
    let (clients, _) = waiting(&mut rig, &[2, 1, 2, 1, 2, 0, 0, 0, 0, 0]);
    assert_eq!(open(&clients).len(), 10, "at the bound");
    rig.publish(Address::Conn(clients[3].id()), "0000");
    // The second shard has 3 of its share of 4, and has brought the hub past the bound.
    for shard in [1, 0, 1] {
        while rig.shards[shard].run(rig.now, super::fake::PLENTY) == RunState::Busy {}
    }
    let evicted = |shard: usize| rig.ports[shard].counters().evicted_for_memory.get();
    assert_eq!((evicted(0), evicted(1)), (1, 0));
    assert_eq!(open(&clients).len(), 9);
    assert_eq!(rig.budgets.queued_bytes.used(), 7 * frame);
}

#[test]
fn new_connections_are_told_to_try_again_while_the_bound_is_exceeded() {
    let frame = text_frame("0000").len();
    let mut rig = Settings::default().shards(2).max_queued_bytes(3 * frame).build();
    // These bytes are queued in another shard, which has not checked the bound yet.
    rig.budgets.queued_bytes.take(4 * frame);
    let newcomer = rig.attach();
    rig.run();
    assert_eq!(newcomer.reason(), Some(DisconnectReason::Overloaded));
    assert_eq!(newcomer.close_code(), Some(CloseCode::TRY_AGAIN));
    assert_eq!(rig.counters().closed_overloaded.get(), 1);
    rig.budgets.queued_bytes.give_back(4 * frame);
    let newcomer = rig.attach();
    rig.run();
    assert_eq!(newcomer.reason(), None);
}
