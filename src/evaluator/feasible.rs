//! Which nodes may run a group at all, whatever room they have.

mod affinity;
mod constraint;
mod device;
mod network;
mod version;

use model::{Group, Job, Node, VolumeRequest};

pub(crate) use affinity::Affinities;
pub(crate) use constraint::{Compiled, resolve};
pub(crate) use device::{Devices, grants};

use crate::volumes;

/// What a group asks of a node, ready to be checked against many: patterns are compiled once.
pub(crate) struct Demands {
    datacenters: Vec<String>,
    pool: String,
    drivers: Vec<String>,
    network: network::Demand,
    constraints: Vec<Compiled>,
    /// Host volumes that are the same for all allocations; those of each alone are looked at when it is placed.
    volumes: Vec<VolumeRequest>,
    /// `distinct_hosts` for the whole job, for the group.
    pub(crate) distinct_hosts: Option<Distinct>,
    /// The limits of `distinct_property`.
    pub(crate) distinct_properties: Vec<DistinctProperty>,
    /// Whether something that is asked for is unique to each node, so that nodes of one class may differ in it.
    escapes: bool,
}

/// Over which allocations something is distinct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distinct {
    /// Over the job's.
    Job,
    /// Over the group's.
    Group,
}

/// How many allocations may share a value of an attribute.
pub(crate) struct DistinctProperty {
    pub(crate) over: Distinct,
    pub(crate) attribute: String,
    pub(crate) limit: u32,
    pub(crate) text: String,
}

impl Demands {
    pub(crate) fn of(job: &Job, group: &Group) -> Self {
        let mut drivers: Vec<String> = group.tasks.iter().map(|task| task.driver.clone()).collect();
        drivers.sort();
        drivers.dedup();
        let mut demands = Self {
            datacenters: job.datacenters.clone(),
            pool: job.node_pool.clone(),
            drivers,
            network: network::Demand::of(group),
            constraints: Vec::new(),
            volumes: volumes::of_host(group).filter(|volume| !volume.per_alloc).cloned().collect(),
            distinct_hosts: None,
            distinct_properties: Vec::new(),
            escapes: false,
        };
        let of_job = job.constraints.iter().map(|constraint| (Distinct::Job, constraint));
        let of_group = group
            .constraints
            .iter()
            .chain(group.tasks.iter().flat_map(|task| &task.constraints))
            .map(|constraint| (Distinct::Group, constraint));
        for (over, constraint) in of_job.chain(of_group) {
            match constraint.operator.as_str() {
                "distinct_hosts" if constraint.value == "false" => {}
                // The job's is the stricter one.
                "distinct_hosts" if demands.distinct_hosts == Some(Distinct::Job) => {}
                "distinct_hosts" => demands.distinct_hosts = Some(over),
                "distinct_property" => demands.distinct_properties.push(DistinctProperty {
                    over,
                    attribute: constraint.attribute.clone(),
                    limit: constraint.value.trim().parse().unwrap_or(1),
                    text: constraint.to_string(),
                }),
                _ => {
                    let sides = [&constraint.attribute, &constraint.value];
                    demands.escapes |= sides.iter().any(|side| is_unique(side));
                    demands.constraints.push(Compiled::from(constraint));
                }
            }
        }
        demands
    }

    /// Whether nodes of one class may answer differently.
    pub(crate) const fn escapes_class(&self) -> bool {
        self.escapes
    }

    /// Whether the node lies where the job wants to be.
    pub(crate) fn located(&self, node: &Node) -> Result<(), String> {
        if !self.datacenters.is_empty()
            && !self.datacenters.iter().any(|glob| matches_glob(glob, &node.datacenter))
        {
            return Err(format!("datacenter {}", self.datacenters.join(", ")));
        }
        // `all` is the pool that every node is in.
        if !self.pool.is_empty() && self.pool != "all" && self.pool != node.pool {
            return Err(format!("node pool {}", self.pool));
        }
        Ok(())
    }

    /// Whether the node lies right and meets the constraints. What comes and goes with a driver's health is not asked:
    /// a hiccup of a driver moves nothing that runs.
    pub(crate) fn suits(&self, node: &Node) -> Result<(), String> {
        self.located(node)?;
        self.constraints
            .iter()
            .find(|constraint| !constraint.holds(node))
            .map_or(Ok(()), |constraint| Err(constraint.text.clone()))
    }

    /// Whether the group could be placed on the node now, given room.
    pub(crate) fn check(&self, node: &Node) -> Result<(), String> {
        self.located(node)?;
        for driver in &self.drivers {
            match node.drivers.get(driver) {
                Some(info) if info.detected && info.healthy => {}
                Some(info) if info.detected => return Err(format!("driver {driver} is unhealthy")),
                _ => return Err(format!("missing driver {driver}")),
            }
        }
        self.network.check(node)?;
        self.suits(node)?;
        self.volumes.iter().try_for_each(|volume| volumes::offered(volume, 0, node))
    }
}

/// Whether a text refers to what is unique to each node.
pub(crate) fn is_unique(text: &str) -> bool {
    text.contains("unique.")
}

/// `*` stands for any run of characters, `?` for one.
fn matches_glob(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                g += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    g = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    glob.iter().skip(g).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{node, service};

    #[test]
    fn globs_match_datacenters() {
        for (glob, text, matches) in [
            ("*", "dc1", true),
            ("dc*", "dc12", true),
            ("eu-?-1", "eu-a-1", true),
            ("*-1", "eu-a-2", false),
            ("dc1", "dc12", false),
            ("a*b*c", "axxbyyc", true),
        ] {
            assert_eq!(matches_glob(glob, text), matches, "{glob} {text}");
        }
    }

    #[test]
    fn a_node_needs_place_pool_and_drivers() {
        let job = service("a", 1);
        let group = &job.task_groups[0];
        let good = node(1);
        assert_eq!(Demands::of(&job, group).check(&good), Ok(()));

        let mut elsewhere = job.clone();
        elsewhere.datacenters = vec!["eu-*".into()];
        assert_eq!(Demands::of(&elsewhere, group).check(&good), Err("datacenter eu-*".into()));
        let mut pool = job.clone();
        pool.node_pool = "gpu".into();
        assert_eq!(Demands::of(&pool, group).check(&good), Err("node pool gpu".into()));

        let mut ill = good;
        ill.drivers.values_mut().for_each(|driver| driver.healthy = false);
        assert_eq!(
            Demands::of(&job, group).check(&ill),
            Err("driver raw_exec is unhealthy".into())
        );
        assert_eq!(Demands::of(&job, group).suits(&ill), Ok(()));
        ill.drivers.clear();
        assert_eq!(Demands::of(&job, group).check(&ill), Err("missing driver raw_exec".into()));
    }
}
