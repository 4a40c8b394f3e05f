//! The number of write calls for a delivery, and the number of attempts on a blocked socket.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use roomcast::engine::{
    Address, ConnKey, DisconnectReason, Link, Overflow, Port, RunState, Shard, Socket, publish,
};

use super::fake::{Client, PLENTY, PONG, Settings, assert_nothing_reserved, text_frame};

#[test]
fn a_run_of_sixteen_frames_reaches_each_of_eight_members_in_one_write() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 8);
    rig.run();
    let texts: Vec<String> = (0..16).map(|n| format!("message {n}")).collect();
    texts.iter().for_each(|text| rig.publish(Address::Room("r"), text));
    rig.run();
    for member in &members {
        assert_eq!(member.texts(), texts);
        assert_eq!(member.writes(), 1);
    }
    assert_eq!(rig.counters().writes.get(), 8);
    assert_eq!(rig.counters().deliveries.get(), 8 * 16);
}

#[test]
fn a_run_that_was_published_as_one_counts_its_messages() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 2);
    rig.run();
    let texts: Vec<String> = (0..5).map(|n| format!("message {n}")).collect();
    rig.publish(Address::Room("r"), "first");
    rig.publish_run(Address::Room("r"), &texts);
    rig.run();
    for member in &members {
        assert_eq!(member.texts()[1..], texts);
        assert_eq!(member.writes(), 1);
    }
    assert_eq!(rig.counters().shard_messages.get(), 6);
    assert_eq!(rig.counters().deliveries.get(), 12);
}

#[test]
fn a_thousand_rooms_with_four_frames_each_cost_one_write_a_member() {
    let mut rig = Settings::default().build();
    let names: Vec<String> = (0..1_000).map(|n| format!("room {n}")).collect();
    let members: Vec<_> = names.iter().flat_map(|name| rig.attach_to(name, 1)).collect();
    rig.run();
    for n in 0..4 {
        names.iter().for_each(|name| rig.publish(Address::Room(name), &n.to_string()));
    }
    rig.run();
    for member in &members {
        assert_eq!(member.texts(), ["0", "1", "2", "3"]);
        assert_eq!(member.writes(), 1);
    }
}

#[test]
fn rooms_broadcasts_and_direct_sends_of_a_turn_share_one_write() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 3);
    let outsider = rig.attach();
    rig.run();
    for n in 0..3 {
        rig.publish(Address::Room("r"), &format!("room {n}"));
        rig.publish(Address::Everyone, &format!("all {n}"));
        rig.publish(Address::Conn(outsider.id()), &format!("one {n}"));
    }
    rig.run();
    for member in &members {
        assert_eq!(member.texts(), ["room 0", "all 0", "room 1", "all 1", "room 2", "all 2"]);
        assert_eq!(member.writes(), 1);
    }
    assert_eq!(outsider.texts(), ["all 0", "one 0", "all 1", "one 1", "all 2", "one 2"]);
    assert_eq!(outsider.writes(), 1);
}

#[test]
fn queued_frames_of_a_blocked_member_leave_in_one_vectored_write() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 2);
    members[0].block();
    rig.run();
    let texts: Vec<String> = (0..16).map(|n| n.to_string()).collect();
    for text in &texts {
        rig.publish(Address::Room("r"), text);
        rig.run();
    }
    assert_eq!(members[0].writes(), 0);
    members[0].unblock();
    rig.run();
    assert_eq!(members[0].texts(), texts);
    let bytes = texts.iter().map(|text| text_frame(text).len()).sum();
    assert_eq!(members[0].wire().writes, [(bytes, 16)]);
    assert_eq!(members[1].writes(), 16);
}

#[test]
fn a_burst_over_the_joining_bound_is_cut_between_frames() {
    let mut rig = Settings::default().build();
    let member = rig.attach_to("r", 1).remove(0);
    rig.run();
    let text = "x".repeat(50_000);
    (0..5).for_each(|_| rig.publish(Address::Room("r"), &text));
    rig.run();
    let frame = text_frame(&text).len();
    assert_eq!(member.wire().writes, [(2 * frame, 1), (2 * frame, 1), (frame, 1)]);
    assert_eq!(member.texts().len(), 5);
}

#[test]
fn repeated_wakes_queue_one_command() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 2);
    members.iter().for_each(Client::block);
    rig.run();
    rig.publish(Address::Room("r"), "waits");
    rig.run();
    let port = rig.ports[0].clone();
    (0..100).for_each(|_| members[0].wake());
    assert_eq!(port.inbox().len(), 1);
    (0..100).for_each(|_| members[1].wake());
    assert_eq!(port.inbox().len(), 2, "another socket has a command of its own");
    rig.run();
    assert!(port.inbox().is_empty());
    (0..100).for_each(|_| members[0].wake());
    assert_eq!(port.inbox().len(), 1, "looked at and blocked again, it may tell again");
    members[0].unblock();
    rig.run();
    assert_eq!(members[0].texts(), ["waits"]);
}

#[test]
fn a_waker_that_outlives_its_socket_does_no_harm() {
    let mut rig = Settings::default().build();
    let member = rig.attach_to("r", 1).remove(0);
    member.block();
    rig.run();
    rig.publish(Address::Room("r"), "waits");
    rig.run();
    let waker = member.wire().waker.clone().expect("the socket is blocked");
    rig.ports[0].detach(member.id());
    rig.run();
    waker.wake_by_ref();
    waker.wake();
    assert_eq!(rig.ports[0].inbox().len(), 1);
    rig.run();
    assert!(rig.ports[0].inbox().is_empty());
}

#[test]
fn shard_waits_for_a_pending_flush() {
    let mut rig = Settings::default().build();
    let member = rig.attach_to("r", 1).remove(0);
    member.wire().holds_flush = true;
    rig.run();
    rig.publish(Address::Room("r"), "held");
    rig.run();
    assert_eq!(member.texts(), ["held"]);
    assert!(rig.shards[0].next_tick().is_some(), "the flush is watched");
    member.unblock();
    rig.run();
    assert!(rig.shards[0].next_tick().is_none());
    assert_eq!(member.reason(), None);
}

#[test]
fn failing_socket_ends_its_connection_alone_and_its_losses_are_counted() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 2);
    members[0].wire().error = Some(io::ErrorKind::BrokenPipe);
    rig.run();
    rig.publish(Address::Room("r"), "one");
    rig.publish(Address::Room("r"), "two");
    rig.run();
    assert_eq!(members[0].reason(), Some(DisconnectReason::Io(io::ErrorKind::BrokenPipe)));
    assert!(members[0].wire().is_aborted);
    assert_eq!(members[1].texts(), ["one", "two"]);
    assert_eq!(rig.counters().deliveries.get(), 4);
    assert_eq!(rig.counters().dropped_at_end.get(), 2);
}

#[test]
fn burst_that_a_failing_socket_took_in_part_counts_as_partly_lost() {
    let mut rig = Settings::default().build();
    let member = rig.attach_to("r", 1).remove(0);
    rig.run();
    let frame = text_frame("0").len();
    member.wire().window = Some(2 * frame + 1);
    (0..5).for_each(|n| rig.publish(Address::Room("r"), &n.to_string()));
    rig.run();
    member.wire().error = Some(io::ErrorKind::ConnectionReset);
    member.wake();
    rig.run();
    assert_eq!(member.texts(), ["0", "1"]);
    assert_eq!(rig.counters().dropped_at_end.get(), 3);
}

#[test]
fn a_slice_of_work_ends_when_its_writes_are_used_up() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 100);
    rig.run();
    rig.publish(Address::Room("r"), "many");
    let mut state = RunState::Busy;
    for slice in 1..12 {
        assert_eq!(state, RunState::Busy);
        state = rig.shards[0].run(rig.now, 10);
        let written: usize = members.iter().map(Client::writes).sum();
        assert!(written <= 10 * slice);
    }
    assert_eq!(state, RunState::Idle);
    assert!(members.iter().all(|member| member.texts() == ["many"]));
}

#[test]
fn slice_of_work_ends_sooner_if_its_writes_are_large() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 50);
    rig.run();
    rig.publish(Address::Room("r"), &"x".repeat(64 * 1024));
    assert_eq!(rig.shards[0].run(rig.now, 64), RunState::Busy);
    let written: usize = members.iter().map(Client::writes).sum();
    // One unit for the call, and four units for its bytes.
    assert_eq!(written, 13);
    // Queued frames of a socket that was blocked cost writes, too.
    members[13..].iter().for_each(Client::block);
    rig.run();
    let before: usize = members.iter().map(Client::writes).sum();
    members[13..].iter().for_each(Client::unblock);
    assert_eq!(rig.shards[0].run(rig.now, 64), RunState::Busy);
    let written = members.iter().map(Client::writes).sum::<usize>() - before;
    assert_eq!(written, 13);
    rig.run();
    assert!(members.iter().all(|member| member.texts()[0].len() == 64 * 1024));
}

#[test]
fn turns_without_writes_do_not_extend_a_slice() {
    let mut rig = Settings::default().build();
    let member = rig.attach_to("r", 1).remove(0);
    rig.run();
    for _ in 0..5_000 {
        rig.publish_except(Address::Room("r"), &[member.id()], "to nobody");
        member.leave("r");
        member.join("r");
    }
    rig.shards[0].run(rig.now, 10);
    assert!(rig.ports[0].inbox().len() > 10_000, "others have their turn");
    rig.run();
    assert_eq!(member.writes(), 0);
}

#[test]
fn pong_leaves_at_once_and_releases_its_inbox_space() {
    let settings = Settings::default();
    let mut rig = settings.build();
    let client = rig.attach();
    for _ in 0..3 {
        client.port.pong(client.id(), b"are you there?");
        assert_eq!(rig.shards[0].run(rig.now, PLENTY), RunState::Idle);
    }
    assert_eq!(client.count(PONG), 3);
    assert_nothing_reserved(&rig.ports[0], settings.inbox);
}

#[test]
fn flood_of_pings_counts_as_congestion() {
    let mut rig = Settings::default().inbox(100, 1_000).build();
    let client = rig.attach();
    rig.run();
    (0..50).for_each(|_| client.port.pong(client.id(), b""));
    assert!(!rig.ports[0].inbox().is_congested());
    client.port.pong(client.id(), b"");
    assert!(rig.ports[0].inbox().is_congested());
    rig.run();
    assert!(!rig.ports[0].inbox().is_congested());
}

#[test]
fn an_audience_brings_a_member_at_most_half_of_its_queue_in_a_turn() {
    let mut rig = Settings::default().queue(16, 1_000, Overflow::Evict).build();
    let member = rig.attach();
    member.join("r");
    rig.run();
    let text = "x".repeat(98);
    for address in [Address::Room("r"), Address::Everyone, Address::Conn(member.id())] {
        let before = member.writes();
        (0..10).for_each(|_| rig.publish(address, &text));
        rig.run();
        assert_eq!(member.writes() - before, 2, "five frames of 100 bytes are half of 1,000");
    }
    assert_eq!(member.texts().len(), 30);
}

/// A socket whose write succeeds with zero bytes.
struct Dead;

impl Socket for Dead {
    fn poll_write(
        &mut self,
        _: &mut Context<'_>,
        frames: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(frames.iter().any(|frame| !frame.is_empty()));
        Poll::Ready(Ok(0))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shut_down(&mut self) {}

    fn abort(&mut self) {}
}

#[test]
fn socket_that_accepts_zero_bytes_has_failed_and_is_not_retried() {
    let settings = Settings::default();
    let port = Arc::new(Port::new(0, settings.inbox, settings.rooms));
    let mut shard = Shard::new(settings.shard, port.clone());
    let link = Arc::new(Link::new(ConnKey::new(0, 0)));
    port.attach(link.clone(), Dead);
    publish(&[port], Address::Everyone, &[], &text_frame("message")).unwrap();
    assert_eq!(shard.run(Duration::ZERO, PLENTY), RunState::Idle);
    let reason = link.end().map(|end| end.reason.clone());
    assert_eq!(reason, Some(DisconnectReason::Io(io::ErrorKind::WriteZero)));
}
