//! The files that name an allocation and resolve names in it. Pure.

use std::fmt::Write as _;
use std::net::IpAddr;

use model::Dns;

/// The texts of `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname` in an allocation's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFiles {
    /// `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/hostname`.
    pub hostname: String,
}

/// The files for a host of this name and address (none when empty). `of_node` is the node's own `resolv.conf`, for what
/// `dns` does not say; name servers on its loopback are left out, because they cannot be reached from the namespace.
pub fn host_files(hostname: &str, address: &str, dns: Option<&Dns>, of_node: &str) -> HostFiles {
    let empty = Dns::default();
    let dns = dns.unwrap_or(&empty);
    let mut lines: Vec<String> = Vec::new();
    if dns.servers.is_empty() {
        lines.extend(words(of_node, "nameserver").filter(|line| {
            let address = line.split_whitespace().nth(1).unwrap_or_default();
            let plain = address.split('%').next().unwrap_or_default();
            plain.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback())
        }));
    } else {
        lines.extend(dns.servers.iter().map(|server| format!("nameserver {server}")));
    }
    match dns.searches.is_empty() {
        true => lines.extend(words(of_node, "search").chain(words(of_node, "domain"))),
        false => lines.push(format!("search {}", dns.searches.join(" "))),
    }
    match dns.options.is_empty() {
        true => lines.extend(words(of_node, "options")),
        false => lines.push(format!("options {}", dns.options.join(" "))),
    }
    // A line break in a value would be a line of its own.
    let mut resolv_conf = String::new();
    for line in &lines {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let _ = writeln!(resolv_conf, "{line}");
    }
    let mut hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    if !hostname.is_empty() {
        let address = if address.is_empty() { "127.0.1.1" } else { address };
        let _ = writeln!(hosts, "{address} {hostname}");
    }
    HostFiles { resolv_conf, hosts, hostname: format!("{hostname}\n") }
}

fn words<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = String> + 'a {
    text.lines()
        .map(str::trim)
        .filter(move |line| line.split_whitespace().next() == Some(key))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_s_own_resolver_is_left_out() {
        let node = "# a comment\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver ::1\nsearch corp.example\noptions edns0\n";
        let files = host_files("web", "172.26.64.2", None, node);
        assert_eq!(files.resolv_conf, "nameserver 10.0.0.2\nsearch corp.example\noptions edns0\n");
        assert!(files.hosts.ends_with("172.26.64.2 web\n"), "{}", files.hosts);
        assert_eq!(files.hostname, "web\n");
    }

    #[test]
    fn what_the_file_says_counts() {
        let dns = Dns {
            servers: vec!["1.1.1.1".into(), "9.9.9.9\nnameserver 6.6.6.6".into()],
            searches: vec!["a.example".into(), "b.example".into()],
            options: vec!["ndots:2".into()],
        };
        let files = host_files("", "", Some(&dns), "nameserver 10.0.0.2\nsearch corp.example\n");
        assert_eq!(
            files.resolv_conf,
            "nameserver 1.1.1.1\nnameserver 9.9.9.9nameserver 6.6.6.6\nsearch a.example b.example\noptions ndots:2\n"
        );
        assert!(!files.hosts.contains("127.0.1.1"));
    }
}
