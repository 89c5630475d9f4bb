//! Devices that tasks ask for: which of a node's makes will do, and which single ones a task gets (nomad.md 1.1).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use model::{DeviceGrant, DeviceRequest, Group, Node, NodeDevice, TaskGrant};
use state::{NodeLoad, device_make};

use super::constraint::order;
use super::{Affinities, Compiled};

/// What the tasks of a group ask for.
pub(crate) struct Devices(Vec<Asked>);

struct Asked {
    task: String,
    /// As it is written.
    name: String,
    count: usize,
    constraints: Vec<Compiled>,
    affinities: Option<Affinities>,
    /// Sum of the weights, for the mean over all that is asked for.
    weight: f64,
}

impl Devices {
    /// `None` where nothing is asked for.
    pub(crate) fn of(group: &Group) -> Option<Self> {
        let asked: Vec<Asked> = group
            .tasks
            .iter()
            .flat_map(|task| task.resources.devices.iter().map(move |request| (task, request)))
            .filter(|(_, request)| request.count > 0)
            .map(|(task, request)| Asked::of(&task.name, request))
            .collect();
        (!asked.is_empty()).then_some(Self(asked))
    }

    /// Whether any of it has affinities, which make some nodes better than others.
    pub(crate) fn have_affinities(&self) -> bool {
        self.0.iter().any(|asked| asked.affinities.is_some())
    }

    /// Whether the node has such devices at all, whoever uses them.
    pub(crate) fn check(&self, node: &Node) -> Result<(), String> {
        for asked in &self.0 {
            let there = node.resources.devices.iter().filter(|device| asked.accepts(device));
            if there.map(|device| device.instances.len()).sum::<usize>() < asked.count {
                return Err(format!("missing devices {}", asked.name));
            }
        }
        Ok(())
    }

    /// Gives each task its devices of those that are free; and how well they meet affinities, from −1 to 1. All of one
    /// request are of one make.
    pub(crate) fn choose(
        &self,
        node: &Node,
        load: &NodeLoad,
    ) -> Result<(Vec<(String, DeviceGrant)>, f64), String> {
        let mut given: Vec<(String, DeviceGrant)> = Vec::new();
        let (mut sum, mut weights) = (0.0, 0.0);
        for asked in &self.0 {
            let mut best: Option<(f64, DeviceGrant)> = None;
            for device in node.resources.devices.iter().filter(|device| asked.accepts(device)) {
                let Some(grant) = asked.take(device, load, &given) else { continue };
                let score = asked.score(device);
                if best.as_ref().is_none_or(|(known, _)| score > *known) {
                    best = Some((score, grant));
                }
            }
            let Some((score, grant)) = best else {
                return Err(format!("devices {}", asked.name));
            };
            sum += score * asked.weight;
            weights += asked.weight;
            given.push((asked.task.clone(), grant));
        }
        Ok((given, if weights > 0.0 { sum / weights } else { 0.0 }))
    }
}

impl Asked {
    fn of(task: &str, request: &DeviceRequest) -> Self {
        let constraints = request.constraints.iter();
        Self {
            task: task.to_owned(),
            name: request.name.clone(),
            count: usize::try_from(request.count).unwrap_or(usize::MAX),
            constraints: constraints.map(|one| Compiled::from(one).of_quantities()).collect(),
            affinities: Affinities::from(request.affinities.iter()).map(Affinities::of_quantities),
            weight: request.affinities.iter().map(|one| f64::from(one.weight).abs()).sum(),
        }
    }

    fn accepts(&self, device: &NodeDevice) -> bool {
        device.is(&self.name) && self.constraints.iter().all(|one| holds(one, device))
    }

    fn score(&self, device: &NodeDevice) -> f64 {
        self.affinities.as_ref().map_or(0.0, |all| all.sum(|one| holds(one, device)))
    }

    /// As many of a make as are asked for, of those that work and that nobody has.
    fn take(
        &self,
        device: &NodeDevice,
        load: &NodeLoad,
        given: &[(String, DeviceGrant)],
    ) -> Option<DeviceGrant> {
        let make = device_make(&device.vendor, &device.kind, &device.name);
        let is_free = |id: &str| {
            let same = |grant: &DeviceGrant| {
                grant.vendor == device.vendor
                    && grant.kind == device.kind
                    && grant.name == device.name
                    && grant.ids.iter().any(|known| known == id)
            };
            load.devices.binary_search(&(make.clone(), id.into())).is_err()
                && !given.iter().any(|(_, grant)| same(grant))
        };
        let free = device.instances.iter().filter(|one| one.healthy && is_free(&one.id));
        let ids: Vec<String> = free.take(self.count).map(|one| one.id.clone()).collect();
        (ids.len() == self.count).then(|| DeviceGrant {
            vendor: device.vendor.clone(),
            kind: device.kind.clone(),
            name: device.name.clone(),
            ids,
        })
    }
}

/// What single tasks get of a node for themselves alone, made of what was chosen for each.
pub(crate) fn grants(
    cores: Vec<(String, Vec<u16>)>,
    devices: Vec<(String, DeviceGrant)>,
) -> BTreeMap<String, TaskGrant> {
    let mut grants: BTreeMap<String, TaskGrant> = BTreeMap::new();
    for (task, cores) in cores {
        grants.entry(task).or_default().cores = cores;
    }
    for (task, device) in devices {
        grants.entry(task).or_default().devices.push(device);
    }
    grants
}

fn holds(condition: &Compiled, device: &NodeDevice) -> bool {
    let lookup = |name: &str| {
        Some(Cow::Borrowed(match name {
            "device.vendor" => device.vendor.as_str(),
            "device.type" => &device.kind,
            "device.model" => &device.name,
            "device.ids" => {
                let ids: Vec<&str> = device.instances.iter().map(|one| one.id.as_str()).collect();
                return Some(Cow::Owned(ids.join(",")));
            }
            other => device.attributes.get(other.strip_prefix("device.attr.")?)?,
        }))
    };
    condition.holds_where(lookup, compare)
}

/// Numbers with units of one kind order by what they amount to.
fn compare(left: &str, right: &str) -> Ordering {
    match quantity(left).zip(quantity(right)) {
        Some(((left, kind), (right, other))) if kind == other => left.total_cmp(&right),
        _ => order(left, right),
    }
}

/// What a number with a unit amounts to, in the smallest unit of its kind; and its kind.
pub(crate) fn quantity(text: &str) -> Option<(f64, &'static str)> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: f64 = number.parse().ok()?;
    let (factor, kind) = match unit.trim() {
        "" => (1.0, ""),
        "B" | "bytes" => (1.0, "B"),
        "KiB" => (1024.0, "B"),
        "MiB" => (1_048_576.0, "B"),
        "GiB" => (1_073_741_824.0, "B"),
        "TiB" => (1_099_511_627_776.0, "B"),
        "PiB" => (1_125_899_906_842_624.0, "B"),
        "kB" | "KB" => (1e3, "B"),
        "MB" => (1e6, "B"),
        "GB" => (1e9, "B"),
        "TB" => (1e12, "B"),
        "PB" => (1e15, "B"),
        "B/s" => (1.0, "B/s"),
        "KiB/s" => (1024.0, "B/s"),
        "MiB/s" => (1_048_576.0, "B/s"),
        "GiB/s" => (1_073_741_824.0, "B/s"),
        "kB/s" | "KB/s" => (1e3, "B/s"),
        "MB/s" => (1e6, "B/s"),
        "GB/s" => (1e9, "B/s"),
        "Hz" => (1.0, "Hz"),
        "kHz" => (1e3, "Hz"),
        "MHz" => (1e6, "Hz"),
        "GHz" => (1e9, "Hz"),
        "mW" => (1e-3, "W"),
        "W" => (1.0, "W"),
        "kW" => (1e3, "W"),
        "MW" => (1e6, "W"),
        "GW" => (1e9, "W"),
        _ => return None,
    };
    Some((number * factor, kind))
}

#[cfg(test)]
mod tests {
    use model::{Affinity, Constraint, DeviceInstance};

    use super::*;
    use crate::samples::{node, service};

    fn make(name: &str, memory: &str, ids: &[&str]) -> NodeDevice {
        let instance = |id: &&str| DeviceInstance {
            id: (*id).into(),
            healthy: !id.starts_with("ill"),
            ..DeviceInstance::default()
        };
        NodeDevice {
            vendor: "nvidia".into(),
            kind: "gpu".into(),
            name: name.into(),
            attributes: [("memory".to_owned(), memory.to_owned())].into(),
            instances: ids.iter().map(instance).collect(),
        }
    }

    fn asks(name: &str, count: u64, least: &str) -> Group {
        let mut group = service("a", 1).task_groups.remove(0);
        let constraints = if least.is_empty() {
            Vec::new()
        } else {
            vec![Constraint {
                attribute: "${device.attr.memory}".into(),
                operator: ">=".into(),
                value: least.into(),
            }]
        };
        let request =
            DeviceRequest { name: name.into(), count, constraints, ..DeviceRequest::default() };
        group.tasks[0].resources.devices = vec![request];
        group
    }

    #[test]
    fn a_task_gets_devices_of_one_make_that_work_and_are_free() {
        let mut node = node(1);
        node.resources.devices = vec![
            make("small", "8 GiB", &["a", "ill-b", "c"]),
            make("big", "24576 MiB", &["x", "y"]),
        ];
        let mut load = NodeLoad::default();
        let ids = |group: &Group, load: &NodeLoad| {
            let devices = Devices::of(group).expect("asks for some");
            devices.check(&node).and_then(|()| devices.choose(&node, load)).map(|(given, _)| {
                given.into_iter().flat_map(|(_, grant)| grant.ids).collect::<Vec<_>>()
            })
        };
        assert_eq!(ids(&asks("gpu", 2, ""), &load), Ok(vec!["a".into(), "c".into()]));
        assert_eq!(ids(&asks("gpu", 1, "23 GiB"), &load), Ok(vec!["x".into()]));
        assert_eq!(ids(&asks("amd/gpu", 1, ""), &load), Err("missing devices amd/gpu".to_owned()));
        assert_eq!(ids(&asks("gpu", 3, "23 GiB"), &load), Err("missing devices gpu".to_owned()));
        let taken = ["a", "x"].map(|id| {
            let make = if id == "a" { "small" } else { "big" };
            (device_make("nvidia", "gpu", make), id.into())
        });
        load.devices = taken.into();
        load.devices.sort();
        assert_eq!(ids(&asks("nvidia/gpu", 1, ""), &load), Ok(vec!["c".into()]));
        assert_eq!(ids(&asks("gpu", 2, ""), &load), Err("devices gpu".to_owned()));
    }

    #[test]
    fn the_better_make_is_taken() {
        let mut node = node(1);
        node.resources.devices =
            vec![make("small", "8 GiB", &["a"]), make("big", "24 GiB", &["x"])];
        let mut group = asks("gpu", 1, "");
        group.tasks[0].resources.devices[0].affinities = vec![Affinity {
            attribute: "${device.model}".into(),
            value: "big".into(),
            weight: 75,
            ..Affinity::default()
        }];
        let devices = Devices::of(&group).expect("asks for some");
        let (given, score) = devices.choose(&node, &NodeLoad::default()).expect("there are some");
        assert_eq!((given[0].1.ids.as_slice(), score), (&["x".to_owned()][..], 1.0));
    }

    #[test]
    fn units_are_understood() {
        for (left, right, order) in [
            ("11 GiB", "11264 MiB", Ordering::Equal),
            ("1GB", "1 GiB", Ordering::Less),
            ("2000 MHz", "1.5 GHz", Ordering::Greater),
            ("3", "20", Ordering::Less),
            ("abc", "abd", Ordering::Less),
        ] {
            assert_eq!(compare(left, right), order, "{left} {right}");
        }
        assert_eq!(quantity("1 parsec"), None);
    }
}
