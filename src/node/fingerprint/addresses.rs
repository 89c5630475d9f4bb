//! The node's further addresses: which of the machine's belong to a `host_network` of the configuration.

use std::net::IpAddr;

use model::HostNetwork;

/// A `host_network` as the configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNetworkSettings {
    /// Its name.
    pub name: String,
    /// The range that the address lies in, such as `203.0.113.0/24`; any when empty.
    pub cidr: String,
    /// The interface that has it; any when empty.
    pub interface: String,
    /// Ports of it that are never given out.
    pub reserved_ports: Vec<u16>,
}

/// The machine's addresses, each with its interface.
pub(super) fn read() -> Vec<(String, IpAddr)> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    all.filter_map(|entry| {
        let address = entry.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        Some((entry.interface_name, ip))
    })
    .collect()
}

/// The networks that this machine has an address of; of several the first, IPv4 before IPv6. One that it has not is left
/// out, so that nothing that asks for it is placed here.
pub(super) fn host_networks(
    settings: &[HostNetworkSettings],
    addresses: &[(String, IpAddr)],
) -> Vec<HostNetwork> {
    let found = settings.iter().filter_map(|network| {
        let fits = |(interface, ip): &&(String, IpAddr)| {
            (network.interface.is_empty() || network.interface == *interface)
                && (network.cidr.is_empty() || contains(&network.cidr, *ip))
                // Of no use without naming an interface, which the address does not.
                && !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
        };
        let mut of_it: Vec<IpAddr> = addresses.iter().filter(fits).map(|(_, ip)| *ip).collect();
        of_it.sort_by_key(IpAddr::is_ipv6);
        Some(HostNetwork {
            name: network.name.clone(),
            address: of_it.first()?.to_string(),
            reserved_ports: network.reserved_ports.clone(),
        })
    });
    found.collect()
}

/// Whether an address lies in a range; in none that cannot be read.
fn contains(cidr: &str, ip: IpAddr) -> bool {
    let (network, length) = cidr.split_once('/').unwrap_or((cidr, ""));
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    let ((network, most), (ip, same)) = (bits(network), bits(ip));
    let length = if length.is_empty() { Some(most) } else { length.parse::<u32>().ok() };
    let Some(length) = length.filter(|length| *length <= most && most == same) else {
        return false;
    };
    (network ^ ip).checked_shr(128 - length).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_what_they_should() {
        for (cidr, ip, inside) in [
            ("10.0.0.0/8", "10.255.1.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("nonsense", "10.0.0.0", false),
        ] {
            assert_eq!(contains(cidr, ip.parse().expect("an address")), inside, "{cidr} {ip}");
        }
    }

    #[test]
    fn a_network_that_is_not_here_is_left_out() {
        let address =
            |interface: &str, ip: &str| (interface.to_owned(), ip.parse().expect("an address"));
        let here = [
            address("lo", "127.0.0.1"),
            address("eth0", "fd00::2"),
            address("eth0", "10.0.0.2"),
            address("eth1", "203.0.113.9"),
        ];
        let network = |name: &str, cidr: &str, interface: &str| HostNetworkSettings {
            name: name.into(),
            cidr: cidr.into(),
            interface: interface.into(),
            ..HostNetworkSettings::default()
        };
        let settings = [
            network("public", "203.0.113.0/24", ""),
            network("private", "", "eth0"),
            network("six", "fd00::/8", "eth0"),
            network("absent", "192.168.0.0/16", ""),
        ];
        let found = host_networks(&settings, &here);
        let found: Vec<_> = found.iter().map(|n| (n.name.as_str(), n.address.as_str())).collect();
        assert_eq!(found, [("public", "203.0.113.9"), ("private", "10.0.0.2"), ("six", "fd00::2")]);
    }
}
