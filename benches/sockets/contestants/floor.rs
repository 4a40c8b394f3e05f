//! The floors: the cost of a delivery with the kernel's work and almost nothing else.
//!
//! One thread, one epoll, and a queue only for bytes that a socket does not accept. *Floor 1* writes each
//! message to each member separately. *Floor 2* joins all messages that one turn of the loop has brought
//! for a room, and writes them to each member in one call. *Floor 3* joins them in the same way, and sends
//! them with io_uring: one call for up to 64 members, also of several rooms.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::write;
use roomcast::engine::{FrameKind, frame};
use slab::Slab;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::floor_ring::{Ring, SENDS_MAX};
use crate::Result;
use crate::wire::take_frame;

const SCRATCH_BYTES: usize = 256 * 1024;

/// The listener's token; the tokens of connections are smaller.
const LISTENER: u64 = u64::MAX;

/// How the messages of a turn are written.
pub(super) enum Writing {
    /// Each message with a call for each member: floor 1.
    Each,
    /// All messages of a turn together, with a call for each member: floor 2.
    Joined,
    /// All messages of a turn together, with a call for several members: floor 3.
    Batched(Box<Ring>),
}

/// Serves until the process ends.
pub(crate) fn serve(listener: TcpListener, writing: Writing) -> Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut floor = Floor { epoll, listener, writing, clients: Clients::default() };
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut events = vec![EpollEvent::empty(); 1_024];
    loop {
        let count = match floor.epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            count => count?,
        };
        for event in &events[..count] {
            match event.data() {
                LISTENER => floor.accept()?,
                token => floor.serve_client(token as usize, event.events(), &mut scratch)?,
            }
        }
        floor.write_joined()?;
    }
}

struct Floor {
    epoll: Epoll,
    listener: TcpListener,
    writing: Writing,
    clients: Clients,
}

#[derive(Default)]
struct Clients {
    conns: Slab<Conn>,
    rooms: Vec<Room>,
    names: HashMap<String, usize>,
    /// The rooms with joined messages.
    dirty: Vec<usize>,
    /// The members that get them, each with its room, while they are written.
    batch: Vec<(usize, usize)>,
}

struct Conn {
    stream: TcpStream,
    /// `None` until the handshake is complete.
    room: Option<usize>,
    /// The first part of an incomplete frame.
    partial: Vec<u8>,
    /// The bytes that the socket has not accepted yet.
    pending: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    joined: Vec<u8>,
}

impl Floor {
    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let entry = self.clients.conns.vacant_entry();
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, entry.key() as u64))?;
            entry.insert(Conn { stream, room: None, partial: Vec::new(), pending: Vec::new() });
        }
    }

    fn serve_client(&mut self, id: usize, events: EpollFlags, scratch: &mut [u8]) -> Result<()> {
        if events.contains(EpollFlags::EPOLLOUT) {
            self.clients.write_pending(id, &self.epoll)?;
        }
        if !events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return Ok(());
        }
        match self.clients.conns[id].stream.read(scratch) {
            Ok(0) => self.clients.remove(id),
            Ok(read) => self.receive(id, &mut scratch[..read])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.clients.remove(id),
        }
        Ok(())
    }

    fn receive(&mut self, id: usize, read: &mut [u8]) -> Result<()> {
        let conn = &mut self.clients.conns[id];
        if conn.room.is_none() {
            conn.partial.extend_from_slice(read);
            return self.clients.shake_hands(id);
        }
        if conn.partial.is_empty() {
            let taken = self.take_frames(id, read)?;
            self.clients.conns[id].partial.extend_from_slice(&read[taken..]);
            return Ok(());
        }
        let mut whole = std::mem::take(&mut conn.partial);
        whole.extend_from_slice(read);
        let taken = self.take_frames(id, &mut whole)?;
        whole.drain(..taken);
        self.clients.conns[id].partial = whole;
        Ok(())
    }

    /// Publishes the complete frames of `input`, and returns their length in bytes.
    fn take_frames(&mut self, id: usize, input: &mut [u8]) -> Result<usize> {
        let Some(room) = self.clients.conns[id].room else { return Ok(0) };
        let mut taken = 0;
        while let Some((first, payload, bytes)) = take_frame(&mut input[taken..]) {
            taken += bytes;
            if first & 0x0f == 0x1 {
                self.publish(room, payload)?;
            }
        }
        Ok(taken)
    }

    fn publish(&mut self, room: usize, text: &[u8]) -> Result<()> {
        let joined = &mut self.clients.rooms[room].joined;
        if joined.is_empty() {
            self.clients.dirty.push(room);
        }
        frame::append(joined, FrameKind::Text, text);
        match self.writing {
            Writing::Each => self.write_joined(),
            Writing::Joined | Writing::Batched(_) => Ok(()),
        }
    }

    fn write_joined(&mut self) -> Result<()> {
        match &mut self.writing {
            Writing::Each | Writing::Joined => self.clients.write_each(&self.epoll)?,
            Writing::Batched(ring) => self.clients.write_batched(ring, &self.epoll)?,
        }
        let Clients { rooms, dirty, .. } = &mut self.clients;
        dirty.drain(..).for_each(|room| rooms[room].joined.clear());
        Ok(())
    }
}

impl Clients {
    /// Writes what is joined, with a call for each member.
    fn write_each(&mut self, epoll: &Epoll) -> Result<()> {
        let Self { conns, rooms, dirty, .. } = self;
        for &room in &*dirty {
            let Room { members, joined } = &rooms[room];
            for &member in members {
                conns[member].write(member, joined, epoll)?;
            }
        }
        Ok(())
    }

    /// Writes what is joined, with a call for several members.
    fn write_batched(&mut self, ring: &mut Ring, epoll: &Epoll) -> Result<()> {
        let Self { conns, rooms, dirty, batch, .. } = self;
        for &room in &*dirty {
            for &member in &rooms[room].members {
                let conn = &mut conns[member];
                match conn.pending.is_empty() {
                    true => batch.push((member, room)),
                    false => conn.pending.extend_from_slice(&rooms[room].joined),
                }
            }
        }
        for writes in batch.chunks(SENDS_MAX) {
            let send = |&(member, room): &(usize, usize)| {
                (conns[member].stream.as_fd(), &*rooms[room].joined)
            };
            let sends: Vec<_> = writes.iter().map(send).collect();
            for (&(member, room), sent) in writes.iter().zip(ring.send(&sends)) {
                conns[member].finish(member, &rooms[room].joined, sent, epoll)?;
            }
        }
        batch.clear();
        Ok(())
    }

    fn shake_hands(&mut self, id: usize) -> Result<()> {
        let conn = &mut self.conns[id];
        let Some(head) = conn.partial.strip_suffix(b"\r\n\r\n") else { return Ok(()) };
        let head = std::str::from_utf8(head)?;
        let name = head.split(' ').nth(1).and_then(|target| target.strip_prefix("/ws/"));
        let name = name.ok_or("not a handshake")?;
        write(&conn.stream, upgrade_response(head)?.as_bytes())?;
        let room = *self.names.entry(name.to_owned()).or_insert_with(|| {
            self.rooms.push(Room::default());
            self.rooms.len() - 1
        });
        conn.room = Some(room);
        conn.partial = Vec::new();
        self.rooms[room].members.push(id);
        Ok(())
    }

    fn write_pending(&mut self, id: usize, epoll: &Epoll) -> Result<()> {
        let conn = &mut self.conns[id];
        let pending = std::mem::take(&mut conn.pending);
        epoll.modify(&conn.stream, &mut EpollEvent::new(EpollFlags::EPOLLIN, id as u64))?;
        conn.write(id, &pending, epoll)
    }

    fn remove(&mut self, id: usize) {
        let conn = self.conns.remove(id);
        if let Some(room) = conn.room {
            self.rooms[room].members.retain(|&member| member != id);
        }
    }
}

impl Conn {
    fn write(&mut self, id: usize, frames: &[u8], epoll: &Epoll) -> Result<()> {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(frames);
            return Ok(());
        }
        let sent = write(&self.stream, frames);
        self.finish(id, frames, sent, epoll)
    }

    /// Keeps what the socket has not accepted.
    fn finish(
        &mut self,
        id: usize,
        frames: &[u8],
        sent: nix::Result<usize>,
        epoll: &Epoll,
    ) -> Result<()> {
        let written = match sent {
            Ok(written) => written,
            Err(Errno::EAGAIN) => 0,
            // The next read finds the end of the connection.
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if written < frames.len() {
            self.pending.extend_from_slice(&frames[written..]);
            let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            epoll.modify(&self.stream, &mut EpollEvent::new(both, id as u64))?;
        }
        Ok(())
    }
}

/// Returns the response to an upgrade request.
pub(super) fn upgrade_response(head: &str) -> Result<String> {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let key = key.ok_or("not a handshake")?;
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    ))
}
