//! The sockets that a server listens on.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::unix::fs::FileTypeExt;
#[cfg(unix)]
use std::path::Path;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use super::accepted::Accepted;
use super::{Server, ServerError};

/// The maximum number of connections that wait in the kernel to be accepted. The kernel's own bound
/// may be lower (`net.core.somaxconn`, 4,096 by default).
const BACKLOG: u32 = 4_096;

/// A listening socket for a [`Server`]: a TCP listener, or on Unix also a Unix socket listener.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Kind::Tcp(listener))
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self(Kind::Unix(listener))
    }
}

impl Listener {
    /// Returns the IP address and port. `None` for a Unix socket.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Kind::Unix(_) => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, addr) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, addr))
            }
            #[cfg(unix)]
            Kind::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

/// Listening.
impl Server {
    /// Listens on all addresses that `addr` is or resolves to: for `localhost:8080` on 127.0.0.1
    /// and on ::1. Addresses that this machine does not have are skipped. With port 0 the system
    /// chooses a port, and all addresses get the same port: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// [`ServerError::Bind`]: an address cannot be bound, for example because it is in use, or this
    /// machine has none of the addresses.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self, ServerError> {
        let mut addrs: Vec<_> = lookup_host(addr).await?.collect();
        addrs.sort_by_key(SocketAddr::is_ipv6);
        addrs.dedup();
        let has_ipv4 = addrs.iter().any(SocketAddr::is_ipv4);
        let mut listeners = Vec::new();
        let mut missing = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        let mut port = 0;
        for mut addr in addrs {
            if addr.port() == 0 {
                addr.set_port(port);
            }
            match listen(addr, has_ipv4) {
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    listeners.push(Listener::from(listener));
                }
                Err(error) if is_missing(&error) => missing = error,
                Err(error) => return Err(error.into()),
            }
        }
        if listeners.is_empty() { Err(missing.into()) } else { Ok(Self::of(listeners)) }
    }

    /// Listens on a Unix socket, for example for a proxy on the same machine. If there is a socket
    /// at this path on which no process listens, it is replaced. Every user with write access to
    /// the file may connect: the `umask` of the process decides. The file stays when the server
    /// ends.
    ///
    /// Clients have no address on a Unix socket: limits per address do not apply, unless the proxy
    /// names the address in a header ([`trust_forwarded`](Self::trust_forwarded)). The PROXY
    /// protocol is not read on Unix sockets.
    ///
    /// # Errors
    /// [`ServerError::Bind`]: the path is taken, or cannot be bound.
    #[cfg(unix)]
    pub async fn bind_unix(path: impl AsRef<Path>) -> Result<Self, ServerError> {
        let path = path.as_ref();
        if is_abandoned(path).await {
            std::fs::remove_file(path)?;
        }
        Ok(Self::from_listener(UnixListener::bind(path)?))
    }

    /// Serves a listener that you have made: one with options of your own, or one that a service
    /// manager has passed to the process (socket activation).
    pub fn from_listener(listener: impl Into<Listener>) -> Self {
        Self::of(vec![listener.into()])
    }

    /// Serves another listener too.
    ///
    /// # Examples
    /// ```no_run
    /// use roomcast::Server;
    /// use tokio::net::UnixListener;
    ///
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::bind("127.0.0.1:8080").await?
    ///     .listen_on(UnixListener::bind("/run/chat.sock")?);
    /// # server.run().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_on(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// Returns the first address on which the server listens.
    ///
    /// # Errors
    /// `Unsupported`: the server listens only on Unix sockets.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let mut addrs = self.listeners.iter().filter_map(Listener::local_addr);
        addrs.next().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

fn listen(addr: SocketAddr, has_ipv4: bool) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The standard library's listener does the same: a restart must not wait for old connections.
    socket.set_reuseaddr(true)?;
    if addr.is_ipv6() && has_ipv4 {
        // Otherwise `[::]` would also take the IPv4 address of the same port.
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Whether this machine does not have the address, for example because it has no IPv6.
fn is_missing(error: &io::Error) -> bool {
    // std has no kind for the error of a system without IPv6 sockets.
    #[cfg(target_os = "linux")]
    if error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32) {
        return true;
    }
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// Whether there is a socket at this path on which no process listens.
#[cfg(unix)]
async fn is_abandoned(path: &Path) -> bool {
    let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    let refused = io::ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).await.is_err_and(|error| error.kind() == refused)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn address_family_that_the_system_lacks_is_missing() {
        // Beyond all families of Linux, as IPv6 is on a system without it.
        let error = Socket::new(Domain::from(1_000), Type::STREAM, None).expect_err("no family");
        assert!(is_missing(&error), "{error:?}");
    }
}
