//! Networks and ports, of groups and, as it once was, of tasks.

use std::collections::{BTreeMap, HashMap};

use model::{Group, Network};

use super::Rules;
use crate::report::Fault;

/// Checks the networks of a group and its tasks.
pub(super) fn check(rules: &Rules<'_>, at: usize, group: &Group) {
    let path = rules.places.group(at);
    let mut ports = Ports::default();
    for (n, network) in group.networks.iter().enumerate() {
        let block = format!("{path}/network.{n}");
        if n == 1 {
            let message = "only the first `network` of a group counts";
            let first = (format!("{path}/network.0"), "this one counts");
            rules.error_also("duplicate-block", &block, message, "merge them into one", first);
        }
        one(rules, &block, network);
        ports.check(rules, &block, network);
        if network.is_apart() && !network.mode.contains("${") {
            outside(rules, at, group, &network.mode);
        }
    }
    for (t, task) in group.tasks.iter().enumerate() {
        let path = format!("{}/resources", rules.places.task(at, t));
        for (n, network) in task.resources.networks.iter().enumerate() {
            let block = format!("{path}/network.{n}");
            one(rules, &block, network);
            ports.check(rules, &block, network);
        }
    }
}

/// The labels of the ports that a group has.
pub(super) fn labels(group: &Group) -> impl Iterator<Item = &str> {
    let older = group.tasks.iter().flat_map(|task| &task.resources.networks);
    let all = group.networks.iter().chain(older);
    all.flat_map(Network::ports).map(|port| port.label.as_str())
}

/// Whether all of a group's network could be read, by the path of something in the group. Otherwise it may have any port,
/// and what is wrong with it has been reported.
pub(super) fn is_whole(rules: &Rules<'_>, path: &str, group: &Group) -> bool {
    let of_group = path.split("/service").next().unwrap_or_default();
    let of_group = of_group.split("/task").next().unwrap_or_default();
    rules.places.is_whole(&format!("{of_group}/network"))
        && (0..group.networks.len())
            .all(|n| rules.places.is_whole(&format!("{of_group}/network.{n}")))
}

fn one(rules: &Rules<'_>, block: &str, network: &Network) {
    let mode = network.mode.as_str();
    let known = matches!(mode, "" | "host" | "bridge" | "none");
    let named = mode.strip_prefix("cni/").is_some_and(|name| !name.is_empty());
    if !known && !named && !mode.contains("${") {
        let message = format!("`{mode}` is not a network mode");
        let help = crate::suggest::did_you_mean(mode, ["host", "bridge", "none"])
            .unwrap_or_else(|| "one of host, bridge, none, cni/<name>".to_owned());
        rules.error("invalid-value", &format!("{block}/mode"), message, &help);
    }
    if !network.hostname.is_empty() {
        let place = format!("{block}/hostname");
        if !network.is_apart() {
            let message = "`hostname` has no effect in a network that is the node's own";
            rules.warning("no-effect", &place, message, "it needs mode = \"bridge\"");
        }
        if !network.hostname.contains("${") && !is_host_name(&network.hostname) {
            let message = format!("`{}` cannot be a host name", network.hostname);
            let help = "letters, digits and dashes, in parts of at most 63 between dots";
            rules.error("invalid-name", &place, message, help);
        }
    }
    if let Some(dns) = &network.dns {
        let place = format!("{block}/dns/servers");
        for server in dns.servers.iter().filter(|server| !server.contains("${")) {
            if server.parse::<std::net::IpAddr>().is_err() {
                let message = format!("`{server}` is no address of a name server");
                let help = "a name server is known by its IP address, without a port";
                rules.warning("invalid-value", &place, message, help);
            }
        }
    }
    if let Some(cni) = &network.cni
        && let Some((key, _)) =
            cni.args.iter().find(|(key, value)| key.contains(';') || value.contains(';'))
    {
        let message = format!("the CNI argument `{key}` has a `;` in it, which parts arguments");
        rules.error("invalid-value", &format!("{block}/cni/args"), message, "write it without `;`");
    }
}

/// Names the tasks that are not in the group's network.
fn outside(rules: &Rules<'_>, at: usize, group: &Group, mode: &str) {
    for (t, task) in group.tasks.iter().enumerate().filter(|(_, task)| task.driver == "raw_exec") {
        let place = format!("{}/driver", rules.places.task(at, t));
        let message = format!(
            "task `{}` is not in the group's `{mode}` network: `raw_exec` runs in the node's own",
            task.name
        );
        let help = "another driver, such as exec or docker, joins it; or leave `mode` out";
        rules.warning("no-effect", &place, message, help);
    }
}

fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|part| {
            (1..=63).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

/// The ports of a group so far, and where they stand.
#[derive(Default)]
struct Ports<'a> {
    labels: BTreeMap<&'a str, String>,
    fixed: HashMap<(u16, &'a str), String>,
}

impl<'a> Ports<'a> {
    fn check(&mut self, rules: &Rules<'_>, block: &str, network: &'a Network) {
        let mut seen: Vec<&str> = Vec::new();
        for port in network.ports() {
            let place = format!("{block}/port/{}", port.label);
            let label = port.label.as_str();
            if seen.contains(&label) {
                let message = format!("the port `{label}` is in this network twice");
                let fault = rules.fault("duplicate-name", &place, message, "give it another label");
                let fault = match rules.places.again(&place) {
                    Some(second) => Fault { span: second, ..fault }
                        .also(rules.places.at(&place), "the first is here"),
                    None => fault,
                };
                rules.sink.error(fault);
            } else if let Some(first) = self.labels.insert(label, place.clone()) {
                let message = format!("the port `{label}` is in this group twice");
                let first = (first, "the first is here");
                rules.error_also("duplicate-name", &place, message, "give it another label", first);
            }
            seen.push(label);
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
            if label.is_empty() || !label.bytes().all(fits) {
                let message = format!("`{label}` cannot be a port's label");
                let help = match label.split_once(':') {
                    Some((host, inner)) => format!(
                        "a label is a name: port \"http\" {{ static = {host}, to = {inner} }}, on lines of their own"
                    ),
                    None => "use letters, digits, `_` and `-`".to_owned(),
                };
                rules.error("invalid-name", &place, message, &help);
            }
            self.fixed(rules, &place, port);
            if port.ignore_collision && !matches!(network.mode.as_str(), "" | "host") {
                let message = format!(
                    "`ignore_collision` needs the node's network, this is `{}`",
                    network.mode
                );
                let own = format!("{place}/ignore_collision");
                rules.error("invalid-value", &own, message, "delete it");
            }
        }
    }

    fn fixed(&mut self, rules: &Rules<'_>, place: &str, port: &'a model::Port) {
        if port.value == 0 || port.ignore_collision {
            return;
        }
        let key = (port.value, port.host_network.as_str());
        let own = format!("{place}/static");
        if let Some(first) = self.fixed.insert(key, own.clone()) {
            let message = format!("the static port {} is asked for twice", port.value);
            let help = "use another number, or one label in both places";
            rules.error_also("duplicate-port", &own, message, help, (first, "first here"));
        }
    }
}
