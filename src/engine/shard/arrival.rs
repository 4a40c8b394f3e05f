//! The arrival and the departure of connections.
//!
//! A connection may begin before its stream exists: it is in rooms already, and what is sent to it
//! waits in its queue, within the same bounds as for any client. The timeouts of a socket begin
//! when the socket arrives.

use std::io;
use std::sync::Arc;

use super::Shard;
use super::ending::EVICTED_CLOSE_TIMEOUT;
use super::outlet::{ConnRef, Outlet};
use super::table::Entry;
use crate::engine::close::DisconnectReason;
use crate::engine::link::{ConnKey, Link, Stage};
use crate::engine::socket::Socket;

impl<S: Socket> Shard<S> {
    /// Adds a connection.
    pub(super) fn attach(&mut self, link: Arc<Link>, socket: S) {
        let id = link.id();
        let slot = self.table.insert(link, Outlet::new(socket), self.ctx.now);
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.watch(slot, self.ctx.now, &mut self.table);
        }
        if let Some(reason) = self.reason_to_close_everyone(id) {
            self.end(id, reason);
        } else if self.ctx.port.queued_bytes().excess() > 0 {
            self.end(id, DisconnectReason::Overloaded);
        }
    }

    /// Sets the socket of a connection that began without one, and writes what waits.
    pub(super) fn set_socket(&mut self, id: ConnKey, socket: S, budget: &mut usize) {
        let Self { table, ctx, config, .. } = self;
        let Some(slot) = table.slot(id) else { return };
        let Some(Entry { outlet, link, stage, .. }) = table.get_mut(slot) else { return };
        let timeout = if outlet.has_final_deadline() {
            EVICTED_CLOSE_TIMEOUT.min(config.write_timeout)
        } else {
            config.write_timeout
        };
        outlet.set_socket(socket, timeout, ctx);
        match *stage {
            // The connection has ended without a farewell.
            Stage::Cut => {
                outlet.abort(ConnRef { slot, link, id }, ctx);
            }
            Stage::Flushed => outlet.shut_down(),
            _ => self.writable(id, budget),
        }
    }

    /// Ends the connection, if it has not ended, and drops its socket: the session is over.
    pub(super) fn detach(&mut self, id: ConnKey) {
        // A session that detaches before the end has lost its connection.
        self.end(id, DisconnectReason::Io(io::ErrorKind::ConnectionAborted));
        let Some(slot) = self.table.slot(id) else { return };
        // A connection that was withdrawn before may still need its farewell.
        self.say_farewell(slot);
        self.settle(slot);
        let Entry { mut outlet, link, stage, .. } = self.table.remove(slot);
        if stage < Stage::Flushed {
            let lost = outlet.abort(ConnRef { slot, link: &link, id }, &mut self.ctx);
            self.count_lost(lost);
        }
    }
}
