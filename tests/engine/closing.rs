//! Closing all connections: spread over a window of time, with the code and the reason.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use roomcast::engine::{
    Address, Close, CloseCode, Closing, DisconnectReason, Eviction, Limit, Stage,
};

use super::fake::{Client, Rig, Settings};

const WINDOW: Duration = Duration::from_secs(10);

fn restart() -> Arc<Closing> {
    let seconds = Duration::from_secs;
    let close = Close::new(CloseCode::RESTART, "new version");
    Arc::new(Closing { close, retry_after: Some(seconds(1)..=seconds(5)), window: WINDOW })
}

fn close_all(rig: &Rig, closing: &Arc<Closing>) {
    rig.ports.iter().for_each(|port| port.close_all(closing.clone()));
}

fn open(clients: &[Client]) -> usize {
    clients.iter().filter(|client| client.reason().is_none()).count()
}

#[test]
fn closes_are_spread_evenly_over_the_window_and_in_no_order() {
    let mut rig = Settings::default().shards(2).build();
    let clients: Vec<Client> = (0..1_000).map(|_| rig.attach()).collect();
    rig.pass(Duration::from_secs(3));
    close_all(&rig, &restart());
    rig.run();
    assert_eq!(open(&clients), 1_000);
    for left in [900, 800, 700, 600, 500] {
        rig.pass(WINDOW / 10);
        assert!(open(&clients).abs_diff(left) <= 2, "{} of {left}", open(&clients));
    }
    let first_half = clients[..500].iter().filter(|client| client.reason().is_none()).count();
    assert!((150..350).contains(&first_half), "{first_half} of those that came first are left");
    rig.pass(WINDOW / 2);
    assert_eq!(open(&clients), 0);
}

#[test]
fn each_client_gets_the_code_the_reason_and_its_own_retry_time() {
    let mut rig = Settings::default().build();
    let clients: Vec<Client> = (0..100).map(|_| rig.attach()).collect();
    close_all(&rig, &restart());
    rig.pass(WINDOW);
    let waits: BTreeSet<Duration> = clients.iter().map(told_wait).collect();
    assert!(waits.len() > 90, "{waits:?}");
    assert!(waits.first() >= Some(&Duration::from_secs(1)));
    assert!(waits.last() <= Some(&Duration::from_secs(5)));
}

fn told_wait(client: &Client) -> Duration {
    let Some(DisconnectReason::HubClosed(close)) = client.reason() else { panic!("not closed") };
    assert_eq!(close.code, CloseCode::RESTART);
    assert!(close.reason.starts_with("new version "), "{close}");
    assert_eq!(client.close_code(), Some(CloseCode::RESTART));
    close.retry_after().expect("a hint")
}

#[test]
fn earlier_messages_arrive_and_open_clients_still_get_messages() {
    let mut rig = Settings::default().large_audience(8).build();
    let clients = rig.attach_to("r", 20);
    rig.run();
    rig.publish(Address::Room("r"), "before");
    close_all(&rig, &restart());
    for n in 0..20 {
        rig.publish(Address::Room("r"), &format!("{n}"));
        rig.pass(WINDOW / 20);
    }
    assert_eq!(open(&clients), 0);
    let all: Vec<String> =
        ["before".to_owned()].into_iter().chain((0..20).map(|n| n.to_string())).collect();
    for client in &clients {
        let texts = client.texts();
        assert!(all.starts_with(&texts) && !texts.is_empty(), "{texts:?}");
    }
}

#[test]
fn new_connections_are_closed_at_once_and_a_second_closing_replaces_the_first() {
    let mut rig = Settings::default().build();
    let clients: Vec<Client> = (0..10).map(|_| rig.attach()).collect();
    close_all(&rig, &restart());
    rig.run();
    let newcomer = rig.attach();
    rig.run();
    assert!(matches!(newcomer.reason(), Some(DisconnectReason::HubClosed(_))));
    assert_eq!(open(&clients), 10);
    close_all(&rig, &Closing::now().into());
    rig.run();
    let told = DisconnectReason::HubClosed(Closing::now().close);
    assert!(clients.iter().all(|client| client.reason() == Some(told.clone())));
}

#[test]
fn at_the_deadline_open_clients_are_cut_and_their_losses_are_counted() {
    let mut rig = Settings::default().build();
    let clients = rig.attach_to("r", 3);
    clients[0].block();
    rig.run();
    rig.publish(Address::Room("r"), "message");
    close_all(&rig, &Closing::now().into());
    rig.run();
    let stages = |clients: &[Client]| clients.iter().map(Client::stage).collect::<Vec<_>>();
    assert_eq!(stages(&clients), [Stage::Ended, Stage::Flushed, Stage::Flushed]);
    let late = rig.attach();
    late.block();
    let (sender, cut) = std::sync::mpsc::channel();
    rig.ports[0].cut_all(Box::new(move |cut| sender.send(cut).unwrap()));
    rig.run();
    assert_eq!(cut.recv(), Ok(2));
    assert_eq!(stages(&clients), [Stage::Cut; 3], "no session is to wait for any of them");
    assert_eq!(late.stage(), Stage::Cut);
    assert_eq!(rig.counters().dropped_at_end.get(), 1);
}

#[test]
fn reasons_have_readable_texts() {
    use DisconnectReason::*;
    let close = Close::new(CloseCode::RESTART, "new version");
    let elsewhere = Close::new(CloseCode::GOING_AWAY, "bye");
    for (reason, words) in [
        (ClosedByClient(Close::normal()), "closed by the client: 1000"),
        (ClosedByServer(close.clone()), "closed by the server: 1012 (new version)"),
        (
            SlowClient { cause: Eviction::Full, messages: 3, bytes: 70 },
            "slow client: its send queue was full, with 3 messages of 70 bytes queued",
        ),
        (Idle, "idle: silent for two ping intervals"),
        (Protocol(Close::new(CloseCode::PROTOCOL, "bad")), "protocol error: 1002 (bad)"),
        (OverLimit(Limit::MessageBytes), "over a limit: message over the size limit"),
        (OverLimit(Limit::Fragments), "over a limit: message in too many fragments"),
        (OverLimit(Limit::MessageTime), "over a limit: message took too long"),
        (OverLimit(Limit::MessageRate), "over a limit: too many messages"),
        (OverLimit(Limit::ByteRate), "over a limit: too many bytes"),
        (HandlerPanicked, "a handler panicked"),
        (Io(io::ErrorKind::BrokenPipe), "connection lost: broken pipe"),
        (HubClosed(close), "the hub was closed: 1012 (new version)"),
        (Shed(elsewhere), "asked to come back elsewhere: 1001 (bye)"),
        (Overloaded, "the hub was overloaded"),
    ] {
        assert_eq!(reason.to_string(), words);
    }
}
