//! Sending to many sockets with one system call: a safe function over io_uring.
//!
//! # Invariants
//!
//! 1. The kernel reads the bytes of a send only while [`Ring::send`] runs. The function returns when
//!    each send is complete, or when the kernel will never see it: then the ring is dropped.
//! 2. No send waits for its socket: each has `MSG_DONTWAIT`, so it is complete when the call that
//!    submits it returns. [`Ring::new`] checks that this kernel does so. If a send is not complete
//!    all the same, its socket is shut down, which completes the send, and the ring is dropped.
#![expect(unsafe_code, reason = "the crate io-uring cannot know how long the bytes live")]

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::abort;

use io_uring::{EnterFlags, IoUring, opcode, types};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown, shutdown};

/// Bytes for a socket.
pub(super) type SendTo<'a> = (BorrowedFd<'a>, &'a [u8]);

/// What a socket took; `None` if it takes nothing now.
pub(super) type SendResult = Result<Option<usize>, Errno>;

/// The result of a send that is not complete. No completion has it.
const INCOMPLETE: SendResult = Err(Errno::INPROGRESS);

/// The most bytes of one send: the bound of the kernel for all writes.
const SEND_BYTES_MAX: usize = 0x7FFF_F000;

/// A ring of io_uring for sends.
pub(super) struct Ring {
    /// `None` after the ring has failed.
    ring: Option<IoUring>,
    entries: usize,
}

impl Ring {
    /// Makes a ring for batches of `entries` sends, and tries it.
    ///
    /// # Errors
    /// The kernel, or a filter of system calls, does not allow rings or does not support what they
    /// are used for.
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        // A child process must not write to the same ring. It may only call `exec`.
        let mut ring = Self::of(IoUring::builder().dontfork().build(entries)?, entries as usize);
        ring.probe_full_socket()?;
        Ok(ring)
    }

    pub(super) fn of(ring: IoUring, entries: usize) -> Self {
        Self { ring: Some(ring), entries }
    }

    /// Sends to a socket that is full. The send must be complete at once, and say so.
    fn probe_full_socket(&mut self) -> io::Result<()> {
        let (mut full, _peer) = UnixStream::pair()?;
        full.set_nonblocking(true)?;
        while full.write(&[0; 4096]).is_ok() {}
        let mut results = Vec::new();
        self.send(&[(full.as_fd(), &[0])], &mut results)?;
        if results == [Ok(None)] { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// Sends to each socket what it takes. The results are added to `results`, in the order of
    /// `sends`.
    ///
    /// # Errors
    /// The ring has failed, now or before. The results of the sends that the kernel has not seen are
    /// missing: those at the end.
    pub(super) fn send(
        &mut self,
        sends: &[SendTo<'_>],
        results: &mut Vec<SendResult>,
    ) -> io::Result<()> {
        for chunk in sends.chunks(self.entries) {
            // Taken, so that the ring is dropped in case of an error or a panic (invariant 1).
            let mut ring = self.ring.take().ok_or(io::ErrorKind::NotConnected)?;
            send_chunk(&mut ring, chunk, results)?;
            self.ring = Some(ring);
        }
        Ok(())
    }
}

/// Sends to as many sockets as the ring has entries, or fewer. After an error, the ring must be
/// dropped.
fn send_chunk(
    ring: &mut IoUring,
    sends: &[SendTo<'_>],
    results: &mut Vec<SendResult>,
) -> io::Result<()> {
    let start = results.len();
    results.resize(start + sends.len(), INCOMPLETE);
    for (index, (socket, bytes)) in sends.iter().enumerate() {
        // SAFETY: this function returns or ends the process only when the kernel is done with the
        // bytes, or has not seen them. In the second case, the caller drops the ring.
        unsafe { push(ring, index as u64, socket.as_raw_fd(), bytes) };
    }
    let mut left = sends.len();
    let failure = loop {
        let submitted = ring.submit();
        left -= take_results(ring, &mut results[start..]);
        match submitted {
            _ if left == 0 => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break error,
            Ok(0) => break io::ErrorKind::Unsupported.into(),
            // The kernel stopped in the midst, and goes on with the next call.
            Ok(_) => {}
        }
    };
    let unseen = ring.submission().len();
    // The kernel takes sends in their order. It will never see the last ones.
    results.truncate(start + sends.len() - unseen);
    complete(ring, left - unseen, sends, &mut results[start..]);
    Err(failure)
}

/// Completes the sends that the kernel has seen and not completed: there should be none.
fn complete(ring: &mut IoUring, mut left: usize, sends: &[SendTo<'_>], results: &mut [SendResult]) {
    for ((socket, _), result) in sends.iter().zip(&*results) {
        if *result == INCOMPLETE {
            // A failure means that the socket is shut down already.
            let _ = shutdown(socket, Shutdown::Both);
        }
    }
    while left > 0 {
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: the call has no argument, and submits nothing.
        let waited = unsafe { ring.submitter().enter::<()>(0, left as u32, flags, None) };
        left -= take_results(ring, results);
        if waited.is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) && left > 0 {
            // The kernel may still read bytes that are freed when this function returns.
            abort();
        }
    }
}

/// Takes the results of complete sends, and returns their number.
fn take_results(ring: &mut IoUring, results: &mut [SendResult]) -> usize {
    let mut taken = 0;
    for completion in ring.completion() {
        if let Some(result) = results.get_mut(completion.user_data() as usize) {
            *result = from_completion(completion.result());
        }
        taken += 1;
    }
    taken
}

/// Adds a send to a ring, which has an entry left.
///
/// # Safety
/// The bytes must live until the send is complete, or until the ring is dropped without having
/// submitted it.
unsafe fn push(ring: &mut IoUring, index: u64, socket: i32, bytes: &[u8]) {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let length = bytes.len().min(SEND_BYTES_MAX) as u32;
    let send = opcode::Send::new(types::Fd(socket), bytes.as_ptr(), length);
    let send = send.flags(flags.bits() as i32).build().user_data(index);
    // SAFETY: the caller keeps the bytes.
    let pushed = unsafe { ring.submission().push(&send) };
    pushed.expect("each call empties the ring, and sends no more than it has entries");
}

fn from_completion(result: i32) -> SendResult {
    match usize::try_from(result) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => match Errno::from_raw_os_error(-result) {
            // Nothing was sent. With the last three, the fault is not the socket's: a later write
            // asks the socket itself.
            Errno::AGAIN | Errno::INTR | Errno::NOMEM | Errno::CANCELED => Ok(None),
            error => Err(error),
        },
    }
}
