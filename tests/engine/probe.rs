//! A probe is answered when what was published before it is out, and not earlier.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use roomcast::engine::{Address, Port, Progress};

use super::fake::{Client, FakeSocket, Rig, Settings, assert_nothing_reserved};

/// What a probe was answered, with what the client had got when it was.
type Answer = Receiver<(usize, Vec<String>)>;

fn probe(port: &Arc<Port<FakeSocket>>, address: Address<'_>, client: &Client) -> Answer {
    let (sender, answer) = channel();
    let client = client.clone();
    let reply = move |messages| drop(sender.send((messages, client.texts())));
    port.probe(address, Box::new(reply));
    answer
}

/// One slice of `writes` writes of the only shard.
fn slice(rig: &mut Rig, writes: usize) -> Progress {
    let now = rig.now;
    rig.shards[0].run(now, writes)
}

#[test]
fn answer_comes_after_the_last_write_with_the_messages_that_were_joined() {
    let settings = Settings::default().inbox(16, 100);
    let mut rig = settings.build();
    let members = rig.attach_to("r", 10);
    rig.run();
    let last = members.last().expect("some");
    ["1", "2"].iter().for_each(|text| rig.publish(Address::Room("r"), text));
    let first = probe(&rig.ports[0], Address::Room("r"), last);
    rig.publish(Address::Room("r"), "3");
    let second = probe(&rig.ports[0], Address::Room("r"), last);
    assert_eq!(slice(&mut rig, 9), Progress::Busy);
    assert_eq!(first.try_recv(), Err(TryRecvError::Empty), "nine of ten are written");
    rig.run();
    let all = ["1", "2", "3"].map(str::to_owned).to_vec();
    assert_eq!(first.try_recv(), Ok((3, all.clone())));
    assert_eq!(second.try_recv(), Ok((3, all)));
    assert_nothing_reserved(&rig.ports[0], settings.inbox);
}

#[test]
fn messages_to_others_are_not_counted() {
    let mut rig = Settings::default().build();
    let (there, here) = (rig.attach_to("there", 2), rig.attach_to("here", 2));
    rig.run();
    rig.publish(Address::Room("here"), "1");
    rig.publish(Address::Room("there"), "2");
    rig.publish(Address::Conn(there[0].id()), "3");
    rig.publish(Address::Rooms(&["here".into(), "there".into()]), "4");
    rig.publish_run(Address::Everyone, &["5".to_owned(), "6".to_owned()]);
    let port = &rig.ports[0];
    let answers = [
        (probe(port, Address::Room("here"), &here[0]), 1),
        (probe(port, Address::Conn(there[0].id()), &here[0]), 1),
        (probe(port, Address::Rooms(&["here".into(), "there".into()]), &here[0]), 1),
        (probe(port, Address::Everyone, &here[0]), 2),
        (probe(port, Address::Conn(here[0].id()), &here[0]), 0),
    ];
    rig.run();
    for (answer, messages) in answers {
        assert_eq!(answer.try_recv().map(|(messages, _)| messages), Ok(messages));
    }
}

#[test]
fn answer_comes_at_once_where_nothing_is_to_be_delivered() {
    let mut rig = Settings::default().build();
    let member = rig.attach_to("r", 1).remove(0);
    let unknown = probe(&rig.ports[0], Address::Room("unknown"), &member);
    assert_eq!(unknown.try_recv(), Ok((0, Vec::new())), "without a question");
    let idle = probe(&rig.ports[0], Address::Room("r"), &member);
    rig.run();
    assert_eq!(idle.try_recv(), Ok((0, Vec::new())));
    member.close();
    rig.run();
    rig.publish(Address::Everyone, "to nobody");
    let alone = probe(&rig.ports[0], Address::Everyone, &member);
    rig.run();
    assert_eq!(alone.try_recv(), Ok((0, Vec::new())));
}

#[test]
fn answer_does_not_wait_for_a_client_that_reads_nothing() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 2);
    rig.run();
    members[0].block();
    rig.publish(Address::Room("r"), "1");
    let answer = probe(&rig.ports[0], Address::Room("r"), &members[1]);
    rig.run();
    assert_eq!(answer.try_recv(), Ok((1, vec!["1".to_owned()])));
    assert_eq!(rig.counters().blocked.get(), 1);
    members[0].unblock();
    rig.run();
    assert_eq!(rig.counters().blocked.get(), 0);
}

#[test]
fn answer_waits_for_the_sweep_that_its_messages_went_into() {
    let mut rig = Settings::default().large_audience(100).build();
    let crowd = rig.attach_to("large", 1_000);
    let apart = rig.attach_to("small", 1).remove(0);
    rig.run();
    let last = crowd.last().expect("some");
    rig.publish(Address::Room("large"), "1");
    let first = probe(&rig.ports[0], Address::Room("large"), last);
    slice(&mut rig, 64);
    // They gather for the next round.
    ["2", "3"].iter().for_each(|text| rig.publish(Address::Room("large"), text));
    let second = probe(&rig.ports[0], Address::Room("large"), last);
    let of_the_round = probe(&rig.ports[0], Address::Conn(last.id()), last);
    rig.publish(Address::Room("small"), "to few");
    let small = probe(&rig.ports[0], Address::Room("small"), &apart);
    slice(&mut rig, 64);
    assert_eq!(small.try_recv(), Ok((1, vec!["to few".to_owned()])), "others do not wait for it");
    assert_eq!(first.try_recv(), Err(TryRecvError::Empty));
    while last.texts().is_empty() {
        slice(&mut rig, 64);
    }
    assert_eq!(first.try_recv(), Ok((1, vec!["1".to_owned()])));
    assert_eq!(second.try_recv(), Err(TryRecvError::Empty));
    rig.run();
    let all = ["1", "2", "3"].map(str::to_owned).to_vec();
    assert_eq!(second.try_recv(), Ok((2, all.clone())));
    assert_eq!(of_the_round.try_recv(), Ok((0, all)));
}

#[test]
fn probe_of_a_shard_that_goes_or_is_gone_is_dropped() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 10);
    rig.run();
    rig.publish(Address::Room("r"), "1");
    let taken = probe(&rig.ports[0], Address::Room("r"), &members[0]);
    slice(&mut rig, 5);
    let waiting = probe(&rig.ports[0], Address::Room("r"), &members[0]);
    rig.shards.clear();
    let late = probe(&rig.ports[0], Address::Room("r"), &members[0]);
    for answer in [taken, waiting, late] {
        assert_eq!(answer.try_recv(), Err(TryRecvError::Disconnected));
    }
}

#[test]
fn probe_takes_no_room_from_messages() {
    let settings = Settings::default().inbox(2, 100);
    let mut rig = settings.build();
    let member = rig.attach();
    rig.run();
    let texts = ["1", "2"];
    texts.iter().for_each(|text| rig.publish(Address::Everyone, text));
    let answer = probe(&rig.ports[0], Address::Everyone, &member);
    rig.run();
    assert_eq!(answer.try_recv(), Ok((2, texts.map(str::to_owned).to_vec())));
    assert_nothing_reserved(&rig.ports[0], settings.inbox);
}
