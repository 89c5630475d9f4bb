//! What the `client` block says of networks.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use node::HostNetworkSettings;

use super::file::ClientBlock;
use super::settings::{Settings, port_ranges};

impl Settings {
    /// How this agent makes networks.
    pub(crate) fn networks(&self, instance: &str) -> network::Settings {
        let (client, mut settings) =
            (&self.client, network::Settings::new(&self.data_dir, instance));
        if let Some(path) = &client.cni_path {
            settings.cni_path =
                path.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect();
        }
        if let Some(dir) = &client.cni_config_dir {
            settings.cni_config_dir.clone_from(dir);
        }
        let bridge = &mut settings.bridge;
        if let Some(name) = &client.bridge_network_name {
            bridge.name.clone_from(name);
        }
        if let Some(subnet) = &client.bridge_network_subnet {
            bridge.subnet.clone_from(subnet);
        }
        bridge.hairpin = client.bridge_network_hairpin_mode.unwrap_or(bridge.hairpin);
        settings
    }
}

/// The block, if what it says of the bridge can be meant.
pub(super) fn checked(client: ClientBlock) -> anyhow::Result<ClientBlock> {
    if let Some(name) = &client.bridge_network_name {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        // It becomes an interface, a file and a word on a command line.
        if name.is_empty()
            || name.len() > 15
            || !name.bytes().all(plain)
            || name.starts_with(['-', '.'])
        {
            bail!(
                "client: bridge_network_name is `{name}`; an interface's name has up to 15 letters, digits, `-`, `_` and `.`"
            );
        }
    }
    if let Some(subnet) = &client.bridge_network_subnet {
        let parts = subnet.split_once('/');
        let good = parts.is_some_and(|(ip, length)| {
            ip.parse::<std::net::Ipv4Addr>().is_ok()
                && length.parse().is_ok_and(|length: u8| (8..=29).contains(&length))
        });
        if !good {
            bail!(
                "client: bridge_network_subnet is `{subnet}`; write a range such as \"172.26.64.0/20\""
            );
        }
    }
    Ok(client)
}

pub(super) fn host_networks(client: &ClientBlock) -> anyhow::Result<Vec<HostNetworkSettings>> {
    let read = client.host_network.iter().map(|(name, block)| {
        if block.cidr.is_empty() && block.interface.is_empty() {
            bail!("host_network \"{name}\" needs `cidr` or `interface`, to know its address by");
        }
        let address = block.cidr.split('/').next().unwrap_or_default();
        if !block.cidr.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
            bail!(
                "host_network \"{name}\": cidr is `{}`; write a range such as \"10.0.0.0/8\"",
                block.cidr
            );
        }
        let reserved_ports = port_ranges(&block.reserved_ports)
            .with_context(|| format!("host_network \"{name}\""))?;
        Ok(HostNetworkSettings {
            name: name.clone(),
            cidr: block.cidr.clone(),
            interface: block.interface.clone(),
            reserved_ports,
        })
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::File;

    fn client(text: &str) -> ClientBlock {
        File::parse(&format!("client {{\n{text}\n}}\n"), false).expect("a configuration").client
    }

    #[test]
    fn what_cannot_be_a_network_is_refused() {
        for text in [
            "bridge_network_name = \"a-name-that-is-too-long\"",
            "bridge_network_name = \"-j\"",
            "bridge_network_subnet = \"172.26.64.0\"",
            "bridge_network_subnet = \"fd00::/64\"",
        ] {
            assert!(checked(client(text)).is_err(), "{text}");
        }
        assert!(checked(client("bridge_network_subnet = \"10.9.0.0/16\"")).is_ok());
        assert!(host_networks(&client("host_network \"a\" {}")).is_err());
        assert!(host_networks(&client("host_network \"a\" { cidr = \"x/8\" }")).is_err());
        let text =
            "host_network \"a\" {\n cidr = \"10.0.0.0/8\"\n reserved_ports = \"22,80-81\"\n}";
        assert_eq!(host_networks(&client(text)).expect("fine")[0].reserved_ports, [22, 80, 81]);
    }
}
