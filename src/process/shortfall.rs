//! A check whether the limits of the process are enough for its settings.

use std::fmt;

use super::{Memory, ProcessLimits};

/// The resources that the settings allow the process to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Connections, each of which takes a descriptor. `None` if their number was not set.
    pub(crate) connections: Option<usize>,
    /// The maximum of bytes in all queues.
    pub(crate) queued_bytes: usize,
}

/// A limit that is too low for the settings. Its text is one line for the operator of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortfall {
    Descriptors { connections: usize, descriptors: u64 },
    Memory { queued_bytes: usize, memory: Memory },
}

impl ProcessLimits {
    /// Returns the limits that are too low for `needs`.
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
                 memory ({source}): lower max_queued_bytes, inbox_bytes or outbox_bytes"
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

    fn texts(
        limits: ProcessLimits,
        connections: Option<usize>,
        queued_bytes: usize,
    ) -> Vec<String> {
        let needs = Needs { connections, queued_bytes };
        limits.shortfalls(needs).map(|shortfall| shortfall.to_string()).collect()
    }

    #[test]
    fn sufficient_limits_have_no_shortfall() {
        assert!(texts(LIMITS, Some(64), 1_000).is_empty());
        assert!(texts(LIMITS, None, 0).is_empty());
        let unknown = ProcessLimits { memory: None, descriptors: None };
        assert!(texts(unknown, Some(usize::MAX), usize::MAX).is_empty());
    }

    #[test]
    fn shortfall_names_both_numbers_and_the_remedy() {
        let [descriptors, memory] = &texts(LIMITS, Some(65), 1_001)[..] else { panic!("not two") };
        assert_eq!(
            descriptors,
            "max_connections is 65, but the process may open 64 files: raise RLIMIT_NOFILE \
             (ulimit -n, LimitNOFILE=)"
        );
        assert_eq!(
            memory,
            "1001 bytes may wait in queues, but the process has 1000 bytes of memory (control \
             group): lower max_queued_bytes, inbox_bytes or outbox_bytes"
        );
    }
}
