//! Ports of a node: fixed ones, and dynamic ones that are spread over the node's range.

use std::collections::BTreeSet;

use model::{Network, Node, PortAssignment};

use crate::rank::mix;

/// Nomad's range, for nodes that name none.
const DEFAULT_RANGE: (u16, u16) = (20_000, 32_000);

/// The ports of a node that are given away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    taken: BTreeSet<u16>,
    /// Held until lately. Given away again only when nothing else is left: a client may still believe that the old
    /// instance is there.
    worn: BTreeSet<u16>,
}

impl Ports {
    pub(crate) fn take(&mut self, ports: &[PortAssignment]) {
        self.taken.extend(ports.iter().map(|port| port.value));
    }

    pub(crate) fn wear(&mut self, ports: &[PortAssignment]) {
        self.worn.extend(ports.iter().map(|port| port.value));
    }

    /// The same without what `ports` hold.
    pub(crate) fn without(&self, ports: &[PortAssignment]) -> Self {
        let mut rest = self.clone();
        for port in ports {
            rest.taken.remove(&port.value);
        }
        rest
    }

    /// Whether all ports that `network` asks for could be had; otherwise what is missing.
    pub(crate) fn fits(&self, node: &Node, network: &Network) -> Result<(), String> {
        for port in &network.reserved_ports {
            if self.taken.contains(&port.value)
                || node.resources.reserved_ports.contains(&port.value)
            {
                return Err(format!("network: port {} is taken", port.value));
            }
        }
        if network.dynamic_ports.is_empty() {
            return Ok(());
        }
        let (first, last) = range(node);
        // Mostly the range is far from full, and nobody has to look which ports lie in it.
        let most = self.taken.len()
            + node.resources.reserved_ports.len()
            + network.reserved_ports.len()
            + network.dynamic_ports.len();
        if most <= usize::from(last - first) {
            return Ok(());
        }
        let inside = |port: &u16| (first..=last).contains(port);
        let mut blocked: BTreeSet<u16> =
            node.resources.reserved_ports.iter().copied().filter(inside).collect();
        blocked.extend(self.taken.range(first..=last));
        blocked.extend(network.reserved_ports.iter().map(|port| port.value).filter(inside));
        let all = usize::from(last - first) + 1;
        if all - blocked.len() < network.dynamic_ports.len() {
            return Err("network: dynamic ports".to_owned());
        }
        Ok(())
    }

    /// Gives ports for `network`, which must fit. The search starts at a point that follows from the seed.
    pub(crate) fn assign(
        &mut self,
        node: &Node,
        network: &Network,
        seed: u64,
    ) -> Vec<PortAssignment> {
        let (first, last) = range(node);
        let span = u64::from(last - first) + 1;
        let fixed: BTreeSet<u16> = network.reserved_ports.iter().map(|port| port.value).collect();
        let mut out = Vec::new();
        for (at, port) in network.ports().enumerate() {
            let value = if at < network.reserved_ports.len() {
                port.value
            } else {
                let start = mix(seed ^ mix(at as u64)) % span;
                let candidates = || {
                    (0..span)
                        .map(|step| first + ((start + step) % span) as u16)
                        .filter(|port| !self.taken.contains(port) && !fixed.contains(port))
                        .filter(|port| !node.resources.reserved_ports.contains(port))
                };
                let fresh = candidates().find(|port| !self.worn.contains(port));
                let Some(value) = fresh.or_else(|| candidates().next()) else { continue };
                value
            };
            self.taken.insert(value);
            out.push(PortAssignment {
                label: port.label.clone(),
                value,
                to: port.inner().unwrap_or(value),
                host_ip: node.address.clone(),
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
    use model::Port;

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
        let mut ports = Ports::default();
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
            let mut ports = Ports::default();
            let worn = |value| PortAssignment { value, ..PortAssignment::default() };
            ports.wear(&[worn(101), worn(102)]);
            assert_eq!(ports.assign(&node, &network(&[], 1), seed)[0].value, 103, "seed {seed}");
            assert_eq!(ports.assign(&node, &network(&[], 1), seed).len(), 1, "a worn one is left");
        }
    }

    #[test]
    fn seeds_spread_the_choice() {
        let node = Node::default();
        let chosen: BTreeSet<u16> = (0..50)
            .map(|seed| Ports::default().assign(&node, &network(&[], 1), seed)[0].value)
            .collect();
        assert!(chosen.len() > 40, "{chosen:?}");
    }
}
