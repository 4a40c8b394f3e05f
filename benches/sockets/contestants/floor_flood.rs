//! The floor of the flood scene: joined writes, and nothing else.
//!
//! One thread, one epoll, no tasks. The flood repeats one buffer of whole messages: when the socket of a
//! member is writable, the loop writes as much of the rest of the buffer as the socket accepts.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use roomcast::engine::{FrameKind, frame};
use slab::Slab;

use super::floor::upgrade_response;
use crate::Result;
use crate::wire::take_frame;
use support::flood::pages::{Counts, FLOOD_PAGE};
use support::flood::{FLOOD, Message, QUIET};

/// The bytes of the buffer: as many as the hub writes for one room in a turn.
const JOINED_BYTES: usize = 512 * 1024;

/// The sockets that are served in one turn: few, so that echoes are handled soon.
const TURN_SOCKETS: usize = 16;

/// The listener's token; the tokens of connections are smaller.
const LISTENER: u64 = u64::MAX;

/// Serves until the process ends.
pub(crate) fn serve(listener: TcpListener) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let joined = joined()?;
    let mut floor = Floor { epoll, listener, joined, conns: Slab::new(), is_flooding: false };
    let mut events = [EpollEvent::empty(); TURN_SOCKETS];
    loop {
        let count = match floor.epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            count => count?,
        };
        for event in &events[..count] {
            match event.data() {
                LISTENER => floor.accept()?,
                id => floor.serve_client(id as usize, event.events())?,
            }
        }
    }
}

/// The buffer of the flood: as many messages as fit.
fn joined() -> Result<Vec<u8>> {
    let mut message = Vec::new();
    frame::append(&mut message, FrameKind::Text, &serde_json::to_vec(&Message::padded())?);
    Ok(message.repeat(JOINED_BYTES / message.len()))
}

struct Floor {
    epoll: Epoll,
    listener: TcpListener,
    joined: Vec<u8>,
    conns: Slab<Conn>,
    is_flooding: bool,
}

struct Conn {
    stream: TcpStream,
    /// The first part of an incomplete request or frame.
    partial: Vec<u8>,
    place: Place,
}

enum Place {
    /// In no room: the request is still incomplete.
    Door,
    /// In the flooded room, with this many bytes of the buffer written.
    Flood(usize),
    /// In the quiet room, which times echoes.
    Quiet,
}

impl Floor {
    fn accept(&mut self) -> Result<()> {
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let entry = self.conns.vacant_entry();
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, entry.key() as u64))?;
        entry.insert(Conn { stream, partial: Vec::new(), place: Place::Door });
        Ok(())
    }

    fn serve_client(&mut self, id: usize, events: EpollFlags) -> Result<()> {
        if events.contains(EpollFlags::EPOLLOUT) {
            self.conns[id].write_flood(&self.joined);
        }
        if !events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return Ok(());
        }
        let mut piece = [0; 4_096];
        let conn = &mut self.conns[id];
        match conn.stream.read(&mut piece) {
            Ok(0) => drop(self.conns.remove(id)),
            Ok(read) => {
                conn.partial.extend_from_slice(&piece[..read]);
                self.receive(id)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => drop(self.conns.remove(id)),
        }
        Ok(())
    }

    fn receive(&mut self, id: usize) -> Result<()> {
        let Conn { partial, place, .. } = &mut self.conns[id];
        match place {
            Place::Door if partial.ends_with(b"\r\n\r\n") => {
                let head = String::from_utf8(std::mem::take(partial))?;
                self.answer(id, &head)
            }
            Place::Quiet => {
                while let Some(echo) = take_echo(&mut self.conns[id].partial) {
                    self.write_quiet(&echo)?;
                }
                Ok(())
            }
            Place::Door | Place::Flood(_) => Ok(()),
        }
    }

    fn answer(&mut self, id: usize, head: &str) -> Result<()> {
        let target = head.split(' ').nth(1).unwrap_or_default();
        let place = match target.strip_prefix("/ws/") {
            Some(FLOOD) => Place::Flood(0),
            Some(QUIET) => Place::Quiet,
            _ => return self.answer_page(id, target),
        };
        let conn = &mut self.conns[id];
        conn.stream.write_all(upgrade_response(head)?.as_bytes())?;
        conn.place = place;
        Ok(())
    }

    fn answer_page(&mut self, id: usize, target: &str) -> Result<()> {
        let body = match target.split_once('?') {
            Some((FLOOD_PAGE, tasks)) => {
                self.is_flooding = tasks != "0";
                self.watch_members()?;
                String::new()
            }
            _ => serde_json::to_string(&self.counts())?,
        };
        let bytes = body.len();
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n{body}"
        );
        Ok(self.conns.remove(id).stream.write_all(response.as_bytes())?)
    }

    /// Makes epoll report writable members while there is a flood.
    fn watch_members(&self) -> Result<()> {
        let interest = match self.is_flooding {
            true => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            false => EpollFlags::EPOLLIN,
        };
        for (id, conn) in self.conns.iter().filter(|(_, conn)| conn.is_flooded()) {
            self.epoll.modify(&conn.stream, &mut EpollEvent::new(interest, id as u64))?;
        }
        Ok(())
    }

    /// The counters. Nothing is ever dropped: each member gets the buffer at the pace of its socket.
    fn counts(&self) -> Counts {
        let count = |is_there: fn(&Conn) -> bool| {
            self.conns.iter().filter(|(_, conn)| is_there(conn)).count()
        };
        Counts {
            connections: self.conns.len() as u64,
            members: count(Conn::is_flooded),
            quiet: count(Conn::is_quiet),
            dropped: 0,
        }
    }

    fn write_quiet(&mut self, echo: &[u8]) -> Result<()> {
        for (_, conn) in self.conns.iter_mut().filter(|(_, conn)| conn.is_quiet()) {
            conn.stream.write_all(echo)?;
        }
        Ok(())
    }
}

impl Conn {
    fn is_flooded(&self) -> bool {
        matches!(self.place, Place::Flood(_))
    }

    fn is_quiet(&self) -> bool {
        matches!(self.place, Place::Quiet)
    }

    fn write_flood(&mut self, joined: &[u8]) {
        let Place::Flood(written) = &mut self.place else { return };
        // An error means that the socket is full, or that the connection has ended, which the next read finds.
        let more = self.stream.write(&joined[*written..]).unwrap_or(0);
        *written = (*written + more) % joined.len();
    }
}

/// Takes the next complete message of a client, and returns the frame that the room gets.
fn take_echo(partial: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (_, text, bytes) = take_frame(partial)?;
    let mut echo = Vec::new();
    frame::append(&mut echo, FrameKind::Text, text);
    partial.drain(..bytes);
    Some(echo)
}
