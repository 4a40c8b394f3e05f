//! The members of rooms, and the rooms that exist.

use std::collections::BTreeSet;
use std::thread;

use roomcast::engine::{
    Address, Close, CloseCode, Closing, ConnKey, DisconnectReason, JoinError, LeaveError, Stage,
    publish,
};

use super::fake::{Client, Rig, Settings, assert_nothing_reserved, text_frame};

fn room_count(rig: &Rig) -> (usize, u64) {
    (rig.ports[0].rooms().len(), rig.counters().rooms.get())
}

#[test]
fn the_empty_name_is_a_room_and_not_everyone() {
    let mut rig = Settings::default().build();
    let [member, outsider] = [rig.attach(), rig.attach()];
    rig.publish(Address::Room(""), "to nobody yet");
    member.join("");
    rig.publish(Address::Room(""), "to the room");
    rig.publish(Address::Everyone, "to all");
    rig.run();
    assert_eq!(member.texts(), ["to the room", "to all"]);
    assert_eq!(outsider.texts(), ["to all"]);
    assert_eq!(rig.members(""), [member.id()]);
}

#[test]
fn room_exists_from_its_first_join_to_its_last_leave() {
    let mut rig = Settings::default().build();
    let [first, second] = [rig.attach(), rig.attach()];
    rig.run();
    first.join("r");
    assert_eq!(rig.ports[0].rooms().members("r"), 1, "before the shard has run");
    second.join("r");
    rig.run();
    assert_eq!(room_count(&rig), (1, 1));
    first.leave("r");
    rig.run();
    assert_eq!(rig.members("r"), [second.id()]);
    second.leave("r");
    rig.run();
    assert_eq!(room_count(&rig), (0, 0));
    assert!(rig.members("r").is_empty());
}

#[test]
fn rooms_are_removed_with_their_connection_however_it_ends() {
    let mut rig = Settings::default().build();
    let ends: [fn(&Client); 4] = [
        Client::close,
        |client| client.port.detach(client.id()),
        |client| {
            let close = Close::new(CloseCode::GOING_AWAY, "");
            client.port.close(client.id(), DisconnectReason::ClosedByClient(close));
        },
        |client| client.port.close_all(Closing::now().into()),
    ];
    for end in ends {
        let client = rig.attach();
        ["a", "b", "c"].iter().for_each(|room| client.join(room));
        rig.run();
        assert_eq!(room_count(&rig), (3, 3));
        end(&client);
        rig.run();
        assert_eq!(room_count(&rig), (0, 0));
        let end = client.link.end().expect("the connection has ended");
        let names: BTreeSet<&str> = end.rooms.iter().map(|room| room.name()).collect();
        assert_eq!(
            names,
            BTreeSet::from(["a", "b", "c"]),
            "the end holds the rooms of the connection"
        );
        assert_eq!(rig.counters().connections.get(), 0);
    }
}

#[test]
fn a_join_after_the_close_leaves_no_ghost() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    rig.run();
    // The close is already in the inbox, and the link does not know of the close yet.
    client.close();
    client.join("behind the close");
    rig.run();
    assert_eq!(client.port.join(&client.link, "later"), Err(JoinError::Closed));
    assert_eq!(room_count(&rig), (0, 0));
    client.port.detach(client.id());
    rig.run();
    assert_eq!(client.port.join(&client.link, "much later"), Err(JoinError::Closed));
    rig.run();
    assert_eq!(room_count(&rig), (0, 0));
    assert!(rig.ports[0].inbox().is_empty());
}

#[test]
fn a_join_is_refused_from_the_moment_at_which_a_close_was_asked_for() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    assert!(client.link.start_closing());
    assert_eq!(client.port.join(&client.link, "r"), Err(JoinError::Closed));
    rig.run();
    assert_eq!(room_count(&rig), (0, 0));
}

#[test]
fn a_join_behind_a_detach_leaves_no_ghost_and_spares_the_other_members() {
    let mut rig = Settings::default().build();
    let [gone, stays] = [rig.attach(), rig.attach()];
    stays.join("r");
    gone.port.detach(gone.id());
    gone.join("r");
    gone.join("own");
    // The new connection takes the slot that has become free.
    let next = rig.attach();
    next.join("r");
    rig.run();
    assert_eq!(rig.members("r"), [stays.id(), next.id()]);
    assert_eq!(rig.ports[0].rooms().members("r"), 2);
    assert_eq!(room_count(&rig), (1, 1));
}

#[test]
fn joins_are_accepted_up_to_the_bound_and_refused_past_it() {
    let mut rig = Settings::default().rooms(64, 3).build();
    let client = rig.attach();
    ["a", "b", "c"].iter().for_each(|room| client.join(room));
    let refused = Err(JoinError::TooManyRooms { rooms_max: 3 });
    assert_eq!(client.port.join(&client.link, "d"), refused);
    rig.run();
    assert_eq!(client.port.join(&client.link, "d"), refused);
    client.leave("b");
    rig.run();
    client.join("d");
    rig.run();
    assert_eq!(rig.rooms_of(&client), ["a", "c", "d"]);
    assert_eq!(client.port.join(&client.link, "e"), refused);
    let other = rig.attach();
    other.join("a");
    rig.run();
    assert_eq!(rig.members("a").len(), 2, "the bound is of each connection");
}

#[test]
fn no_join_is_accepted_when_the_room_limit_is_zero() {
    let mut rig = Settings::default().rooms(0, 0).build();
    let client = rig.attach();
    let refused = Err(JoinError::TooManyRooms { rooms_max: 0 });
    assert_eq!(client.port.join(&client.link, ""), refused);
    rig.run();
    assert_eq!(room_count(&rig), (0, 0));
}

#[test]
fn names_are_accepted_up_to_the_bound_in_bytes_and_refused_past_it() {
    let mut rig = Settings::default().rooms(8, 8).build();
    let client = rig.attach();
    client.join("12345678");
    client.join("éééé");
    for name in ["123456789", "ééééx"] {
        let refused = Err(JoinError::NameTooLong { bytes: 9, bytes_max: 8 });
        assert_eq!(client.port.join(&client.link, name), refused);
    }
    rig.run();
    assert_eq!(rig.rooms_of(&client), ["12345678", "éééé"]);
}

#[test]
fn a_duplicate_join_counts_once_and_gives_its_reservation_back() {
    let mut rig = Settings::default().rooms(8, 2).build();
    let client = rig.attach();
    for _ in 0..10 {
        client.join("a");
        rig.run();
    }
    client.join("b");
    rig.run();
    assert_eq!(rig.ports[0].rooms().members("a"), 1);
    assert_eq!(rig.members("a"), [client.id()]);
    rig.publish(Address::Room("a"), "once");
    client.leave("a");
    rig.run();
    assert_eq!(client.texts(), ["once"]);
    assert_eq!(rig.rooms_of(&client), ["b"]);
    assert_eq!(room_count(&rig), (1, 1));
}

#[test]
fn leaving_a_room_without_membership_changes_nothing() {
    let mut rig = Settings::default().build();
    let [member, outsider] = [rig.attach(), rig.attach()];
    member.join("r");
    outsider.join("s");
    outsider.leave("r");
    outsider.leave("nobody's");
    rig.run();
    assert_eq!(rig.members("r"), [member.id()]);
    assert_eq!(rig.rooms_of(&outsider), ["s"]);
    member.leave("r");
    member.leave("r");
    rig.run();
    assert_eq!(room_count(&rig), (1, 1));
}

#[test]
fn leave_queued_after_a_join_wins() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    for _ in 0..100 {
        client.join("r");
        client.leave("r");
    }
    rig.run();
    assert_eq!(room_count(&rig), (0, 0));
    for _ in 0..100 {
        client.leave("r");
        client.join("r");
    }
    rig.run();
    assert_eq!(rig.members("r"), [client.id()]);
    assert_eq!(rig.ports[0].rooms().members("r"), 1);
}

#[test]
fn join_or_leave_without_inbox_space_is_refused_and_leaves_no_trace() {
    let settings = Settings::default().inbox(2, 100).rooms(8, 2);
    let mut rig = settings.build();
    let client = rig.attach();
    client.join("a");
    client.join("b");
    rig.run();
    client.leave("a");
    client.leave("b");
    assert_eq!(client.port.leave(&client.link, "a"), Err(LeaveError::Overloaded));
    let other = rig.attach();
    assert_eq!(other.port.join(&other.link, "c"), Err(JoinError::Overloaded));
    assert_eq!(other.port.join(&other.link, "c"), Err(JoinError::Overloaded));
    assert!(rig.ports[0].rooms().find("c").is_none());
    rig.run();
    assert_eq!(rig.counters().inbox_refusals.get(), 3);
    other.join("c");
    other.join("d");
    rig.run();
    assert_eq!(rig.rooms_of(&other), ["c", "d"]);
    rig.ports[0].close_all(Closing::now().into());
    rig.run();
    assert_nothing_reserved(&rig.ports[0], settings.inbox);
}

#[test]
fn a_publish_that_follows_a_join_reaches_the_joiner_while_others_empty_the_room() {
    const ROUNDS: usize = 2_000;
    let mut rig = Settings::default().build();
    let clients: Vec<Client> = (0..3).map(|_| rig.attach()).collect();
    let ports = rig.ports.clone();
    thread::scope(|scope| {
        let (ports, clients) = (&ports, &clients);
        let joiners: Vec<_> = (0..clients.len())
            .map(|at| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        clients[at].join("r");
                        let frame = text_frame(&format!("{at} {round}"));
                        publish(ports, Address::Room("r"), &[], &frame)
                            .expect("the inbox has space");
                        clients[at].leave("r");
                    }
                })
            })
            .collect();
        while !joiners.iter().all(|joiner| joiner.is_finished()) {
            rig.shards[0].run(rig.now, 8);
        }
    });
    rig.run();
    for (at, client) in clients.iter().enumerate() {
        let prefix = format!("{at} ");
        let own = client.texts().into_iter().filter(|text| text.starts_with(&prefix));
        let expected: Vec<String> = (0..ROUNDS).map(|round| format!("{at} {round}")).collect();
        assert_eq!(own.collect::<Vec<_>>(), expected);
    }
    assert_eq!(room_count(&rig), (0, 0));
}

#[test]
fn query_is_answered_in_the_order_of_the_inbox() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    client.join("r");
    // The query enters the inbox before the shard has run.
    assert_eq!(rig.members("r"), [client.id()]);
    client.leave("r");
    assert!(rig.rooms_of(&client).is_empty());
    assert!(rig.members("never").is_empty());
}

#[test]
fn a_hundred_thousand_join_one_room_and_half_leave_and_half_detach() {
    const MEMBERS: usize = 100_000;
    let mut rig = Settings::default().build();
    let clients = rig.attach_to("r", MEMBERS);
    rig.run();
    assert_eq!(rig.ports[0].rooms().members("r"), MEMBERS);
    let ids: Vec<ConnKey> = clients.iter().map(Client::id).collect();
    assert_eq!(rig.members("r"), ids);
    let (leavers, others) = clients.split_at(MEMBERS / 2);
    leavers.iter().for_each(|client| client.leave("r"));
    rig.run();
    assert_eq!(rig.members("r"), ids[MEMBERS / 2..]);
    rig.publish(Address::Room("r"), "still here");
    others.iter().for_each(|client| client.leave("r"));
    rig.run();
    assert_eq!(room_count(&rig), (0, 0));
    assert!(others.iter().all(|client| client.writes() == 1));
    assert!(leavers.iter().all(|client| client.writes() == 0));
    clients.iter().for_each(|client| client.join("r"));
    clients.iter().for_each(|client| client.port.detach(client.id()));
    rig.run();
    assert_eq!(room_count(&rig), (0, 0));
    assert_eq!(rig.counters().connections.get(), 0);
    assert!(clients.iter().all(|client| client.wire().is_dropped));
}

#[test]
fn query_to_an_ended_shard_does_not_wait() {
    let mut rig = Settings::default().inbox(2, 1 << 20).build();
    let client = rig.attach();
    rig.run();
    let (sender, answer) = std::sync::mpsc::channel();
    rig.ports[0]
        .ask_rooms(client.id(), Box::new(move |_| sender.send(()).expect("the test listens")));
    rig.shards.clear();
    assert_eq!(client.stage(), Stage::Cut);
    assert_eq!(client.reason(), Some(DisconnectReason::HubClosed(Closing::now().close)));
    assert!(answer.recv().is_err(), "the question was dropped");
    assert_eq!(rig.counters().connections.get(), 0);

    let late = rig.attach();
    assert_eq!(late.stage(), Stage::Cut);
    for _ in 0..4 {
        rig.publish(Address::Everyone, "to nobody");
    }
    let inbox = rig.ports[0].inbox();
    assert!(inbox.is_empty() && !inbox.is_congested(), "a pushed command is dropped");
}

#[test]
fn leaves_without_membership_do_not_let_a_connection_exceed_its_room_bound() {
    let mut rig = Settings::default().rooms(64, 3).build();
    let [greedy, other] = [rig.attach(), rig.attach()];
    other.join("not mine");
    for n in 0..20 {
        (0..20).for_each(|_| greedy.leave("not mine"));
        for room in 0..20 {
            let _ = greedy.port.join(&greedy.link, &format!("{n} {room}"));
        }
        rig.run();
    }
    assert!(rig.ports[0].rooms().len() <= 2 * 3 + 1, "{} rooms", rig.ports[0].rooms().len());
}

/// The ids of a list that the test reads slice by slice, while `between` changes the members.
fn listed(
    rig: &mut Rig,
    room: Option<&str>,
    mut between: impl FnMut(&mut Rig, usize),
) -> (Vec<ConnKey>, usize) {
    let (mut ids, mut before, mut slices) = (Vec::new(), usize::MAX, 0);
    while before > 0 {
        let port = rig.ports[0].clone();
        let slice = rig.slice(|reply| match room {
            Some(room) => port.ask_members(room, before, reply),
            None => port.ask_conns(before, reply),
        });
        assert!(slice.links.len() <= 1_024, "{} in one slice", slice.links.len());
        ids.extend(slice.links.iter().map(|link| link.id()));
        before = slice.begin;
        slices += 1;
        between(rig, slices);
    }
    (ids, slices)
}

#[test]
fn list_at_the_bounds_of_its_slices_is_whole() {
    for (members, slices) in [(0, 1), (1, 1), (1_024, 1), (1_025, 2), (2_048, 2), (2_049, 3)] {
        let mut rig = Settings::default().build();
        let expected: Vec<_> = rig.attach_to("r", members).iter().map(Client::id).collect();
        for room in [None, Some("r")] {
            let (mut ids, asked) = listed(&mut rig, room, |_, _| {});
            ids.sort_unstable();
            assert_eq!((ids, asked), (expected.clone(), slices), "{room:?}");
        }
    }
}

#[test]
fn list_contains_all_connections_that_stay_while_others_change_between_slices() {
    const MEMBERS: usize = 5_000;
    for room in [None, Some("r")] {
        let mut rig = Settings::default().build();
        let members = rig.attach_to("r", MEMBERS);
        rig.run();
        // Two of three members leave, some before each slice, from both ends of the list; as many new members come.
        let mut going = members.iter().enumerate().filter(|(at, _)| at % 3 > 0).map(|(_, it)| it);
        let mut newcomers = Vec::new();
        let (mut ids, slices) = listed(&mut rig, room, |rig, _| {
            for _ in 0..300 {
                going.next().into_iter().chain(going.next_back()).for_each(Client::close);
            }
            newcomers.extend(rig.attach_to("r", 300));
            rig.run();
        });
        ids.sort_unstable();
        ids.dedup();
        assert!(slices >= 3, "{slices} slices");
        for stays in members.iter().step_by(3) {
            assert!(ids.binary_search(&stays.id()).is_ok(), "{} was missed", stays.id());
        }
        assert!(ids.len() <= MEMBERS + newcomers.len());
    }
}

#[test]
fn shard_serves_others_between_the_slices_of_a_list() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 4_000);
    rig.run();
    let heard = |member: &Client| member.texts().len();
    let (_, slices) = listed(&mut rig, Some("r"), |rig, slices| {
        rig.publish(Address::Conn(members[0].id()), "a message");
        rig.run();
        assert_eq!(heard(&members[0]), slices);
    });
    assert_eq!(slices, 4);
}

fn join_with(
    client: &Client,
    room: &str,
    texts: &[&str],
    bytes_max: Option<usize>,
) -> Result<(), JoinError> {
    let run: Vec<u8> = texts.iter().flat_map(|text| text_frame(text).to_vec()).collect();
    client.port.join_with(&client.link, room, run.into(), bytes_max)
}

#[test]
fn a_joiner_gets_first_messages_before_those_of_the_room_in_any_mix_of_audiences() {
    let mut settings = Settings::default();
    settings.shard.large_audience = 3;
    let mut rig = settings.build();
    let members = rig.attach_to("r", 4);
    let joiner = rig.attach();
    rig.run();
    rig.publish(Address::Room("r"), "before");
    rig.publish(Address::Everyone, "all 1");
    assert_eq!(join_with(&joiner, "r", &["first 1", "first 2"], None), Ok(()));
    rig.publish(Address::Room("r"), "after");
    rig.publish(Address::Everyone, "all 2");
    rig.run();
    assert_eq!(joiner.texts(), ["all 1", "first 1", "first 2", "after", "all 2"]);
    for member in &members {
        assert_eq!(member.texts(), ["before", "all 1", "after", "all 2"]);
    }
    assert_nothing_reserved(&rig.ports[0], settings.inbox);
}

#[test]
fn a_join_with_first_messages_happens_whole_or_not_at_all() {
    let mut settings = Settings::default().inbox(2, 1_000);
    settings.rooms.rooms_per_conn = 1;
    settings.rooms_max = 1;
    let mut rig = settings.build();
    let [client, other] = [rig.attach(), rig.attach()];
    rig.run();
    // One place in the inbox is free: enough for the join, and not for the messages.
    client.port.inbox().reserve(0).unwrap();
    assert_eq!(join_with(&client, "r", &["first"], None), Err(JoinError::Overloaded));
    client.port.inbox().give_back(1, 0);
    assert!(join_with(&client, &"n".repeat(65), &["first"], None).is_err());
    rig.run();
    assert_eq!((client.texts().len(), client.link.waiting(), room_count(&rig)), (0, 0, (0, 0)));
    assert_nothing_reserved(&rig.ports[0], settings.inbox);

    assert_eq!(join_with(&client, "r", &["first"], None), Ok(()));
    rig.run();
    let too_many = JoinError::TooManyRooms { rooms_max: 1 };
    assert_eq!(join_with(&client, "s", &["no"], None), Err(too_many));
    assert_eq!(join_with(&other, "s", &["no"], None), Err(JoinError::NoMoreRooms { rooms_max: 1 }));
    assert_eq!(join_with(&other, "r", &[], None), Ok(()));
    rig.run();
    assert_eq!((client.texts(), other.texts().len()), (vec!["first".to_owned()], 0));
    client.close();
    assert!(client.link.start_closing());
    assert_eq!(join_with(&client, "r", &["no"], None), Err(JoinError::Closed));
    rig.run();
    assert_eq!(client.link.waiting(), 0);
    assert_eq!(rig.members("r"), [other.id()]);
    assert_nothing_reserved(&rig.ports[0], settings.inbox);
}

#[test]
fn a_patient_join_with_first_messages_leaves_the_queue_of_its_client_within_a_bound() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    client.block();
    rig.run();
    // An empty queue accepts a message of any size.
    assert_eq!(join_with(&client, "a", &["large enough"], Some(1)), Ok(()));
    rig.run();
    assert_eq!(join_with(&client, "b", &["b"], Some(16)), Err(JoinError::Overloaded));
    assert_eq!(join_with(&client, "b", &["b"], Some(17)), Ok(()));
    assert_eq!(join_with(&client, "c", &[], Some(1)), Ok(()), "an empty join needs no queue space");
    client.unblock();
    rig.run();
    assert_eq!(
        (client.texts(), client.link.waiting()),
        (vec!["large enough".to_owned(), "b".to_owned()], 0)
    );
}
