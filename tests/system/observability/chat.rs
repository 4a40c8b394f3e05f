//! `/metrics` and `/healthz` of the chat, over HTTP.

use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::programs::{Chat, example};
use support::{Client, eventually, within};

fn chat(arguments: &[&str]) -> Chat {
    let mut command = Command::new(example("load_server"));
    let command = command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    Chat::start(command).expect("the server starts")
}

/// Requests a page. Returns the head of the response, and the body.
async fn get(addr: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).await.expect("the server accepts");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut response = String::new();
    within("an answer", stream.read_to_string(&mut response)).await.expect("an answer");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

/// The value of a series in Prometheus' text format.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"));
    line.parse().expect("a number")
}

/// Asks until the answer fulfils the condition. Returns the answer, and the number of requests.
async fn get_until(addr: SocketAddr, path: &str, is_so: impl Fn(&str) -> bool) -> (String, usize) {
    for asked in 1.. {
        let (head, body) = within(path, get(addr, path)).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        if is_so(&body) {
            return (body, asked);
        }
        assert!(asked < 10_000, "never as it must be: {body}");
    }
    unreachable!()
}

#[tokio::test]
async fn metrics_of_the_chat_count_its_activity() {
    let chat = chat(&[]);
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Client::connect(chat.addr, "/ws/lobby").await);
    }
    let have_joined = |stats: &str| stats.contains(r#""members":2,"#);
    let (_, first) = get_until(chat.addr, "/stats?room=lobby", have_joined).await;
    clients[1].send_text(r#"{"text":"hello"}"#).await;
    for client in &mut clients {
        client.next_text().await;
    }
    let are_counted = |metrics: &str| value(metrics, "roomcast_deliveries_total{hub=\"0\"}") == 2.0;
    let (metrics, then) = get_until(chat.addr, "/metrics", are_counted).await;
    assert_eq!(value(&metrics, "roomcast_connections{hub=\"0\"}"), 2.0);
    assert_eq!(value(&metrics, "roomcast_received_messages_total{hub=\"0\"}"), 1.0);
    assert_eq!(value(&metrics, "roomcast_writes_total{hub=\"0\"}"), 2.0);
    let server = format!("roomcast_server_accepted_total{{server=\"{}\"}}", chat.addr);
    assert_eq!(value(&metrics, &server), (clients.len() + first + then) as f64);
    let (head, metrics) = get(chat.addr, "/metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(metrics.contains("# TYPE roomcast_delivery_latency_seconds histogram"), "{metrics}");
    assert!(metrics.contains("# HELP roomcast_connections Open connections"), "{metrics}");
}

#[tokio::test]
async fn healthz_of_a_running_chat_is_200() {
    let chat = chat(&[]);
    let (head, body) = get(chat.addr, "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, r#"{"ready":true,"shards_gone":0,"connections":0,"backplane":null}"#);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn healthz_of_a_chat_that_shuts_down_is_503() {
    let chat = chat(&["--shutdown-seconds", "40", "--not-ready-seconds", "40"]);
    // The shutdown takes longer than the test.
    let _client = Client::connect(chat.addr, "/ws/lobby").await;
    let process = chat.process.0.id();
    eventually("the server handles the signal", || catches_sigterm(process)).await;
    let killed =
        Command::new("kill").arg(process.to_string()).status().expect("the system has kill");
    assert!(killed.success());
    let (head, body) = loop {
        let (head, body) = get(chat.addr, "/healthz").await;
        if body.contains(r#""ready":false"#) {
            break (head, body);
        }
    };
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(body.contains(r#""connections":1"#), "{body}");
}

/// A temporary file for the standard error of a chat; dropping the value deletes the file.
#[cfg(target_os = "linux")]
struct LogFile(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl LogFile {
    fn new(name: &str) -> Self {
        let name = format!("roomcast-{}-{name}.log", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn stdio(&self) -> std::process::Stdio {
        std::fs::File::create(&self.0).expect("a temporary file").into()
    }

    /// The lines with this text.
    fn with(&self, text: &str) -> Vec<String> {
        let log = std::fs::read_to_string(&self.0).expect("the file exists");
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

#[cfg(target_os = "linux")]
impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn chat_logs_the_events_that_its_filter_selects() {
    let log = LogFile::new("told");
    let mut command = Command::new(example("load_server"));
    command.args(["--listen", "127.0.0.1:0", "--log", "roomcast=debug"]).stderr(log.stdio());
    let chat = Chat::start(&mut command).expect("the server starts");
    drop(Client::connect(chat.addr, "/ws/lobby").await);
    eventually("the end is logged", || !log.with("disconnected").is_empty()).await;
    let line = &log.with("disconnected")[0];
    assert!(line.contains("DEBUG roomcast::conn{id="), "{line}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn server_with_few_descriptors_left_warns_once_a_second() {
    let log = LogFile::new("descriptors");
    let script = "ulimit -n 64; exec \"$0\" --listen 127.0.0.1:0 --log info";
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).arg(example("load_server")).stderr(log.stdio());
    let began = std::time::Instant::now();
    let chat = Chat::start(&mut command).expect("the server starts");
    let mut clients = Vec::new();
    let warnings = || log.with("few descriptors left");
    let told = within("two warnings", async {
        while warnings().len() < 2 {
            // The server closes the clients that it refuses.
            clients.push(TcpStream::connect(chat.addr).await.expect("the server listens"));
            clients.truncate(64);
        }
        warnings()
    })
    .await;
    assert!(told.iter().all(|line| line.contains("WARN roomcast::server: ")), "{told:#?}");
    assert!(told[1].contains("refused="), "{told:#?}");
    assert!(told.len() as u64 <= began.elapsed().as_secs() + 1, "{told:#?}");
}

/// Whether the process catches SIGTERM (15), by the kernel's mask of caught signals.
#[cfg(target_os = "linux")]
fn catches_sigterm(process: u32) -> bool {
    let status =
        std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
    u64::from_str_radix(caught.trim(), 16).expect("hexadecimal") & 1 << (15 - 1) != 0
}
