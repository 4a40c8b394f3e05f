//! Processes of this same program: the servers and their load generators, and what they cost.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;

/// Another process of this program, spoken to in lines of JSON. It ends with this value.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it with these arguments.
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

    /// Asks for something, and waits for the answer or for the reason why there is none.
    pub fn ask<A: DeserializeOwned>(&mut self, question: &impl Serialize) -> Result<A> {
        self.tell(question)?;
        Ok(self.answer::<Result<A, String>>()??)
    }

    /// Tells it something, without waiting.
    pub fn tell(&mut self, what: &impl Serialize) -> Result<()> {
        Ok(writeln!(self.input, "{}", serde_json::to_string(what)?)?)
    }

    /// Waits for a line of its output.
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

/// The other side of [`Peer`]: answers what comes, until nothing more does.
pub fn answer_all<Q: DeserializeOwned, A: Serialize>(
    mut answer: impl FnMut(Q) -> Result<A>,
) -> Result<()> {
    for line in io::stdin().lines() {
        say(&answer(serde_json::from_str(&line?)?).map_err(|error| error.to_string()))?;
    }
    Ok(())
}

/// Writes one line for the parent.
pub fn say(what: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}

/// Ends this process when its parent has gone.
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

/// Keeps this thread, and what it starts from now on, on some cores.
pub fn pin(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The processor time that a process has used, user and system.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    Ok(clock_getcpuclockid(Pid::from_raw(pid as i32))?.now()?.into())
}

/// The resident memory of a process, in bytes. Exact, unlike what `status` tells.
pub fn resident(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kibibytes = rss.and_then(|rss| rss.trim().strip_suffix(" kB"));
    Ok(kibibytes.ok_or("no Rss in smaps_rollup")?.trim().parse::<u64>()? * 1_024)
}

/// A connection is a descriptor, and shells hand out as few as 1,024.
pub fn raise_descriptor_limit() -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    Ok(())
}
