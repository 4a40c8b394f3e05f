//! A shard with much to write, among other tasks of the runtime.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use roomcast::Hub;

use support::{Recorded, end_runtime, other_runtime};

const CLIENTS: u64 = 200;

/// The tasks that are ready before the shard has written anything: far more than a worker keeps in
/// its own queue, so the others are in the queue of the runtime.
const TASKS: usize = 3_000;

#[test]
fn shard_goes_on_writing_only_after_the_tasks_that_were_ready_before() {
    let runtime = other_runtime();
    let (server, clients) = runtime.block_on(async {
        let mut server = Recorded::serve(Hub::<u32>::builder().shards(1).build().unwrap()).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(server.connect().await);
        }
        (server, clients)
    });

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
        for (mut client, _) in clients {
            assert_eq!(client.get::<u32>().await, 1);
        }
    });

    let written = written.lock().unwrap();
    // The shard writes 64 deliveries at a time, so it needs four slices. If it yields only once after
    // a slice, it has written everything before task 350 runs.
    assert!(written[400] < CLIENTS, "all {CLIENTS} deliveries came before task 400");
    drop(server);
    end_runtime(runtime);
}
