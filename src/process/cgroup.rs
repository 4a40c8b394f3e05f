//! The bound on memory of the control groups of a process: its own group, and each group above.
//!
//! `/proc/self/cgroup` names the group. `/proc/self/mountinfo` names the folder with the files of
//! the groups. In a container the mount may begin at the container's own group. Then that part of
//! the name is left out, and the groups above cannot be seen.

use std::path::{Path, PathBuf};

use super::ReadFile;

/// Returns the lowest bound on the memory of the control groups of this process, in bytes.
pub(super) fn memory(read: ReadFile<'_>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let places = mounts.lines().filter_map(Mount::parse).filter_map(|mount| {
        let group = groups.lines().find_map(|line| mount.group(line))?;
        mount.least(group, read)
    });
    places.min()
}

/// A mount with the files of control groups that bound memory.
struct Mount<'a> {
    /// The group whose files are in the mount point itself.
    root: &'a str,
    /// The mount point.
    at: &'a str,
    version: Version,
}

/// The version of control groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl<'a> Mount<'a> {
    /// Parses a line such as `36 35 98:0 /root /mount rw,noatime - cgroup2 source rw`.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?, mount.next()?);
        let mut system = system.split(' ');
        let version = match (system.next()?, system.nth(1)?) {
            ("cgroup2", _) => Version::Two,
            ("cgroup", options) if options.split(',').any(|name| name == "memory") => Version::One,
            _ => return None,
        };
        Some(Self { root, at, version })
    }

    /// Parses a line of `/proc/self/cgroup`, such as `4:memory:/name` or `0::/name`. Returns the
    /// name of the group, if the line belongs to this mount.
    fn group<'b>(&self, line: &'b str) -> Option<&'b str> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, name) = rest.split_once(':')?;
        let is_it = match self.version {
            Version::One => controllers.split(',').any(|controller| controller == "memory"),
            Version::Two => controllers.is_empty(),
        };
        is_it.then_some(name)
    }

    /// Returns the lowest bound of the groups, from `group` up to the root of the mount.
    fn least(&self, group: &str, read: ReadFile<'_>) -> Option<u64> {
        let file = match self.version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        let below = Path::new(group).strip_prefix(self.root).unwrap_or(Path::new(""));
        let folders = below.ancestors().map(|folder| PathBuf::from(self.at).join(folder));
        let bounds = folders.filter_map(|folder| read(&folder.join(file)));
        // Without a bound, version 2 has `max`, and version 1 a number that is larger than any
        // machine.
        bounds.filter_map(|bound| bound.trim().parse().ok()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let known = [("/proc/self/cgroup", groups), ("/proc/self/mountinfo", mounts)];
        let all: Vec<_> = known.iter().chain(files).collect();
        let find = |path: &Path| all.iter().find(|(name, _)| Path::new(name) == path);
        memory(&|path| find(path).map(|(_, content)| (*content).to_owned()))
    }

    const TWO: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn every_group_above_counts() {
        let slices = "0::/system.slice/chat.service\n";
        let files = [
            ("/sys/fs/cgroup/system.slice/chat.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "134217728\n"),
        ];
        assert_eq!(least(slices, TWO, &files), Some(128 << 20));
        let closer = [files[1], ("/sys/fs/cgroup/system.slice/chat.service/memory.max", "1000")];
        assert_eq!(least(slices, TWO, &closer), Some(1_000));
        assert_eq!(least(slices, TWO, &files[..1]), None, "no bound");
    }

    #[test]
    fn container_that_sees_its_own_group_as_the_root_has_its_bound() {
        let files = [("/sys/fs/cgroup/memory.max", "67108864\n")];
        assert_eq!(least("0::/\n", TWO, &files), Some(64 << 20));
        // The name is that outside the container, and the mount begins at the group.
        let name = "0::/kubepods/pod1/c2\n";
        let mount = "1 0 0:26 /kubepods/pod1/c2 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(least(name, mount, &files), Some(64 << 20));
        // The mount begins at another group: only its root can be read.
        assert_eq!(least("0::/../../other\n", mount, &files), Some(64 << 20));
    }

    /// Recorded in Docker, with both versions mounted.
    const ONE: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 /docker/b55 /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/b55 /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn version_one_is_read_if_it_has_the_memory_controller() {
        let groups = "9:name=systemd:/\n4:memory:/docker/b55\n1:cpu,cpuacct:/docker/b55\n0::/\n";
        let files = [("/sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n")];
        assert_eq!(least(groups, ONE, &files), Some(64 << 20));
        let none = [("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(least(groups, ONE, &none), Some(9_223_372_036_854_771_712));
    }

    #[test]
    fn malformed_lines_are_skipped() {
        for mounts in ["", "garbage", "1 2 3 - cgroup2", "1 2 3 /a - cgroup2 x rw"] {
            assert_eq!(least("0::/\n", mounts, &[]), None, "{mounts}");
        }
        assert_eq!(least("garbage\n0:", TWO, &[("/sys/fs/cgroup/memory.max", "1")]), None);
        assert_eq!(least("0::/\n", TWO, &[("/sys/fs/cgroup/memory.max", "much")]), None);
    }
}
