//! The ring against real sockets.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use io_uring::IoUring;
use rustix::io::Errno;

use super::sends::{Ring, SendResult, SendTo};

/// `None` where the kernel allows no rings.
fn ring(entries: u32) -> Option<Ring> {
    Ring::new(entries).inspect_err(|error| eprintln!("left out: {error}")).ok()
}

fn send(ring: &mut Ring, sends: &[SendTo<'_>]) -> Vec<SendResult> {
    let mut results = Vec::new();
    ring.send(sends, &mut results).expect("the ring works");
    results
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

fn read(mut stream: &TcpStream, bytes: usize) -> Vec<u8> {
    let mut got = vec![0; bytes];
    stream.read_exact(&mut got).unwrap();
    got
}

#[test]
fn each_socket_gets_its_bytes_in_batches_larger_than_the_ring() {
    let Some(mut ring) = ring(8) else { return };
    let pairs: Vec<_> = (0..50).map(|_| tcp_pair()).collect();
    let text = |index: usize| format!("message {index}").into_bytes();
    let texts: Vec<_> = (0..50).map(text).collect();
    for _ in 0..3 {
        let sends: Vec<SendTo<'_>> =
            pairs.iter().zip(&texts).map(|((near, _), text)| (near.as_fd(), &**text)).collect();
        let expected: Vec<SendResult> = texts.iter().map(|text| Ok(Some(text.len()))).collect();
        assert_eq!(send(&mut ring, &sends), expected);
        for ((_, far), text) in pairs.iter().zip(&texts) {
            assert_eq!(read(far, text.len()), *text);
        }
    }
}

#[test]
fn full_and_broken_sockets_do_not_delay_the_others() {
    let Some(mut ring) = ring(8) else { return };
    // Blocking sockets: the ring does not wait for them all the same.
    let (mut full, _full_far) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    let mut filled = 0;
    loop {
        match full.write(&[7; 1000]) {
            Ok(bytes) => filled += bytes,
            Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert!(filled > 0);
    full.set_nonblocking(false).unwrap();
    let (broken, far) = UnixStream::pair().unwrap();
    drop(far);
    let (near, far) = tcp_pair();
    let bytes: &[u8] = b"hello";
    let sends = [
        (full.as_fd(), bytes),
        (near.as_fd(), bytes),
        (broken.as_fd(), bytes),
        (full.as_fd(), bytes),
        (near.as_fd(), bytes),
    ];
    let results = send(&mut ring, &sends);
    let sent = Ok(Some(5));
    assert_eq!(results, [Ok(None), sent, Err(Errno::PIPE), Ok(None), sent]);
    assert_eq!(read(&far, 10), b"hellohello");
}

#[test]
fn a_socket_takes_a_part_of_what_is_too_much_for_it() {
    let Some(mut ring) = ring(8) else { return };
    let (near, far) = tcp_pair();
    let bytes: Vec<u8> = (0..50_000_000_u32).map(|n| n as u8).collect();
    let results = send(&mut ring, &[(near.as_fd(), &bytes)]);
    let Ok(Some(taken)) = results[0] else { panic!("{results:?}") };
    assert!((1..bytes.len()).contains(&taken));
    drop(near);
    let mut got = Vec::new();
    (&far).read_to_end(&mut got).unwrap();
    assert!(got == bytes[..taken], "{} of {taken}", got.len());
}

#[test]
fn an_empty_list_makes_no_call() {
    let Some(mut ring) = ring(8) else { return };
    assert_eq!(send(&mut ring, &[]), []);
}

#[test]
fn after_a_failure_the_sends_that_the_kernel_has_not_seen_are_missing() {
    // The kernel takes nothing from a ring that is not enabled.
    let Ok(disabled) = IoUring::builder().setup_r_disabled().build(8) else { return };
    let mut ring = Ring::of(disabled, 8);
    let (near, far) = tcp_pair();
    let mut results = Vec::new();
    for _ in 0..2 {
        let sends: [SendTo<'_>; 2] = [(near.as_fd(), b"lost"), (near.as_fd(), b"lost")];
        assert!(ring.send(&sends, &mut results).is_err());
        assert_eq!(results, []);
    }
    drop((near, ring));
    let mut got = Vec::new();
    (&far).read_to_end(&mut got).unwrap();
    assert_eq!(got, b"");
}
