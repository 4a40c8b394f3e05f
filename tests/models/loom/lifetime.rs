//! A shutdown of the hub while connections attach and end.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle};
use roomcast::internals::parts::Lifetime;

use super::{check, check_within, wait_for};

/// Guards the fence in `enter` against the fence in `advance`.
#[test]
fn a_connection_is_counted_by_the_shutdown_or_refused() {
    check(|| {
        let hub = Arc::new(Lifetime::new());
        let newcomer = {
            let hub = hub.clone();
            thread::spawn(move || hub.enter())
        };
        let counted = hub.start_closing();
        let is_open = newcomer.join().unwrap();
        assert!(!is_open || counted == 1, "open, and the shutdown does not wait for it");
    });
}

/// Attaches a connection if the hub allows it, keeps the connection for a moment, and ends it.
fn spawn_visitor(hub: &Arc<Lifetime>, open: &Arc<AtomicUsize>) -> JoinHandle<()> {
    let (hub, open) = (hub.clone(), open.clone());
    thread::spawn(move || {
        if hub.enter() {
            open.fetch_add(1, Ordering::Relaxed);
            open.fetch_sub(1, Ordering::Relaxed);
            hub.leave();
        }
    })
}

/// Guards the ring in `leave`, that a wait registers before it checks, and that the end of a connection happens before
/// the end of the wait.
#[test]
fn a_shutdown_waits_until_all_connections_are_over() {
    check_within(3, || {
        let hub = Arc::new(Lifetime::new());
        let open = Arc::new(AtomicUsize::new(0));
        let visitors = [(); 2].map(|()| spawn_visitor(&hub, &open));
        hub.start_closing();
        wait_for(hub.all_ended());
        assert_eq!(open.load(Ordering::Relaxed), 0, "none is open, and none can come");
        for visitor in visitors {
            visitor.join().unwrap();
        }
    });
}

/// Guards the ring of a shutdown after its change of the phase, when no connection is left that could ring.
#[test]
fn wait_for_a_closed_hub_ends_whichever_connection_is_last() {
    check_within(3, || {
        let hub = Arc::new(Lifetime::new());
        let open = Arc::new(AtomicUsize::new(0));
        assert!(hub.enter());
        let session = {
            let hub = hub.clone();
            thread::spawn(move || hub.leave())
        };
        let closer = {
            let hub = hub.clone();
            thread::spawn(move || hub.close())
        };
        wait_for(hub.closed());
        session.join().unwrap();
        closer.join().unwrap();
        spawn_visitor(&hub, &open).join().unwrap();
    });
}
