//! Control groups: what a task may use, what it uses, and everything that belongs to it, of both versions of the kernel's
//! interface. Everything is files below directories that are handed in, so that tests need no kernel for it.

mod hierarchy;
mod stats;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub(crate) use hierarchy::Hierarchy;
pub(crate) use stats::TICK;

/// How long a group whose processes were killed may stay busy.
const BUSY: Duration = Duration::from_secs(2);

/// What a task may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Its weight against others when the processor is short, in MHz.
    pub(crate) cpu_shares: u64,
    /// The most memory, in bytes, swap included; `None` for no limit.
    pub(crate) memory: Option<u64>,
    /// What is left to it when memory is short, in bytes, where that is less than the limit.
    pub(crate) memory_soft: Option<u64>,
    /// The most processes and threads; `None` for no limit.
    pub(crate) processes: Option<u64>,
    /// Cores that it runs on, by number; all when empty.
    #[serde(default)]
    pub(crate) cores: Vec<u16>,
}

/// The version of the kernel's interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    /// A tree for each controller.
    #[default]
    V1,
    /// One tree.
    V2,
}

/// The group of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cgroup {
    version: Version,
    /// Controllers, and the group's directory at each. In version 2 there is one, `unified`.
    dirs: BTreeMap<String, PathBuf>,
}

impl Cgroup {
    fn file(&self, controller: &str, file: &str) -> Option<PathBuf> {
        let key = if self.version == Version::V2 { "unified" } else { controller };
        Some(self.dirs.get(key)?.join(file))
    }

    /// Directories that differ; controllers can be mounted together.
    fn places(&self) -> Vec<&PathBuf> {
        let mut places: Vec<_> = self.dirs.values().collect();
        places.sort();
        places.dedup();
        places
    }

    /// Files to write `0` to, each of which moves the writer into the group. Opened here because a process that has
    /// another root by then cannot find them.
    pub(crate) fn doors(&self) -> io::Result<Vec<File>> {
        let open = |dir: &PathBuf| OpenOptions::new().write(true).open(dir.join("cgroup.procs"));
        self.places().into_iter().map(open).collect()
    }

    /// The processes in it; none if it is gone.
    pub(crate) fn processes(&self) -> io::Result<Vec<i32>> {
        let Some(place) = self.file("pids", "cgroup.procs").or_else(|| self.any("cgroup.procs"))
        else {
            return Ok(Vec::new());
        };
        let text = match fs::read_to_string(place) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            // It was removed between opening and reading.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // 0 is a process of a namespace that cannot be seen from here.
        Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect())
    }

    /// Has all in it run on these cores. Without a group for that, which old kernels may not offer, it runs where it
    /// does.
    pub(crate) fn run_on(&self, cores: &[u16]) -> io::Result<()> {
        let Some(file) = self.file("cpuset", "cpuset.cpus").filter(|file| file.exists()) else {
            return Ok(());
        };
        let text = model::format_cpuset(cores.iter().copied());
        fs::write(&file, text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
    }

    fn any(&self, file: &str) -> Option<PathBuf> {
        Some(self.dirs.values().next()?.join(file))
    }

    /// Removes the group, in which nothing may run any more; one that is gone is fine. Blocks, for a bounded time, while
    /// the kernel still clears up after its processes.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + BUSY;
        for place in self.places() {
            loop {
                match fs::remove_dir(place) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error)
                        if error.raw_os_error() == Some(libc::EBUSY)
                            && Instant::now() < deadline =>
                    {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
