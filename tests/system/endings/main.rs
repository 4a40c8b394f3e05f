//! Every example shuts down gracefully on SIGTERM and SIGINT, also as the first process of a container,
//! for which the kernel has no default action.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::programs::{Chat, example};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const DEADLINE: Duration = Duration::from_secs(20);

/// The examples, with their arguments.
const EXAMPLES: [(&str, &[&str]); 6] = [
    ("chat", &[]),
    ("load_server", &["--listen", "127.0.0.1:0"]),
    ("echo", &["--listen", "127.0.0.1:0"]),
    ("tls", &["--listen", "127.0.0.1:0"]),
    ("axum_chat", &[]),
    ("quickstart", &[]),
];

/// Starts an example through a command that runs its arguments, such as `nice`.
fn start(command: &mut Command, name: &str, arguments: &[&str]) -> Chat {
    command.arg(example(name)).args(arguments);
    // For examples that read their environment. No Redis listens on this port.
    command.env("TOKEN", "secret").env("REDIS_URL", "redis://127.0.0.1:1");
    Chat::start(command.env("LISTEN", "127.0.0.1:0")).expect("the example starts")
}

fn tell(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("the process is there");
}

async fn ended(program: &mut Chat) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) =
            program.process.0.try_wait().expect("the process is a child of the test")
        {
            return status;
        }
        assert!(began.elapsed() < DEADLINE, "the example does not end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The only child of a process.
fn child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.expect("the process runs").trim().parse().expect("the process has one child")
}

#[tokio::test]
async fn examples_end_on_sigterm_and_sigint() {
    for (name, arguments) in EXAMPLES {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut program = start(&mut Command::new("env"), name, arguments);
            tell(program.process.0.id(), signal);
            assert!(ended(&mut program).await.success(), "{name} by {signal}");
        }
    }
}

#[tokio::test]
async fn examples_end_as_the_first_process_of_a_container() {
    for (name, arguments) in EXAMPLES {
        let mut command = Command::new("unshare");
        let mut program = start(command.args(["--pid", "--fork", "--kill-child"]), name, arguments);
        tell(child_of(program.process.0.id()), Signal::SIGTERM);
        assert!(ended(&mut program).await.success(), "{name}");
    }
}

#[tokio::test]
async fn clients_get_a_close_frame_before_an_example_ends() {
    for (name, path, code) in
        [("load_server", "/ws/room", 1_012), ("echo", "/", 1_001), ("quickstart", "/ws/r", 1_001)]
    {
        let (_, arguments) =
            EXAMPLES.into_iter().find(|(other, _)| *other == name).expect("listed");
        let mut program = start(&mut Command::new("env"), name, arguments);
        let mut request =
            format!("ws://{}{path}", program.addr).into_client_request().expect("a URL");
        request.headers_mut().insert("authorization", "Bearer secret".parse().expect("text"));
        let stream = TcpStream::connect(program.addr).await.expect("the server listens");
        let (mut client, _) = client_async(request, stream).await.expect("the server accepts");
        tell(program.process.0.id(), Signal::SIGTERM);
        let close = client.next().await.expect("a frame").expect("intact");
        let Message::Close(Some(close)) = close else { panic!("{name}: {close}") };
        assert_eq!(u16::from(close.code), code, "{name}");
        while client.next().await.is_some() {}
        assert!(ended(&mut program).await.success(), "{name}");
    }
}
