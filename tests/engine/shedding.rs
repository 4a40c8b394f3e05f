//! A share of the connections is asked to leave, and the other connections stay.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use roomcast::engine::{Address, CloseCode, Closing, DisconnectReason, RunState, Shedding};

use super::fake::{Client, Rig, Settings};

const WINDOW: Duration = Duration::from_secs(10);

/// Asks each shard to shed, and returns the channel of the answers.
fn shed(rig: &Rig, share: f64, window: Duration) -> Receiver<usize> {
    let (sender, answers) = channel();
    let closing = Arc::new(Closing { window, ..Closing::now() }.elsewhere());
    for (seed, port) in rig.ports.iter().enumerate() {
        let sender = sender.clone();
        let reply = Box::new(move |asked| sender.send(asked).expect("the test listens"));
        let (closing, seed) = (closing.clone(), seed as u64);
        port.shed(Shedding { closing, share, seed }, reply);
    }
    answers
}

fn attach(rig: &mut Rig, clients: usize) -> Vec<Client> {
    (0..clients).map(|_| rig.attach()).collect()
}

fn asked(clients: &[Client]) -> usize {
    let is_asked = |client: &&Client| matches!(client.reason(), Some(DisconnectReason::Shed(_)));
    clients.iter().filter(is_asked).count()
}

fn open(clients: &[Client]) -> usize {
    clients.iter().filter(|client| client.reason().is_none()).count()
}

#[test]
fn random_share_is_asked_evenly_over_the_window_and_the_others_stay() {
    let mut rig = Settings::default().shards(2).build();
    let clients = attach(&mut rig, 1_000);
    let answers = shed(&rig, 0.4, WINDOW);
    rig.run();
    for expected in [100, 200, 300] {
        rig.pass(WINDOW / 4);
        assert!(asked(&clients).abs_diff(expected) <= 2, "{} of {expected}", asked(&clients));
        assert_eq!(answers.try_recv(), Err(TryRecvError::Empty), "the shedding is not over");
    }
    rig.pass(WINDOW / 4);
    assert_eq!(asked(&clients), 400);
    assert_eq!(answers.iter().collect::<Vec<_>>(), [200, 200]);
    assert_eq!(rig.total(|counters| &counters.shed), 400);
    assert_eq!(open(&clients), 600);
    let of_first_half = asked(&clients[..500]);
    assert!((130..270).contains(&of_first_half), "{of_first_half} of those that came first");
    rig.pass(WINDOW);
    assert_eq!(open(&clients), 600, "it is over");
    assert!(rig.shards.iter().all(|shard| shard.next_tick().is_none() && !shard.is_ending()));
}

#[test]
fn shed_client_is_told_to_reconnect_at_once_after_its_earlier_messages() {
    let mut rig = Settings::default().large_audience(3).build();
    let clients = rig.attach_to("r", 10);
    rig.publish(Address::Room("r"), "before");
    let answers = shed(&rig, 1.0, Duration::ZERO);
    rig.run();
    rig.publish(Address::Room("r"), "after");
    rig.run();
    assert_eq!(answers.try_recv(), Ok(10));
    for client in &clients {
        let Some(DisconnectReason::Shed(close)) = client.reason() else { panic!("not asked") };
        assert_eq!(client.close_code(), Some(CloseCode::GOING_AWAY));
        assert!(close.retry_after().expect("a hint") <= Duration::from_millis(500));
        assert_eq!(client.texts(), ["before"]);
    }
    assert_eq!(rig.counters().dropped_at_end.get(), 0);
}

#[test]
fn new_connections_stay_and_connections_that_leave_by_themselves_are_not_counted() {
    let mut rig = Settings::default().build();
    let clients = attach(&mut rig, 100);
    let answers = shed(&rig, 1.0, WINDOW);
    rig.pass(WINDOW / 2);
    let newcomers = attach(&mut rig, 20);
    let already = asked(&clients);
    clients.iter().for_each(|client| client.port.detach(client.id()));
    rig.pass(WINDOW);
    assert_eq!(open(&newcomers), 20);
    assert_eq!(answers.try_recv(), Ok(already));
    assert_eq!(rig.counters().shed.get(), already as u64);
}

#[test]
fn shedding_is_over_when_nobody_is_left() {
    let mut rig = Settings::default().build();
    let clients = attach(&mut rig, 5);
    let answers = shed(&rig, 1.0, WINDOW);
    rig.run();
    clients.iter().for_each(|client| client.port.detach(client.id()));
    rig.run();
    assert_eq!(answers.try_recv(), Ok(0));
    assert_eq!(rig.shards[0].next_tick(), None);
}

#[test]
fn share_of_nothing_and_a_shard_without_connections_ask_nobody_and_answer_at_once() {
    let mut rig = Settings::default().build();
    let answers = shed(&rig, 1.0, WINDOW);
    rig.run();
    assert_eq!(answers.try_recv(), Ok(0));
    let clients = attach(&mut rig, 5);
    let answers = shed(&rig, 0.0, WINDOW);
    rig.run();
    assert_eq!(answers.try_recv(), Ok(0));
    rig.pass(WINDOW);
    assert_eq!(open(&clients), 5);
}

#[test]
fn second_shedding_replaces_the_rest_of_the_first() {
    let mut rig = Settings::default().build();
    let clients = attach(&mut rig, 100);
    let first = shed(&rig, 1.0, WINDOW);
    rig.pass(WINDOW / 2);
    let half = asked(&clients);
    assert!(half.abs_diff(50) <= 1, "{half}");
    let second = shed(&rig, 0.0, WINDOW);
    rig.pass(WINDOW);
    assert_eq!((first.try_recv(), second.try_recv()), (Ok(half), Ok(0)));
    assert_eq!(open(&clients), 100 - half);
}

#[test]
fn closing_all_replaces_a_shedding_and_nobody_is_shed_after_it() {
    let mut rig = Settings::default().build();
    let clients = attach(&mut rig, 100);
    let before = shed(&rig, 1.0, WINDOW);
    rig.pass(WINDOW / 2);
    let half = asked(&clients);
    rig.ports[0].close_all(Closing { window: WINDOW, ..Closing::now() }.into());
    let after = shed(&rig, 1.0, Duration::ZERO);
    rig.run();
    assert_eq!((before.try_recv(), after.try_recv()), (Ok(half), Ok(0)));
    assert!(rig.shards[0].is_ending());
    rig.pass(WINDOW);
    assert_eq!(open(&clients), 0);
    assert_eq!(asked(&clients), half, "the others are told that the hub was closed");
    // The shedding waits in a shard that stops, and the caller still gets an answer.
    let answers = shed(&rig, 1.0, WINDOW);
    rig.shards.clear();
    assert_eq!(answers.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn many_clients_asked_at_once_are_closed_in_slices() {
    let mut rig = Settings::default().build();
    let clients = attach(&mut rig, 1_000);
    rig.run();
    let answers = shed(&rig, 1.0, Duration::ZERO);
    let slices = std::iter::repeat_with(|| rig.shards[0].run(rig.now, 32));
    let slices = slices.take_while(|state| *state == RunState::Busy).count();
    assert!(slices >= 1_000 / 32, "{slices}");
    assert_eq!((answers.try_recv(), asked(&clients)), (Ok(1_000), 1_000));
}
