//! A load balancer process, with the settings of the page on deploying.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::programs::Process;
use support::servers::Folder;
use support::servers::ports::free_port;

const START_DEADLINE: Duration = Duration::from_secs(20);

/// The time that a balancer has to end before its processes are killed.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// The program of the balancer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
}

/// A balancer in front of nodes. Dropping the value ends the process.
pub(crate) struct Balancer {
    pub(crate) addr: SocketAddr,
    kind: Kind,
    process: Process,
    _folder: Folder,
}

impl Balancer {
    /// Starts a balancer. It accepts connections when this function returns.
    pub(crate) fn start(kind: Kind, nodes: &[SocketAddr]) -> Self {
        let folder = Folder::new();
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let path = folder.path().join("balancer.conf");
        let (settings, mut command) = match kind {
            Kind::Nginx => (nginx(addr, nodes, &folder), Command::new("nginx")),
            Kind::Haproxy => (haproxy(addr, nodes), Command::new("haproxy")),
        };
        fs::write(&path, settings).expect("the folder is ours");
        match kind {
            Kind::Nginx => command.args(["-e", "stderr", "-c"]).arg(path),
            // With a master process, which reloads on a signal.
            Kind::Haproxy => command.args(["-W", "-f"]).arg(path),
        };
        let process = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| {
            panic!("{kind:?}: {error}: install it, or run tests/run.sh, which does")
        });
        let balancer = Self { addr, kind, process: Process(process), _folder: folder };
        balancer.wait();
        balancer
    }

    fn wait(&self) {
        let began = Instant::now();
        while TcpStream::connect(self.addr).is_err() {
            assert!(began.elapsed() < START_DEADLINE, "{:?} does not listen", self.kind);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes the balancer reload its settings, as an operator does after a change.
    pub(crate) fn reload(&self) {
        let signal = match self.kind {
            Kind::Nginx => Signal::SIGHUP,
            Kind::Haproxy => Signal::SIGUSR2,
        };
        kill(self.master(), signal).expect("the process runs");
    }

    /// The worker processes.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let master = self.master();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        let children = children.expect("the process runs");
        children.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
    }

    fn master(&self) -> Pid {
        Pid::from_raw(self.process.0.id() as i32)
    }
}

impl Drop for Balancer {
    /// Asks the master to end; the master ends its workers. A master that is killed would leave its workers
    /// behind, and one whose workers are ended first would start new workers.
    fn drop(&mut self) {
        let workers = self.workers();
        let _ = kill(self.master(), Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.process.0.try_wait(), Ok(None)) {
            if began.elapsed() > END_DEADLINE {
                for pid in workers {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The settings that make nginx write its temporary files into a folder of the test.
pub(crate) fn nginx_temporary_folders(folder: &Folder) -> String {
    let folder = folder.path().display();
    format!(
        "client_body_temp_path {folder}/body;
        proxy_temp_path {folder}/proxy;
        fastcgi_temp_path {folder}/fastcgi;
        uwsgi_temp_path {folder}/uwsgi;
        scgi_temp_path {folder}/scgi;"
    )
}

/// The settings for nginx. The lines in `location` and `upstream` are on the page on deploying.
fn nginx(addr: SocketAddr, nodes: &[SocketAddr], folder: &Folder) -> String {
    let temporary = nginx_temporary_folders(folder);
    let folder = folder.path().display();
    let servers: String =
        nodes.iter().map(|node| format!("server {node} fail_timeout=1s;\n")).collect();
    format!(
        "daemon off;
        user root;
        worker_processes 1;
        pid {folder}/nginx.pid;
        events {{ worker_connections 4096; }}
        http {{
            access_log off;
            {temporary}
            map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
            upstream chat {{
                least_conn;
                {servers}
            }}
            server {{
                listen {addr};
                location / {{
                    proxy_pass http://chat;
                    proxy_http_version 1.1;
                    proxy_set_header Host $http_host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_upgrade;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    proxy_connect_timeout 2s;
                    proxy_read_timeout 75s;
                    proxy_next_upstream error timeout http_503;
                }}
            }}
        }}"
    )
}

/// The settings for HAProxy. The lines in `defaults` and `backend` are on the page on deploying.
fn haproxy(addr: SocketAddr, nodes: &[SocketAddr]) -> String {
    let servers: String = nodes
        .iter()
        .enumerate()
        .map(|(number, node)| format!("    server node{number} {node}\n"))
        .collect();
    format!(
        "global
    maxconn 4096

defaults
    mode http
    timeout connect 2s
    timeout client 75s
    timeout server 75s
    timeout tunnel 75s
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response 503

frontend clients
    bind {addr}
    option forwardfor
    default_backend nodes

backend nodes
    balance leastconn
    option httpchk GET /healthz
    default-server check inter 500ms fall 2 rise 1
{servers}"
    )
}
