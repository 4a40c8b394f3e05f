//! A blocked socket, and the wake-up when it takes bytes again.

use loom::thread;

use roomcast::engine::Address;

use super::fake::Settings;
use super::{check_within, run};

/// Guards "rearm, then write" in `flush`, and that a waker notifies the inbox before the shard sleeps.
#[test]
fn frames_leave_when_a_blocked_socket_becomes_writable() {
    check_within(3, || {
        let mut rig = Settings::default().build();
        let client = rig.attach();
        rig.run();
        client.block();
        rig.publish(Address::Everyone, "late");
        rig.run();
        let kernel = {
            let client = client.clone();
            thread::spawn(move || {
                client.take(3);
                client.take(3);
            })
        };
        let mut shard = rig.shards.remove(0);
        run(&mut shard);
        kernel.join().unwrap();
        run(&mut shard);
        assert_eq!(client.texts(), ["late"]);
    });
}
