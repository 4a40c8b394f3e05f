//! A flush waits until each message that was queued before is acknowledged or dropped.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle};
use roomcast::internals::parts::Outbox;

use super::{check_within, sleep_until, wait_for};

/// The outbox, and the messages that the far side has acknowledged, one bit for each message. The bits are relaxed, so
/// only the outbox can order the bits that a flush sees.
struct Node {
    outbox: Outbox,
    acknowledged: AtomicUsize,
}

impl Node {
    fn new(messages_max: usize) -> Arc<Self> {
        Arc::new(Self { outbox: Outbox::new(messages_max), acknowledged: AtomicUsize::new(0) })
    }

    /// Publishes all queued messages, as the publishing task does. Returns the number of messages.
    fn publish(&self) -> usize {
        self.outbox.carry();
        let mut published = 0;
        while let Some(message) = self.outbox.pop() {
            self.acknowledged.fetch_or(message.into(), Ordering::Relaxed);
            published += 1;
        }
        self.outbox.settle();
        published
    }

    /// Runs the publishing task until it has published this many messages.
    fn serve(&self, messages: usize) {
        let mut published = 0;
        while published < messages {
            sleep_until(|cx| self.outbox.poll_filled(cx).is_ready());
            published += self.publish();
        }
    }

    fn flush(&self) {
        wait_for(self.outbox.all_settled());
    }

    fn has_acknowledged(&self, message: u8) -> bool {
        self.acknowledged.load(Ordering::Relaxed) & usize::from(message) != 0
    }
}

fn spawn_publisher(node: &Arc<Node>, message: u8) -> JoinHandle<()> {
    let node = node.clone();
    thread::spawn(move || {
        node.outbox.push(message);
        node.flush();
        assert!(node.has_acknowledged(message));
    })
}

/// Guards "carry, then take" in the publishing task, the edges of the loads in `is_settled`, and the ring in `settle`.
#[test]
fn a_flush_ends_when_its_message_is_acknowledged_and_not_before() {
    check_within(3, || {
        let node = Node::new(4);
        let publisher = spawn_publisher(&node, 1);
        node.serve(1);
        publisher.join().unwrap();
    });
}

/// Guards "count, then append": a flush also waits for the messages ahead of its own.
#[test]
fn flush_waits_for_its_message_behind_messages_of_others() {
    check_within(2, || {
        let node = Node::new(4);
        let publishers = [1, 2].map(|message| spawn_publisher(&node, message));
        node.serve(2);
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
}

/// Guards the ring after a drop.
#[test]
fn a_flush_ends_when_its_message_is_dropped() {
    check_within(3, || {
        let node = Node::new(1);
        node.outbox.push(1);
        let settled = node.outbox.all_settled();
        let other = {
            let node = node.clone();
            thread::spawn(move || node.outbox.push(2))
        };
        wait_for(settled);
        other.join().unwrap();
        assert_eq!(node.outbox.dropped(), 1);
    });
}

/// Guards the check of `is_carrying` after the check of `taken`: the drops of other publishers do not settle a message
/// that is being published.
#[test]
fn drop_settles_no_message_that_is_being_published() {
    check_within(2, || {
        let node = Node::new(1);
        node.outbox.push(1);
        let dropping = {
            let node = node.clone();
            thread::spawn(move || [2, 4].map(|message| node.outbox.push(message)))
        };
        let flushing = {
            let node = node.clone();
            thread::spawn(move || {
                node.flush();
                node.has_acknowledged(1)
            })
        };
        node.publish();
        dropping.join().unwrap();
        node.publish();
        let was_acknowledged = flushing.join().unwrap();
        assert_eq!(was_acknowledged, node.has_acknowledged(1), "acknowledged after the flush");
    });
}
