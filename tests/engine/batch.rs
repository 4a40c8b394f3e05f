//! Writes that leave together: what a batch contains, and what a failure in its midst does.

use std::io;

use roomcast::engine::{Address, DisconnectReason, RunState, Stage};

use super::fake::{Client, Rig, Settings};

fn rig() -> Rig {
    Settings::default().batches().build()
}

fn publish(rig: &mut Rig, room: &str, text: &str) {
    rig.publish(Address::Room(room), text);
    rig.run();
}

#[test]
fn members_of_all_rooms_of_a_turn_share_a_batch() {
    let mut rig = rig();
    let [tea, news] = ["tea", "news"].map(|room| rig.attach_to(room, 5));
    rig.run();
    rig.publish(Address::Room("tea"), "tea");
    rig.publish(Address::Room("news"), "news");
    rig.run();
    assert_eq!(rig.batches.sizes(), [10]);
    tea.iter().for_each(|client| assert_eq!(client.texts(), ["tea"]));
    news.iter().for_each(|client| assert_eq!(client.texts(), ["news"]));
}

#[test]
fn a_batch_is_bounded_by_writes_and_by_bytes() {
    let mut rig = rig();
    let members = rig.attach_to("r", 150);
    rig.run();
    publish(&mut rig, "r", "small");
    assert_eq!(rig.batches.sizes(), [64, 64, 22]);
    publish(&mut rig, "r", &"x".repeat(100_000));
    let sizes = rig.batches.sizes().split_off(3);
    assert_eq!((sizes[0], sizes.iter().sum::<usize>()), (3, 150), "300 KB at most: {sizes:?}");
    assert!(members.iter().all(|client| client.texts().len() == 2));
}

#[test]
fn a_slice_writes_no_more_than_its_budget() {
    let mut rig = rig();
    let members = rig.attach_to("r", 20);
    rig.run();
    rig.publish(Address::Room("r"), "hi");
    let served = || members.iter().filter(|client| !client.texts().is_empty()).count();
    for slices in 1.. {
        let state = rig.shards[0].run(rig.now, 8);
        assert!(served() <= 8 * slices, "{} after {slices} slices", served());
        if state != RunState::Busy {
            break;
        }
    }
    assert_eq!(served(), 20);
}

#[test]
fn a_connection_that_fails_in_the_midst_of_a_batch_ends_alone() {
    let mut rig = rig();
    let members = rig.attach_to("r", 5);
    rig.run();
    members[2].wire().error = Some(io::ErrorKind::BrokenPipe);
    publish(&mut rig, "r", "hi");
    assert_eq!(rig.batches.sizes(), [5]);
    assert_eq!(members[2].reason(), Some(DisconnectReason::Io(io::ErrorKind::BrokenPipe)));
    let served = |client: &&Client| client.texts() == ["hi"] && client.stage() == Stage::Open;
    assert_eq!(members.iter().filter(served).count(), 4);
    assert_eq!(rig.counters().deliveries.get(), 5);
    assert_eq!(rig.counters().dropped_at_end.get(), 1);
}

#[test]
fn a_socket_that_takes_a_part_gets_the_rest_later() {
    let mut rig = rig();
    let members = rig.attach_to("r", 5);
    rig.run();
    members[1].wire().window = Some(0);
    members[3].wire().window = Some(4);
    publish(&mut rig, "r", "hello");
    assert_eq!(rig.counters().blocked.get(), 2);
    publish(&mut rig, "r", "again");
    assert_eq!(rig.batches.sizes(), [5, 3], "who waits is in no batch");
    members.iter().for_each(Client::unblock);
    rig.run();
    members.iter().for_each(|client| assert_eq!(client.texts(), ["hello", "again"]));
}

#[test]
fn a_socket_that_takes_part_in_no_batch_gets_the_same() {
    let mut rig = rig();
    let members = rig.attach_to("r", 5);
    rig.run();
    members[0].wire().refuses_batches = true;
    publish(&mut rig, "r", "hi");
    assert_eq!(rig.batches.sizes(), [4]);
    members.iter().for_each(|client| assert_eq!(client.texts(), ["hi"]));
}

#[test]
fn two_writes_leave_one_by_one() {
    let mut rig = rig();
    let members = rig.attach_to("r", 2);
    rig.run();
    publish(&mut rig, "r", "hi");
    assert!(rig.batches.sizes().is_empty());
    members.iter().for_each(|client| assert_eq!(client.texts(), ["hi"]));
}

#[test]
fn writes_that_a_failed_writer_leaves_out_leave_one_by_one() {
    let mut rig = rig();
    let members = rig.attach_to("r", 5);
    rig.run();
    rig.batches.fail_after(2);
    publish(&mut rig, "r", "hi");
    assert_eq!(rig.batches.sizes(), [2]);
    members.iter().for_each(|client| assert_eq!(client.texts(), ["hi"]));
    assert_eq!(rig.counters().batched_writes.get(), 2);
    assert_eq!(rig.counters().writes.get(), 5);
}
