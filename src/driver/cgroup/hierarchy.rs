//! Where this machine keeps its control groups, and making one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Cgroup, Limits, Version};

/// The controllers that a task's group is made at.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];

/// The same by their names in version 2.
const UNIFIED: [&str; 3] = ["cpu", "memory", "pids"];

/// The controller for cores. Nice to have: without it, tasks run on any.
const CORES: &str = "cpuset";

/// An empty group of ours that is older than this belongs to nobody: who made it has joined it long since.
const STALE: Duration = Duration::from_secs(120);

/// The trees of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    version: Version,
    /// Controllers and the root of the tree of each; in version 2 `unified` alone.
    roots: BTreeMap<String, PathBuf>,
}

impl Hierarchy {
    /// Looks at this machine.
    ///
    /// # Errors
    /// In words, when there is nothing that tasks could be limited with.
    pub(crate) fn of_this_machine() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| format!("/proc/self/mountinfo cannot be read: {error}"))?;
        Self::parse(&mounts, |root| {
            fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    /// Reads the list of mounts. A tree of version 2 counts if it controls what we need: beside trees of version 1 it
    /// controls nothing.
    fn parse(mounts: &str, controllers: impl Fn(&Path) -> String) -> Result<Self, String> {
        let mut v1 = BTreeMap::new();
        for line in mounts.lines() {
            let Some((head, tail)) = line.split_once(" - ") else { continue };
            let Some(point) = head.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut tail = tail.split(' ');
            let (kind, options) =
                (tail.next().unwrap_or_default(), tail.nth(1).unwrap_or_default());
            match kind {
                "cgroup2" => {
                    let offered = controllers(&point);
                    if UNIFIED.iter().all(|one| offered.split_whitespace().any(|has| has == *one)) {
                        let roots = [("unified".to_owned(), point)].into();
                        return Ok(Self { version: Version::V2, roots });
                    }
                }
                "cgroup" => {
                    let ours = |one: &&str| CONTROLLERS.contains(one) || *one == CORES;
                    for option in options.split(',').filter(ours) {
                        v1.entry(option.to_owned()).or_insert_with(|| point.clone());
                    }
                }
                _ => {}
            }
        }
        match CONTROLLERS.iter().find(|one| !v1.contains_key(**one)) {
            None => Ok(Self { version: Version::V1, roots: v1 }),
            Some(missing) => Err(format!(
                "the kernel's control group `{missing}` is not mounted; tasks cannot be limited"
            )),
        }
    }

    /// The version, as an attribute of the node.
    pub(crate) fn version(&self) -> &'static str {
        if self.version == Version::V2 { "v2" } else { "v1" }
    }

    /// Makes the group `<parent>/<instance>/<name>` with its limits; what an earlier run left of it is used again.
    pub(crate) fn create(
        &self,
        parent: &str,
        instance: &str,
        name: &str,
        limits: &Limits,
    ) -> io::Result<Cgroup> {
        let mut dirs = BTreeMap::new();
        for (controller, root) in &self.roots {
            let mut dir = root.clone();
            for part in [parent, instance] {
                if self.version == Version::V2 {
                    hand_down(&dir)?;
                }
                dir = step(&dir, part, controller)?;
            }
            if self.version == Version::V2 {
                hand_down(&dir)?;
            }
            dirs.insert(controller.clone(), step(&dir, name, controller)?);
        }
        let cgroup = Cgroup { version: self.version, dirs };
        let mut limited = match self.version {
            Version::V1 => limit_v1(&cgroup, limits),
            Version::V2 => limit_v2(&cgroup, limits),
        };
        if limited.is_ok() && !limits.cores.is_empty() {
            limited = cgroup.run_on(&limits.cores);
        }
        if limited.is_err() {
            let _ = cgroup.remove();
        }
        limited.map(|()| cgroup)
    }

    /// Removes groups of this instance that nothing is in and that nobody is about to join.
    pub(crate) fn tidy(&self, parent: &str, instance: &str, now: SystemTime) {
        for root in self.roots.values() {
            let Ok(entries) = fs::read_dir(root.join(parent).join(instance)) else { continue };
            for entry in entries.filter_map(Result::ok) {
                let made = entry.metadata().and_then(|meta| meta.modified());
                let stale =
                    made.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > STALE));
                if stale {
                    // The kernel refuses while something is in it.
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }
}

/// Makes a group below another one. In version 1 nobody runs on no cores and no memory, which is what a new group has.
fn step(dir: &Path, name: &str, controller: &str) -> io::Result<PathBuf> {
    let below = dir.join(name);
    make(&below)?;
    if controller == CORES {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let all = fs::read_to_string(dir.join(file))?;
            let has = fs::read_to_string(below.join(file)).unwrap_or_default();
            if has.trim().is_empty() {
                fs::write(below.join(file), all.trim())?;
            }
        }
    }
    Ok(below)
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Lets groups below this one have controllers.
fn hand_down(dir: &Path) -> io::Result<()> {
    let file = dir.join("cgroup.subtree_control");
    let has = fs::read_to_string(&file).unwrap_or_default();
    let offered = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let cores = offered.split_whitespace().any(|one| one == CORES).then_some(&CORES);
    let wanted: Vec<String> = UNIFIED
        .iter()
        .chain(cores)
        .filter(|one| !has.split_whitespace().any(|there| there == **one))
        .map(|one| format!("+{one}"))
        .collect();
    if wanted.is_empty() { Ok(()) } else { fs::write(file, wanted.join(" ")) }
}

fn set(cgroup: &Cgroup, controller: &str, file: &str, value: impl ToString) -> io::Result<()> {
    let Some(path) = cgroup.file(controller, file) else { return Ok(()) };
    fs::write(&path, value.to_string())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A limit that older or smaller kernels do not have.
fn set_if_there(cgroup: &Cgroup, controller: &str, file: &str, value: impl ToString) {
    if cgroup.file(controller, file).is_some_and(|path| path.exists()) {
        let _ = set(cgroup, controller, file, value);
    }
}

fn limit_v1(cgroup: &Cgroup, limits: &Limits) -> io::Result<()> {
    set(cgroup, "cpu", "cpu.shares", limits.cpu_shares.clamp(2, 262_144))?;
    if let Some(memory) = limits.memory {
        set(cgroup, "memory", "memory.limit_in_bytes", memory)?;
        // Without accounting of swap there is no such file.
        set_if_there(cgroup, "memory", "memory.memsw.limit_in_bytes", memory);
    }
    if let Some(soft) = limits.memory_soft {
        set(cgroup, "memory", "memory.soft_limit_in_bytes", soft)?;
    }
    if let Some(processes) = limits.processes {
        set(cgroup, "pids", "pids.max", processes)?;
    }
    Ok(())
}

fn limit_v2(cgroup: &Cgroup, limits: &Limits) -> io::Result<()> {
    set(cgroup, "", "cpu.weight", weight(limits.cpu_shares))?;
    if let Some(memory) = limits.memory {
        set(cgroup, "", "memory.max", memory)?;
        set_if_there(cgroup, "", "memory.swap.max", 0);
    }
    if let Some(soft) = limits.memory_soft {
        set(cgroup, "", "memory.low", soft)?;
    }
    if let Some(processes) = limits.processes {
        set(cgroup, "", "pids.max", processes)?;
    }
    // A task that lost one of its processes to the kernel is not the task that was asked for.
    set_if_there(cgroup, "", "memory.oom.group", 1);
    Ok(())
}

/// Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000), the way the OCI runtimes do it.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn both_versions_are_found() {
        let v1 = Hierarchy::parse(V1, |_| String::new()).expect("version 1");
        assert_eq!(v1.version(), "v1");
        assert_eq!(v1.roots["cpuacct"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        let v2 = "35 30 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
        let found = Hierarchy::parse(v2, |_| "cpuset cpu io memory pids".into());
        assert_eq!(found.expect("version 2").version(), "v2");
        let problem = Hierarchy::parse(v2, |_| "cpu pids".into()).expect_err("no memory");
        assert!(problem.contains("`cpu` is not mounted"), "{problem}");
    }

    #[test]
    fn a_group_has_its_limits_and_goes_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = Limits {
            cpu_shares: 500,
            memory: Some(1 << 20),
            memory_soft: Some(1 << 19),
            processes: Some(9),
            cores: Vec::new(),
        };
        let roots = [("unified".to_owned(), dir.path().to_owned())].into();
        let v2 = Hierarchy { version: Version::V2, roots };
        let group = v2.create("herder", "n1", "a.web", &limits).expect("made");
        let at = dir.path().join("herder/n1/a.web");
        let read = |file: &str| fs::read_to_string(at.join(file)).expect("is there");
        assert_eq!(read("memory.max"), "1048576");
        assert_eq!(read("memory.low"), "524288");
        assert_eq!((read("pids.max"), read("cpu.weight")), ("9".into(), "19".into()));
        let handed = fs::read_to_string(dir.path().join("herder/cgroup.subtree_control"));
        assert_eq!(handed.expect("is there"), "+cpu +memory +pids");
        assert_eq!(group.processes().expect("gone is empty"), Vec::<i32>::new());

        let roots = CONTROLLERS.map(|one| (one.to_owned(), dir.path().join(one)));
        for (_, root) in &roots {
            fs::create_dir(root).expect("made");
        }
        let v1 = Hierarchy { version: Version::V1, roots: roots.into() };
        v1.create("herder", "n1", "a.web", &limits).expect("made");
        let read = |file: &str| {
            let place = dir.path().join(file.split('.').next().expect("a name"));
            fs::read_to_string(place.join("herder/n1/a.web").join(file)).expect("is there")
        };
        assert_eq!((read("cpu.shares"), read("pids.max")), ("500".into(), "9".into()));
        assert_eq!(read("memory.limit_in_bytes"), "1048576");
    }

    #[test]
    fn a_group_runs_on_its_cores() {
        let dir = tempfile::tempdir().expect("a directory");
        let all = CONTROLLERS.iter().chain([&CORES]);
        let roots: BTreeMap<String, PathBuf> =
            all.map(|one| ((*one).to_owned(), dir.path().join(one))).collect();
        for root in roots.values() {
            fs::create_dir(root).expect("made");
        }
        let top = dir.path().join(CORES);
        fs::write(top.join("cpuset.cpus"), "0-7\n").expect("written");
        fs::write(top.join("cpuset.mems"), "0\n").expect("written");
        let v1 = Hierarchy { version: Version::V1, roots };
        let read = |file: &str| fs::read_to_string(top.join(file)).expect("is there");
        let limits = Limits { cores: vec![2, 3, 5], ..Limits::default() };
        let group = v1.create("herder", "n1", "a.web", &limits).expect("made");
        assert_eq!(read("herder/n1/cpuset.cpus"), "0-7");
        assert_eq!(read("herder/n1/a.web/cpuset.cpus"), "2-3,5");
        assert_eq!(read("herder/n1/a.web/cpuset.mems"), "0");
        group.run_on(&[1]).expect("moved");
        assert_eq!(read("herder/n1/a.web/cpuset.cpus"), "1");
        v1.create("herder", "n1", "b.web", &Limits::default()).expect("made");
        assert_eq!(read("herder/n1/b.web/cpuset.cpus"), "0-7");
    }

    #[test]
    fn weights_span_their_range() {
        assert_eq!((weight(0), weight(2), weight(1024), weight(u64::MAX)), (1, 1, 39, 10_000));
    }
}
