//! How a server and its clients share the cores.

use crate::Result;
use crate::contestants::Contestant;
use shared::process;

/// The most threads of clients for each thread of the server: with 16 messages in flight, a delivery costs the
/// clients more than the server.
const CLIENT_THREADS_MAX: usize = 3;

/// The threads of a server and of its clients, and their cores.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) server_threads: usize,
    pub(crate) server_cores: Vec<usize>,
    pub(crate) client_threads: usize,
    pub(crate) client_cores: Vec<usize>,
}

impl Layout {
    /// The layout of a contest: a core for each thread of the server, and one for the clients.
    pub(crate) fn of(contestant: Contestant) -> Result<Self> {
        let cores = process::cores()?;
        let server_threads = contestant.threads();
        let used = server_threads.min(cores.len());
        Ok(Self {
            server_threads,
            server_cores: cores[..used].to_vec(),
            client_threads: 1,
            // The clients share the last core if no core is left.
            client_cores: vec![cores[used.min(cores.len() - 1)]],
        })
    }

    /// The layout with this many threads of the server: the clients have the other cores, or share all cores with the
    /// server if too few are left.
    pub(crate) fn with_threads(server_threads: usize) -> Result<Self> {
        let cores = process::cores()?;
        let left = cores.len().saturating_sub(server_threads);
        // With fewer threads than this, the clients would hold up the server.
        if left == 0 || left < server_threads / 2 {
            let client_threads = (cores.len() / 2).max(1);
            let (server_cores, client_cores) = (cores.clone(), cores);
            return Ok(Self { server_threads, server_cores, client_threads, client_cores });
        }
        let client_threads = left.min(CLIENT_THREADS_MAX * server_threads);
        Ok(Self {
            server_threads,
            server_cores: cores[..server_threads].to_vec(),
            client_threads,
            client_cores: cores[server_threads..][..client_threads].to_vec(),
        })
    }

    /// Whether the clients have cores of their own.
    pub(crate) fn is_separate(&self) -> bool {
        !self.client_cores.iter().any(|core| self.server_cores.contains(core))
    }
}
