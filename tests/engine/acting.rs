//! Actions on the connections of a target: limits, slices, and no reservation that stays.

use roomcast::engine::{
    Action, ActionError, Address, CloseCode, ConnKey, DisconnectReason, Pace, RunState, Stage,
    act_at,
};

use super::fake::{CLOSE, Client, Rig, Settings, assert_nothing_reserved};

const BYE: Action<'static> = Action::Close { code: CloseCode::NORMAL, reason: "bye" };

fn act(rig: &Rig, address: Address<'_>, action: Action<'_>) -> Result<(), ActionError> {
    act_at(Pace::Urgent, &rig.ports, address, &[], action)
}

fn ids(clients: &[Client]) -> Vec<ConnKey> {
    clients.iter().map(Client::id).collect()
}

#[test]
fn join_of_many_runs_in_slices_and_no_later_command_overtakes_it() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("from", 1_000);
    rig.run();
    rig.publish(Address::Room("to"), "before");
    act(&rig, Address::Room("from"), Action::Join("to")).unwrap();
    rig.publish(Address::Room("to"), "after");
    let mut slices = 0;
    while rig.shards[0].run(rig.now, 10) == RunState::Busy && members[0].texts().is_empty() {
        slices += 1;
    }
    assert!(slices > 5, "{slices}");
    rig.run();
    assert_eq!(rig.members("to").len(), 1_000);
    assert!(members.iter().all(|member| member.texts() == ["after"]));
}

#[test]
fn leave_of_many_runs_in_slices_and_members_get_earlier_messages() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("room", 1_000);
    rig.publish(Address::Room("room"), "before");
    act(&rig, Address::Room("room"), Action::Leave("room")).unwrap();
    rig.publish(Address::Room("room"), "after");
    let stays = rig.attach();
    stays.join("room");
    rig.publish(Address::Room("room"), "last");
    while rig.shards[0].run(rig.now, 10) == RunState::Busy {}
    assert!(members.iter().all(|member| member.texts() == ["before"]));
    assert_eq!(stays.texts(), ["last"]);
    assert_eq!(rig.members("room"), [stays.id()]);
}

#[test]
fn close_of_many_runs_in_slices_after_a_sweep_and_before_later_commands() {
    let mut rig = Settings::default().large_audience(8).build();
    let members = rig.attach_to("room", 500);
    let others = rig.attach_to("other", 3);
    rig.publish(Address::Room("room"), "before");
    rig.shards[0].run(rig.now, 20);
    rig.publish(Address::Everyone, "to all");
    act(&rig, Address::Room("room"), BYE).unwrap();
    rig.publish(Address::Everyone, "after");
    rig.publish(Address::Conn(members[7].id()), "too late");
    let mut slices = 0;
    while rig.shards[0].run(rig.now, 10) == RunState::Busy {
        slices += 1;
    }
    assert!(slices > 50, "{slices}");
    for member in &members {
        assert_eq!(member.texts(), ["before", "to all"]);
        assert_eq!((member.count(CLOSE), member.close_code()), (1, Some(CloseCode::NORMAL)));
        let reason = member.reason();
        assert!(matches!(reason, Some(DisconnectReason::ClosedByServer(_))), "{reason:?}");
    }
    assert!(others.iter().all(|other| other.texts() == ["to all", "after"]));
    assert_eq!(rig.counters().dropped_at_end.get(), 1);
    assert!(rig.ports[0].rooms().find("room").is_none());
}

#[test]
fn others_are_served_while_many_are_closed() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("room", 2_000);
    let others = rig.attach_to("other", 2);
    rig.run();
    act(&rig, Address::Room("room"), BYE).unwrap();
    rig.publish(Address::Room("other"), "meanwhile");
    rig.publish(Address::Room("room"), "after");
    let late: Vec<Client> = members.iter().rev().take(3).cloned().collect();
    late.iter().for_each(|member| rig.publish(Address::Conn(member.id()), "too late"));
    while others[0].texts().is_empty() {
        assert_eq!(rig.shards[0].run(rig.now, 64), RunState::Busy);
    }
    let told = || members.iter().filter(|member| member.stage() > Stage::Open).count();
    assert!(told() < 200, "{} were told before", told());
    // A connection that was not notified yet is in no room and is no longer counted.
    assert_eq!(rig.ports[0].rooms().members("room"), 0);
    assert_eq!(rig.counters().connections.get(), 2);
    assert!(members.iter().all(|member| member.link.is_closing()));
    // Some connections fail, some detach, and some are cut before the action reaches them.
    let untold: Vec<&Client> =
        members.iter().filter(|member| member.stage() == Stage::Open).collect();
    let [fails, goes, closes] = [untold[0], untold[1], untold[2]];
    fails.wire().error = Some(std::io::ErrorKind::BrokenPipe);
    goes.port.detach(goes.id());
    closes.close();
    rig.run();
    assert_eq!((told(), fails.stage()), (2_000, Stage::Cut));
    assert!(goes.wire().is_dropped && goes.close_code() == Some(CloseCode::NORMAL));
    for member in members.iter().filter(|member| member.id() != fails.id()) {
        assert!(member.texts().is_empty());
        assert_eq!((member.count(CLOSE), member.close_code()), (1, Some(CloseCode::NORMAL)));
    }
    assert_eq!(rig.counters().dropped_at_end.get(), 3);
    assert_eq!(rig.counters().disconnected.get(), 2_000);
}

#[test]
fn connections_cut_during_a_close_of_many_are_notified_once() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("room", 500);
    rig.run();
    act(&rig, Address::Room("room"), BYE).unwrap();
    rig.shards[0].run(rig.now, 80);
    rig.ports[0].cut_all(Box::new(|_| {}));
    rig.run();
    for member in &members {
        assert!(member.stage() >= Stage::Flushed);
        let reason = member.reason();
        assert!(matches!(reason, Some(DisconnectReason::ClosedByServer(_))), "{reason:?}");
    }
    assert_eq!(rig.counters().disconnected.get(), 500);
}

#[test]
fn connections_that_end_during_an_action_are_skipped() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("from", 100);
    rig.run();
    act(&rig, Address::Room("from"), Action::Join("to")).unwrap();
    rig.shards[0].run(rig.now, 2);
    // The socket fails when the shard writes to it, and its session detaches after the action.
    members.iter().for_each(|member| member.port.detach(member.id()));
    let newcomer = rig.attach();
    newcomer.join("from");
    rig.run();
    assert!(rig.members("to").is_empty());
    assert_eq!(rig.members("from"), [newcomer.id()]);
    assert_eq!(rig.counters().rooms.get(), 1);
}

#[test]
fn members_of_several_rooms_count_once() {
    let mut rig = Settings::default().rooms(64, 2).build();
    let both = rig.attach_to("a", 3);
    both.iter().for_each(|client| client.join("b"));
    let rooms = ["a", "b", "nobody's"].map(Into::into);
    act(&rig, Address::Rooms(&rooms), Action::Join("c")).unwrap();
    rig.run();
    assert_eq!(rig.counters().join_refusals.get(), 3, "each is refused once");
    assert!(rig.ports[0].rooms().find("c").is_none());
}

#[test]
fn action_that_reaches_nobody_leaves_no_room_behind() {
    let mut rig = Settings::default().shards(2).build();
    act(&rig, Address::Everyone, Action::Join("room")).unwrap();
    assert!(rig.ports.iter().all(|port| port.rooms().is_empty()), "none is made for nobody");
    let client = rig.attach();
    act(&rig, Address::Room("nobody's"), Action::Join("room")).unwrap();
    act(&rig, Address::Rooms(&[]), Action::Join("room")).unwrap();
    act(&rig, Address::Conn(ConnKey::new(99, 0)), Action::Join("room")).unwrap();
    act(&rig, Address::Conn(ConnKey::new(99, 7)), Action::Join("room")).unwrap();
    act_at(Pace::Urgent, &rig.ports, Address::Everyone, &[client.id()], Action::Join("room"))
        .unwrap();
    act(&rig, Address::Everyone, Action::Leave("room")).unwrap();
    act(&rig, Address::Room("nobody's"), BYE).unwrap();
    rig.run();
    assert!(rig.ports.iter().all(|port| port.rooms().is_empty()));
    assert_eq!(rig.total(|counters| &counters.rooms), 0);
    assert_eq!(rig.budgets.rooms.used(), 0);
}

#[test]
fn connection_at_its_room_limit_is_counted_and_keeps_its_rooms() {
    let mut rig = Settings::default().rooms(64, 2).build();
    let [full, free] = [rig.attach(), rig.attach()];
    full.join("a");
    full.join("b");
    free.join("a");
    act(&rig, Address::Everyone, Action::Join("a")).unwrap();
    act(&rig, Address::Everyone, Action::Join("c")).unwrap();
    rig.run();
    assert_eq!(rig.counters().join_refusals.get(), 1, "to be in a room already is no refusal");
    assert_eq!(rig.rooms_of(&full), ["a", "b"]);
    assert_eq!(rig.rooms_of(&free), ["a", "c"]);
    act(&rig, Address::Everyone, Action::Leave("a")).unwrap();
    rig.run();
    full.join("d");
    rig.run();
    assert_eq!(rig.rooms_of(&full), ["b", "d"], "the place of the room that it left");
}

#[test]
fn name_that_is_too_long_is_refused() {
    let mut rig = Settings::default().rooms(3, 8).build();
    let client = rig.attach();
    let error = act(&rig, Address::Everyone, Action::Join("long")).unwrap_err();
    assert_eq!(error, ActionError::NameTooLong { bytes: 4, bytes_max: 3 });
    act(&rig, Address::Everyone, Action::Leave("long")).unwrap();
    act(&rig, Address::Everyone, Action::Join("abc")).unwrap();
    rig.run();
    assert_eq!(rig.rooms_of(&client), ["abc"]);
}

#[test]
fn if_one_shard_is_at_its_room_limit_nobody_enters() {
    let mut rig = Settings::default().shards(3).max_rooms(2).build();
    let clients: Vec<Client> = (0..3).map(|_| rig.attach()).collect();
    for _ in 0..3 {
        let error = act(&rig, Address::Everyone, Action::Join("room")).unwrap_err();
        assert_eq!(error, ActionError::NoMoreRooms { rooms_max: 2 });
        rig.run();
    }
    assert_eq!(rig.total(|counters| &counters.room_refusals), 3);
    assert!(clients.iter().all(|client| rig.rooms_of(client).is_empty()));
    assert_eq!(rig.budgets.rooms.used(), 0);
    assert_eq!(rig.total(|counters| &counters.rooms), 0);
    for port in &rig.ports {
        assert_nothing_reserved(port, Settings::default().inbox);
    }
}

#[test]
fn if_one_inbox_is_full_the_action_affects_nobody() {
    let settings = Settings::default().shards(2).inbox(4, 1_000);
    let mut rig = settings.build();
    let clients = [rig.attach(), rig.attach()];
    rig.run();
    for text in ["1", "2", "3", "4"] {
        rig.publish(Address::Conn(clients[1].id()), text);
    }
    for action in [BYE, Action::Join("room")] {
        assert_eq!(act(&rig, Address::Everyone, action), Err(ActionError::Overloaded));
        let patient = act_at(Pace::Patient, &rig.ports, Address::Everyone, &[], action);
        assert_eq!(patient, Err(ActionError::Overloaded));
    }
    assert_eq!(rig.total(|counters| &counters.inbox_refusals), 2, "a waiting call is not refused");
    rig.run();
    assert!(clients.iter().all(|client| client.reason().is_none()));
    assert!(rig.ports.iter().all(|port| port.rooms().is_empty()));
    rig.ports.iter().for_each(|port| assert_nothing_reserved(port, settings.inbox));
    act(&rig, Address::Everyone, BYE).unwrap();
    rig.run();
    assert!(clients.iter().all(|client| client.close_code() == Some(CloseCode::NORMAL)));
    rig.ports.iter().for_each(|port| assert_nothing_reserved(port, settings.inbox));
}

#[test]
fn room_is_found_at_once_and_counts_its_members_after_they_entered() {
    let mut rig = Settings::default().build();
    let clients = [rig.attach(), rig.attach()];
    act(&rig, Address::Everyone, Action::Join("room")).unwrap();
    let rooms = rig.ports[0].rooms();
    assert!(rooms.find("room").is_some());
    assert_eq!(rooms.members("room"), 0, "the claim of the action is no member");
    rig.run();
    assert_eq!(rig.ports[0].rooms().members("room"), 2);
    let mut expected = ids(&clients);
    expected.sort_unstable();
    assert_eq!(rig.members("room"), expected);
}

#[test]
fn action_for_an_ended_shard_leaves_nothing_behind() {
    let mut rig = Settings::default().shards(2).build();
    let clients = [rig.attach(), rig.attach()];
    rig.run();
    rig.shards.pop();
    act(&rig, Address::Everyone, Action::Join("room")).unwrap();
    rig.run();
    assert_eq!(rig.rooms_of(&clients[0]), ["room"]);
    assert!(rig.ports[1].rooms().is_empty());
    assert_eq!(rig.budgets.rooms.used(), 1);
}
