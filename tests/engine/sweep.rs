//! A fan-out to a large audience does not delay the connections outside that audience.

use roomcast::engine::{Address, Close, CloseCode, DisconnectReason, RunState};

use super::fake::{Client, Rig, Settings};
use super::order::check_split;

const LARGE: usize = 100;

/// A hub with a large room, a small one apart from it, and a member of both.
fn rig() -> (Rig, Vec<Client>, Client, Client) {
    let mut rig = Settings::default().large_audience(LARGE).build();
    let crowd = rig.attach_to("large", 1_000);
    let apart = rig.attach();
    apart.join("small");
    let both = rig.attach();
    both.join("large");
    both.join("other");
    rig.run();
    (rig, crowd, apart, both)
}

/// Runs one slice of `writes` writes of the only shard.
fn slice(rig: &mut Rig, writes: usize) -> RunState {
    let now = rig.now;
    rig.shards[0].run(now, writes)
}

fn served(crowd: &[Client]) -> usize {
    crowd.iter().filter(|client| !client.texts().is_empty()).count()
}

#[test]
fn small_room_is_served_during_the_sweep_of_a_large_room() {
    let (mut rig, crowd, apart, _) = rig();
    rig.publish(Address::Room("large"), "to many");
    assert_eq!(slice(&mut rig, 64), RunState::Busy);
    rig.publish(Address::Room("small"), "to few");
    assert_eq!(slice(&mut rig, 64), RunState::Busy);
    assert_eq!(apart.texts(), ["to few"]);
    assert!(served(&crowd) < 200, "{} of the large room came first", served(&crowd));
    rig.run();
    assert_eq!(served(&crowd), 1_000);
}

#[test]
fn a_sweep_goes_on_while_small_rooms_keep_the_shard_busy() {
    let (mut rig, crowd, _, _) = rig();
    rig.publish(Address::Room("large"), "to many");
    for _ in 0..100 {
        (0..10).for_each(|_| rig.publish(Address::Room("small"), "to few"));
        slice(&mut rig, 64);
    }
    assert_eq!(served(&crowd), 1_000);
}

#[test]
fn messages_queued_during_a_sweep_are_joined_into_the_next_sweep() {
    let (mut rig, crowd, _, _) = rig();
    let mut expected = vec!["0".to_owned()];
    rig.publish(Address::Room("large"), "0");
    slice(&mut rig, 64);
    for n in 1..16 {
        rig.publish(Address::Room("large"), &n.to_string());
        slice(&mut rig, 1);
        expected.push(n.to_string());
    }
    rig.run();
    for client in &crowd {
        assert_eq!(client.texts(), expected);
        assert_eq!(client.writes(), 2);
    }
}

#[test]
fn nothing_overtakes_a_sweep_on_its_way_to_a_member() {
    let (mut rig, _, apart, both) = rig();
    rig.publish(Address::Room("other"), "1");
    rig.publish(Address::Room("large"), "2");
    rig.publish(Address::Room("other"), "3");
    slice(&mut rig, 64);
    rig.publish(Address::Conn(both.id()), "4");
    rig.publish(Address::Rooms(&["other".into(), "small".into()]), "5");
    rig.publish(Address::Everyone, "6");
    slice(&mut rig, 64);
    rig.publish(Address::Room("large"), "7");
    both.close();
    rig.run();
    assert_eq!(both.texts(), ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(apart.texts(), ["5", "6"]);
}

#[test]
fn members_of_a_sweep_are_the_members_at_the_time_of_its_messages() {
    let (mut rig, crowd, apart, both) = rig();
    rig.publish(Address::Room("large"), "before");
    slice(&mut rig, 64);
    both.leave("large");
    apart.join("large");
    rig.publish(Address::Room("large"), "after");
    crowd[0].leave("large");
    rig.publish_except(Address::Room("large"), &[crowd[1].id()], "last");
    rig.run();
    assert_eq!(both.texts(), ["before"]);
    assert_eq!(apart.texts(), ["after", "last"]);
    assert_eq!(crowd[0].texts(), ["before", "after"]);
    assert_eq!(crowd[1].texts(), ["before", "after"]);
    assert_eq!(crowd[2].texts(), ["before", "after", "last"]);
}

#[test]
fn excluded_nonmember_that_ends_during_a_sweep_gets_nothing() {
    for has_mixed in [false, true] {
        let (mut rig, crowd, apart, both) = rig();
        rig.publish_except(Address::Room("large"), &[apart.id()], "1");
        let others = if has_mixed { vec![both.id()] } else { vec![] };
        rig.publish_except(Address::Room("large"), &others, "2");
        slice(&mut rig, 64);
        apart.close();
        rig.run();
        assert!(apart.texts().is_empty(), "{:?}", apart.texts());
        assert_eq!(both.texts().len(), 2 - others.len());
        assert_eq!(crowd[999].texts(), ["1", "2"]);
    }
}

#[test]
fn sweep_to_several_rooms_skips_a_later_joiner_of_an_empty_room() {
    let (mut rig, crowd, apart, _) = rig();
    // The room exists, because joins are in the inbox. The join of `apart` comes too late.
    crowd[0].close();
    crowd[0].join("fresh");
    rig.publish(Address::Rooms(&["large".into(), "fresh".into()]), "before");
    apart.join("fresh");
    rig.publish(Address::Conn(apart.id()), "after");
    rig.run();
    assert_eq!(served(&crowd), 999);
    assert_eq!(apart.texts(), ["after"]);
}

#[test]
fn connection_that_reuses_a_slot_during_a_sweep_gets_nothing_of_the_sweep() {
    let (mut rig, crowd, _, _) = rig();
    rig.publish(Address::Everyone, "before");
    slice(&mut rig, 64);
    rig.ports[0].detach(crowd[999].id());
    slice(&mut rig, 1);
    let late = rig.attach();
    rig.run();
    assert_eq!(served(&crowd), 999);
    assert!(late.texts().is_empty());
    assert_eq!(rig.counters().dropped_at_end.get(), 1, "its queued message is lost");
}

#[test]
fn member_that_closes_during_a_sweep_first_gets_earlier_messages() {
    for by_client in [false, true] {
        let (mut rig, crowd, _, both) = rig();
        rig.publish(Address::Room("other"), "1");
        rig.publish(Address::Room("large"), "2");
        slice(&mut rig, 64);
        rig.publish(Address::Everyone, "3");
        rig.publish_except(Address::Room("large"), &[both.id()], "not to this one");
        rig.publish(Address::Conn(both.id()), "4");
        let reason = match by_client {
            false => DisconnectReason::ClosedByServer(Close::normal()),
            true => DisconnectReason::ClosedByClient(Close::normal()),
        };
        both.port.close(both.id(), reason);
        rig.publish(Address::Room("large"), "after");
        rig.publish(Address::Conn(both.id()), "after");
        slice(&mut rig, 64);
        assert_eq!(both.texts(), ["1", "2", "3", "4"], "at once");
        assert_eq!(both.close_code(), Some(CloseCode::NORMAL));
        assert!(served(&crowd) < 500, "the others have still to get some");
        rig.run();
        assert_eq!(both.texts(), ["1", "2", "3", "4"]);
        assert_eq!(rig.counters().dropped_at_end.get(), 1, "sent to it alone, and too late");
        assert!(crowd.iter().all(|client| client.texts().len() == 4));
    }
}

#[test]
fn long_turn_to_a_small_room_does_not_delay_another_room() {
    let mut rig = Settings::default().build();
    let flooded = rig.attach_to("flooded", 300);
    let apart = rig.attach();
    apart.join("small");
    rig.run();
    let large = "x".repeat(100_000);
    rig.publish(Address::Room("flooded"), &large);
    slice(&mut rig, 64);
    rig.publish(Address::Room("flooded"), &large);
    rig.publish(Address::Room("small"), "to few");
    slice(&mut rig, 64);
    assert_eq!(apart.texts(), ["to few"]);
    assert!(served(&flooded) < 200, "{} came first", served(&flooded));
    rig.run();
    assert!(flooded.iter().all(|client| client.texts() == [&*large, &*large]));
}

#[test]
fn direct_sends_to_a_member_do_not_break_a_burst_to_many() {
    let (mut rig, crowd, _, _) = rig();
    let mut expected = Vec::new();
    for n in 0..16 {
        let text = n.to_string();
        if n % 4 == 3 {
            rig.publish(Address::Conn(crowd[0].id()), &text);
        } else {
            rig.publish(Address::Room("large"), &text);
        }
        expected.push(text);
    }
    rig.run();
    assert_eq!(crowd[0].texts(), expected);
    assert!(crowd.iter().all(|client| client.writes() == 1));
}

#[test]
fn bursts_to_several_large_audiences_join() {
    let (mut rig, crowd, _, _) = rig();
    let others = rig.attach_to("another", LARGE);
    for n in 0..4 {
        rig.publish(Address::Room("large"), &format!("large {n}"));
        rig.publish(Address::Room("another"), &format!("another {n}"));
        rig.publish(Address::Everyone, &format!("all {n}"));
    }
    rig.run();
    for client in crowd.iter().chain(&others) {
        assert_eq!(client.texts().len(), 8);
        assert_eq!(client.writes(), 1);
    }
}

#[test]
fn a_batch_for_more_recipients_than_a_round_takes_is_split_and_keeps_its_order() {
    check_split(Settings::default().large_audience(LARGE));
}
