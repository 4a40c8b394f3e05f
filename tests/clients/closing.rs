//! The end of a connection, started by either side.

use std::io;
use std::time::Duration;

use roomcast::test::{RecvError, TestServer};
use roomcast::{
    Close, CloseCode, Conn, DisconnectReason, Handler, Hub, SendError, Shutdown, Target,
};
use tokio::sync::mpsc;

/// A handler that reports how each connection ended.
struct Ends(mpsc::UnboundedSender<DisconnectReason>);

impl Handler<u32> for Ends {
    async fn on_disconnect(&self, _: &Conn<u32>, reason: &DisconnectReason) -> Result<(), Close> {
        self.0.send(reason.clone()).expect("the test listens");
        Ok(())
    }
}

fn server() -> (Hub<u32>, TestServer<u32>, mpsc::UnboundedReceiver<DisconnectReason>) {
    let hub = Hub::new();
    let (ended, ends) = mpsc::unbounded_channel();
    let server = TestServer::new("/", hub.handle(Ends(ended)));
    (hub, server, ends)
}

#[tokio::test(start_paused = true)]
async fn close_of_the_server_comes_after_its_messages_and_repeats() {
    let (hub, server, mut ends) = server();
    let mut client = server.connect("/").await.unwrap();
    hub.broadcast(&1).await.unwrap();
    let close = Close::new(CloseCode::from(4_001), "enough");
    hub.close(&Target::everyone(), close.clone()).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), 1);
    for _ in 0..3 {
        let Err(RecvError::Closed(told)) = client.recv().await else { panic!("it is closed") };
        assert_eq!(told, close);
    }
    assert_eq!(client.closed().await, close);
    assert_eq!(ends.recv().await, Some(DisconnectReason::ClosedByServer(close.clone())));
    assert!(matches!(client.send(&1).await, Err(SendError::Closed)));
    assert_eq!(client.close(CloseCode::NORMAL).await, close, "the server was first");
    // The client has answered, so the shutdown has nothing to wait for.
    assert!(hub.shutdown(Duration::ZERO).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn close_of_the_client_is_reported_and_answered() {
    let (_hub, server, mut ends) = server();
    for close in [Close::new(CloseCode::from(4_000), "bye"), CloseCode::NORMAL.into()] {
        let mut client = server.connect("/").await.unwrap();
        assert_eq!(client.close(close.clone()).await, close);
        assert_eq!(ends.recv().await, Some(DisconnectReason::ClosedByClient(close)));
    }
    let mut client = server.connect("/").await.unwrap();
    client.close(CloseCode::NO_STATUS).await;
    let close = Close::from(CloseCode::NO_STATUS);
    assert_eq!(ends.recv().await, Some(DisconnectReason::ClosedByClient(close)));
}

#[tokio::test(start_paused = true)]
async fn dropped_client_ends_without_a_close_frame() {
    let (hub, server, mut ends) = server();
    drop(server.connect("/").await.unwrap());
    let Some(DisconnectReason::Io(kind)) = ends.recv().await else { panic!("it is gone") };
    assert_eq!(kind, io::ErrorKind::UnexpectedEof);
    assert_eq!(hub.stats().disconnected, 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_of_the_hub_sends_close_frames_to_its_clients() {
    let (hub, server, mut ends) = server();
    let mut client = server.connect("/").await.unwrap();
    let second = Duration::from_secs(1);
    let how = Shutdown::within(10 * second).spread_over(Duration::ZERO).restart(second..=second);
    let (report, close) = tokio::join!(hub.shutdown(how), client.closed());
    assert!(report.is_clean(), "{report}");
    assert_eq!((close.code, close.retry_after()), (CloseCode::RESTART, Some(second)));
    assert!(matches!(ends.recv().await, Some(DisconnectReason::HubClosed(_))));
    assert_eq!(server.connect("/").await.unwrap_err().status(), Some(503_u16.try_into().unwrap()));
}
