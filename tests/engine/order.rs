//! A connection gets the frames of one publisher in the order of its calls, whatever targets the calls have.

use std::borrow::Cow;

use roomcast::engine::{Address, Close, CloseCode, DisconnectReason, Limit};

use super::fake::Settings;

fn names<'a>(rooms: &[&'a str]) -> Vec<Cow<'a, str>> {
    rooms.iter().copied().map(Into::into).collect()
}

#[test]
fn rooms_broadcasts_unions_and_direct_sends_keep_their_order() {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut rig = Settings::default().build();
    let client = rig.attach();
    let both = names(&["a", "b"]);
    let mut expected = Vec::new();
    client.join("a");
    client.join("b");
    for n in 0..200 {
        let text = n.to_string();
        match rng.u32(0..5) {
            0 => rig.publish(Address::Everyone, &text),
            1 => rig.publish(Address::Room("a"), &text),
            2 => rig.publish(Address::Room("b"), &text),
            3 => rig.publish(Address::Rooms(&both), &text),
            _ => rig.publish(Address::Conn(client.id()), &text),
        }
        expected.push(text);
    }
    rig.run();
    assert_eq!(client.texts(), expected);
    assert_eq!(client.writes(), 1);
}

#[test]
fn a_member_of_two_rooms_gets_a_delivery_to_both_once() {
    let mut rig = Settings::default().build();
    let clients = [&["a"][..], &["b"], &["a", "b"], &[]].map(|rooms| {
        let client = rig.attach();
        rooms.iter().for_each(|room| client.join(room));
        client
    });
    let both = names(&["a", "b", "a", "nobody's"]);
    rig.publish(Address::Rooms(&both), "once");
    rig.publish_except(Address::Rooms(&both), &[clients[0].id()], "not to the first");
    rig.run();
    assert_eq!(clients[0].texts(), ["once"]);
    assert_eq!(clients[1].texts(), ["once", "not to the first"]);
    assert_eq!(clients[2].texts(), ["once", "not to the first"]);
    assert!(clients[3].texts().is_empty());
}

#[test]
fn excluded_connections_are_skipped_and_get_the_other_frames_in_order() {
    let mut rig = Settings::default().shards(2).build();
    let members = rig.attach_to("r", 4);
    let [first, second] = [members[0].id(), members[1].id()];
    rig.publish(Address::Room("r"), "1");
    rig.publish_except(Address::Room("r"), &[first], "2");
    rig.publish_except(Address::Room("r"), &[first, second], "3");
    rig.publish_except(Address::Everyone, &[second], "4");
    rig.publish_except(Address::Conn(first), &[first], "5");
    rig.publish(Address::Everyone, "6");
    rig.run();
    assert_eq!(members[0].texts(), ["1", "4", "6"]);
    assert_eq!(members[1].texts(), ["1", "2", "6"]);
    assert_eq!(members[2].texts(), ["1", "2", "3", "4", "6"]);
    assert_eq!(members[3].texts(), ["1", "2", "3", "4", "6"]);
}

#[test]
fn a_join_takes_effect_between_the_publishes_around_it() {
    let mut rig = Settings::default().build();
    let [early, late] = [rig.attach(), rig.attach()];
    early.join("r");
    rig.publish(Address::Room("r"), "before");
    late.join("r");
    rig.publish(Address::Room("r"), "after");
    early.leave("r");
    rig.publish(Address::Room("r"), "last");
    rig.run();
    assert_eq!(early.texts(), ["before", "after"]);
    assert_eq!(late.texts(), ["after", "last"]);
}

#[test]
fn a_join_takes_effect_between_deliveries_to_unions_too() {
    let mut rig = Settings::default().build();
    let [early, late] = [rig.attach(), rig.attach()];
    let union = names(&["r", "s"]);
    early.join("r");
    rig.publish(Address::Rooms(&union), "before");
    late.join("s");
    rig.publish(Address::Rooms(&union), "after");
    early.leave("r");
    rig.publish(Address::Rooms(&union), "last");
    rig.run();
    assert_eq!(early.texts(), ["before", "after"]);
    assert_eq!(late.texts(), ["after", "last"]);
}

#[test]
fn a_connection_gets_the_broadcasts_that_follow_its_attachment() {
    let mut rig = Settings::default().build();
    let early = rig.attach();
    rig.publish(Address::Everyone, "before");
    let late = rig.attach();
    rig.publish(Address::Everyone, "after");
    rig.run();
    assert_eq!(early.texts(), ["before", "after"]);
    assert_eq!(late.texts(), ["after"]);
}

#[test]
fn frames_sent_before_a_close_arrive_before_the_close_frame() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    client.join("r");
    rig.publish(Address::Room("r"), "1");
    rig.publish(Address::Conn(client.id()), "2");
    client.close();
    rig.publish(Address::Room("r"), "too late");
    rig.run();
    assert_eq!(client.texts(), ["1", "2"]);
    assert_eq!(client.close_code(), Some(roomcast::engine::CloseCode::NORMAL));
}

#[test]
fn connection_that_drains_gets_new_frames_after_the_old_frames() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    client.wire().window = Some(1);
    rig.run();
    rig.publish(Address::Everyone, "1");
    rig.run();
    rig.publish(Address::Everyone, "2");
    client.unblock();
    rig.publish(Address::Everyone, "3");
    rig.run();
    assert_eq!(client.texts(), ["1", "2", "3"]);
}

#[test]
fn publishers_on_several_threads_each_keep_their_own_order() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 4);
    rig.run();
    let ports = rig.ports.clone();
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..3)
            .map(|publisher| {
                let ports = &ports;
                scope.spawn(move || {
                    for n in 0..500 {
                        let frame = super::fake::text_frame(&format!("{publisher} {n:03}"));
                        let to = [Address::Everyone, Address::Room("r")][n % 2];
                        roomcast::engine::publish(ports, to, &[], &frame)
                            .expect("the inbox has space");
                    }
                })
            })
            .collect();
        while !publishers.iter().all(|publisher| publisher.is_finished()) {
            rig.shards[0].run(rig.now, 3);
        }
    });
    rig.run();
    for member in &members {
        let texts = member.texts();
        assert_eq!(texts.len(), 1_500);
        for publisher in 0..3 {
            let prefix = format!("{publisher} ");
            let own: Vec<_> = texts.iter().filter(|text| text.starts_with(&prefix)).collect();
            assert!(own.is_sorted() && own.len() == 500);
        }
    }
}

#[test]
fn frames_sent_before_a_protocol_violation_leave_before_its_close() {
    for breach in [
        DisconnectReason::Protocol(Close::new(CloseCode::TOO_BIG, "")),
        DisconnectReason::OverLimit(Limit::MessageBytes),
    ] {
        let mut rig = Settings::default().build();
        let clients = rig.attach_to("r", 2);
        rig.run();
        rig.publish(Address::Conn(clients[0].id()), "answer");
        rig.publish(Address::Room("r"), "to all");
        clients[0].port.close(clients[0].id(), breach);
        rig.publish(Address::Room("r"), "later");
        rig.run();
        assert_eq!(clients[0].texts(), ["answer", "to all"]);
        assert_eq!(clients[0].close_code(), Some(CloseCode::TOO_BIG));
        assert_eq!(clients[1].texts(), ["to all", "later"]);
    }
}

#[test]
fn a_batch_for_more_recipients_than_a_turn_takes_is_split_and_keeps_its_order() {
    check_split(Settings::default());
}

/// Publishes to 300 rooms of the same 1,000 members: 262,144 recipients are 262 of these rooms.
pub(crate) fn check_split(settings: Settings) {
    let mut rig = settings.build();
    let clients = rig.attach_to("r0", 1_000);
    let rooms: Vec<_> = (0..300).map(|room| format!("r{room}")).collect();
    for client in &clients {
        rooms[1..].iter().for_each(|room| client.join(room));
    }
    rig.run();
    rooms.iter().for_each(|room| rig.publish(Address::Room(room), room));
    rig.run();
    for client in &clients {
        assert_eq!(client.texts(), rooms);
        assert_eq!(client.writes(), 2);
    }
}
