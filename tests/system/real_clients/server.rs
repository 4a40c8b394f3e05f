//! The server of the tests, behind a relay that counts.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::service::service_fn;
use roomcast::header::CONTENT_TYPE;
use roomcast::{
    Close, Compression, Conn, Handler, Hub, Raw, RawMessage, Request, Response, StatusCode,
    UpgradeRequest,
};
use support::{Listening, bind};
use tokio::sync::mpsc;

use crate::relay::Relay;

/// The largest message of a client.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What the handler tells the test. The texts are kinds of clients.
pub(crate) enum Event {
    /// A member has connected. It is in no room yet.
    Member(String, Conn<RawMessage>),
    /// A client has reported a message.
    Report(String, RawMessage),
}

/// Routes a connection by the first part of its path: a member, an echo, or reports.
struct Parts(mpsc::UnboundedSender<Event>);

impl Parts {
    fn tell(&self, event: Event) {
        // A test that has failed no longer receives events.
        let _ = self.0.send(event);
    }
}

impl Handler<RawMessage> for Parts {
    async fn on_connect(&self, conn: &Conn<RawMessage>) -> Result<(), Close> {
        if conn.param("part") == "member" {
            self.tell(Event::Member(conn.param("kind").to_owned(), conn.clone()));
        }
        Ok(())
    }

    async fn on_message(&self, conn: &Conn<RawMessage>, message: RawMessage) -> Result<(), Close> {
        match conn.param("part") {
            "echo" => conn.send(&message).await?,
            "report" => {
                self.tell(Event::Report(conn.param("kind").to_owned(), message));
            }
            part => panic!("a message of a {part}"),
        }
        Ok(())
    }
}

pub(crate) struct Server {
    pub(crate) hub: Hub<RawMessage>,
    pub(crate) relay: Relay,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) plain: Listening,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let hub = hub();
        let server = bind().await.route("/{part}/{kind}", hub.handle(Parts(sender)));
        let pages = service_fn(|request| async move { Ok::<_, Infallible>(page(&request)) });
        let plain = Listening::run(server.expect("a free path").fallback(pages));
        let relay = Relay::start(plain.addr).await;
        Self { hub, relay, events, plain }
    }
}

/// A hub with one shard, so that all members share one window, and with queues for a whole burst. Direct messages are
/// compressed, too. Reports are plain.
fn hub() -> Hub<RawMessage> {
    let is_compressed = |request: &UpgradeRequest| request.param("part") != "report";
    let compression = Compression::shared().min_recipients(1).direct(true).accept_if(is_compressed);
    Hub::with_codec(Raw)
        .shards(1)
        .compression(compression)
        .max_message_bytes(MESSAGE_BYTES_MAX)
        .send_buffer(256)
        .send_buffer_bytes(8 * MESSAGE_BYTES_MAX)
        .build()
        .expect("the settings are in range")
}

/// The page of the browsers, and its script.
fn page(request: &Request<Incoming>) -> Response {
    let (status, kind, body) = match request.uri().path() {
        "/page.html" => (StatusCode::OK, "text/html", include_str!("page.html")),
        "/member.js" => (StatusCode::OK, "text/javascript", include_str!("member.js")),
        _ => (StatusCode::NOT_FOUND, "text/plain", "not found"),
    };
    let response = Response::builder().status(status);
    let kind = format!("{kind}; charset=utf-8");
    response.header(CONTENT_TYPE, kind).body(body.into()).expect("a valid response")
}
