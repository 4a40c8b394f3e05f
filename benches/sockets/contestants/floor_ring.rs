//! Sends for many sockets with one system call: the part of io_uring that floor 3 needs.
//!
//! # Invariant
//!
//! The kernel reads the bytes of a send only while [`Ring::send`] runs. Each send has `MSG_DONTWAIT`, so it is complete
//! when the call that submits it returns. If a send is not complete all the same, the process ends.
#![expect(unsafe_code, reason = "the crate io-uring cannot know how long the bytes live")]

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::abort;

use io_uring::{IoUring, opcode, types};
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL};

/// The most sends of one system call.
pub(super) const SENDS_MAX: usize = 64;

/// The result of a send before its completion. No completion has this result.
const INCOMPLETE: i32 = i32::MIN;

/// A ring for batches of up to [`SENDS_MAX`] sends.
pub(super) struct Ring {
    ring: IoUring,
    results: [i32; SENDS_MAX],
}

impl Ring {
    /// Makes a ring, and tries it with a socket that is full.
    ///
    /// # Errors
    /// The kernel, or a filter of system calls, does not allow rings, or a send waits for its socket.
    pub(super) fn new() -> io::Result<Self> {
        let ring = IoUring::builder().dontfork().build(SENDS_MAX as u32)?;
        let mut ring = Self { ring, results: [INCOMPLETE; SENDS_MAX] };
        let (mut full, _peer) = UnixStream::pair()?;
        full.set_nonblocking(true)?;
        while full.write(&[0; 4_096]).is_ok() {}
        let refused = ring.send(&[(full.as_fd(), &[0])]).eq([Err(Errno::EAGAIN)]);
        if refused { Ok(ring) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Sends to each socket what the socket accepts now. Returns the results in the same order.
    ///
    /// # Panics
    /// If there are more than [`SENDS_MAX`] sends.
    pub(super) fn send<'r>(
        &'r mut self,
        sends: &[(BorrowedFd<'_>, &[u8])],
    ) -> impl Iterator<Item = Result<usize, Errno>> + use<'r> {
        assert!(sends.len() <= SENDS_MAX, "{} sends in a batch", sends.len());
        self.results[..sends.len()].fill(INCOMPLETE);
        for (index, (socket, bytes)) in sends.iter().enumerate() {
            let send = opcode::Send::new(
                types::Fd(socket.as_raw_fd()),
                bytes.as_ptr(),
                bytes.len().try_into().expect("a turn brings less than 4 GiB"),
            );
            let send = send.flags(MSG_DONTWAIT | MSG_NOSIGNAL).build().user_data(index as u64);
            // SAFETY: see the invariant. `complete` returns when the kernel is done with the bytes.
            let pushed = unsafe { self.ring.submission().push(&send) };
            pushed.expect("each batch empties the ring, and fits into it");
        }
        self.complete(sends.len());
        self.results[..sends.len()].iter().map(|&result| match usize::try_from(result) {
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(Errno::from_raw(-result)),
        })
    }

    /// Submits what was pushed, and takes the results.
    fn complete(&mut self, mut left: usize) {
        while left > 0 {
            let submitted = self.ring.submit();
            for completion in self.ring.completion() {
                self.results[completion.user_data() as usize] = completion.result();
                left -= 1;
            }
            let is_alive = match &submitted {
                Ok(count) => *count > 0 || left == 0,
                Err(error) => error.kind() == io::ErrorKind::Interrupted,
            };
            if !is_alive {
                eprintln!("{left} sends of a batch are not complete: {submitted:?}");
                abort();
            }
        }
    }
}
