//! Attackers, in a process of their own, so that they do not delay the process that measures.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};

use crate::attacks::{Attack, Plan};
use crate::raise_descriptor_limit;
use support::scene::server::DEADLINE;
use support::scene::wire::{dial, read_head, read_to_close, upgrade_request, upgrade_request_with};

/// The environment variable that tells the process its attack, the server's address and the number of attackers.
const ROLE: &str = "ROOMCAST_FAULTS_ATTACK";

/// The least time between two dials of an attacker.
const DIAL_PAUSE: Duration = Duration::from_secs(1);

/// The most dials of an attacker.
const DIALS_MAX: u32 = 30;

/// The longest time of an attack, also if the parent process does not end it.
const ATTACK_MAX: Duration = Duration::from_secs(120);

/// The number of attackers by the way in which they ended, such as a close code.
pub(crate) type Tally = BTreeMap<String, u64>;

/// A running attack.
pub(crate) struct Party {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Party {
    /// Starts this many attackers, and waits until each has begun.
    pub(crate) async fn start(attack: Attack, addr: SocketAddr, attackers: usize) -> Self {
        // Real attackers run on other machines: their work must not take the server's CPU time.
        let mut process = Command::new("nice")
            .args(["-n", "10"])
            .arg(env::current_exe().expect("a test knows its path"))
            .args(["party", "--exact", "--ignored", "--nocapture", "--test-threads", "2"])
            .env(ROLE, format!("{} {addr} {attackers}", attack.name()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a test can be started");
        let output = process.stdout.take().expect("the stream is piped");
        let mut party = Self { process, lines: BufReader::new(output).lines() };
        party.line_with("under way").await;
        party
    }

    /// Ends the attack. Returns how often the attackers dialled, and how each attempt ended.
    pub(crate) async fn stop(mut self) -> Tally {
        drop(self.process.stdin.take());
        let report = self.line_with("tally ").await;
        self.process.wait().await.expect("the process ends");
        let entries = report.split(',').filter_map(|entry| entry.split_once('='));
        entries.map(|(end, count)| (end.to_owned(), count.parse().expect("a number"))).collect()
    }

    async fn line_with(&mut self, prefix: &str) -> String {
        let find = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return rest.to_owned();
                }
            }
            panic!("the attackers ended before they printed {prefix:?}");
        };
        timeout(DEADLINE, find).await.expect("the attackers print it in time")
    }
}

/// Runs the attackers, if this process was started for them.
pub(crate) async fn take_part() {
    let Ok(role) = env::var(ROLE) else { return };
    raise_descriptor_limit();
    let [attack, addr, attackers] = *role.split(' ').collect::<Vec<_>>() else {
        panic!("{role:?} is no attack");
    };
    let attack = Attack::from_str(attack, true).expect("an attack");
    let addr = addr.parse().expect("an address");
    attack_with(attack, addr, attackers.parse().expect("a number")).await;
}

async fn attack_with(attack: Attack, addr: SocketAddr, attackers: usize) {
    let (stop, stopped) = watch::channel(false);
    let (begun, mut all_begun) = watch::channel(0);
    let tally = Arc::new(Mutex::new(Tally::new()));
    let mut tasks = JoinSet::new();
    // Made once: to compress its bytes may take longer than a handshake may.
    let plan = Arc::new(attack.plan());
    for number in 0..attackers {
        let (plan, tally, stopped) = (plan.clone(), tally.clone(), stopped.clone());
        let room = format!("attacker{number}");
        let phase = number as f64 / attackers as f64;
        let attacker = Attacker { plan, addr, room, phase, tally, stopped };
        tasks.spawn(attacker.run(begun.clone()));
    }
    all_begun.wait_for(|&count| count >= attackers).await.expect("they are here");
    println!("\nunder way");
    // The parent closes the pipe to end the attack; the pipe also closes when the parent is killed.
    let _ = timeout(ATTACK_MAX, tokio::io::stdin().read_u8()).await;
    stop.send_replace(true);
    tasks.join_all().await;
    let tally = tally.lock().expect("no thread panics");
    let entries: Vec<_> = tally.iter().map(|(end, count)| format!("{end}={count}")).collect();
    println!("\ntally {}", entries.join(","));
}

struct Attacker {
    plan: Arc<Plan>,
    addr: SocketAddr,
    /// A room of its own, so that nobody else gets its messages.
    room: String,
    /// The part of a beat after which the attacker begins, so that the attackers do not all beat at once.
    phase: f64,
    tally: Arc<Mutex<Tally>>,
    stopped: watch::Receiver<bool>,
}

impl Attacker {
    /// Attacks, and dials again when the server ends the connection.
    async fn run(self, begun: watch::Sender<usize>) {
        let plan = &*self.plan;
        for round in 0..DIALS_MAX {
            let dialled = Instant::now();
            self.count("dials");
            let Some(opened) = self.until_stopped(self.open(plan)).await else {
                return self.count("stayed");
            };
            if round == 0 {
                begun.send_modify(|count| *count += 1);
            }
            match opened {
                None => self.count("not served"),
                Some(stream) => {
                    let end = self.until_stopped(self.attack(plan, stream)).await;
                    let Some(end) = end else { return self.count("stayed") };
                    self.count(&end);
                }
            }
            if self.until_stopped(sleep_until(dialled + DIAL_PAUSE)).await.is_none() {
                return;
            }
        }
    }

    /// Returns the output of `future`, or `None` if the attack stops first.
    async fn until_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => None,
            output = future => Some(output),
        }
    }

    async fn open(&self, plan: &Plan) -> Option<TcpStream> {
        let mut stream = dial(self.addr, None).await.ok()?;
        if plan.is_websocket {
            let request = match &plan.offers {
                Some(offers) => upgrade_request_with(&self.room, offers),
                None => upgrade_request(&self.room),
            };
            stream.write_all(request.as_bytes()).await.ok()?;
            read_head(&mut stream).await.filter(|status| status == "101")?;
        }
        Some(stream)
    }

    /// Attacks until the server ends the connection. Returns the close code or the status.
    async fn attack(&self, plan: &Plan, mut stream: TcpStream) -> String {
        let (mut reader, writer) = stream.split();
        let told = async {
            let end = match plan.is_websocket {
                true => read_to_close(&mut reader).await.map(|code| code.to_string()),
                false => read_head(&mut reader).await,
            };
            end.unwrap_or_else(|| "cut off".to_owned())
        };
        let stay = async {
            match plan.stay {
                Some(stay) => sleep(stay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            told = told => told,
            () = self.send(plan, writer) => unreachable!("it goes on for ever"),
            () = stay => "gone".to_owned(),
        }
    }

    async fn send(&self, plan: &Plan, mut writer: WriteHalf<'_>) {
        let _ = writer.write_all(&plan.first).await;
        let mut beat = interval_at(Instant::now() + plan.beat.mul_f64(self.phase), plan.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for piece in plan.then.chunks(plan.piece.max(1)).cycle() {
            beat.tick().await;
            // If the write fails, the server's answer may still be readable.
            if writer.write_all(piece).await.is_err() {
                break;
            }
            self.count("beats");
        }
        std::future::pending::<()>().await;
    }

    fn count(&self, what: &str) {
        let mut tally = self.tally.lock().expect("no thread panics");
        *tally.entry(what.to_owned()).or_default() += 1;
    }
}
