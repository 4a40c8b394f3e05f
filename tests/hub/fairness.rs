//! A shard with much to write, among other tasks of the runtime.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use roomcast::{Conn, Hub};
use tokio::runtime::Runtime;

use support::{Client, Recorded, end_runtime, other_runtime};

const CLIENTS: u64 = 200;

/// The tasks that are ready before the shard has written anything: far more than a worker keeps in
/// its own queue, so the others are in the queue of the runtime.
const TASKS: usize = 3_000;

fn serve_clients(runtime: &Runtime) -> (Recorded<u32>, Vec<(Client, Conn<u32>)>) {
    runtime.block_on(async {
        let mut server = Recorded::serve(Hub::builder().shards(1).build().unwrap()).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(server.connect().await);
        }
        (server, clients)
    })
}

async fn all_get(clients: Vec<(Client, Conn<u32>)>, message: u32) {
    for (mut client, _) in clients {
        assert_eq!(client.get::<u32>().await, message);
    }
}

#[test]
fn shard_goes_on_writing_only_after_the_tasks_that_were_ready_before() {
    let runtime = other_runtime();
    let (server, clients) = serve_clients(&runtime);

    // The only worker is blocked until the shard is woken and all tasks are ready.
    let (started, wait_for_start) = mpsc::channel();
    let (release, wait_for_release) = mpsc::channel::<()>();
    runtime.spawn(async move {
        started.send(()).unwrap();
        wait_for_release.recv().unwrap();
    });
    wait_for_start.recv().unwrap();
    server.hub.try_broadcast(&1).unwrap();
    let written = Arc::new(Mutex::new(Vec::new()));
    let task = |_| {
        let (hub, written) = (server.hub.clone(), written.clone());
        runtime.spawn(async move { written.lock().unwrap().push(hub.stats().deliveries) })
    };
    let tasks: Vec<_> = (0..TASKS).map(task).collect();
    release.send(()).unwrap();
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
        all_get(clients, 1).await;
    });

    let written = written.lock().unwrap();
    // The shard writes 64 deliveries at a time, so it needs four slices. If it yields only once after
    // a slice, it has written everything before task 350 runs.
    assert!(written[400] < CLIENTS, "all {CLIENTS} deliveries came before task 400");
    drop(server);
    end_runtime(runtime);
}

#[test]
fn shard_writes_everything_even_if_older_tasks_never_end() {
    let runtime = other_runtime();
    let (server, clients) = serve_clients(&runtime);
    let is_over = Arc::new(AtomicBool::new(false));
    let task = |_| {
        let is_over = is_over.clone();
        // Always ready. There are more of these tasks than a worker keeps in its own queue.
        runtime.spawn(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            if is_over.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        }))
    };
    let tasks: Vec<_> = (0..TASKS).map(task).collect();
    server.hub.try_broadcast(&1).unwrap();
    runtime.block_on(async {
        all_get(clients, 1).await;
        is_over.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
    });
    drop(server);
    end_runtime(runtime);
}
