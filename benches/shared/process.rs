//! Child processes of the benchmark (servers and load generators), and their CPU time and memory.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;

/// The most requests that wait until they are handled.
const REQUESTS_MAX: usize = 16;

/// A child process that runs this same program. Parent and child exchange lines of JSON. Dropping the value kills the
/// child.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a child with these arguments.
    pub fn start(arguments: &[String]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { unreachable!("both are piped") };
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request, and waits for the answer or for the error of the child.
    pub fn ask<A: DeserializeOwned>(&mut self, question: &impl Serialize) -> Result<A> {
        self.send(question)?;
        Ok(self.answer::<Result<A, String>>()??)
    }

    /// Sends a request without waiting for an answer.
    pub fn send(&mut self, request: &impl Serialize) -> Result<()> {
        Ok(writeln!(self.input, "{}", serde_json::to_string(request)?)?)
    }

    /// Waits for one line of the child's output.
    pub fn answer<A: DeserializeOwned>(&mut self) -> Result<A> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("process {} has ended: {}", self.pid(), self.child.wait()?).into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side of [`Peer`]: answers each request until the parent closes the pipe.
pub fn answer_all<Q: DeserializeOwned, A: Serialize>(
    mut answer: impl FnMut(Q) -> Result<A>,
) -> Result<()> {
    for line in io::stdin().lines() {
        self::answer(answer(serde_json::from_str(&line?)?))?;
    }
    Ok(())
}

/// Answers each request in a thread, until the parent closes the pipe. Then this process ends.
pub fn answer_until_the_end<Q: DeserializeOwned, A: Serialize>(
    answer: impl FnMut(Q) -> Result<A> + Send + 'static,
) {
    std::thread::spawn(|| {
        let ended = answer_all(answer);
        if let Err(error) = &ended {
            eprintln!("a request was not understood: {error}");
        }
        std::process::exit(i32::from(ended.is_err()));
    });
}

/// Reads requests in a thread. The channel ends when the parent closes the pipe, or after a line that is not a request.
pub fn requests<Q: DeserializeOwned + Send + 'static>() -> mpsc::Receiver<Q> {
    let (sender, receiver) = mpsc::sync_channel(REQUESTS_MAX);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(io::Result::ok) {
            let sent = serde_json::from_str(&line).map(|request| sender.send(request));
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(error) => return eprintln!("a request was not understood: {error}"),
            }
        }
    });
    receiver
}

/// Answers a request.
pub fn answer<A: Serialize>(answer: Result<A>) -> Result<()> {
    say(&answer.map_err(|error| error.to_string()))
}

/// Sends one line to the parent.
pub fn say(answer: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(())
}

/// Ends this process when the parent has ended.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
}

/// The cores that this program may use.
pub fn cores() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect())
}

/// Pins this thread, and the threads and processes that it starts from now on, to some cores.
pub fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The CPU time that a process has used, user and system.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    Ok(clock_getcpuclockid(Pid::from_raw(pid as i32))?.now()?.into())
}

/// The time since some start that is the same for all processes, in microseconds.
pub fn monotonic_micros() -> Result<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok(time.as_micros() as u64)
}

/// The resident memory of a process, in bytes. Exact, unlike the figure in `/proc/PID/status`.
pub fn resident(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kibibytes = rss.and_then(|rss| rss.trim().strip_suffix(" kB"));
    Ok(kibibytes.ok_or("no Rss in smaps_rollup")?.trim().parse::<u64>()? * 1_024)
}

/// Raises the limit of open descriptors: each connection needs a descriptor, and many shells allow only 1,024.
pub fn raise_descriptor_limit() -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    Ok(())
}

/// The most open descriptors of this process now.
pub fn descriptor_limit() -> Result<u64> {
    Ok(rlimit::Resource::NOFILE.get_soft()?)
}
