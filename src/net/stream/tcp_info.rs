//! The kernel's state of a TCP connection: the bytes that the peer has acknowledged, and the bytes
//! that wait to be read.

use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt};
use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};
use rustix::net::{RecvFlags, recv};
use socket2::SockRef;

use crate::engine::Acknowledged;

/// The length of `struct tcp_info` up to `tcpi_notsent_bytes` (`include/uapi/linux/tcp.h`). Linux
/// 4.6 and later have all of these bytes. Kernels only append to the struct.
const TCP_INFO_BYTES: usize = 148;

/// The time that a live peer may take to acknowledge bytes, in addition to two round trips: delayed
/// acknowledgements take up to 200 ms.
const ACK_DELAY_MAX: Duration = Duration::from_millis(200);

/// The number of probes of a zero window (RFC 9293, section 3.8.6.1) that a live peer may leave
/// unanswered: one is on its way.
const PROBES_MAX: u8 = 1;

/// With more unanswered probes than this, the peer counts as dead. The bound is larger than
/// `PROBES_MAX`, because probes get lost, and any answer sets the number back to zero.
const PROBES_LOST_MAX: u8 = 2;

/// The maximum time in milliseconds between two probes of a peer without space. By default the
/// kernel doubles the time, up to two minutes. Linux 6.15 and later know this bound.
const PROBE_INTERVAL_MS: libc::c_int = 5_000;

/// How long the kernel tries to end the connection of a peer that does not answer.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(180);

/// The maximum time in milliseconds between two of these attempts. Linux 6.15 and later know this
/// bound. Without the bound, the time doubles. A peer that comes back may then wait as long as it
/// was away.
const FAREWELL_INTERVAL_MS: libc::c_int = 5_000;

/// `TCP_RTO_MAX_MS` (`include/uapi/linux/tcp.h`).
const TCP_RTO_MAX_MS: libc::c_int = 44;

sockopt_impl!(RtoMax, SetOnly, libc::IPPROTO_TCP, TCP_RTO_MAX_MS, libc::c_int);
sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u8; TCP_INFO_BYTES]);

/// A snapshot of `struct tcp_info`.
struct Info([u8; TCP_INFO_BYTES]);

impl Info {
    fn of(socket: &impl AsFd) -> Option<Self> {
        is_known().then(|| getsockopt(socket, TcpInfo).ok().map(Self)).flatten()
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.0[at..].first_chunk().expect("a field within the struct")
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(at))
    }

    /// Returns the number of window probes in a row that were not answered.
    fn probes(&self) -> u8 {
        self.0[3]
    }

    /// Returns the time until the next attempt. It doubles with each attempt that is not answered.
    fn retransmission_timeout(&self) -> Duration {
        Duration::from_micros(self.u32(8).into())
    }

    /// Returns the number of segments that were sent and not acknowledged.
    fn unacked(&self) -> u32 {
        self.u32(24)
    }

    fn since_last_ack(&self) -> Duration {
        Duration::from_millis(self.u32(56).into())
    }

    fn round_trip(&self) -> Duration {
        Duration::from_micros(self.u32(68).into())
    }

    fn bytes_acked(&self) -> u64 {
        u64::from_ne_bytes(self.bytes(120))
    }

    /// Returns the number of bytes that were not sent yet.
    fn notsent_bytes(&self) -> u32 {
        self.u32(144)
    }

    /// Whether the peer answers, even if only with a zero window.
    fn is_answered(&self) -> bool {
        let answers_data =
            self.unacked() == 0 || self.since_last_ack() <= 2 * self.round_trip() + ACK_DELAY_MAX;
        answers_data && self.probes() <= PROBES_MAX
    }

    /// Whether the peer has answered within `patience`. A peer without space acknowledges nothing
    /// new, and the kernel probes it at growing intervals: its silence between two attempts means
    /// nothing.
    fn is_answered_within(&self, patience: Duration) -> bool {
        let attempt = self.retransmission_timeout() + 2 * self.round_trip() + ACK_DELAY_MAX;
        let answers_data = self.unacked() == 0 || self.since_last_ack() <= patience.max(attempt);
        answers_data && self.probes() <= PROBES_LOST_MAX
    }
}

/// Whether this kernel has all of [`TCP_INFO_BYTES`].
fn is_known() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let name = rustix::system::uname();
        let release = name.release().to_string_lossy();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        let mut next = || numbers.next().and_then(Result::ok);
        let version = (next(), next());
        version >= (Some(4), Some(6))
    })
}

/// Makes the kernel notice sooner that a peer without space has died. The kernel also gives up
/// sooner on a peer that acknowledges nothing: after about a minute.
pub(super) fn probe_often(socket: &SockRef<'_>) {
    // Older kernels refuse the option and keep their default.
    let _ = setsockopt(&**socket, RtoMax, &PROBE_INTERVAL_MS);
}

/// Returns what the peer has acknowledged.
pub(super) fn acknowledged(socket: &impl AsFd) -> Option<Acknowledged> {
    let info = Info::of(socket)?;
    let is_all = info.unacked() == 0 && info.notsent_bytes() == 0;
    Some(Acknowledged { bytes: info.bytes_acked(), is_all })
}

/// Whether the peer still answers, even if it takes no bytes.
pub(super) fn is_answered(socket: &impl AsFd, patience: Duration) -> Option<bool> {
    Some(Info::of(socket)?.is_answered_within(patience))
}

/// Whether bytes or the end of the stream wait to be read.
pub(super) fn has_unread(socket: &impl AsFd) -> bool {
    let mut byte = [0];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    recv(socket, &mut byte[..], flags) != Err(rustix::io::Errno::AGAIN)
}

/// If the peer does not answer, leaves the end of the connection to the kernel and returns `true`:
/// a reset could get lost, and the peer would wait for ever. Returns `false` if the peer answers.
pub(super) fn leave_if_unanswered(socket: &SockRef<'_>) -> bool {
    if Info::of(&**socket).is_none_or(|info| info.is_answered()) {
        return false;
    }
    let _ = socket.set_tcp_user_timeout(Some(FAREWELL_TIMEOUT));
    let _ = setsockopt(&**socket, RtoMax, &FAREWELL_INTERVAL_MS);
    let _ = socket.shutdown(std::net::Shutdown::Both);
    true
}
