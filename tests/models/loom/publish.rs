//! A publish to several shards enters all inboxes or no inbox.

use std::sync::Arc;

use loom::thread;
use roomcast::engine::{
    Address, Audience, Command, Delivery, InboxLimits, Overloaded, Port, publish,
};

use super::check_within;
use super::fake::{FakeSocket, Rig, Settings, assert_nothing_reserved, text_frame};

const LIMITS: InboxLimits = InboxLimits { messages: 2, bytes: 100 };

type Ports = Arc<[Arc<Port<FakeSocket>>]>;

fn two_shards() -> Rig {
    Settings::default().shards(2).inbox(LIMITS.messages, LIMITS.bytes).build()
}

fn send(ports: &Ports, text: &str) -> Result<(), Overloaded> {
    publish(ports, Address::Everyone, &[], &text_frame(text))
}

/// Pops a command as a shard does, and returns its kind.
fn pop(port: &Port<FakeSocket>) -> Option<Vec<u8>> {
    let Command::Deliver(delivery) = port.inbox().pop()? else {
        panic!("nothing else was pushed");
    };
    let Delivery { frames, audience, .. } = &delivery;
    assert!(matches!(audience, Audience::Everyone));
    port.inbox().release(1, frames.len());
    Some(frames[2..].to_vec())
}

/// Guards "reserve everywhere, then push", and that a refused publish releases its reservations.
#[test]
fn a_publish_enters_all_inboxes_or_none() {
    check_within(3, || {
        let rig = two_shards();
        let ports: Ports = rig.ports.clone().into();
        assert!(ports[1].inbox().reserve(0).is_ok(), "the inbox has space for one more");
        let publishers = ["a", "b"].map(|text| {
            let ports = ports.clone();
            thread::spawn(move || send(&ports, text).is_ok().then(|| text.as_bytes().to_vec()))
        });
        let early = pop(&ports[0]);
        let mut sent: Vec<_> =
            publishers.map(|it| it.join().unwrap()).into_iter().flatten().collect();
        let received = [0, 1].map(|at| {
            let early = early.clone().filter(|_| at == 0);
            let rest = std::iter::from_fn(|| pop(&ports[at]));
            let mut all: Vec<_> = early.into_iter().chain(rest).collect();
            all.sort_unstable();
            all
        });
        sent.sort_unstable();
        assert_eq!(received, [sent.clone(), sent]);
        ports[1].inbox().release(1, 0);
        ports.iter().for_each(|port| assert_nothing_reserved(port, LIMITS));
    });
}

/// Guards the order of the inbox: a message that a thread publishes after a join returned is behind the join.
#[test]
fn a_publish_after_a_join_is_behind_it_in_the_inbox() {
    check_within(3, || {
        let mut rig = Settings::default().build();
        let client = Arc::new(rig.attach());
        rig.run();
        let ports: Ports = rig.ports.clone().into();
        let joiner = {
            let client = client.clone();
            thread::spawn(move || {
                client.join("r");
                publish(&ports, Address::Room("r"), &[], &text_frame("after")).unwrap();
            })
        };
        rig.run();
        joiner.join().unwrap();
        rig.run();
        assert_eq!(client.texts(), ["after"]);
    });
}
