//! What a file says on its container's network.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::docker::DockerOptions;
use crate::settings::Settings;

/// The network, and how names are found in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::docker) struct Network {
    pub(in crate::docker) mode: Option<String>,
    pub(in crate::docker) hostname: Option<String>,
    pub(in crate::docker) ports: Vec<String>,
    /// Labels to ports in the container, of files that still use `port_map`.
    pub(in crate::docker) port_map: BTreeMap<String, u16>,
    pub(in crate::docker) extra_hosts: Vec<String>,
    pub(in crate::docker) dns_servers: Vec<String>,
    pub(in crate::docker) dns_searches: Vec<String>,
    pub(in crate::docker) dns_options: Vec<String>,
    pub(in crate::docker) aliases: Vec<String>,
    pub(in crate::docker) ipv4: Option<String>,
    pub(in crate::docker) ipv6: Option<String>,
    pub(in crate::docker) mac: Option<String>,
}

impl Network {
    /// Whether anything is asked for that only a network of the daemon with a name can give.
    pub(in crate::docker) const fn has_endpoint(&self) -> bool {
        !self.aliases.is_empty() || self.ipv4.is_some() || self.ipv6.is_some() || self.mac.is_some()
    }
}

pub(super) fn network(s: &mut Settings<'_>, options: &DockerOptions) -> Network {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let network = Network {
        mode: filled(s.text("network_mode")),
        hostname: filled(s.text("hostname")),
        ports: s.list("ports"),
        port_map: port_map(s),
        extra_hosts: s.list("extra_hosts"),
        dns_servers: s.list("dns_servers"),
        dns_searches: s.list("dns_search_domains"),
        dns_options: s.list("dns_options"),
        aliases: s.list("network_aliases"),
        ipv4: filled(s.text("ipv4_address")),
        ipv6: filled(s.text("ipv6_address")),
        mac: filled(s.text("mac_address")),
    };
    if network.ipv4.as_ref().is_some_and(|text| text.parse::<Ipv4Addr>().is_err()) {
        s.problem("`ipv4_address` is not an IPv4 address");
    }
    if network.ipv6.as_ref().is_some_and(|text| text.parse::<Ipv6Addr>().is_err()) {
        s.problem("`ipv6_address` is not an IPv6 address");
    }
    if network.mac.as_ref().is_some_and(|text| !is_mac(text)) {
        s.problem("`mac_address` is not an address such as 02:42:ac:11:00:02");
    }
    let mode = network.mode.as_deref().unwrap_or_default();
    let is_of_others = mode.starts_with("container:") || mode.starts_with("ns:");
    if is_of_others && !options.allow_host_namespaces && !options.allow_privileged {
        s.problem(format!("`network_mode`: `{mode}` is not allowed on this node"));
    }
    let has_no_name = matches!(mode, "" | "default" | "bridge" | "host" | "none") || is_of_others;
    if has_no_name
        && (!network.aliases.is_empty() || network.ipv4.is_some() || network.ipv6.is_some())
    {
        s.problem(
            "`network_aliases`, `ipv4_address` and `ipv6_address` need a `network_mode` that names \
             a network of the daemon",
        );
    }
    network
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let is_byte = |part: &&str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
    parts.len() == 6 && parts.iter().all(is_byte)
}

fn port_map(s: &mut Settings<'_>) -> BTreeMap<String, u16> {
    let mut map = BTreeMap::new();
    for (label, port) in s.map("port_map") {
        match port.parse() {
            Ok(port) => {
                map.insert(label, port);
            }
            Err(_) => s.problem(format!("`port_map`: `{port}` is not a port")),
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(value: Value, options: &DockerOptions) -> Vec<String> {
        let values = serde_json::from_value(value).expect("a map");
        let mut settings = Settings::new(&values);
        network(&mut settings, options);
        settings.finish()
    }

    #[test]
    fn addresses_need_a_network_with_a_name() {
        let node = DockerOptions::new("i");
        let named = json!({
            "network_mode": "backend", "network_aliases": ["db"], "ipv4_address": "10.1.2.3",
            "ipv6_address": "fd00::2", "mac_address": "02:42:ac:11:00:02",
        });
        assert_eq!(problems(named, &node), Vec::<String>::new());
        assert_eq!(problems(json!({"network_aliases": ["db"]}), &node).len(), 1);
        let wrong = json!({
            "network_mode": "backend", "ipv4_address": "fd00::2", "ipv6_address": "10.1.2.3",
            "mac_address": "02:42",
        });
        assert_eq!(problems(wrong, &node).len(), 3);
    }

    #[test]
    fn networks_of_others_are_for_the_node_to_allow() {
        let value = json!({"network_mode": "container:other"});
        let node = DockerOptions::new("i");
        assert_eq!(
            problems(value.clone(), &node),
            ["`network_mode`: `container:other` is not allowed on this node"]
        );
        let open = DockerOptions { allow_host_namespaces: true, ..node };
        assert_eq!(problems(value, &open), Vec::<String>::new());
    }
}
