//! A sampled publish: each shard answers when the last write with its messages is done, and not earlier.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use roomcast::engine::{Address, Pace, Port, Publish, Reply, RunState, publish_at};

use super::fake::{Client, FakeSocket, Rig, Settings, assert_nothing_reserved, text_frame};

/// The answer of each shard: the number of messages that it joined, and the texts that the client had by then.
type Answers = Receiver<(usize, Vec<String>)>;

fn publish(
    ports: &[Arc<Port<FakeSocket>>],
    address: Address<'_>,
    text: &str,
    client: &Client,
) -> Answers {
    let (sender, answers) = channel();
    let follow = || -> Reply<usize> {
        let (sender, client) = (sender.clone(), client.clone());
        Box::new(move |messages| drop(sender.send((messages, client.texts()))))
    };
    let frames = text_frame(text);
    let follow = Some(&follow as _);
    publish_at(
        ports,
        &Publish { pace: Pace::Urgent, address, except: &[], frames: &frames, follow },
    )
    .expect("the inbox has space");
    answers
}

/// Runs one slice of `writes` writes of the only shard.
fn slice(rig: &mut Rig, writes: usize) -> RunState {
    let now = rig.now;
    rig.shards[0].run(now, writes)
}

#[test]
fn answer_comes_after_the_last_write_with_the_messages_that_were_joined() {
    let settings = Settings::default().inbox(16, 100);
    let mut rig = settings.build();
    let members = rig.attach_to("r", 10);
    rig.run();
    let last = members.last().expect("the room has members");
    rig.publish(Address::Room("r"), "1");
    let first = publish(&rig.ports, Address::Room("r"), "2", last);
    let second = publish(&rig.ports, Address::Room("r"), "3", last);
    assert_eq!(slice(&mut rig, 9), RunState::Busy);
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
    let both = ["here".into(), "there".into()];
    rig.publish(Address::Room("there"), "1");
    let answers = [
        (publish(&rig.ports, Address::Room("here"), "2", &here[0]), 1),
        (publish(&rig.ports, Address::Conn(there[0].id()), "3", &here[0]), 1),
        (publish(&rig.ports, Address::Rooms(&both), "4", &here[0]), 1),
        (publish(&rig.ports, Address::Everyone, "5", &here[0]), 3),
    ];
    rig.publish_run(Address::Everyone, &["6".to_owned(), "7".to_owned()]);
    rig.run();
    for (answer, messages) in answers {
        assert_eq!(answer.try_recv().map(|(messages, _)| messages), Ok(messages));
    }
}

#[test]
fn shard_answers_when_no_recipient_is_left_and_not_when_the_room_is_unknown() {
    let mut rig = Settings::default().build();
    let member = rig.attach_to("r", 1).remove(0);
    rig.run();
    let unknown = publish(&rig.ports, Address::Room("unknown"), "1", &member);
    assert_eq!(unknown.try_recv(), Err(TryRecvError::Disconnected), "no shard is asked");
    member.close();
    let alone = publish(&rig.ports, Address::Everyone, "2", &member);
    rig.run();
    assert_eq!(alone.try_recv(), Ok((0, Vec::new())));
}

#[test]
fn each_shard_that_a_publish_goes_to_answers() {
    let mut rig = Settings::default().shards(2).build();
    let members = rig.attach_to("r", 2);
    rig.run();
    let answers = publish(&rig.ports, Address::Room("r"), "1", &members[1]);
    rig.run();
    let texts = vec!["1".to_owned()];
    assert_eq!(answers.try_recv(), Ok((1, Vec::new())));
    assert_eq!(answers.try_recv(), Ok((1, texts)));
    assert_eq!(answers.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn send_to_one_client_is_followed_and_counts_as_queued_until_it_is_written() {
    let mut rig = Settings::default().build();
    let client = rig.attach();
    rig.run();
    let (sender, answer) = channel();
    let follow = || -> Reply<usize> {
        let sender = sender.clone();
        Box::new(move |messages| sender.send(messages).expect("the test listens"))
    };
    client
        .port
        .send(&client.link, text_frame("1"), None, Some(&follow))
        .expect("the inbox has space");
    assert_eq!(client.link.waiting(), text_frame("1").len());
    rig.run();
    assert_eq!((answer.try_recv(), client.link.waiting()), (Ok(1), 0));
}

#[test]
fn answer_does_not_wait_for_a_client_that_reads_nothing() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 2);
    rig.run();
    members[0].block();
    let answer = publish(&rig.ports, Address::Room("r"), "1", &members[1]);
    rig.run();
    assert_eq!(answer.try_recv(), Ok((1, vec!["1".to_owned()])));
    assert_eq!(rig.counters().blocked.get(), 1);
    members[0].unblock();
    rig.run();
    assert_eq!(rig.counters().blocked.get(), 0);
}

#[test]
fn answer_waits_for_the_sweep_with_its_message() {
    let mut rig = Settings::default().large_audience(100).build();
    let crowd = rig.attach_to("large", 1_000);
    let apart = rig.attach_to("small", 1).remove(0);
    rig.run();
    let last = crowd.last().expect("the room has members");
    let first = publish(&rig.ports, Address::Room("large"), "1", last);
    slice(&mut rig, 64);
    // These messages are queued for the next sweep.
    rig.publish(Address::Room("large"), "2");
    let second = publish(&rig.ports, Address::Room("large"), "3", last);
    let small = publish(&rig.ports, Address::Room("small"), "to few", &apart);
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
    assert_eq!(second.try_recv(), Ok((2, all)));
}

#[test]
fn answer_waits_for_a_long_turn_that_becomes_a_sweep() {
    let mut rig = Settings::default().large_audience(10_000).build();
    let crowd = rig.attach_to("r", 100);
    rig.run();
    let last = crowd.last().expect("the room has members");
    let long = "x".repeat(60_000);
    let answer = publish(&rig.ports, Address::Room("r"), &long, last);
    slice(&mut rig, 64);
    assert_eq!(
        answer.try_recv(),
        Err(TryRecvError::Empty),
        "the message is not written to all members"
    );
    rig.run();
    assert_eq!(answer.try_recv(), Ok((1, vec![long])));
}

#[test]
fn answer_of_a_stopping_or_stopped_shard_is_dropped() {
    let mut rig = Settings::default().build();
    let members = rig.attach_to("r", 10);
    rig.run();
    let taken = publish(&rig.ports, Address::Room("r"), "1", &members[0]);
    slice(&mut rig, 5);
    let waiting = publish(&rig.ports, Address::Room("r"), "2", &members[0]);
    rig.shards.clear();
    let late = publish(&rig.ports, Address::Room("r"), "3", &members[0]);
    for answer in [taken, waiting, late] {
        assert_eq!(answer.try_recv(), Err(TryRecvError::Disconnected));
    }
}
