//! Names in a network that a container shares: Docker leaves `/etc/hosts` and `/etc/resolv.conf` to the container whose
//! network it is and takes no word on them. What a task wants there is written to files of its own, which are mounted.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bollard::models::{Mount, MountType};
use model::Dns;

use super::Joins;
use crate::docker::config::{Config, Network};
use crate::{GroupNetwork, TaskSpec};

/// How much of the node's own `resolv.conf` is read.
const MAX_RESOLV: u64 = 64 * 1024;

/// Writes the files that the task needs and says how they are mounted; none for a network of its own. Blocks.
pub(in crate::docker) fn files(spec: &TaskSpec, config: &Config) -> Result<Vec<Mount>, String> {
    let Some(group) = spec.network.as_ref().filter(|_| Joins::of(spec, config) != Joins::Own)
    else {
        return Ok(Vec::new());
    };
    let network = &config.network;
    let mut mounts = Vec::new();
    let mut add = |name: &str, target: &str, text: String| -> Result<(), String> {
        let path = spec.dirs.task_dir.join(name);
        write(&path, &text)
            .map_err(|error| format!("cannot write {} for {target}: {error}", path.display()))?;
        mounts.push(mount(path, target));
        Ok(())
    };
    let dns = spec.dns.clone().unwrap_or_default();
    let pick = |task: &[String], group: Vec<String>| {
        if task.is_empty() { group } else { task.to_vec() }
    };
    let mut wanted = Dns {
        servers: pick(&network.dns_servers, dns.servers),
        searches: pick(&network.dns_searches, dns.searches),
        options: pick(&network.dns_options, dns.options),
    };
    if wanted != Dns::default() {
        if wanted.servers.is_empty() {
            wanted.servers = node_servers(Path::new("/etc/resolv.conf"));
        }
        add(".resolv.conf", "/etc/resolv.conf", resolv(&wanted))?;
    }
    if !network.extra_hosts.is_empty() {
        add(".hosts", "/etc/hosts", hosts(group, network)?)?;
    }
    Ok(mounts)
}

fn mount(source: PathBuf, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(true),
        ..Mount::default()
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o644).open(path)?.write_all(text.as_bytes())
}

/// One line of a file holds one name: a line break in a value would be another line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn resolv(dns: &Dns) -> String {
    let mut lines: Vec<String> =
        dns.servers.iter().map(|server| format!("nameserver {}", plain(server))).collect();
    for (word, values) in [("search", &dns.searches), ("options", &dns.options)] {
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| plain(value)).collect();
            lines.push(format!("{word} {}", values.join(" ")));
        }
    }
    lines.join("\n") + "\n"
}

/// The servers of the node, without those that only the node itself reaches.
fn node_servers(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_RESOLV).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    let servers = servers.map(|server| server.trim().to_owned());
    servers.filter(|server| !server.starts_with("127.") && server != "::1").collect()
}

fn hosts(group: &GroupNetwork, network: &Network) -> Result<String, String> {
    let mut lines = vec!["127.0.0.1 localhost".to_owned(), "::1 localhost".to_owned()];
    if !group.address.is_empty() && !group.hostname.is_empty() {
        lines.push(format!("{} {}", plain(&group.address), plain(&group.hostname)));
    }
    for entry in &network.extra_hosts {
        // The address may be IPv6, with colons of its own.
        let (name, address) = entry
            .split_once(':')
            .ok_or_else(|| format!("`extra_hosts`: `{entry}` is not `name:address`"))?;
        if address.parse::<std::net::IpAddr>().is_err() {
            return Err(format!(
                "`extra_hosts`: `{address}` is not an address; in a group's network it has to be one"
            ));
        }
        lines.push(format!("{address} {}", plain(name)));
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_what_was_asked_for() {
        let dns = Dns {
            servers: vec!["10.0.0.2\nevil".into()],
            searches: vec!["a".into(), "b".into()],
            options: vec!["ndots:2".into()],
        };
        assert_eq!(resolv(&dns), "nameserver 10.0.0.2evil\nsearch a b\noptions ndots:2\n");
        let group = GroupNetwork {
            hostname: "web".into(),
            address: "10.1.0.2".into(),
            ..GroupNetwork::default()
        };
        let network = Network {
            extra_hosts: vec!["db:10.0.0.9".into(), "six:fd00::1".into()],
            ..Network::default()
        };
        let text = hosts(&group, &network).expect("fits");
        assert!(text.ends_with("10.1.0.2 web\n10.0.0.9 db\nfd00::1 six\n"), "{text}");
        let wrong = Network { extra_hosts: vec!["gw:host-gateway".into()], ..Network::default() };
        assert!(hosts(&group, &wrong).expect_err("no address").contains("host-gateway"));
    }
}
