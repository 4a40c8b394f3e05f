//! A process that does not run for a while. The answers of Redis meanwhile wait in the socket.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::time::sleep;

use support::programs::{Chat, example};
use support::servers::{Proxy, RedisServer};
use support::{Client, eventually, within};

/// Longer than the deadlines of publishing and probing, also when they are extended.
const PAUSE: Duration = Duration::from_secs(5);

/// Long enough for a message to be in flight, and far less than any deadline.
const A_MOMENT: Duration = Duration::from_millis(200);

/// A chat that prints each state of its backplane on standard error.
struct Node {
    chat: Chat,
    told: Arc<Mutex<Vec<String>>>,
}

impl Node {
    async fn start(url: &str) -> Self {
        let mut command = Command::new(example("load_server"));
        command.args(["--listen", "127.0.0.1:0", "--redis", url]).stderr(Stdio::piped());
        let mut chat = Chat::start(&mut command).expect("the server starts");
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let (lines, stderr) =
            (told.clone(), chat.process.0.stderr.take().expect("the stream is piped"));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let node = Self { chat, told };
        eventually("the backplane is up", || !node.told("backplane up").is_empty()).await;
        node
    }

    fn told(&self, text: &str) -> Vec<String> {
        let lines = self.told.lock().unwrap();
        lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.chat.process.0.id());
        let status =
            Command::new("sh").args(["-c", &script]).status().expect("the system has a shell");
        assert!(status.success(), "{script}: {status}");
    }
}

async fn say(client: &mut Client, text: &str) {
    client.send_text(format!(r#"{{"text":"{text}"}}"#)).await;
}

async fn hears(client: &mut Client, text: &str) {
    let heard = async { while !client.next_text().await.contains(text) {} };
    within(text, heard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_that_arrives_during_a_pause_does_not_count_as_silence() {
    let redis = RedisServer::start();
    let proxy = Proxy::start(redis.addr()).await;
    let paused = Node::start(&format!("redis://{}", proxy.addr)).await;
    let other = Node::start(&redis.url()).await;
    let mut here = Client::connect(paused.chat.addr, "/ws/room").await;
    let mut there = Client::connect(other.chat.addr, "/ws/room").await;
    let mut number = 0;
    // Until each node knows the other's members, and so receives its messages.
    for _ in 0..2 {
        say(&mut here, "hello").await;
        hears(&mut there, "hello").await;
        say(&mut there, "welcome").await;
        hears(&mut here, "welcome").await;
    }
    for _ in 0..2 {
        number += 1;
        proxy.stall();
        say(&mut here, &format!("on its way {number}")).await;
        sleep(A_MOMENT).await;
        paused.signal("STOP");
        proxy.resume();
        sleep(PAUSE).await;
        say(&mut there, &format!("meanwhile {number}")).await;
        paused.signal("CONT");
        hears(&mut here, &format!("meanwhile {number}")).await;
        hears(&mut there, &format!("on its way {number}")).await;
        say(&mut here, &format!("afterwards {number}")).await;
        hears(&mut there, &format!("afterwards {number}")).await;
    }
    // The next probe must not report a fault, either.
    sleep(PAUSE).await;
    assert_eq!(paused.told("down"), Vec::<String>::new());
    assert_eq!(other.told("down"), Vec::<String>::new());
}
