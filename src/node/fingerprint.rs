//! What this machine is and can give. Reads `/proc`, `/sys` and `/etc/os-release`; the texts are read by pure functions.

mod addresses;
mod devices;
mod texts;

pub use addresses::HostNetworkSettings;
pub use devices::{DeviceSettings, find_devices};

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driver::Driver;
use model::{DriverInfo, HostVolume, Node, NodeDevice, NodeId, NodeResources};

/// What the agent's configuration says of this node; the rest is found out.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Its identity; see [`load_or_create_node_id`].
    pub id: NodeId,
    /// Its name; the host's if empty.
    pub name: String,
    /// Datacenter; `dc1` by default.
    pub datacenter: String,
    /// Node pool; `default` by default.
    pub pool: String,
    /// Class, free text.
    pub class: String,
    /// The address to publish services with; the one that the default route uses if empty.
    pub address: String,
    /// Where its HTTP API answers.
    pub http_address: String,
    /// Herder's version.
    pub version: String,
    /// Free metadata.
    pub meta: BTreeMap<String, String>,
    /// The agent's data directory, whose disk is offered.
    pub data_dir: PathBuf,
    /// MHz over all cores; found out if `None`.
    pub cpu_total: Option<u64>,
    /// Megabytes of memory; found out if `None`.
    pub memory_total_mb: Option<u64>,
    /// MHz kept for the machine itself.
    pub reserved_cpu: u64,
    /// Megabytes of memory kept for the machine itself.
    pub reserved_memory_mb: u64,
    /// Megabytes of disk kept for the machine itself.
    pub reserved_disk_mb: u64,
    /// Dynamic ports; 20000 to 32000 by default.
    pub dynamic_ports: (u16, u16),
    /// Cores kept for the machine itself.
    pub reserved_cores: BTreeSet<u16>,
    /// Devices that tasks can be given, beside those that are found.
    pub devices: Vec<DeviceSettings>,
    /// Ports that are never given out.
    pub reserved_ports: Vec<u16>,
    /// Directories that job files may mount, by name.
    pub host_volumes: BTreeMap<String, HostVolume>,
    /// Further addresses that ports can be asked for at.
    pub host_networks: Vec<HostNetworkSettings>,
    /// The networks that this node can make; none if `None`.
    pub networks: Option<Arc<network::Networks>>,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            id: NodeId::default(),
            name: String::new(),
            datacenter: "dc1".into(),
            pool: "default".into(),
            class: String::new(),
            address: String::new(),
            http_address: String::new(),
            version: String::new(),
            meta: BTreeMap::new(),
            data_dir: PathBuf::new(),
            cpu_total: None,
            memory_total_mb: None,
            reserved_cpu: 0,
            reserved_memory_mb: 0,
            reserved_disk_mb: 0,
            reserved_cores: BTreeSet::new(),
            devices: Vec::new(),
            dynamic_ports: (20_000, 32_000),
            reserved_ports: Vec::new(),
            host_volumes: BTreeMap::new(),
            host_networks: Vec::new(),
            networks: None,
        }
    }
}

/// What is read from the machine, before it is understood.
#[derive(Clone, Debug, Default)]
struct Machine {
    cpuinfo: String,
    meminfo: String,
    os_release: String,
    kernel_version: String,
    hostname: String,
    /// The cores' highest frequency in kHz, where the system says it.
    max_khz: Option<u64>,
    /// Megabytes that are free where the data directory is.
    disk_free_mb: u64,
    /// Megabytes of that file system.
    disk_total_mb: u64,
    /// The address that the default route uses.
    address: String,
    /// All its addresses, each with its interface.
    addresses: Vec<(String, std::net::IpAddr)>,
    /// What it offers of networks.
    networks: BTreeMap<String, String>,
    /// The cores that the agent, and with it its tasks, may run on; empty where nobody knows.
    cores: BTreeSet<u16>,
    devices: Vec<NodeDevice>,
}

/// Looks at the machine and asks each driver. Never fails: what cannot be read is left out.
pub async fn fingerprint(settings: &NodeSettings, drivers: &[Arc<dyn Driver>]) -> Node {
    let (data_dir, networks) = (settings.data_dir.clone(), settings.networks.clone());
    let devices = settings.devices.clone();
    let machine = tokio::task::spawn_blocking(move || Machine {
        devices: find_devices(&devices),
        networks: networks.map(|networks| networks.attributes()).unwrap_or_default(),
        ..read_machine(&data_dir)
    })
    .await;
    let asked = drivers
        .iter()
        .map(|driver| async { (driver.name().to_owned(), driver.fingerprint().await) });
    let infos = futures_util::future::join_all(asked).await.into_iter().collect();
    assemble(settings, &machine.unwrap_or_default(), infos)
}

/// Reads the node's identity from the data directory, or makes one that stays.
///
/// # Errors
/// When the file cannot be read or written, or holds something else. It is never replaced: a node that changes its
/// identity loses its allocations.
pub fn load_or_create_node_id(data_dir: &Path) -> io::Result<NodeId> {
    let dir = data_dir.join("client");
    let path = dir.join("node-id");
    match fs::read_to_string(&path) {
        Ok(text) => {
            return text.trim().parse().map_err(|error| {
                let path = path.display();
                io::Error::new(io::ErrorKind::InvalidData, format!("{path}: {error}"))
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    store_node_id(&dir, NodeId::new(model::seeded_uuid(&[&seed])))
}

/// Gives a data directory that has no node ID yet the one that the node's key makes; the one that is there stays.
///
/// # Errors
/// When it cannot be read or written.
pub fn adopt_node_id(data_dir: &Path, id: NodeId) -> io::Result<NodeId> {
    let dir = data_dir.join("client");
    if dir.join("node-id").exists() {
        return load_or_create_node_id(data_dir);
    }
    store_node_id(&dir, id)
}

fn store_node_id(dir: &Path, id: NodeId) -> io::Result<NodeId> {
    fs::create_dir_all(dir)?;
    let fresh = dir.join("node-id.new");
    fs::write(&fresh, id.to_string())?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, dir.join("node-id"))?;
    fs::File::open(dir)?.sync_all()?;
    Ok(id)
}

fn read_machine(data_dir: &Path) -> Machine {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (disk_free_mb, disk_total_mb) = disk(data_dir).unwrap_or_default();
    Machine {
        cpuinfo: text("/proc/cpuinfo"),
        meminfo: text("/proc/meminfo"),
        os_release: text("/etc/os-release"),
        kernel_version: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        hostname: text("/proc/sys/kernel/hostname").trim().to_owned(),
        max_khz: text("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").trim().parse().ok(),
        disk_free_mb,
        disk_total_mb,
        address: own_address().unwrap_or_else(|| "127.0.0.1".into()),
        addresses: addresses::read(),
        networks: BTreeMap::new(),
        cores: own_cores(),
        devices: Vec::new(),
    }
}

/// The cores that this process may run on.
fn own_cores() -> BTreeSet<u16> {
    let Ok(set) = nix::sched::sched_getaffinity(nix::unistd::Pid::this()) else {
        return BTreeSet::new();
    };
    let count = u16::try_from(nix::sched::CpuSet::count()).unwrap_or(u16::MAX);
    (0..count).filter(|core| set.is_set(usize::from(*core)).unwrap_or(false)).collect()
}

fn disk(data_dir: &Path) -> Option<(u64, u64)> {
    // Before the first start the directory is not there; its nearest parent is on the same disk.
    let there = data_dir.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    let block = u128::from(stat.fragment_size());
    let megabytes =
        |blocks: u64| u64::try_from((u128::from(blocks) * block) >> 20).unwrap_or(u64::MAX);
    Some((megabytes(stat.blocks_available()), megabytes(stat.blocks())))
}

/// The address that this machine would speak to others with. Nothing is sent: connecting a datagram socket only looks
/// the route up. The address is of a range kept for documentation (RFC 5737).
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then(|| address.to_string())
}

/// MHz of one core.
fn per_core(machine: &Machine, cpu: &texts::Cpu) -> u64 {
    let mhz = machine.max_khz.map(|khz| khz / 1000).or(cpu.mhz).filter(|mhz| *mhz > 0);
    mhz.unwrap_or(1000)
}

/// How many cores tasks may run on.
fn usable_cores(machine: &Machine, cpu: &texts::Cpu) -> u64 {
    let own = machine.cores.len() as u64;
    if own == 0 { cpu.cores } else { own.min(cpu.cores.max(1)) }
}

/// MHz of the whole machine, as placement counts them unless the configuration gives another number. Reads a few files.
pub fn total_compute() -> u64 {
    let machine = read_machine(Path::new("/"));
    let cpu = texts::cpu(&machine.cpuinfo);
    per_core(&machine, &cpu) * usable_cores(&machine, &cpu)
}

fn assemble(
    settings: &NodeSettings,
    machine: &Machine,
    drivers: BTreeMap<String, DriverInfo>,
) -> Node {
    let cpu = texts::cpu(&machine.cpuinfo);
    let memory_bytes = texts::memory_bytes(&machine.meminfo);
    let per_core = per_core(machine, &cpu);
    let total_cpu = settings.cpu_total.unwrap_or_else(|| per_core * usable_cores(machine, &cpu));
    let cores: Vec<u16> = machine.cores.difference(&settings.reserved_cores).copied().collect();
    // Cores that are kept count for what they could do, and for no less than was said.
    let kept = (machine.cores.len() - cores.len()) as u64;
    let kept = total_cpu * kept / (machine.cores.len() as u64).max(1);
    let reserved_cpu = settings.reserved_cpu.max(kept);
    let memory_mb = settings.memory_total_mb.unwrap_or(memory_bytes >> 20);
    let pick = |given: &String, found: &String| {
        if given.is_empty() { found.clone() } else { given.clone() }
    };
    let name = pick(&settings.name, &machine.hostname);
    let address = pick(&settings.address, &machine.address);
    let os = texts::os_release(&machine.os_release);
    let mut attributes: BTreeMap<String, String> = [
        ("kernel.name", "linux".to_owned()),
        ("kernel.version", machine.kernel_version.clone()),
        ("os.name", os.name),
        ("os.version", os.version),
        ("cpu.arch", texts::go_arch(std::env::consts::ARCH).to_owned()),
        ("arch", texts::go_arch(std::env::consts::ARCH).to_owned()),
        ("cpu.numcores", cpu.cores.to_string()),
        ("cpu.reservablecores", cores.len().to_string()),
        ("cpu.modelname", cpu.model),
        ("cpu.frequency", per_core.to_string()),
        ("cpu.totalcompute", total_cpu.to_string()),
        ("memory.totalbytes", memory_bytes.to_string()),
        ("unique.hostname", machine.hostname.clone()),
        ("unique.network.ip-address", address.clone()),
        ("unique.storage.bytesfree", (machine.disk_free_mb << 20).to_string()),
        ("unique.storage.bytestotal", (machine.disk_total_mb << 20).to_string()),
        ("herder.version", settings.version.clone()),
        // Job files ask for a version of Nomad that knows what they use.
        ("nomad.version", "1.9.0".to_owned()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    attributes.extend(machine.networks.clone());
    for (driver, info) in &drivers {
        attributes.extend(info.attributes.clone());
        if info.detected && info.healthy {
            attributes.insert(format!("driver.{driver}"), "1".into());
        }
    }
    Node {
        id: settings.id,
        name,
        datacenter: settings.datacenter.clone(),
        pool: settings.pool.clone(),
        class: settings.class.clone(),
        address,
        http_address: settings.http_address.clone(),
        version: settings.version.clone(),
        attributes,
        meta: settings.meta.clone(),
        drivers,
        host_volumes: settings.host_volumes.clone(),
        resources: NodeResources {
            cpu: total_cpu.saturating_sub(reserved_cpu),
            memory_mb: memory_mb.saturating_sub(settings.reserved_memory_mb),
            disk_mb: machine.disk_free_mb.saturating_sub(settings.reserved_disk_mb),
            min_dynamic_port: settings.dynamic_ports.0,
            max_dynamic_port: settings.dynamic_ports.1,
            reserved_ports: settings.reserved_ports.clone(),
            host_networks: addresses::host_networks(&settings.host_networks, &machine.addresses),
            cores,
            devices: machine.devices.clone(),
        },
        ..Node::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeDriver;

    #[test]
    fn a_node_gives_what_is_not_reserved() {
        let machine = Machine {
            cpuinfo: "processor : 0\ncpu MHz : 2000.5\n\nprocessor : 1\ncpu MHz : 1800.0\n".into(),
            meminfo: "MemTotal:  2097152 kB\n".into(),
            hostname: "host-1".into(),
            disk_free_mb: 5000,
            address: "10.0.0.5".into(),
            ..Machine::default()
        };
        let settings =
            NodeSettings { reserved_cpu: 100, reserved_memory_mb: 48, ..NodeSettings::default() };
        let info = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
        let sick = DriverInfo { detected: true, healthy: false, ..DriverInfo::default() };
        let drivers = [("raw_exec".to_owned(), info), ("docker".to_owned(), sick)].into();
        let node = assemble(&settings, &machine, drivers);
        assert_eq!(node.name, "host-1");
        assert_eq!(node.address, "10.0.0.5");
        assert_eq!(node.resources.cpu, 3900);
        assert_eq!(node.resources.memory_mb, 2000);
        assert_eq!(node.resources.disk_mb, 5000);
        assert_eq!(node.attributes["driver.raw_exec"], "1");
        assert!(!node.attributes.contains_key("driver.docker"));
        assert_eq!(node.attributes["cpu.numcores"], "2");
    }

    #[test]
    fn cores_are_given_that_are_not_kept() {
        let machine = Machine {
            cpuinfo: "processor : 0\ncpu MHz : 2000\n\n".repeat(8),
            cores: (2..6).collect(),
            ..Machine::default()
        };
        let give = |kept: &[u16], cpu: u64, total: Option<u64>| {
            let settings = NodeSettings {
                reserved_cores: kept.iter().copied().collect(),
                reserved_cpu: cpu,
                cpu_total: total,
                ..NodeSettings::default()
            };
            let node = assemble(&settings, &machine, BTreeMap::new());
            assert_eq!(
                node.attributes["cpu.reservablecores"],
                node.resources.cores.len().to_string()
            );
            (node.resources.cores, node.resources.cpu)
        };
        assert_eq!(give(&[], 100, None), (vec![2, 3, 4, 5], 7900));
        assert_eq!(give(&[0, 2], 100, None), (vec![3, 4, 5], 6000));
        assert_eq!(give(&[2], 3000, None), (vec![3, 4, 5], 5000));
        assert_eq!(give(&[2, 3], 0, Some(1000)), (vec![4, 5], 500));
    }

    #[tokio::test]
    async fn this_machine_has_something_to_give() {
        let data = tempfile::tempdir().expect("a directory");
        let settings =
            NodeSettings { data_dir: data.path().join("not/yet"), ..NodeSettings::default() };
        let drivers: [Arc<dyn Driver>; 1] = [Arc::new(FakeDriver::default())];
        let node = fingerprint(&settings, &drivers).await;
        let resources = &node.resources;
        assert!(resources.cpu > 0 && resources.memory_mb > 0 && resources.disk_mb > 0);
        assert!(node.drivers.contains_key("fake"));
        assert!(!resources.cores.is_empty(), "it runs on some core");
    }

    #[test]
    fn the_identity_stays() {
        let data = tempfile::tempdir().expect("a directory");
        let id = load_or_create_node_id(data.path()).expect("an id");
        assert_eq!(load_or_create_node_id(data.path()).expect("an id"), id);
        fs::write(data.path().join("client/node-id"), "nonsense").expect("written");
        assert!(load_or_create_node_id(data.path()).is_err());
    }
}
