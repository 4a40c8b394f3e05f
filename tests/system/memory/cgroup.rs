//! A control group with a memory limit, as a container has.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

/// The mount points of the memory controller, and the names of the file with the limit, for version 2 and version 1.
const PLACES: [(&str, &str); 2] =
    [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// A control group. Dropping the value removes the group; no process may be left in it by then.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Creates a control group, or returns the reason why this machine does not allow it.
    pub(crate) fn with_memory(bytes: u64) -> io::Result<Self> {
        let mut refusal = io::Error::other("there is no controller of memory");
        for (mount, file) in PLACES {
            match Self::make(Path::new(mount)).and_then(|group| group.bounded(file, bytes)) {
                Ok(group) => return Ok(group),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn make(mount: &Path) -> io::Result<Self> {
        let group = mount.join(format!("roomcast-test-{}", process::id()));
        fs::create_dir(&group)?;
        Ok(Self(group))
    }

    /// Sets the limit. The kernel creates the file; without the file, the folder is not a control group.
    fn bounded(self, file: &str, bytes: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(self.0.join(file))?;
        file.write_all(bytes.to_string().as_bytes())?;
        Ok(self)
    }

    /// The file that takes the processes of the group.
    pub(crate) fn processes(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("{} is left: {error}", self.0.display());
        }
    }
}
