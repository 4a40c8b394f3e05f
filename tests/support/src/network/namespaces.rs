//! Two network namespaces, and the TUN devices that the relay connects.

use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, ErrorKind, Write as _};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::link::{MTU, Profile};
use super::relay::{Lateness, Link, Relay, client_addr};

/// The server's address on the network.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The name of the device on either side.
const DEVICE: &str = "far";

/// Packets that a device holds until the relay takes them. The link's own queue is the bottleneck.
const DEVICE_PACKETS: usize = 10_000;

/// The system settings of a namespace: the default buffers of Linux, and the congestion control that every Linux
/// allows in every namespace. This congestion control is also the most conservative one.
const SYSCTLS: [(&str, &str); 3] = [
    ("tcp_congestion_control", "reno"),
    ("tcp_rmem", "4096 131072 6291456"),
    ("tcp_wmem", "4096 16384 4194304"),
];

/// A network namespace: a thread in the namespace, which drives a runtime. The namespace ends with this value.
pub struct Namespace {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    fn new() -> io::Result<Self> {
        let (sender, entered) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = enter().and_then(|()| Builder::new_current_thread().enable_all().build());
            let _ =
                sender.send(runtime.as_ref().map(|runtime| runtime.handle().clone()).map_err(copy));
            if let Ok(runtime) = runtime {
                let _ = runtime.block_on(stopped);
            }
        });
        let runtime = entered.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs a task in the namespace. Its sockets and its processes are in the namespace.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// Runs a function in the namespace, and waits for its result.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, done) = mpsc::channel();
        self.spawn(async move {
            let _ = sender.send(work());
        });
        done.recv().expect("the work does not panic")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Wait for the thread, because its tasks end with it. A thread of the namespace itself must not wait for itself.
        if let Some(thread) =
            self.thread.take().filter(|it| it.thread().id() != thread::current().id())
        {
            let _ = thread.join();
        }
    }
}

/// Moves this thread into a new namespace.
fn enter() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Two namespaces and their links.
pub struct Network {
    pub server: Namespace,
    pub clients: Namespace,
    relay: Relay,
}

impl Network {
    /// Creates a link for each profile, or returns the reason why this machine cannot.
    pub fn lay(profiles: &[Profile]) -> io::Result<Self> {
        let (server, clients) = (Namespace::new()?, Namespace::new()?);
        let near = device(&server, vec![SERVER])?;
        let far = device(&clients, (0..profiles.len()).map(client_addr).collect())?;
        let relay = Relay::start([near, far], profiles)?;
        Ok(Self { server, clients, relay })
    }

    /// The same, or `None` if the machine does not allow namespaces: then the function prints the reason.
    pub fn lay_or_skip(profiles: &[Profile]) -> Option<Self> {
        match Self::lay(profiles) {
            Ok(network) => Some(network),
            Err(error) if is_forbidden(&error) => {
                let test = thread::current().name().unwrap_or_default().to_owned();
                // Write directly to stderr, because the test harness captures the output of passing tests.
                let _ = writeln!(
                    io::stderr(),
                    "skipped {test}: this machine gives no network namespace or no TUN device: {error}"
                );
                None
            }
            Err(error) => panic!("no network: {error}"),
        }
    }

    pub fn link(&self, link: usize) -> &Link {
        &self.relay.links[link]
    }

    /// Ends the network. Returns how late the relay was.
    pub fn end(self) -> Lateness {
        self.relay.stop()
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::Unsupported
    )
}

/// Creates the device of one side, with its addresses.
fn device(namespace: &Namespace, addrs: Vec<Ipv4Addr>) -> io::Result<SyncDevice> {
    namespace.run(move || {
        let device = DeviceBuilder::new().name(DEVICE).enable(false).build_sync()?;
        for (name, value) in SYSCTLS {
            std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value)?;
        }
        let mut batch = String::from("link set lo up\n");
        for addr in addrs {
            let _ = writeln!(batch, "addr add {addr}/16 dev {DEVICE}");
        }
        let _ = writeln!(batch, "link set {DEVICE} mtu {MTU} txqueuelen {DEVICE_PACKETS} up");
        configure(&batch)?;
        Ok(device)
    })
}

/// Runs commands of `ip`.
fn configure(batch: &str) -> io::Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("ip of iproute2: {error}")))?;
    // Dropping the pipe closes it, which ends the batch.
    ip.stdin.take().expect("it is piped").write_all(batch.as_bytes())?;
    match ip.wait()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("ip -batch ended with {status}"))),
    }
}
