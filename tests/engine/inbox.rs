//! Commands to shards: all shards take a command or none does, within the bounds, until the hub is
//! closed.

use std::sync::Arc;
use std::task::{Context, Waker};

use roomcast::engine::{
    Address, Amount, CloseCode, Closing, DisconnectReason, Inbox, InboxLimits, Overloaded, Pace,
    Publish, RunState, Stage, publish, publish_at,
};

use super::fake::{Client, PLENTY, Rig, Settings, assert_nothing_reserved, text_frame};
use super::wakes::Wakes;

const LIMITS: InboxLimits = InboxLimits { messages: 8, bytes: 1_000 };

/// Two shards with a member of `r` each.
fn two_shards() -> (Rig, Vec<Client>) {
    let settings = Settings::default().shards(2).inbox(LIMITS.messages, LIMITS.bytes);
    let mut rig = settings.build();
    let members = rig.attach_to("r", 2);
    rig.run();
    (rig, members)
}

fn send(rig: &Rig, to: Address<'_>, text: &str) -> Result<(), Overloaded> {
    publish(&rig.ports, to, &[], &text_frame(text))
}

#[test]
fn publish_reaches_no_shard_if_one_shard_is_full() {
    for full in 0..2 {
        let (mut rig, members) = two_shards();
        let direct = Address::Conn(members[full].id());
        for _ in 0..LIMITS.messages {
            assert_eq!(send(&rig, direct, "direct"), Ok(()));
        }
        assert_eq!(send(&rig, direct, "one too many"), Err(Overloaded));
        assert_eq!(send(&rig, Address::Everyone, "to all"), Err(Overloaded));
        assert_eq!(send(&rig, Address::Room("r"), "to the room"), Err(Overloaded));
        assert_eq!(rig.ports[full].counters().inbox_refusals.get(), 3);
        assert_eq!(rig.ports[1 - full].inbox().len(), 0);
        let other = Address::Conn(members[1 - full].id());
        assert_eq!(send(&rig, other, "next door"), Ok(()), "the other shard has room");
        rig.run();
        assert_eq!(members[full].texts(), vec!["direct"; LIMITS.messages]);
        assert_eq!(members[1 - full].texts(), ["next door"]);
        rig.ports.iter().for_each(|port| assert_nothing_reserved(port, LIMITS));
        assert_eq!(send(&rig, Address::Everyone, "again"), Ok(()));
        rig.run();
        assert!(members.iter().all(|member| member.texts().ends_with(&["again".to_owned()])));
    }
}

/// Otherwise the sleeping shard and the waiting publisher would wake each other in turn.
#[test]
fn waiting_publish_that_one_shard_refuses_wakes_no_other_shard() {
    for full in 0..2 {
        let (mut rig, members) = two_shards();
        rig.run();
        let direct = Address::Conn(members[full].id());
        for _ in 0..=LIMITS.messages / 2 {
            assert_eq!(send(&rig, direct, "direct"), Ok(()));
        }
        assert!(rig.ports[full].inbox().is_congested());
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let other = rig.ports[1 - full].inbox();
        assert!(other.poll_filled(&mut Context::from_waker(&waker)).is_pending());
        let frames = text_frame("to the room");
        let (pace, address) = (Pace::Patient, Address::Room("r"));
        let publish = Publish { pace, address, except: &[], frames: &frames, follow: None };
        let published = publish_at(&rig.ports, &publish);
        assert_eq!(published, Err(Overloaded));
        assert_eq!(wakes.take(), 0, "shard {full} refuses");
        rig.run();
        let published = publish_at(&rig.ports, &publish);
        assert_eq!(published, Ok(()));
        assert_eq!(wakes.take(), 1);
    }
}

#[test]
fn more_than_half_of_either_bound_is_congestion() {
    let inbox = Inbox::<()>::new(LIMITS);
    let reserve = |bytes| inbox.reserve(bytes).expect("the inbox has space");
    (0..4).for_each(|_| reserve(0));
    assert!(!inbox.is_congested(), "half of the messages");
    reserve(0);
    assert!(inbox.is_congested(), "one more");
    inbox.release(5, 0);
    reserve(500);
    assert!(!inbox.is_congested(), "half of the bytes");
    reserve(1);
    assert!(inbox.is_congested(), "one more");
    inbox.close();
    assert!(!inbox.is_congested(), "nobody will free space");
}

#[test]
fn publish_without_space_for_its_bytes_reaches_nobody() {
    let (mut rig, members) = two_shards();
    // A frame of 500 bytes, with its header of four bytes.
    let half = "x".repeat(496);
    let direct = Address::Conn(members[1].id());
    assert_eq!(send(&rig, direct, &half), Ok(()));
    assert_eq!(send(&rig, direct, &half), Ok(()), "at the bound");
    assert_eq!(rig.ports[1].inbox().reserved(), Amount { messages: 2, bytes: LIMITS.bytes });
    assert_eq!(send(&rig, Address::Everyone, ""), Err(Overloaded));
    rig.run();
    assert_eq!(members[1].texts().len(), 2);
    assert!(members[0].texts().is_empty());
    rig.ports.iter().for_each(|port| assert_nothing_reserved(port, LIMITS));
}

#[test]
fn a_message_larger_than_the_bound_passes_through_an_empty_inbox() {
    let (mut rig, members) = two_shards();
    let large = "x".repeat(2 * LIMITS.bytes);
    assert_eq!(send(&rig, Address::Everyone, &large), Ok(()));
    assert_eq!(send(&rig, Address::Everyone, "small"), Err(Overloaded));
    rig.run();
    assert!(members.iter().all(|member| member.texts() == [large.clone()]));
    rig.ports.iter().for_each(|port| assert_nothing_reserved(port, LIMITS));
}

#[test]
fn publish_to_nobody_takes_no_inbox_space() {
    let (rig, _members) = two_shards();
    for _ in 0..100 {
        assert_eq!(send(&rig, Address::Room("nobody's"), "?"), Ok(()));
        let names = ["nobody's", "nobody's either"].map(Into::into);
        assert_eq!(send(&rig, Address::Rooms(&names), "?"), Ok(()));
        assert_eq!(send(&rig, Address::Rooms(&[]), "?"), Ok(()));
    }
    assert!(rig.ports.iter().all(|port| port.inbox().is_empty()));
}

#[test]
fn a_publish_enters_only_the_shards_that_have_members() {
    let (mut rig, members) = two_shards();
    members[1].join("s");
    rig.run();
    assert_eq!(send(&rig, Address::Room("s"), "here"), Ok(()));
    assert_eq!([0, 1].map(|at| rig.ports[at].inbox().len()), [0, 1]);
    rig.run();
    assert_eq!(members[1].texts(), ["here"]);
}

#[test]
fn all_inbox_space_is_released_for_every_kind_of_command() {
    let (mut rig, members) = two_shards();
    for round in 0..50 {
        let client = &members[round % 2];
        client.join("s");
        client.leave("s");
        client.port.pong(client.id(), b"pong");
        assert_eq!(send(&rig, Address::Room("s"), "to a room"), Ok(()));
        assert_eq!(send(&rig, Address::Everyone, "to all"), Ok(()));
        rig.run();
        rig.ports.iter().for_each(|port| assert_nothing_reserved(port, LIMITS));
    }
    members[0].port.detach(members[0].id());
    rig.run();
    // Also for a connection that is gone.
    members[0].port.pong(members[0].id(), b"pong");
    assert_eq!(send(&rig, Address::Conn(members[0].id()), "gone"), Ok(()));
    rig.run();
    rig.ports.iter().for_each(|port| assert_nothing_reserved(port, LIMITS));
}

/// A call that reserves in several steps gives back the first step if the second one fails.
#[test]
fn rollback_in_a_closed_inbox_gives_back_no_more_than_was_reserved() {
    let inbox = Inbox::<()>::new(LIMITS);
    for _ in 0..LIMITS.messages {
        assert_eq!(inbox.reserve(0), Ok(()));
    }
    inbox.close();
    let before = inbox.reserved();
    assert_eq!(inbox.reserve(100), Ok(()), "a closed inbox takes and drops everything");
    inbox.give_back(1, 100);
    assert_eq!(inbox.reserved(), before);
}

#[test]
fn closing_the_hub_ends_all_connections_with_a_close_frame_after_earlier_frames() {
    let mut rig = Settings::default().shards(2).build();
    let members = rig.attach_to("r", 100);
    rig.publish(Address::Room("r"), "farewell");
    rig.ports.iter().for_each(|port| port.close_all(Closing::now().into()));
    // The close runs in slices, so that other work has its turn.
    for shard in &mut rig.shards {
        while shard.run(rig.now, 7) == RunState::Busy {}
    }
    for member in &members {
        assert_eq!(member.reason(), Some(DisconnectReason::HubClosed(Closing::now().close)));
        assert_eq!(member.stage(), Stage::Flushed);
        assert_eq!(member.texts(), ["farewell"]);
        assert_eq!(member.close_code(), Some(CloseCode::GOING_AWAY));
    }
    assert_eq!(rig.total(|counters| &counters.connections), 0);
    assert!(rig.ports.iter().all(|port| port.rooms().is_empty()));
}

#[test]
fn connection_that_attaches_after_the_close_of_the_hub_ends_at_once() {
    let mut rig = Settings::default().build();
    rig.ports[0].close_all(Closing::now().into());
    rig.run();
    let late = rig.attach();
    late.join("r");
    rig.publish(Address::Everyone, "too late");
    rig.run();
    assert_eq!(late.reason(), Some(DisconnectReason::HubClosed(Closing::now().close)));
    assert_eq!(late.close_code(), Some(CloseCode::GOING_AWAY));
    assert!(late.texts().is_empty());
    assert!(rig.ports[0].rooms().is_empty());
    assert_eq!(rig.counters().connections.get(), 0);
}

#[test]
fn a_hub_that_is_closed_twice_ends_each_connection_once() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    rig.ports[0].close_all(Closing::now().into());
    rig.ports[0].close_all(Closing::now().into());
    rig.run();
    assert_eq!(client.frames().len(), 1);
    assert_eq!(rig.counters().disconnected.get(), 1);
}

#[test]
fn a_connection_that_ends_twice_keeps_its_first_reason() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    client.close();
    rig.ports[0].close(client.id(), DisconnectReason::HandlerPanicked);
    rig.ports[0].detach(client.id());
    rig.ports[0].detach(client.id());
    rig.run();
    assert!(matches!(client.reason(), Some(DisconnectReason::ClosedByServer(_))));
    assert_eq!(client.frames().len(), 1);
    assert_eq!(rig.counters().disconnected.get(), 1);
    assert_eq!(rig.counters().connections.get(), 0);
}

#[test]
fn a_connection_behind_a_stop_is_abandoned_with_its_shard() {
    let mut rig = Settings::default().build();
    rig.ports[0].stop();
    let late = rig.attach();
    rig.run();
    rig.shards.clear();
    assert_eq!(late.stage(), Stage::Cut);
    assert!(matches!(late.reason(), Some(DisconnectReason::HubClosed(_))));
    assert!(late.wire().is_dropped);
    assert_eq!(rig.counters().connections.get(), 0);
    assert_eq!(rig.counters().disconnected.get(), 1);
}

#[test]
fn stopped_shard_delivers_earlier_messages_and_drops_its_sockets() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    rig.publish(Address::Everyone, "before");
    rig.ports[0].stop();
    rig.publish(Address::Everyone, "after");
    let state = rig.shards[0].run(rig.now, PLENTY);
    assert_eq!(state, RunState::Stopped);
    assert_eq!(rig.shards[0].run(rig.now, PLENTY), RunState::Stopped);
    assert_eq!(client.texts(), ["before"]);
    rig.shards.clear();
    assert!(client.wire().is_dropped);
}

#[test]
fn stopped_idle_shard_reports_that_it_is_done() {
    let mut rig = Settings::default().build();
    assert_eq!(rig.shards[0].run(rig.now, PLENTY), RunState::Idle);
    rig.ports[0].stop();
    // No driver would run the shard again.
    assert_eq!(rig.shards[0].run(rig.now, PLENTY), RunState::Stopped);
}
