//! HAProxy and nginx, which report the client's address to a server. The processes end with the test, also when it
//! fails.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use crate::balancer::nginx_temporary_folders;
use support::eventually;
use support::programs::Process;
use support::servers::Folder;
use support::servers::ports::free_port;

/// A way to report the client's address to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// HAProxy with `send-proxy`.
    ProxyV1,
    /// HAProxy with `send-proxy-v2`.
    ProxyV2,
    /// HAProxy with `option forwardfor`.
    HaproxyForwardedFor,
    /// nginx with `X-Forwarded-For`.
    NginxForwardedFor,
}

/// A balancer on loopback that reports the client's address.
pub(crate) struct Introducer {
    pub(crate) addr: SocketAddr,
    _process: Process,
    _folder: Folder,
}

impl Introducer {
    /// Starts a balancer in front of a server. It accepts connections when this function returns.
    pub(crate) async fn start(way: Way, server: SocketAddr) -> Self {
        let (folder, addr) = (Folder::new(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let path = folder.path().join("settings");
        let (program, settings) = match way {
            Way::ProxyV1 => {
                ("haproxy", haproxy("tcp", "send-proxy check inter 50ms", addr, server))
            }
            Way::ProxyV2 => {
                ("haproxy", haproxy("tcp", "send-proxy-v2 check inter 50ms", addr, server))
            }
            Way::HaproxyForwardedFor => ("haproxy", haproxy("http", "", addr, server)),
            Way::NginxForwardedFor => ("nginx", nginx(&folder, addr, server)),
        };
        fs::write(&path, settings).expect("the folder is ours");
        let mut command = Command::new(program);
        match program {
            "haproxy" => command.arg("-db").arg("-f").arg(&path),
            _ => command.arg("-e").arg("stderr").arg("-c").arg(&path),
        };
        let process = match command.stdin(Stdio::null()).spawn() {
            Ok(process) => Process(process),
            Err(error) => panic!("{program}: {error}; install it, or run tests/run.sh, which does"),
        };
        eventually("the balancer listens", || TcpStream::connect(addr).is_ok()).await;
        Self { addr, _process: process, _folder: folder }
    }
}

fn haproxy(mode: &str, options: &str, addr: SocketAddr, server: SocketAddr) -> String {
    let forward = if mode == "http" { "option forwardfor" } else { "" };
    format!(
        "defaults
    mode {mode}
    {forward}
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
listen balancer
    bind {addr}
    server one {server} {options}
"
    )
}

/// The settings of an nginx in one process: a worker would outlive its master, because a test kills the master.
fn nginx(folder: &Folder, addr: SocketAddr, server: SocketAddr) -> String {
    let temporary = nginx_temporary_folders(folder);
    let folder = folder.path().display();
    format!(
        "daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    {temporary}
    server {{
        listen {addr};
        location / {{
            proxy_pass http://{server};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"
    )
}
