//! A server with short deadlines, for tests that stop its process and let it continue.

use std::convert::Infallible;
use std::env;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use roomcast::{
    Close, Conn, Handler, Hub, Reject, Request, Response, Server as RoomcastServer, UpgradeRequest,
};

use crate::obedient;
use crate::raise_descriptor_limit;
use support::scene::oracle::Line;
use support::scene::server::Server;

/// Set in the environment of the server's process: the time between two pings, in milliseconds.
const ROLE: &str = "ROOMCAST_FAULTS_PATIENT";

/// All of the server's deadlines except those of pings.
pub(crate) const DEADLINE: Duration = Duration::from_millis(600);

/// The bytes of the page: more than the buffers of two sockets hold.
pub(crate) const PAGE_BYTES: usize = 32 << 20;

/// A message whose handler blocks its thread; the message's number is the time in milliseconds.
pub(crate) const BLOCK: &str = "block";

/// A room whose handshake waits twice.
pub(crate) const LATE: &str = "late";

/// Each of the two waits. Together they are shorter than the deadline; only a pause makes the handshake late.
const WAIT: Duration = Duration::from_millis(250);

/// Starts this server, with eight worker threads.
pub(crate) async fn start(ping_interval: Duration) -> Server {
    let mut command = Command::new(env::current_exe().expect("a test knows its path"));
    command.args(["patient", "--exact", "--ignored", "--nocapture", "--test-threads", "1"]);
    let pings = ping_interval.as_millis().to_string();
    Server::start(command.env(ROLE, pings)).await
}

/// Serves, if this process is the server. The test kills the process.
pub(crate) async fn serve() {
    let Ok(pings) = env::var(ROLE) else { return };
    raise_descriptor_limit();
    let ping_interval = Duration::from_millis(pings.parse().expect("a number"));
    let hub = Hub::<Line>::builder()
        .ping_interval(ping_interval)
        .message_timeout(DEADLINE)
        .upgrade_timeout(DEADLINE)
        .build()
        .expect("in range");
    let page = Bytes::from(vec![b'.'; PAGE_BYTES]);
    let tls_addr = tls::serve(&hub).await;
    let pages = service_fn({
        let hub = hub.clone();
        move |request: Request<_>| {
            let answer = match request.uri().path() {
                "/page" => page.clone(),
                "/tls" => tls_addr.clone().into(),
                _ => obedient::stats(&hub, request.uri().query().unwrap_or_default()),
            };
            async move { Ok::<_, Infallible>(Response::new(Full::new(answer))) }
        }
    });
    let server = RoomcastServer::bind("127.0.0.1:0").await.expect("a free port");
    let server = server.route("/ws/{room}", hub.handle(Patient)).expect("a path");
    println!("\nlistening on http://{}", server.local_addr().expect("an address"));
    let server = server.head_timeout(DEADLINE).keep_alive_timeout(DEADLINE);
    server.write_timeout(DEADLINE).fallback(pages).run().await;
}

struct Patient;

impl Handler<Line> for Patient {
    async fn on_upgrade(&self, request: &mut UpgradeRequest) -> Result<(), Reject> {
        if request.param("room") == LATE {
            tokio::time::sleep(WAIT).await;
            tokio::time::sleep(WAIT).await;
        }
        Ok(())
    }

    async fn on_connect(&self, conn: &Conn<Line>) -> Result<(), Close> {
        Ok(conn.try_join(room(conn))?)
    }

    async fn on_message(&self, conn: &Conn<Line>, line: Line) -> Result<(), Close> {
        if line.text == BLOCK {
            std::thread::sleep(Duration::from_millis(line.seq));
        }
        let _ = conn.hub().to_room(room(conn), &line).await;
        Ok(())
    }
}

fn room(conn: &Conn<Line>) -> &str {
    conn.param("room")
}

mod tls {
    use std::fs;

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use roomcast::{Hub, Server, Tls};

    use super::{DEADLINE, Line, Patient};

    /// Serves TLS, too. Returns the address.
    pub(super) async fn serve(hub: &Hub<Line>) -> String {
        let folder = std::env::temp_dir().join(format!("roomcast-pauses-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&certificate, cert.pem()).expect("a file");
        fs::write(&key, signing_key.serialize_pem()).expect("a file");
        let tls = Tls::from_pem_files(certificate, key).expect("certificate and key match");
        fs::remove_dir_all(folder).expect("it is ours");
        let server = Server::bind("127.0.0.1:0").await.expect("a free port").tls(&tls);
        let addr = server.local_addr().expect("an address").to_string();
        let server = server.tls_timeout(DEADLINE).route("/ws/{room}", hub.handle(Patient));
        tokio::spawn(server.expect("a path").run());
        addr
    }
}
