//! Code of the application that a shard calls: streams and wakers that panic.

use std::io;
use std::pin::{Pin, pin};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use roomcast::{Conn, DisconnectReason, Hub};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use support::faulty::Faulty;
use support::{Client, Events, Recorded, Recorder, eventually, within};

/// A step that panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Step {
    None,
    Read,
    Write,
    Flush,
    Shutdown,
    Drop,
}

/// A pipe that panics at the step that the test sets.
struct Fragile {
    stream: DuplexStream,
    step: Arc<AtomicU32>,
}

impl Fragile {
    fn reach(&self, step: Step) {
        if self.step.load(Ordering::SeqCst) == step as u32 {
            // `resume_unwind` does not call the panic hook.
            std::panic::resume_unwind(Box::new("a panic that the test wants"));
        }
    }
}

impl AsyncRead for Fragile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.reach(Step::Read);
        }
        read
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.reach(Step::Write);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reach(Step::Flush);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reach(Step::Shutdown);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.reach(Step::Drop);
    }
}

/// A client over a stream that panics, in the same hub as innocent clients.
async fn fragile(hub: &Hub<u32>) -> (Client<DuplexStream>, Conn<u32>, Events<u32>, Arc<AtomicU32>) {
    let step = Arc::new(AtomicU32::new(Step::None as u32));
    let (ours, stream) = tokio::io::duplex(1_000);
    let theirs = Fragile { stream, step: step.clone() };
    let (recorder, mut events) = Recorder::new();
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(theirs), hub.handle(recorder));
    tokio::spawn(connection.with_upgrades());
    let client = Client::over(ours, "/").await.expect("the handshake succeeds");
    (client, events.open().await, events, step)
}

/// Innocent clients; half of them are in the same shard as the panicking client.
async fn innocents(server: &mut Recorded<u32>) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..10 {
        let (client, conn) = server.connect().await;
        conn.try_join("room").unwrap();
        clients.push(client);
    }
    clients
}

async fn check_untouched(server: &mut Recorded<u32>, clients: &mut Vec<Client>, what: Step) {
    // New connections go to both shards.
    for _ in 0..4 {
        let (client, conn) = server.connect().await;
        conn.try_join("room").unwrap();
        clients.push(client);
    }
    assert_eq!(server.hub.member_count("room"), clients.len(), "{what:?}");
    server.hub.try_to_room("room", &7).unwrap();
    for client in clients.iter_mut() {
        assert_eq!(client.get::<u32>().await, 7, "{what:?}");
    }
    let count = || server.hub.count() == clients.len();
    eventually("nobody but the culprit is gone", count).await;
    let stats = server.hub.stats();
    assert_eq!(
        (stats.stream_panics, stats.shards_gone, stats.handler_panics),
        (1, 0, 0),
        "{what:?}"
    );
    assert!(!server.hub.is_closed());
}

async fn panic_in(what: Step) -> DisconnectReason {
    let mut server = Recorded::serve(Hub::builder().shards(2).build().unwrap()).await;
    let mut clients = innocents(&mut server).await;
    let (mut client, conn, mut events, step) = fragile(&server.hub).await;
    step.store(what as u32, Ordering::SeqCst);
    match what {
        Step::Read => client.send_text("1").await,
        Step::Shutdown | Step::Drop => conn.close(),
        _ => conn.try_send(&1).unwrap(),
    }
    drop(conn);
    // The client answers the close, if one comes.
    within("the end", async {
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut client.0).await {}
    })
    .await;
    let (_, reason) = events.ended().await;
    check_untouched(&mut server, &mut clients, what).await;
    reason
}

#[tokio::test]
async fn stream_that_panics_ends_its_own_connection_alone() {
    for step in [Step::Read, Step::Write, Step::Flush] {
        let reason = panic_in(step).await;
        assert_eq!(reason, DisconnectReason::Io(io::ErrorKind::Other), "{step:?}");
    }
    for step in [Step::Shutdown, Step::Drop] {
        let reason = panic_in(step).await;
        assert!(matches!(reason, DisconnectReason::ClosedByServer(_)), "{step:?}: {reason}");
    }
}

/// A panicking waker, as of a faulty executor that is not tokio's.
struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new("a panic that the test wants"));
    }
}

/// Polls once with a panicking waker.
fn poll<F: Future>(future: Pin<&mut F>) -> (Poll<F::Output>, Arc<Alarm>) {
    let alarm = Arc::new(Alarm(AtomicBool::new(false)));
    let waker = Waker::from(alarm.clone());
    (future.poll(&mut Context::from_waker(&waker)), alarm)
}

#[tokio::test]
async fn panicking_waker_ends_no_shard() {
    let mut server = Recorded::serve(Hub::builder().shards(1).build().unwrap()).await;
    let mut clients = innocents(&mut server).await;
    let (client, conn) = server.connect().await;
    conn.try_join("other").unwrap();
    let hub = server.hub.clone();
    let mut members = pin!(hub.members("other"));
    let mut rooms = pin!(conn.rooms());
    let alarms = [poll(members.as_mut()).1, poll(rooms.as_mut()).1];
    eventually("they are woken", || alarms.iter().all(|alarm| alarm.0.load(Ordering::SeqCst)))
        .await;
    assert_eq!(within("an answer", members).await, slice::from_ref(&conn));
    assert_eq!(within("an answer", rooms).await, ["other"]);
    drop(client);
    server.hub.try_to_room("room", &7).unwrap();
    for client in &mut clients {
        assert_eq!(client.get::<u32>().await, 7);
    }
    assert_eq!(server.hub.stats().shards_gone, 0);
}

/// The shard that frees space wakes the publishers that wait for space.
#[tokio::test]
async fn panicking_waker_of_a_publisher_ends_no_shard() {
    let hub = Hub::<u32>::builder().shards(1).inbox_messages(4).build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let (mut client, _conn) = server.connect().await;
    let mut sent = 0;
    while server.hub.try_broadcast(&sent).is_ok() {
        sent += 1;
    }
    let hub = server.hub.clone();
    let mut waiting = pin!(hub.broadcast(&sent));
    let mut innocent = pin!(hub.broadcast(&(sent + 1)));
    let (first, alarm) = poll(waiting.as_mut());
    assert!(first.is_pending());
    // The first poll only yields to other tasks; the later polls wait.
    let mut last = alarm;
    if last.0.load(Ordering::SeqCst) {
        last = poll(waiting.as_mut()).1;
    }
    within("the innocent one", innocent.as_mut()).await.unwrap();
    eventually("it is woken", || last.0.load(Ordering::SeqCst)).await;
    within("it, too", waiting).await.unwrap();
    assert_eq!(client.get_many::<u32>(sent as usize + 2).await.len(), sent as usize + 2);
    assert_eq!(server.hub.stats().shards_gone, 0);
}

/// The shard of a connection wakes the tasks that wait for the end of the connection.
#[tokio::test]
async fn panicking_waker_of_a_join_ends_no_shard() {
    let bus = Faulty::new();
    bus.set(|faults| &faults.is_silent, true);
    let hub = Hub::<u32>::builder().shards(1).backplane(bus, "panic").build().unwrap();
    let mut server = Recorded::serve(hub).await;
    let mut clients = innocents(&mut server).await;
    let (_client, conn) = server.connect().await;
    let mut joining = pin!(conn.join_subscribed("other"));
    let (joined, alarm) = poll(joining.as_mut());
    assert!(joined.is_pending());
    conn.close();
    eventually("it is woken", || alarm.0.load(Ordering::SeqCst)).await;
    assert!(within("its end", joining).await.is_err());
    server.hub.try_to_room("room", &7).unwrap();
    for client in &mut clients {
        assert_eq!(client.get::<u32>().await, 7);
    }
}
