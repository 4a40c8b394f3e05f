//! What the system allows, and what many connections need.

use std::fmt::Write;
use std::fs;
use std::net::{TcpListener, TcpStream};

use crate::Result;
use crate::report::{put_row, put_rule};
use shared::process;

/// Descriptors of a process that are not connections: the reserve of the server, a ring for each of up to 256 shards, and
/// files.
const SPARE_DESCRIPTORS: u64 = 512;

/// Files of other processes, besides those that are open now.
const SPARE_FILES: u64 = 10_000;

/// The most source addresses that are used: `.1` to `.250` of one network.
const SOURCES_MAX: u64 = 250;

/// The memory of a connection, both ends together: 1.3 KiB of the server, 0.1 KiB of the client, 2 × 4 KiB of the
/// kernel, and a page for a broadcast. Rounded up.
const BYTES_EACH: u64 = 16 * 1_024;

/// Memory that stays free.
const SPARE_BYTES: u64 = 512 * 1_024 * 1_024;

/// Connections by which it is tested whether a firewall tracks loopback.
const TRACKED_MIN: u64 = 32;

/// A limit of the system.
struct Limit {
    name: &'static str,
    here: String,
    /// What as many connections as asked for need.
    needed: String,
    /// The most connections that the limit allows; `None`: with more, only the figures suffer.
    connections_max: Option<u64>,
    is_enough: bool,
    command: String,
}

/// All limits, and what follows from them.
pub(super) struct Limits {
    limits: Vec<Limit>,
    /// Connections that were asked for.
    asked: u64,
    /// Descriptors of a process that may be connections.
    pub(super) descriptors: usize,
    /// The clients that share a source address.
    pub(super) clients_per_source: usize,
}

impl Limits {
    /// Reads the limits, and compares them with what this many connections need. `dials` connections are opened at the
    /// same time.
    pub(super) fn read(asked: u64, dials: u64) -> Result<Self> {
        process::raise_descriptor_limit()?;
        let descriptors = process::descriptor_limit()?;
        let ports = read_numbers("net/ipv4/ip_local_port_range")?;
        let [low, high] = ports[..] else { return Err("not a range of ports".into()) };
        // The system prefers one half of the ports. When that half is full, each new connection searches all of it.
        let clients_per_source = ((high - low + 1) * 2 / 5).max(1);
        let limits = vec![
            nofile(descriptors, asked),
            nr_open(asked)?,
            file_max(asked)?,
            port_range(low, high, clients_per_source, asked),
            somaxconn(dials)?,
            tcp_mem(asked)?,
            conntrack(asked)?,
            memory(asked)?,
        ];
        Ok(Self {
            limits,
            asked,
            descriptors: descriptors.saturating_sub(SPARE_DESCRIPTORS) as usize,
            clients_per_source: clients_per_source as usize,
        })
    }

    /// The connections that the limits allow, at most as many as asked for, and the limit that allows fewest.
    pub(super) fn allowed(&self) -> (usize, Option<&'static str>) {
        let bounds =
            self.limits.iter().filter_map(|limit| Some((limit.connections_max?, limit.name)));
        match bounds.min() {
            Some((most, name)) if most < self.asked => (most as usize, Some(name)),
            _ => (self.asked as usize, None),
        }
    }

    /// A table of all limits, with the command that raises each.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let needed = format!("for {} connections", self.asked);
        put_row(&mut text, ["limit", "here", &needed, "enough", "command"].map(str::to_owned));
        put_rule(&mut text, 4);
        for limit in &self.limits {
            let Limit { name, here, needed, is_enough, command, .. } = limit;
            let verdict = if *is_enough { "yes" } else { "no" };
            put_row(&mut text, [*name, here, needed, verdict, command].map(str::to_owned));
        }
        let _ = writeln!(text);
        text
    }
}

/// The server has all connections in one process.
fn nofile(here: u64, asked: u64) -> Limit {
    let needed = asked + SPARE_DESCRIPTORS;
    Limit {
        name: "RLIMIT_NOFILE",
        here: here.to_string(),
        needed: needed.to_string(),
        connections_max: Some(here.saturating_sub(SPARE_DESCRIPTORS)),
        is_enough: here >= needed,
        command: format!("`ulimit -n {needed}`, as root, in this shell"),
    }
}

/// The bound of `RLIMIT_NOFILE`, which bounds the connections itself.
fn nr_open(asked: u64) -> Result<Limit> {
    let here = read_number("fs/nr_open")?;
    let needed = asked + SPARE_DESCRIPTORS;
    Ok(Limit {
        name: "fs.nr_open",
        here: here.to_string(),
        needed: needed.to_string(),
        connections_max: None,
        is_enough: here >= needed,
        command: format!("`sysctl -w fs.nr_open={}`", needed.max(here)),
    })
}

fn file_max(asked: u64) -> Result<Limit> {
    let here = read_number("fs/file-max")?;
    let used = read_numbers("fs/file-nr")?.first().copied().unwrap_or_default();
    // Both ends are on this machine.
    let needed = used + SPARE_FILES + 2 * asked;
    Ok(Limit {
        name: "fs.file-max",
        here: here.to_string(),
        needed: needed.to_string(),
        connections_max: Some(here.saturating_sub(used + SPARE_FILES) / 2),
        is_enough: here >= needed,
        command: format!("`sysctl -w fs.file-max={}`", needed.max(here)),
    })
}

fn port_range(low: u64, high: u64, clients_each: u64, asked: u64) -> Limit {
    let sources = asked.div_ceil(clients_each);
    Limit {
        name: "net.ipv4.ip_local_port_range",
        here: format!("{low} {high}"),
        needed: format!("{sources} addresses of 127.0.0.0/8, at most {SOURCES_MAX}"),
        connections_max: Some(clients_each * SOURCES_MAX),
        is_enough: sources <= SOURCES_MAX,
        command: "`sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`".to_owned(),
    }
}

/// With less, connections are opened more slowly.
fn somaxconn(dials: u64) -> Result<Limit> {
    let here = read_number("net/core/somaxconn")?;
    Ok(Limit {
        name: "net.core.somaxconn",
        here: here.to_string(),
        needed: dials.to_string(),
        connections_max: None,
        is_enough: here >= dials,
        command: format!("`sysctl -w net.core.somaxconn={}`", dials.max(here)),
    })
}

/// In a broadcast, a page may wait for each connection. With less, the kernel delays and drops packets.
fn tcp_mem(asked: u64) -> Result<Limit> {
    let pages = read_numbers("net/ipv4/tcp_mem")?;
    let here = pages.last().copied().unwrap_or_default();
    let most = asked.max(here);
    Ok(Limit {
        name: "net.ipv4.tcp_mem",
        here: format!("{here} pages"),
        needed: format!("{asked} pages"),
        connections_max: None,
        is_enough: here >= asked,
        command: format!("`sysctl -w net.ipv4.tcp_mem=\"{} {} {most}\"`", most / 2, most * 2 / 3),
    })
}

fn conntrack(asked: u64) -> Result<Limit> {
    let name = "net.netfilter.nf_conntrack_max";
    let is_tracked = tracks_loopback()?;
    let here = match read_number("net/netfilter/nf_conntrack_max") {
        Ok(here) if is_tracked => here,
        other => {
            let here = match other {
                Ok(here) => format!("{here}, loopback is not tracked"),
                Err(_) => "no connection tracking".to_owned(),
            };
            let (needed, command) = ("nothing".to_owned(), "none".to_owned());
            let (connections_max, is_enough) = (None, true);
            return Ok(Limit { name, here, needed, connections_max, is_enough, command });
        }
    };
    let used = tracked()?;
    let needed = used + asked;
    Ok(Limit {
        name,
        here: here.to_string(),
        needed: needed.to_string(),
        connections_max: Some(here.saturating_sub(used)),
        is_enough: here >= needed,
        command: format!("`sysctl -w net.netfilter.nf_conntrack_max={}`", needed.max(here)),
    })
}

/// Whether connections on loopback are in the firewall's table.
fn tracks_loopback() -> Result<bool> {
    let Ok(before) = tracked() else { return Ok(false) };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let connect = |_| TcpStream::connect(addr);
    let conns = (0..TRACKED_MIN).map(connect).collect::<Result<Vec<_>, _>>()?;
    let is_tracked = tracked()? >= before + TRACKED_MIN;
    drop(conns);
    Ok(is_tracked)
}

/// The number of connections in the firewall's table.
fn tracked() -> Result<u64> {
    read_number("net/netfilter/nf_conntrack_count")
}

fn memory(asked: u64) -> Result<Limit> {
    let here = available_memory()?;
    let needed = SPARE_BYTES + asked * BYTES_EACH;
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    Ok(Limit {
        name: "memory, available",
        here: mebibytes(here),
        needed: mebibytes(needed),
        connections_max: Some(here.saturating_sub(SPARE_BYTES) / BYTES_EACH),
        is_enough: here >= needed,
        command: "none: take a larger machine, or raise `memory.max`".to_owned(),
    })
}

/// The memory that this machine has left, or the control group of this process, in bytes.
fn available_memory() -> Result<u64> {
    let machine = memory_info("MemAvailable:")?;
    Ok(group_memory().map_or(machine, |group| group.min(machine)))
}

/// The memory of the kernel's objects, such as sockets, in bytes.
pub(super) fn kernel_memory() -> Result<u64> {
    memory_info("Slab:")
}

fn memory_info(key: &str) -> Result<u64> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let line = info.lines().find_map(|line| line.strip_prefix(key));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kibibytes.ok_or("not in /proc/meminfo")?.trim().parse::<u64>()? * 1_024)
}

/// What the limit of the control group (version 2) leaves; `None` if there is no limit.
fn group_memory() -> Option<u64> {
    let group = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let read = |file| {
        let text = fs::read_to_string(format!("/sys/fs/cgroup/{group}/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(read("memory.max")?.saturating_sub(read("memory.current")?))
}

fn read_number(name: &str) -> Result<u64> {
    Ok(read_numbers(name)?.first().copied().ok_or("not a number")?)
}

/// Reads a setting of the kernel.
fn read_numbers(name: &str) -> Result<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/sys/{name}"))?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}
