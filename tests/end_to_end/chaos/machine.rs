//! Everything of an agent that can be found on the machine, whoever started it and whoever knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::AllocId;

use crate::agent::{Agent, processes_in};
use crate::docker::docker;

/// A task, by its allocation and name.
pub(super) type Key = (AllocId, String);

/// What there is for one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Traces {
    /// The value of `RELEASE` in each process of the task, or in its container.
    pub(super) releases: Vec<String>,
    pub(super) shims: usize,
    pub(super) holders: usize,
    /// Names of the containers' states.
    pub(super) containers: Vec<String>,
    /// Trees in which it has a control group.
    pub(super) groups: usize,
    /// Whether the helper's files are there.
    pub(super) state_dir: bool,
    /// What is mounted in its directory, by name.
    pub(super) mounts: Vec<String>,
}

impl Traces {
    /// Whether nothing of it runs, or is kept by the kernel for something that runs.
    pub(super) fn is_still(&self) -> bool {
        let Self { releases, shims: 0, holders: 0, containers, groups: 0, .. } = self else {
            return false;
        };
        releases.is_empty() && containers.is_empty()
    }
}

/// The parts of a group's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) namespaces: usize,
    pub(super) records: usize,
    pub(super) leases: usize,
    /// Containers that hold it for Docker.
    pub(super) containers: usize,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) tasks: BTreeMap<Key, Traces>,
    /// Allocations that have a directory.
    pub(super) dirs: BTreeSet<AllocId>,
    /// Allocations that have a record.
    pub(super) records: BTreeSet<AllocId>,
    /// What there is of networks, for each allocation.
    pub(super) networks: BTreeMap<AllocId, Network>,
    /// Addresses that the firewall has rules for and nobody holds, and rules that are there twice.
    pub(super) rules: Vec<String>,
    /// Ports of the bridge.
    pub(super) links: usize,
    /// Trees of control groups.
    pub(super) trees: usize,
    /// Descriptors that the agent has open.
    pub(super) descriptors: usize,
    /// Children of the agent that nobody collected.
    pub(super) zombies: usize,
}

impl Machine {
    pub(super) fn look(agent: &Agent) -> Result<Self, String> {
        let data_dir = agent.data_dir();
        let info = fs::read(data_dir.join("agent.json")).map_err(|error| error.to_string())?;
        let info: serde_json::Value =
            serde_json::from_slice(&info).map_err(|error| error.to_string())?;
        let node = info["node_id"].as_str().ok_or("no node")?;
        let mut machine = Self::default();
        machine.look_at_processes(&data_dir)?;
        machine.look_at_containers(node)?;
        machine.look_at_groups(node)?;
        machine.look_at_files(&data_dir)?;
        machine.look_at_mounts(&data_dir)?;
        machine.look_at_networks(node, &data_dir)?;
        machine.look_at_agent(info["pid"].as_u64().ok_or("no pid")?);
        Ok(machine)
    }

    fn task(&mut self, alloc: AllocId, task: &str) -> &mut Traces {
        self.tasks.entry((alloc, task.to_owned())).or_default()
    }

    fn look_at_processes(&mut self, data_dir: &Path) -> Result<(), String> {
        let states = data_dir.join("client/shim");
        for pid in processes_in(data_dir) {
            let read = |name: &str| {
                let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let (environment, arguments, name) = (read("environ"), read("cmdline"), read("comm"));
            if arguments.contains("__task-shim\0run\0") {
                let dir = arguments.split('\0').nth(3).unwrap_or_default();
                let (alloc, task) =
                    place(&states, Path::new(dir)).ok_or_else(|| format!("a helper in {dir}"))?;
                let traces = self.task(alloc, &task);
                match name.trim() {
                    "herder-hold" => traces.holders += 1,
                    _ => traces.shims += 1,
                }
                continue;
            }
            let value = |name: &str| variable(environment.split('\0'), name);
            if let (Some(alloc), Some(task)) = (value("NOMAD_ALLOC_ID"), value("NOMAD_TASK_NAME")) {
                let alloc = alloc.parse().map_err(|_| format!("a process of `{alloc}`"))?;
                self.task(alloc, &task).releases.extend(value("RELEASE"));
            }
        }
        Ok(())
    }

    fn look_at_containers(&mut self, node: &str) -> Result<(), String> {
        let label = format!("label=herder.instance={node}");
        let format = "{{.ID}}|{{.State}}|{{.Label \"herder.alloc_id\"}}|{{.Label \"herder.task\"}}|{{.Label \"herder.network\"}}|";
        let listed = docker(&["ps", "-a", "--no-trunc", "--filter", &label, "--format", format]);
        for line in listed.unwrap_or_default().lines() {
            let words: Vec<&str> = line.split('|').collect();
            let [id, state, alloc, task, network, _] = words.as_slice() else {
                return Err(format!("a container without a task: {line}"));
            };
            if !network.is_empty() {
                let alloc = alloc.parse().map_err(|_| format!("a container of `{alloc}`"))?;
                self.networks.entry(alloc).or_default().containers += 1;
                continue;
            }
            let format = "{{range .Config.Env}}{{println .}}{{end}}";
            // One that went since is the next look's business.
            let Some(env) = docker(&["inspect", "--format", format, id]) else { continue };
            let alloc = alloc.parse().map_err(|_| format!("a container of `{alloc}`"))?;
            let traces = self.task(alloc, task);
            traces.containers.push((*state).to_owned());
            traces.releases.extend(variable(env.lines(), "RELEASE"));
        }
        Ok(())
    }

    fn look_at_groups(&mut self, node: &str) -> Result<(), String> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let below = fs::read_dir(&root).into_iter().flatten().flatten().map(|tree| tree.path());
        let mut trees = BTreeSet::new();
        for tree in below.chain([root]) {
            // Controllers that are mounted together are seen under several names.
            let Ok(tree) = tree.canonicalize() else { continue };
            if !trees.insert(tree.clone()) {
                continue;
            }
            let Ok(groups) = fs::read_dir(tree.join("herder.slice").join(node)) else { continue };
            self.trees += 1;
            for group in groups.flatten().filter(|group| group.path().is_dir()) {
                let name = group.file_name().to_string_lossy().into_owned();
                let (alloc, task) =
                    name.split_once('.').ok_or_else(|| format!("a group `{name}`"))?;
                let alloc = alloc.parse().map_err(|_| format!("a group `{name}`"))?;
                self.task(alloc, task).groups += 1;
            }
        }
        Ok(())
    }

    fn look_at_files(&mut self, data_dir: &Path) -> Result<(), String> {
        for (alloc, _) in entries(&data_dir.join("alloc")) {
            let alloc =
                alloc.parse().map_err(|_| format!("a directory {alloc} among allocations"))?;
            self.dirs.insert(alloc);
        }
        for (alloc, dir) in entries(&data_dir.join("client/shim")) {
            let alloc = alloc.parse().map_err(|_| format!("a directory {alloc} among states"))?;
            for (task, _) in entries(&dir) {
                self.task(alloc, &task).state_dir = true;
            }
        }
        for (name, _) in entries(&data_dir.join("client/allocs")) {
            // One that was being written when the agent was killed lies beside the one before it.
            let stem = name.strip_suffix(".json").or_else(|| name.strip_suffix(".new"));
            let alloc = stem.and_then(|alloc| alloc.parse().ok());
            self.records.insert(alloc.ok_or_else(|| format!("a record {name}"))?);
        }
        match entries(&data_dir.join("client/damaged")).first() {
            Some((name, _)) => Err(format!("a record was damaged: {name}")),
            None => Ok(()),
        }
    }

    fn look_at_mounts(&mut self, data_dir: &Path) -> Result<(), String> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        for point in mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new) {
            let Ok(inside) = point.strip_prefix(data_dir) else { continue };
            let (alloc, task) = place(&data_dir.join("alloc"), point)
                .ok_or_else(|| format!("a mount at {}", inside.display()))?;
            let name: PathBuf = inside.iter().skip(3).collect();
            self.task(alloc, &task).mounts.push(name.display().to_string());
        }
        Ok(())
    }

    fn look_at_networks(&mut self, node: &str, data_dir: &Path) -> Result<(), String> {
        let of = |name: &str| {
            let stem = name.split('.').next().unwrap_or_default();
            stem.parse::<AllocId>().map_err(|_| format!("a network `{name}`"))
        };
        for (name, _) in entries(&Path::new("/run/herder/netns").join(node)) {
            self.networks.entry(of(&name)?).or_default().namespaces += 1;
        }
        for (name, _) in entries(&data_dir.join("client/networks")) {
            // Beside each is the lock that its changes take turns with.
            let network = self.networks.entry(of(&name)?).or_default();
            network.records += usize::from(name.ends_with(".json"));
        }
        let bridge = bridge();
        let mut held = BTreeSet::new();
        for (address, file) in entries(&Path::new("/run/herder/ipam").join(&bridge)) {
            if address.parse::<std::net::Ipv4Addr>().is_err() {
                continue;
            }
            // One that is gone since is the next look's business.
            let Ok(text) = fs::read_to_string(file) else { continue };
            let alloc = text.get(..36).ok_or_else(|| format!("a lease of `{text}`"))?;
            self.networks.entry(of(alloc)?).or_default().leases += 1;
            held.insert(address);
        }
        for table in ["filter", "nat"] {
            let rules = Command::new("iptables").args(["-w", "-t", table, "-S"]).output();
            let rules = rules.map(|output| output.stdout).unwrap_or_default();
            let rules = String::from_utf8_lossy(&rules).into_owned();
            let mut once = BTreeSet::new();
            for rule in rules.lines().filter(|rule| rule.contains(&addresses())) {
                if !once.insert(rule) {
                    self.rules.push(format!("twice: {rule}"));
                }
            }
            for word in rules.split([' ', '\n', '/', ':']) {
                if word.starts_with(&addresses()) && !word.ends_with(".0") && !held.contains(word) {
                    self.rules.push(word.to_owned());
                }
            }
        }
        self.links = entries(&Path::new("/sys/class/net").join(bridge).join("brif")).len();
        Ok(())
    }

    fn look_at_agent(&mut self, pid: u64) {
        self.descriptors = entries(Path::new(&format!("/proc/{pid}/fd"))).len();
        for (process, _) in entries(Path::new("/proc")) {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let tail = stat.rsplit(')').next().unwrap_or_default();
            let mut fields = tail.split_ascii_whitespace();
            let is_dead = fields.next() == Some("Z");
            if is_dead && fields.next().and_then(|parent| parent.parse().ok()) == Some(pid) {
                self.zombies += 1;
            }
        }
    }
}

/// The bridge of this run's agent: the machine's firewall is everybody's.
pub(super) fn bridge() -> String {
    format!("hd-chaos-{}", std::process::id() % 250)
}

/// Takes away the bridge, the leases of its addresses, and what the firewall has of them.
pub(super) fn forget_bridge() {
    let _ = Command::new("ip").args(["link", "delete", &bridge()]).output();
    let _ = fs::remove_dir_all(Path::new("/run/herder/ipam").join(bridge()));
    for table in ["filter", "nat"] {
        let iptables = |arguments: &[&str]| {
            Command::new("iptables").args(["-w", "-t", table]).args(arguments).output()
        };
        let rules = iptables(&["-S"]).map(|output| output.stdout).unwrap_or_default();
        let rules = String::from_utf8_lossy(&rules).into_owned();
        for rule in rules.lines().filter(|rule| rule.contains(&addresses())) {
            let words = rule.strip_prefix("-A ").map(|rule| rule.split(' ')).into_iter().flatten();
            let _ = iptables(&[&["-D"], words.collect::<Vec<_>>().as_slice()].concat());
        }
    }
}

/// What its addresses begin with.
pub(super) fn addresses() -> String {
    format!("10.213.{}.", std::process::id() % 250)
}

/// The task whose directory holds a path.
fn place(states: &Path, path: &Path) -> Option<(AllocId, String)> {
    let mut parts = path.strip_prefix(states).ok()?.iter();
    let alloc = parts.next()?.to_str()?.parse().ok()?;
    Some((alloc, parts.next()?.to_str()?.to_owned()))
}

/// Names and paths in a directory; none if it is not there.
fn entries(dir: &Path) -> Vec<(String, PathBuf)> {
    let found = fs::read_dir(dir).into_iter().flatten().flatten();
    found.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

fn variable<'a>(mut variables: impl Iterator<Item = &'a str>, name: &str) -> Option<String> {
    variables.find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}
