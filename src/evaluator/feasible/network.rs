//! What a group asks of a node's networks.

use std::collections::BTreeSet;

use model::{Group, Network, Node};

/// What a node must offer.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// The attribute that says so, and the mode in the job file's words.
    mode: Option<(String, String)>,
    /// Names of host networks.
    host_networks: BTreeSet<String>,
}

impl Demand {
    pub(super) fn of(group: &Group) -> Self {
        let Some(network) = group.network() else { return Self::default() };
        Self {
            mode: mode(&network),
            host_networks: network
                .ports()
                .filter_map(|port| port.network().map(str::to_owned))
                .collect(),
        }
    }

    /// Whether the node has it all; otherwise what is missing.
    pub(super) fn check(&self, node: &Node) -> Result<(), String> {
        if let Some((attribute, mode)) = &self.mode
            && !node.attributes.contains_key(attribute)
        {
            return Err(format!("missing network {mode}"));
        }
        for name in &self.host_networks {
            if node.host_network(name).is_none() {
                return Err(format!("missing host network {name}"));
            }
        }
        Ok(())
    }
}

fn mode(network: &Network) -> Option<(String, String)> {
    let mode = network.mode.as_str();
    let attribute = match mode {
        _ if !network.is_apart() => return None,
        "none" => "network.namespaces".to_owned(),
        "bridge" => "network.bridge".to_owned(),
        _ => format!("network.cni.{}", mode.strip_prefix("cni/").unwrap_or(mode)),
    };
    Some((attribute, mode.to_owned()))
}

#[cfg(test)]
mod tests {
    use model::{HostNetwork, Port};

    use super::*;
    use crate::samples::{node, service};

    #[test]
    fn a_node_must_have_the_network() {
        let mut group = service("a", 1).task_groups.remove(0);
        let check = |group: &Group, node: &Node| Demand::of(group).check(node);
        let mut node = node(1);
        assert_eq!(check(&group, &node), Ok(()));
        for (mode, attribute) in [
            ("bridge", "network.bridge"),
            ("none", "network.namespaces"),
            ("cni/lan", "network.cni.lan"),
        ] {
            group.networks[0].mode = mode.into();
            assert_eq!(check(&group, &node), Err(format!("missing network {mode}")));
            node.attributes.insert(attribute.into(), "1".into());
            assert_eq!(check(&group, &node), Ok(()));
        }
        group.networks[0].dynamic_ports =
            vec![Port { label: "http".into(), host_network: "public".into(), ..Port::default() }];
        assert_eq!(check(&group, &node), Err("missing host network public".into()));
        node.resources
            .host_networks
            .push(HostNetwork { name: "public".into(), ..HostNetwork::default() });
        assert_eq!(check(&group, &node), Ok(()));
    }
}
