//! Whether the system gives a process as much as its settings need.

use std::fmt;

use super::{Memory, ProcessLimits};

/// What settings say that a process may come to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Connections, where their number was set: each has a descriptor.
    pub(crate) connections: Option<usize>,
    /// Bytes that may wait in queues.
    pub(crate) queued_bytes: usize,
}

/// Something of which there is less than the settings need. Its text is one line for whoever operates the
/// server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortfall {
    Descriptors { connections: usize, descriptors: u64 },
    Memory { queued_bytes: usize, memory: Memory },
}

impl ProcessLimits {
    /// All that falls short of `needs`.
    pub(crate) fn shortfalls(&self, needs: Needs) -> impl Iterator<Item = Shortfall> {
        let Needs { connections, queued_bytes } = needs;
        let descriptors =
            self.descriptors.zip(connections).and_then(|(descriptors, connections)| {
                let is_short = descriptors < connections as u64;
                is_short.then_some(Shortfall::Descriptors { connections, descriptors })
            });
        let memory = self.memory.and_then(|memory| {
            let is_short = memory.bytes < queued_bytes as u64;
            is_short.then_some(Shortfall::Memory { queued_bytes, memory })
        });
        [descriptors, memory].into_iter().flatten()
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptors { connections, descriptors } => write!(
                f,
                "max_connections is {connections}, but the process may open {descriptors} files: \
                 raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=)"
            ),
            Self::Memory { queued_bytes, memory: Memory { bytes, source } } => write!(
                f,
                "{queued_bytes} bytes may wait in queues, but the process has {bytes} bytes of \
                 memory ({source}): lower max_queued_bytes, inbox_bytes or outage_bytes"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::MemorySource;

    const LIMITS: ProcessLimits = ProcessLimits {
        memory: Some(Memory { bytes: 1_000, source: MemorySource::Cgroup }),
        descriptors: Some(64),
    };

    fn told(limits: ProcessLimits, connections: Option<usize>, queued_bytes: usize) -> Vec<String> {
        let needs = Needs { connections, queued_bytes };
        limits.shortfalls(needs).map(|shortfall| shortfall.to_string()).collect()
    }

    #[test]
    fn what_is_enough_is_not_told() {
        assert!(told(LIMITS, Some(64), 1_000).is_empty());
        assert!(told(LIMITS, None, 0).is_empty());
        let unknown = ProcessLimits { memory: None, descriptors: None };
        assert!(told(unknown, Some(usize::MAX), usize::MAX).is_empty());
    }

    #[test]
    fn what_falls_short_is_told_with_both_numbers_and_the_remedy() {
        let [descriptors, memory] = &told(LIMITS, Some(65), 1_001)[..] else { panic!("not two") };
        assert_eq!(
            descriptors,
            "max_connections is 65, but the process may open 64 files: raise RLIMIT_NOFILE \
             (ulimit -n, LimitNOFILE=)"
        );
        assert_eq!(
            memory,
            "1001 bytes may wait in queues, but the process has 1000 bytes of memory (control \
             group): lower max_queued_bytes, inbox_bytes or outage_bytes"
        );
    }
}
