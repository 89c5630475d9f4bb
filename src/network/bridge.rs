//! The node's bridge: how it is made, and what parts the groups on it from each other and from the outside.
//!
//! A group is reached through its mapped ports, from anywhere, and by the node itself. It is not reached at its own
//! address: not by another group on the bridge, and not by a machine that has a route to the subnet. Answers to what a
//! group itself began come back.
//!
//! Two agents of one machine may share a bridge: addresses are given out from one folder, and the rules are the same.

use std::path::Path;
use std::time::Duration;

use nix::fcntl::FlockArg;
use serde_json::{Map, Value, json};

use crate::cni::Chain;
use crate::{BridgeSettings, NetworkError, interface, iptables, keep};

/// The chain that the `firewall` plugin asks before its own rules.
const ADMIN: &str = "HERDER-ADMIN";

/// Who uses the bridge: many at a time, or the one who removes it.
pub(crate) fn lock(
    run_dir: &Path,
    bridge: &BridgeSettings,
    how: FlockArg,
    wait: Duration,
) -> Result<nix::fcntl::Flock<std::fs::File>, NetworkError> {
    std::fs::create_dir_all(run_dir)
        .map_err(|error| NetworkError::system("make", run_dir, error))?;
    keep::lock(&run_dir.join(format!("bridge-{}.lock", bridge.name)), how, wait)
}

/// The plugins that connect a namespace to the bridge. Loopback is up already.
pub(crate) fn chain(bridge: &BridgeSettings, run_dir: &Path) -> Chain {
    let plugins = json!([
        {
            "type": "bridge",
            "bridge": bridge.name,
            "isGateway": true,
            // One rule for the whole subnet does it, which does not stay behind when a namespace is gone before `DEL`.
            "ipMasq": false,
            "hairpinMode": bridge.hairpin,
            "capabilities": {"ips": true},
            "ipam": {
                "type": "host-local",
                "dataDir": run_dir.join("ipam"),
                "ranges": [[{"subnet": bridge.subnet}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "firewall", "backend": "iptables", "iptablesAdminChainName": ADMIN},
        {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}},
    ]);
    let object = |plugin: &Value| plugin.as_object().cloned().unwrap_or_default();
    let plugins: Vec<Map<String, Value>> =
        plugins.as_array().map(|all| all.iter().map(object).collect()).unwrap_or_default();
    Chain { name: bridge.name.clone(), version: "0.4.0".into(), plugins }
}

/// A rule with its table and chain, and whether the chain is ours.
type Rule<'a> = (&'static str, &'static str, bool, Vec<&'a str>);

fn rules(bridge: &BridgeSettings) -> [Rule<'_>; 3] {
    let inward = ["-o", &bridge.name, "-d", &bridge.subnet, "-m", "conntrack", "--ctstate"];
    [
        // Through a mapped port, from wherever.
        ("filter", ADMIN, true, [&inward[..], &["DNAT", "-j", "ACCEPT"]].concat()),
        ("filter", ADMIN, true, [&inward[..], &["NEW", "-j", "DROP"]].concat()),
        // What leaves the bridge does so with the node's address.
        (
            "nat",
            "POSTROUTING",
            false,
            vec!["-s", &bridge.subnet, "!", "-o", &bridge.name, "-j", "MASQUERADE"],
        ),
    ]
}

/// Sees to it that the rules of the bridge are there.
pub(crate) fn ensure_rules(bridge: &BridgeSettings) -> Result<(), NetworkError> {
    for (table, chain, own, rule) in rules(bridge) {
        iptables::ensure(table, chain, own, &rule)?;
    }
    Ok(())
}

/// Parts the interfaces of the bridge from each other.
///
/// Where the kernel shows bridged packets to the firewall, the rules do it. Where it does not, the bridge itself keeps
/// its ports apart. Never both: a packet to a mapped port of a neighbour is bridged in the first case, and would be held
/// up.
pub(crate) fn part(bridge: &BridgeSettings) -> Result<(), NetworkError> {
    let dir = interface::sysfs(&bridge.name);
    if !dir.exists() {
        return Ok(());
    }
    let by_rules = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists();
    let write = |path: std::path::PathBuf, text: &str| {
        // Read first: most times it is so already.
        if std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == text) {
            return Ok(());
        }
        std::fs::write(&path, text).map_err(|error| NetworkError::system("write", path, error))
    };
    if by_rules {
        write(dir.join("bridge/nf_call_iptables"), "1")?;
    }
    for port in interface::ports_of_bridge(&bridge.name).unwrap_or_default() {
        match write(dir.join("brif").join(&port).join("isolated"), if by_rules { "0" } else { "1" })
        {
            Ok(()) => {}
            // It went away meanwhile.
            Err(_) if !interface::sysfs(&port).exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes bridge and rules if nothing is connected to it and nobody is about to.
pub(crate) fn remove_if_unused(
    run_dir: &Path,
    bridge: &BridgeSettings,
) -> Result<(), NetworkError> {
    let Ok(_alone) = lock(run_dir, bridge, FlockArg::LockExclusiveNonblock, Duration::ZERO) else {
        // Somebody uses it, and will look again when done.
        return Ok(());
    };
    if interface::ports_of_bridge(&bridge.name).is_some_and(|ports| !ports.is_empty()) {
        return Ok(());
    }
    for (table, chain, _, rule) in rules(bridge) {
        iptables::remove(table, chain, &rule)?;
    }
    interface::remove_bridge(&bridge.name)
        .map_err(|error| NetworkError::system("remove the bridge", &bridge.name, error))
}

/// The result that the plugins gave for an allocation whose record is lost, as far as its lease tells: the firewall's
/// rules are known by the address.
pub(crate) fn lease_of(run_dir: &Path, bridge: &BridgeSettings, container: &str) -> Option<Value> {
    let leases = std::fs::read_dir(run_dir.join("ipam").join(&bridge.name)).ok()?;
    let address = leases.filter_map(|entry| entry.ok()).find_map(|lease| {
        let address: std::net::IpAddr = lease.file_name().to_str()?.parse().ok()?;
        let holder = std::fs::read_to_string(lease.path()).ok()?;
        (holder.lines().next()? == container).then_some(address)
    })?;
    let (version, length) = if address.is_ipv4() { ("4", 32) } else { ("6", 128) };
    Some(json!({
        "cniVersion": "0.4.0",
        "ips": [{"version": version, "address": format!("{address}/{length}")}],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::Runtime;

    #[test]
    fn the_chain_is_what_nomads_bridge_is_made_of() {
        let chain = chain(&BridgeSettings::default(), Path::new("/run/herder"));
        let kinds: Vec<_> = (0..3).map(|at| chain.kind(at)).collect();
        assert_eq!(kinds, ["bridge", "firewall", "portmap"]);
        assert_eq!(
            chain.input(0, &Runtime::default(), None),
            json!({
                "cniVersion": "0.4.0", "name": "herder", "type": "bridge", "bridge": "herder",
                "isGateway": true, "ipMasq": false, "hairpinMode": false,
                "ipam": {
                    "type": "host-local", "dataDir": "/run/herder/ipam",
                    "ranges": [[{"subnet": "172.26.64.0/20"}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            })
        );
    }

    #[test]
    fn mapped_ports_are_let_in_before_the_rest_is_kept_out() {
        let bridge = BridgeSettings::default();
        let all = rules(&bridge).map(|(.., rule)| rule.join(" "));
        assert!(
            all[0].ends_with("--ctstate DNAT -j ACCEPT")
                && all[1].ends_with("--ctstate NEW -j DROP")
        );
        assert_eq!(all[2], "-s 172.26.64.0/20 ! -o herder -j MASQUERADE");
    }
}
