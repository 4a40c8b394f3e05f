//! A stream that a session reads and a shard writes, such as a TLS stream: a writer that waits for its lock is woken.
//!
//! The stream is a counter here. Rustls and the socket are not modelled: `tests/tls` tests them.

use std::sync::Arc;

use loom::thread::{self, JoinHandle};
use roomcast::internals::parts::Halves;

use super::{check, sleep_until};

type Stream = Halves<usize>;

fn spawn_reader(halves: &Arc<Stream>, reads: usize) -> JoinHandle<()> {
    let halves = halves.clone();
    thread::spawn(move || {
        for _ in 0..reads {
            halves.read(|stream| *stream += 1);
        }
    })
}

fn write(halves: &Stream) {
    sleep_until(|cx| halves.poll_write(cx, |stream| *stream += 10).is_ready());
}

/// Guards "release, then wake" in `read`, and the second check of the lock in `poll_lock`.
#[test]
fn a_writer_that_meets_the_reader_is_woken() {
    check(|| {
        let halves = Arc::new(Halves::new(0));
        let reader = spawn_reader(&halves, 1);
        write(&halves);
        reader.join().unwrap();
        assert_eq!(halves.read(|stream| *stream), 11);
    });
}

/// Guards the same for a reader and a writer that each take the lock again at once.
#[test]
fn a_writer_is_woken_by_a_reader_that_comes_back() {
    check(|| {
        let halves = Arc::new(Halves::new(0));
        let reader = spawn_reader(&halves, 2);
        write(&halves);
        write(&halves);
        reader.join().unwrap();
        assert_eq!(halves.read(|stream| *stream), 22);
    });
}
