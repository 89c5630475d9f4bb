//! What of the node's hardware a task gets: cores and devices that placement gave it, cores that it shares with others,
//! and as much memory as the cluster allows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use driver::Hardware;
use model::{Allocation, Node, NodeDevice, NodeResources, Task, TaskGrant};

/// What programs need beside an NVIDIA GPU, where it is there.
const NVIDIA_COMPANIONS: [&str; 4] =
    ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];

/// The key of a container's settings that says where it runs.
const CPUSET: &str = "cpuset_cpus";

/// The task with what it may really use: whole cores in MHz, and `memory_max` only where the cluster allows more memory
/// than placement counts.
pub(crate) fn allowed(task: &Task, alloc: &Allocation, node: &Node, oversubscribes: bool) -> Task {
    let mut task = task.clone();
    if let Some(grant) = grant(alloc, &task).filter(|grant| !grant.cores.is_empty()) {
        task.resources.cpu = grant.cores.len() as u64 * node.resources.core_mhz();
    }
    if !oversubscribes {
        task.resources.memory_max_mb = 0;
    }
    task
}

/// What the task is given. `devices` are the node's, as they are now.
///
/// # Errors
/// In words, when it was given a device that is not here.
pub(crate) fn hardware(
    task: &Task,
    alloc: &Allocation,
    node: &Node,
    kept: &BTreeSet<u16>,
    devices: &[NodeDevice],
) -> Result<Hardware, String> {
    let none = TaskGrant::default();
    let grant = grant(alloc, task).unwrap_or(&none);
    let alone = !grant.cores.is_empty();
    let cores = match alone {
        true => grant.cores.clone(),
        false if shares(task, alloc) && is_narrowed(node, kept) => shared(&node.resources, kept),
        false => Vec::new(),
    };
    Ok(Hardware { cores, alone, devices: files(grant, devices)? })
}

/// Whether the task runs on whatever cores the others leave.
pub(crate) fn shares(task: &Task, alloc: &Allocation) -> bool {
    let has_own = grant(alloc, task).is_some_and(|grant| !grant.cores.is_empty());
    // A file that names cores knows why.
    !has_own && !task.config.contains_key(CPUSET)
}

/// The cores that are some task's alone.
pub(crate) fn kept<'a>(allocs: impl IntoIterator<Item = &'a Allocation>) -> BTreeSet<u16> {
    let live = allocs.into_iter().filter(|alloc| !alloc.client.is_terminal());
    live.flat_map(|alloc| alloc.resources.tasks.values())
        .flat_map(|grant| grant.cores.iter().copied())
        .collect()
}

/// The cores for all who have none of their own. A task that nothing is left for runs beside those who have theirs.
pub(crate) fn shared(node: &NodeResources, kept: &BTreeSet<u16>) -> Vec<u16> {
    let left: Vec<u16> = node.cores.iter().copied().filter(|core| !kept.contains(core)).collect();
    if left.is_empty() { node.cores.clone() } else { left }
}

/// Whether tasks that share may not run just anywhere.
pub(crate) fn is_narrowed(node: &Node, kept: &BTreeSet<u16>) -> bool {
    let all = node.attributes.get("cpu.numcores").and_then(|count| count.parse().ok());
    !kept.is_empty() || all.is_some_and(|all: usize| node.resources.cores.len() < all)
}

fn grant<'a>(alloc: &'a Allocation, task: &Task) -> Option<&'a TaskGrant> {
    alloc.resources.tasks.get(&task.name)
}

fn path_of<'a>(devices: &'a [NodeDevice], make: &model::DeviceGrant, id: &str) -> Option<&'a str> {
    let same = |one: &&NodeDevice| {
        (&one.vendor, &one.kind, &one.name) == (&make.vendor, &make.kind, &make.name)
    };
    let mut instances = devices.iter().filter(same).flat_map(|one| &one.instances);
    instances.find(|one| one.id == id).map(|one| one.path.as_str())
}

fn files(grant: &TaskGrant, devices: &[NodeDevice]) -> Result<Vec<PathBuf>, String> {
    let mut files = BTreeSet::new();
    for make in &grant.devices {
        for id in &make.ids {
            let path = path_of(devices, make, id).ok_or_else(|| {
                format!(
                    "device {}/{}/{} `{id}` was given to the task, but is not on this node now",
                    make.vendor, make.kind, make.name
                )
            })?;
            if !path.is_empty() {
                files.insert(PathBuf::from(path));
            }
        }
        if is_nvidia(make) {
            let there = NVIDIA_COMPANIONS.iter().map(Path::new).filter(|path| path.exists());
            files.extend(there.map(Path::to_owned));
        }
    }
    Ok(files.into_iter().collect())
}

fn is_nvidia(make: &model::DeviceGrant) -> bool {
    make.vendor == "nvidia" && make.kind == "gpu"
}

/// How a task learns of its devices: NVIDIA's are named as NVIDIA's tools expect, others by their files.
pub(crate) fn variables(alloc: &Allocation, task: &Task, node: &Node) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let given = grant(alloc, task).map_or(&[][..], |grant| &grant.devices);
    for make in given {
        let (name, values): (String, Vec<&str>) = if is_nvidia(make) {
            ("NVIDIA_VISIBLE_DEVICES".to_owned(), make.ids.iter().map(String::as_str).collect())
        } else {
            let known = &node.resources.devices;
            // One that came after the agent started is named by its file, if it has no other name.
            let file = |id| path_of(known, make, id).filter(|path| !path.is_empty()).unwrap_or(id);
            let kind =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            let name = format!("HERDER_DEVICE_{}", make.kind.chars().map(kind).collect::<String>());
            (name, make.ids.iter().map(|id| file(id)).collect())
        };
        let values = values.join(",");
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = format!("{known},{values}"),
            None => variables.push((name, values)),
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use model::{AllocResources, ClientStatus, DeviceGrant, DeviceInstance};

    use super::*;

    fn node() -> Node {
        let instance = |id: &str, path: &str| DeviceInstance {
            id: id.into(),
            healthy: true,
            path: path.into(),
        };
        let device = |vendor: &str, kind: &str, name: &str, instances| NodeDevice {
            vendor: vendor.into(),
            kind: kind.into(),
            name: name.into(),
            instances,
            ..NodeDevice::default()
        };
        let resources = NodeResources {
            cpu: 8000,
            cores: vec![0, 1, 2, 3],
            devices: vec![
                device("nvidia", "gpu", "T4", vec![instance("GPU-1", "/dev/nvidia0")]),
                device("acme", "serial-port", "x", vec![instance("a", "/dev/ttyA")]),
                device("other", "serial-port", "y", vec![instance("/dev/ttyB", "/dev/ttyB")]),
            ],
            ..NodeResources::default()
        };
        let attributes = [("cpu.numcores".to_owned(), "4".to_owned())].into();
        Node { resources, attributes, ..Node::default() }
    }

    fn alloc(grant: TaskGrant) -> Allocation {
        let tasks = [("web".to_owned(), grant)].into();
        let resources = AllocResources { tasks, ..AllocResources::default() };
        Allocation { resources, ..Allocation::default() }
    }

    fn task(name: &str) -> Task {
        let mut task = Task { name: name.into(), ..Task::default() };
        task.resources.memory_mb = 64;
        task.resources.memory_max_mb = 128;
        task
    }

    fn given(vendor: &str, kind: &str, name: &str, id: &str) -> DeviceGrant {
        DeviceGrant {
            vendor: vendor.into(),
            kind: kind.into(),
            name: name.into(),
            ids: vec![id.into()],
        }
    }

    #[test]
    fn memory_above_what_is_counted_is_the_clusters_to_allow() {
        let (node, alloc) = (node(), Allocation::default());
        let most = |oversubscribes| {
            allowed(&task("web"), &alloc, &node, oversubscribes).resources.memory_max_mb
        };
        assert_eq!((most(true), most(false)), (128, 0));
        let mut free = task("web");
        free.resources.memory_max_mb = -1;
        assert_eq!(allowed(&free, &alloc, &node, true).resources.memory_max_mb, -1);
        assert_eq!(allowed(&free, &alloc, &node, false).resources.memory_max_mb, 0);
    }

    #[test]
    fn cores_are_ones_own_or_those_that_are_left() {
        let node = node();
        let own = alloc(TaskGrant { cores: vec![2, 3], ..TaskGrant::default() });
        assert_eq!(allowed(&task("web"), &own, &node, true).resources.cpu, 4000);
        assert_eq!(allowed(&task("log"), &own, &node, true).resources.cpu, 100);
        let taken = kept([&own]);
        let of = |name: &str, kept: &BTreeSet<u16>| {
            let found = hardware(&task(name), &own, &node, kept, &[]).expect("fine");
            (found.cores, found.alone)
        };
        assert_eq!(of("web", &taken), (vec![2, 3], true));
        assert_eq!(of("log", &taken), (vec![0, 1], false));
        assert_eq!(of("log", &BTreeSet::new()), (vec![], false));
        assert_eq!(shared(&node.resources, &(0..4).collect()), [0, 1, 2, 3], "nobody is left out");
        let ended = Allocation { client: ClientStatus::Complete, ..own.clone() };
        assert!(kept([&ended]).is_empty());
        let mut pinned = task("log");
        pinned.config.insert(CPUSET.to_owned(), "0".into());
        assert!(
            !shares(&pinned, &own) && shares(&task("log"), &own) && !shares(&task("web"), &own)
        );
        // What is kept for the machine itself is nobody's.
        let mut small = node.clone();
        small.resources.cores = vec![1, 2, 3];
        let found = hardware(&task("log"), &own, &small, &BTreeSet::new(), &[]).expect("fine");
        assert_eq!(found.cores, [1, 2, 3]);
    }

    #[test]
    fn devices_are_found_by_what_was_given() {
        let node = node();
        let devices = vec![
            given("nvidia", "gpu", "T4", "GPU-1"),
            given("acme", "serial-port", "x", "a"),
            given("other", "serial-port", "y", "/dev/ttyB"),
        ];
        let alloc = alloc(TaskGrant { devices, ..TaskGrant::default() });
        let all = &node.resources.devices;
        let found = hardware(&task("web"), &alloc, &node, &BTreeSet::new(), all).expect("fine");
        for path in ["/dev/nvidia0", "/dev/ttyA", "/dev/ttyB"] {
            assert!(found.devices.iter().any(|one| one == Path::new(path)), "{path}");
        }
        let variables = variables(&alloc, &task("web"), &node);
        assert_eq!(
            variables,
            [
                ("NVIDIA_VISIBLE_DEVICES".to_owned(), "GPU-1".to_owned()),
                ("HERDER_DEVICE_SERIAL_PORT".to_owned(), "/dev/ttyA,/dev/ttyB".to_owned()),
            ]
        );
        let gone = hardware(&task("web"), &alloc, &node, &BTreeSet::new(), &[]);
        assert!(gone.expect_err("gone").contains("nvidia/gpu/T4 `GPU-1`"));
        let other = hardware(&task("log"), &alloc, &node, &BTreeSet::new(), &[]).expect("fine");
        assert!(other.devices.is_empty());
    }
}
