//! Sending to many sockets with one system call: a safe function over io_uring.
//!
//! # Invariants
//!
//! 1. The kernel reads the bytes of a send only while [`Ring::send`] runs. The function returns when
//!    each send is complete, or when the kernel will never see it.
//! 2. No send waits for its socket: each has `MSG_DONTWAIT`, so it is complete when the call that
//!    submits it returns. [`Ring::new`] checks that this kernel does so.
#![expect(unsafe_code, reason = "the crate io-uring cannot know how long the bytes live")]

use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process::abort;

use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;
use rustix::net::SendFlags;

/// Bytes to send to a socket.
pub(super) type Send<'a> = (BorrowedFd<'a>, &'a [u8]);

/// What a socket took; `None` if it takes nothing now.
pub(super) type Sent = Result<Option<usize>, Errno>;

/// A ring of io_uring for sends.
pub(super) struct Ring {
    ring: IoUring,
    entries: usize,
}

impl Ring {
    /// Makes a ring for batches of `entries` sends, and tries it.
    ///
    /// # Errors
    /// The kernel, or a filter of system calls, does not allow rings or does not support what they
    /// are used for.
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        // Not shared with a child process, which would write to the same ring.
        let ring = IoUring::builder().dontfork().build(entries)?;
        let mut ring = Self { ring, entries: entries as usize };
        ring.try_full_socket()?;
        Ok(ring)
    }

    /// Sends to a socket that is full. The send must be complete at once, and say so.
    fn try_full_socket(&mut self) -> io::Result<()> {
        static BYTE: [u8; 1] = [0];
        let (mut full, _peer) = UnixStream::pair()?;
        full.set_nonblocking(true)?;
        while full.write(&[0; 4096]).is_ok() {}
        // SAFETY: the byte is static.
        let pushed = unsafe { self.push(0, full.as_raw_fd(), &BYTE) };
        let completed = pushed && self.ring.submit()? == 1;
        match self.ring.completion().next().map(|completion| completion.result()) {
            Some(result) if completed && sent(result) == Ok(None) => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sends to each socket what it takes. The results are added to `results`, in the order of
    /// `sends`.
    ///
    /// # Errors
    /// The ring has failed. The results of the sends that the kernel has not seen are missing: those
    /// at the end. The ring must not be used again.
    pub(super) fn send(&mut self, sends: &[Send<'_>], results: &mut Vec<Sent>) -> io::Result<()> {
        sends.chunks(self.entries).try_for_each(|chunk| self.send_chunk(chunk, results))
    }

    fn send_chunk(&mut self, sends: &[Send<'_>], results: &mut Vec<Sent>) -> io::Result<()> {
        let start = results.len();
        results.resize(start + sends.len(), Ok(None));
        for (index, (socket, bytes)) in sends.iter().enumerate() {
            // SAFETY: this function returns or ends the process after the kernel is done with the
            // bytes (invariant 1). Nothing in between panics: the ring has space for all, and the
            // results have their places.
            let is_pushed = unsafe { self.push(index as u64, socket.as_raw_fd(), bytes) };
            debug_assert!(is_pushed, "each call empties the ring");
        }
        let mut left = sends.len();
        while left > 0 {
            let submitted = self.ring.submit_and_wait(left);
            left -= self.take_results(&mut results[start..]);
            match submitted {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    let unseen = self.ring.submission().len();
                    self.wait_for(left - unseen, &mut results[start..]);
                    // The kernel takes sends in their order. It will never see these, because the
                    // ring is not used again.
                    results.truncate(start + sends.len() - unseen);
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until so many sends that the kernel has seen are complete.
    fn wait_for(&mut self, mut left: usize, results: &mut [Sent]) {
        while left > 0 {
            let flags = 1; // IORING_ENTER_GETEVENTS
            // SAFETY: without an argument, and without sends to submit.
            let waited = unsafe { self.ring.submitter().enter::<()>(0, left as u32, flags, None) };
            left -= self.take_results(results);
            if waited.is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) && left > 0 {
                // The kernel may still read bytes that are freed when this function returns.
                abort();
            }
        }
    }

    /// Takes the results of complete sends, and returns their number.
    fn take_results(&mut self, results: &mut [Sent]) -> usize {
        let mut taken = 0;
        for completion in self.ring.completion() {
            results[completion.user_data() as usize] = sent(completion.result());
            taken += 1;
        }
        taken
    }

    /// Adds a send to the ring; `false` if the ring is full.
    ///
    /// # Safety
    /// The bytes must live until the send is complete, or until the ring is dropped without having
    /// submitted it.
    unsafe fn push(&mut self, index: u64, socket: i32, bytes: &[u8]) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(types::Fd(socket), bytes.as_ptr(), length);
        let send = send.flags(flags.bits() as i32).build().user_data(index);
        // SAFETY: the caller keeps the bytes.
        unsafe { self.ring.submission().push(&send) }.is_ok()
    }
}

/// The result of a send, from that of its completion.
fn sent(result: i32) -> Sent {
    match usize::try_from(result) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => match Errno::from_raw_os_error(-result) {
            Errno::AGAIN => Ok(None),
            error => Err(error),
        },
    }
}
