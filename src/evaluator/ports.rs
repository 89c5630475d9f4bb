//! Ports of a node: fixed ones, and dynamic ones that are spread over the node's range.

use std::collections::BTreeSet;

use model::{Network, Node, PortAssignment};
use state::{NodeLoad, PortUse};

use crate::rank::mix;

/// Nomad's range, for nodes that name none.
const DEFAULT_RANGE: (u16, u16) = (20_000, 32_000);

/// One address of a node, and what is kept there for others.
struct At<'a> {
    address: &'a str,
    /// Whether it is the node's own, under whatever name.
    own: bool,
    reserved: [&'a [u16]; 2],
}

impl At<'_> {
    fn of<'a>(node: &'a Node, network: Option<&str>) -> Option<At<'a>> {
        let resources = &node.resources;
        let Some(name) = network else {
            return Some(At {
                address: &node.address,
                own: true,
                reserved: [&resources.reserved_ports, &[]],
            });
        };
        let network = node.host_network(name)?;
        let own = network.address == node.address;
        let of_node: &[u16] = if own { &resources.reserved_ports } else { &[] };
        Some(At { address: &network.address, own, reserved: [of_node, &network.reserved_ports] })
    }

    fn is_reserved(&self, port: u16) -> bool {
        self.reserved.iter().any(|ports| ports.contains(&port))
    }
}

/// The ports of a node, and those of them that are given away.
#[derive(Clone, Copy)]
pub(crate) struct Ports<'a> {
    pub(crate) node: &'a Node,
    pub(crate) load: &'a NodeLoad,
}

/// What is given away at one address. The node's own may have a second name.
struct Given<'a>([Option<&'a PortUse>; 2]);

impl Given<'_> {
    fn holds(&self, port: u16) -> bool {
        self.0.iter().flatten().any(|ports| ports.taken.binary_search(&port).is_ok())
    }

    /// Held until lately. Given away again only when nothing else is left: a client may still believe that the old
    /// instance is there.
    fn wears(&self, port: u16) -> bool {
        self.0.iter().flatten().any(|ports| ports.worn.binary_search(&port).is_ok())
    }

    fn taken(&self) -> impl Iterator<Item = u16> {
        self.0.iter().flatten().flat_map(|ports| ports.taken.iter().copied())
    }
}

impl<'a> Ports<'a> {
    fn given(&self, at: &At<'_>) -> Given<'a> {
        let load = self.load;
        Given([at.own.then_some(&load.ports), load.elsewhere.get(at.address)])
    }

    /// How many dynamic ports are left at the node's own address, at least.
    pub(crate) fn surely_left(&self) -> u32 {
        let (first, last) = range(self.node);
        let Some(at) = At::of(self.node, None) else { return 0 };
        let taken: usize = self.given(&at).0.iter().flatten().map(|ports| ports.taken.len()).sum();
        let reserved: usize = at.reserved.iter().map(|ports| ports.len()).sum();
        (usize::from(last - first) + 1).saturating_sub(taken + reserved) as u32
    }

    /// Whether all ports that `network` asks for could be had; otherwise what is missing.
    pub(crate) fn fits(&self, network: &Network) -> Result<(), String> {
        let node = self.node;
        if network.reserved_ports.is_empty()
            && network.dynamic_ports.iter().all(|port| port.network().is_none())
            && let Some(at) = At::of(node, None)
        {
            return self.has_room(network, &at, network.dynamic_ports.len());
        }
        let missing = |name: &str| format!("network: no host network {name}");
        for port in &network.reserved_ports {
            let name = port.network();
            let at = At::of(node, name).ok_or_else(|| missing(name.unwrap_or_default()))?;
            let held = self.given(&at).holds(port.value);
            if at.is_reserved(port.value) || held && !port.ignore_collision {
                return Err(format!("network: port {} is taken", port.value));
            }
        }
        // Each address on its own, though mostly there is but one.
        let mut asked: Vec<(Option<&str>, usize)> = Vec::new();
        for port in &network.dynamic_ports {
            match asked.iter_mut().find(|(name, _)| *name == port.network()) {
                Some((_, count)) => *count += 1,
                None => asked.push((port.network(), 1)),
            }
        }
        for (name, count) in asked {
            let at = At::of(node, name).ok_or_else(|| missing(name.unwrap_or_default()))?;
            // What is asked for at the same address under another name needs room too.
            let others = network.dynamic_ports.iter().filter(|port| {
                port.network() != name
                    && At::of(node, port.network()).is_some_and(|other| other.address == at.address)
            });
            self.has_room(network, &at, count + others.count())?;
        }
        Ok(())
    }

    /// Whether `count` dynamic ports are left at an address.
    fn has_room(&self, network: &Network, at: &At<'_>, count: usize) -> Result<(), String> {
        let (first, last) = range(self.node);
        let given = self.given(at);
        let reserved = at.reserved.iter().map(|ports| ports.len()).sum::<usize>();
        // Mostly the range is far from full, and nobody has to look which ports lie in it.
        let taken: usize = given.0.iter().flatten().map(|ports| ports.taken.len()).sum();
        if taken + reserved + network.reserved_ports.len() + count <= usize::from(last - first) {
            return Ok(());
        }
        let inside = |port: &u16| (first..=last).contains(port);
        let mut blocked: BTreeSet<u16> =
            at.reserved.iter().flat_map(|ports| ports.iter()).copied().filter(inside).collect();
        blocked.extend(given.taken().filter(inside));
        blocked.extend(network.reserved_ports.iter().map(|port| port.value).filter(inside));
        let all = usize::from(last - first) + 1;
        if all - blocked.len() < count {
            return Err("network: dynamic ports".to_owned());
        }
        Ok(())
    }

    /// Chooses ports for `network`, which must fit. The search starts at a point that follows from the seed.
    pub(crate) fn choose(&self, network: &Network, seed: u64) -> Vec<PortAssignment> {
        let (first, last) = range(self.node);
        let span = u64::from(last - first) + 1;
        let mut out: Vec<PortAssignment> = Vec::with_capacity(network.ports().count());
        for (index, port) in network.ports().enumerate() {
            let Some(at) = At::of(self.node, port.network()) else { continue };
            let value = if index < network.reserved_ports.len() {
                port.value
            } else {
                let given = self.given(&at);
                let start = mix(seed ^ mix(index as u64)) % span;
                let chosen = |port: u16| {
                    out.iter().any(|known| known.value == port && *known.host_ip == *at.address)
                        || network.reserved_ports.iter().any(|fixed| fixed.value == port)
                };
                let candidates = || {
                    (0..span)
                        .map(|step| first + ((start + step) % span) as u16)
                        .filter(|port| !given.holds(*port) && !at.is_reserved(*port))
                        .filter(|port| !chosen(*port))
                };
                let fresh = candidates().find(|port| !given.wears(*port));
                let Some(value) = fresh.or_else(|| candidates().next()) else { continue };
                value
            };
            out.push(PortAssignment {
                label: port.label.as_str().into(),
                value,
                to: port.inner().unwrap_or(value),
                host_ip: at.address.into(),
                host_network: port.network().map(Into::into),
            });
        }
        out
    }
}

fn range(node: &Node) -> (u16, u16) {
    let (first, last) = (node.resources.min_dynamic_port, node.resources.max_dynamic_port);
    if first == 0 || last < first { DEFAULT_RANGE } else { (first, last) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AllocResources, Port};

    /// A load that grows as ports are given away.
    #[derive(Default)]
    struct Held(NodeLoad);

    impl Held {
        fn fits(&self, node: &Node, network: &Network) -> Result<(), String> {
            Ports { node, load: &self.0 }.fits(network)
        }

        fn assign(&mut self, node: &Node, network: &Network, seed: u64) -> Vec<PortAssignment> {
            let ports = Ports { node, load: &self.0 }.choose(network, seed);
            self.0.hold(&AllocResources { ports: ports.clone(), ..AllocResources::default() });
            ports
        }

        fn without(&self, ports: &[PortAssignment]) -> Self {
            let mut load = self.0.clone();
            load.release(&AllocResources { ports: ports.to_vec(), ..AllocResources::default() });
            Self(load)
        }
    }

    fn network(fixed: &[u16], dynamic: usize) -> Network {
        let port = |value: u16| Port { label: format!("p{value}"), value, ..Port::default() };
        Network {
            reserved_ports: fixed.iter().copied().map(port).collect(),
            dynamic_ports: (0..dynamic)
                .map(|i| Port { label: format!("d{i}"), to: 80, ..Port::default() })
                .collect(),
            ..Network::default()
        }
    }

    fn narrow() -> Node {
        let mut node = Node::default();
        node.resources.min_dynamic_port = 100;
        node.resources.max_dynamic_port = 103;
        node.resources.reserved_ports = vec![100, 22];
        node
    }

    #[test]
    fn dynamic_ports_skip_what_is_held() {
        let node = narrow();
        let mut ports = Held::default();
        let given = ports.assign(&node, &network(&[101], 2), 7);
        let mut values: Vec<u16> = given.iter().map(|port| port.value).collect();
        values.sort_unstable();
        assert_eq!(values, [101, 102, 103]);
        assert_eq!(given[0].to, 101);
        assert_eq!(given[1].to, 80);
        assert_eq!(ports.fits(&node, &network(&[], 1)), Err("network: dynamic ports".to_owned()));
        assert_eq!(
            ports.fits(&node, &network(&[22], 0)),
            Err("network: port 22 is taken".to_owned())
        );
        assert!(ports.without(&given).fits(&node, &network(&[101], 2)).is_ok());
    }

    #[test]
    fn worn_ports_come_last() {
        let node = narrow();
        for seed in 0..20 {
            let mut ports = Held::default();
            ports.0.ports.worn = vec![101, 102];
            assert_eq!(ports.assign(&node, &network(&[], 1), seed)[0].value, 103, "seed {seed}");
            assert_eq!(ports.assign(&node, &network(&[], 1), seed).len(), 1, "a worn one is left");
        }
    }

    fn two_addresses() -> Node {
        let mut node = narrow();
        node.address = "10.0.0.1".into();
        let network = |name: &str, address: &str, reserved: &[u16]| model::HostNetwork {
            name: name.into(),
            address: address.into(),
            reserved_ports: reserved.to_vec(),
        };
        node.resources.host_networks =
            vec![network("public", "1.2.3.4", &[101]), network("same", "10.0.0.1", &[102])];
        node
    }

    fn at(network: &str, label: &str, value: u16) -> Port {
        Port { label: label.into(), value, host_network: network.into(), ..Port::default() }
    }

    #[test]
    fn each_host_network_has_its_own_ports() {
        let node = two_addresses();
        let asked = |ports: &[Port]| Network {
            reserved_ports: ports.iter().filter(|port| port.value > 0).cloned().collect(),
            dynamic_ports: ports.iter().filter(|port| port.value == 0).cloned().collect(),
            ..Network::default()
        };
        let mut ports = Held::default();
        let both = asked(&[at("", "own", 80), at("public", "out", 80)]);
        assert_eq!(ports.fits(&node, &both), Ok(()));
        let given = ports.assign(&node, &both, 1);
        assert_eq!((&*given[0].host_ip, &*given[1].host_ip), ("10.0.0.1", "1.2.3.4"));
        assert_eq!(given[1].host_network.as_deref(), Some("public"));
        let taken = |port: &str| Err(format!("network: port {port} is taken"));
        for (network, port, expected) in [
            ("public", 80, taken("80")),
            ("default", 80, taken("80")),
            // Another name of the node's own address.
            ("same", 80, taken("80")),
            ("public", 22, Ok(())),
            ("same", 22, taken("22")),
            ("public", 101, taken("101")),
            ("none", 81, Err("network: no host network none".to_owned())),
        ] {
            assert_eq!(
                ports.fits(&node, &asked(&[at(network, "x", port)])),
                expected,
                "{network} {port}"
            );
        }
        let shared = Port { ignore_collision: true, ..at("", "x", 80) };
        assert_eq!(ports.fits(&node, &asked(&[shared])), Ok(()), "collisions that are wished for");
        // 100 to 103: 100 is the node's, 101 is the public network's, 102 is the one's of two names.
        let dynamic = |name: &str, count: usize| {
            asked(&(0..count).map(|n| at(name, &format!("d{n}"), 0)).collect::<Vec<_>>())
        };
        assert_eq!(ports.fits(&node, &dynamic("public", 3)), Ok(()));
        assert_eq!(
            ports.fits(&node, &dynamic("public", 4)),
            Err("network: dynamic ports".to_owned())
        );
        assert_eq!(
            ports.fits(&node, &dynamic("same", 3)),
            Err("network: dynamic ports".to_owned())
        );
        assert!(ports.without(&given).fits(&node, &both).is_ok());
    }

    proptest::proptest! {
        /// Whatever is asked for in whatever order: an address gives each port once, none that is reserved, and what was
        /// said to fit is given in full.
        #[test]
        fn no_port_is_given_twice_at_an_address(
            asks in proptest::collection::vec(
                proptest::collection::vec((0..4_usize, 0..6_u16), 1..4), 1..8),
            seed in proptest::num::u64::ANY,
        ) {
            let node = two_addresses();
            let mut ports = Held::default();
            let mut given = BTreeSet::new();
            for ask in asks {
                let named: Vec<Port> = ask
                    .iter()
                    .enumerate()
                    .map(|(n, (network, value))| {
                        let value = if *value == 0 { 0 } else { 100 + value };
                        at(["", "default", "public", "same"][*network], &format!("p{n}"), value)
                    })
                    .collect();
                let (reserved_ports, dynamic_ports): (Vec<_>, Vec<_>) =
                    named.into_iter().partition(|port| port.value > 0);
                let mut fixed = BTreeSet::new();
                let twice = reserved_ports.iter().any(|port| {
                    !fixed.insert((port.value, At::of(&node, port.network()).expect("is there").address))
                });
                let network = Network { reserved_ports, dynamic_ports, ..Network::default() };
                // The job file's own check.
                if twice || ports.fits(&node, &network).is_err() {
                    continue;
                }
                let assigned = ports.assign(&node, &network, seed);
                proptest::prop_assert_eq!(assigned.len(), network.ports().count());
                for port in assigned {
                    proptest::prop_assert!(!(&*port.host_ip == "10.0.0.1" && [100, 22].contains(&port.value)));
                    proptest::prop_assert!(given.insert((port.host_ip, port.value)));
                }
            }
        }
    }

    #[test]
    fn seeds_spread_the_choice() {
        let node = Node::default();
        let chosen: BTreeSet<u16> = (0..50)
            .map(|seed| Held::default().assign(&node, &network(&[], 1), seed)[0].value)
            .collect();
        assert!(chosen.len() > 40, "{chosen:?}");
    }
}
