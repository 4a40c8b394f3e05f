//! The limits of this process: memory and file descriptors.
//!
//! The limits are read from files when a hub is built. On systems without these files, that is all
//! but Linux, the limits are unknown.

mod cgroup;
mod shortfall;

use std::fmt;
use std::fs;
use std::path::Path;

pub(crate) use self::shortfall::{Needs, Shortfall};

/// Reads a file. `None` if it cannot be read.
type ReadFile<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The limits of this process when they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessLimits {
    /// The lowest bound on the memory of the process.
    pub(crate) memory: Option<Memory>,
    /// The maximum number of open files, including sockets.
    pub(crate) descriptors: Option<u64>,
}

/// A bound on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Memory {
    pub(crate) bytes: u64,
    pub(crate) source: MemorySource,
}

/// The source of a bound on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MemorySource {
    /// A control group, for example of a container.
    Cgroup,
    /// `RLIMIT_AS`: the bound on the address space of the process.
    AddressSpace,
    /// The memory of the machine: no lower bound was found.
    Machine,
}

impl fmt::Display for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgroup => "control group",
            Self::AddressSpace => "RLIMIT_AS",
            Self::Machine => "machine",
        })
    }
}

impl ProcessLimits {
    /// Reads the limits. Cost: six small files, 0.1 ms.
    pub(crate) fn read() -> Self {
        Self::read_by(&|path| fs::read_to_string(path).ok())
    }

    fn read_by(read: ReadFile<'_>) -> Self {
        let limits = read(Path::new("/proc/self/limits")).unwrap_or_default();
        let machine = read(Path::new("/proc/meminfo")).and_then(|info| total_of(&info));
        let memory = [
            (cgroup::memory(read), MemorySource::Cgroup),
            (soft_limit(&limits, "Max address space"), MemorySource::AddressSpace),
            (machine, MemorySource::Machine),
        ];
        let known = memory.into_iter().filter_map(|(bytes, source)| Some((bytes?, source)));
        Self {
            memory: known.map(|(bytes, source)| Memory { bytes, source }).min(),
            descriptors: soft_limit(&limits, "Max open files"),
        }
    }
}

/// Returns a soft limit from `/proc/self/limits`. `None` for `unlimited`.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    let row = limits.lines().find_map(|line| line.strip_prefix(name))?;
    row.split_whitespace().next()?.parse().ok()
}

/// Returns the memory of the machine in bytes, from `/proc/meminfo`.
fn total_of(info: &str) -> Option<u64> {
    let row = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = row.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded on a machine of 24 GiB. Some lines are left out.
    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            1024                 20000                files     
Max locked memory         8388608              8388608              bytes     
Max address space         unlimited            unlimited            bytes     
";
    const MEMINFO: &str = "MemTotal:       24684096 kB\nMemFree:        19288440 kB\n";

    fn read(files: &[(&str, &str)]) -> ProcessLimits {
        let find = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path);
        ProcessLimits::read_by(&|path| find(path).map(|(_, content)| (*content).to_owned()))
    }

    #[test]
    fn memory_of_the_machine_is_the_bound_if_there_is_no_other() {
        let limits = read(&[("/proc/self/limits", LIMITS), ("/proc/meminfo", MEMINFO)]);
        let machine = Memory { bytes: 24_684_096 * 1024, source: MemorySource::Machine };
        assert_eq!(limits, ProcessLimits { memory: Some(machine), descriptors: Some(1_024) });
    }

    #[test]
    fn lowest_bound_counts() {
        let limits = LIMITS.replace("space         unlimited", "space         268435456");
        let files = [
            ("/proc/self/limits", &*limits),
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/\n"),
            (
                "/proc/self/mountinfo",
                "1 0 0:41 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
            ),
            ("/sys/fs/cgroup/memory.max", "67108864\n"),
        ];
        let cgroup = Memory { bytes: 64 << 20, source: MemorySource::Cgroup };
        assert_eq!(read(&files).memory, Some(cgroup));
        let addresses = Memory { bytes: 256 << 20, source: MemorySource::AddressSpace };
        assert_eq!(read(&files[..2]).memory, Some(addresses));
    }

    #[test]
    fn limits_are_unknown_if_no_file_can_be_read() {
        let nothing = ProcessLimits { memory: None, descriptors: None };
        assert_eq!(read(&[]), nothing);
        let garbage =
            [("/proc/self/limits", "Max open files"), ("/proc/meminfo", "MemTotal: 1 MB")];
        assert_eq!(read(&garbage), nothing);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_bounds() {
        let ProcessLimits { memory, descriptors } = ProcessLimits::read();
        assert!(memory.is_some_and(|memory| memory.bytes > 1 << 20));
        assert_ne!(descriptors, Some(0));
    }
}
