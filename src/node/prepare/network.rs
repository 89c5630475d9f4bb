//! The group's own network: made before its first task starts, found again before every other one.

use driver::{GroupNetwork, NetworkHold};
use model::{Dns, PortAssignment, interpolate, lookup};
use network::{Attached, Mode, PortMapping, Request, host_files};

use super::{Prepared, Preparing, Unprepared};
use crate::task_env::resolved_dns;

/// The most of the node's `resolv.conf` that is read, in bytes.
const MAX_RESOLV_CONF: usize = 64 * 1024;

/// Sees to it that the network is there, with the files that name things in it and, for drivers that need one, the
/// container to join.
pub(super) async fn prepare(
    task: &Preparing<'_>,
    prepared: &mut Prepared,
) -> Result<(), Unprepared> {
    let Some(asked) = task.group.network() else { return Ok(()) };
    let mode = Mode::parse(&asked.mode).map_err(|error| failed(error.to_string(), false))?;
    // What `raw_exec` starts is the node's own.
    let (Some(mode), false) = (mode, task.task.driver == "raw_exec") else { return Ok(()) };
    let Some(networks) = task.shared.options.networks.clone() else {
        return Err(failed(
            format!("this node makes no networks; `{}` cannot be had", asked.mode),
            false,
        ));
    };
    let node = &task.shared.options.node;
    let resolve = |text: &str| interpolate(text, |reference| lookup(task.env, node, reference));
    let request =
        Request { alloc: task.alloc.id, mode, ports: ports(task), args: arguments(task, &resolve) };
    let made = tokio::task::spawn_blocking(move || networks.ensure(&request)).await;
    let attached = match made {
        Ok(Ok(attached)) => attached,
        Ok(Err(error)) => return Err(failed(error.to_string(), error.is_recoverable())),
        Err(_) => return Err(failed("the network could not be made".to_owned(), true)),
    };
    let hostname = resolve(&asked.hostname);
    let dns = asked.dns.as_ref().map(|dns| resolved_dns(dns, &resolve));
    write_files(task, &hostname, &attached, dns.clone()).await?;
    let mut container = None;
    if let Some(driver) = task.shared.drivers.get(&task.task.driver)
        && driver.joins_by_container()
    {
        let hold = NetworkHold {
            alloc: task.alloc.id,
            job: task.job.id.clone(),
            group: task.group.name.clone(),
            namespace: attached.namespace.clone(),
            hostname: hostname.clone(),
            dns,
        };
        let held = driver.hold_network(&hold).await;
        container = Some(held.map_err(|error| failed(error.to_string(), error.is_recoverable()))?);
    }
    prepared.env.extend(own_address(&task.alloc.resources.ports, &attached.address));
    let Attached { namespace, address } = attached;
    prepared.network = Some(GroupNetwork { namespace, container, hostname, address });
    Ok(())
}

fn failed(message: String, recoverable: bool) -> Unprepared {
    Unprepared { kind: "Setup Failure", message, recoverable }
}

fn ports(task: &Preparing<'_>) -> Vec<PortMapping> {
    task.alloc.resources.ports.iter().map(PortMapping::from).collect()
}

/// What plugins are told: whom they work for, and what the file adds.
fn arguments(
    task: &Preparing<'_>,
    resolve: &impl Fn(&str) -> String,
) -> std::collections::BTreeMap<String, String> {
    let known = [
        ("NOMAD_REGION", task.job.region.clone()),
        ("NOMAD_NAMESPACE", task.job.namespace.clone()),
        ("NOMAD_JOB_ID", task.job.id.to_string()),
        ("NOMAD_GROUP_NAME", task.group.name.clone()),
        ("NOMAD_ALLOC_ID", task.alloc.id.to_string()),
    ];
    // A name with a `;` in it would be another argument.
    let mut args: std::collections::BTreeMap<String, String> = known
        .into_iter()
        .filter(|(_, value)| !value.contains([';', '\n', '\0']))
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let network = task.group.network();
    if let Some(cni) = network.as_ref().and_then(|network| network.cni.as_ref()) {
        args.extend(cni.args.iter().map(|(key, value)| (key.clone(), resolve(value))));
    }
    args
}

/// The variables that tell a task its own address in the network.
fn own_address(ports: &[PortAssignment], address: &str) -> Vec<(String, String)> {
    if address.is_empty() {
        return Vec::new();
    }
    let shown = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    ports
        .iter()
        .flat_map(|port| {
            let label: String = port
                .label
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            let inner = PortMapping::from(port).port;
            [
                (format!("NOMAD_ALLOC_INTERFACE_{label}"), "eth0".to_owned()),
                (format!("NOMAD_ALLOC_IP_{label}"), address.to_owned()),
                (format!("NOMAD_ALLOC_PORT_{label}"), inner.to_string()),
                (format!("NOMAD_ALLOC_ADDR_{label}"), format!("{shown}:{inner}")),
            ]
        })
        .collect()
}

/// Writes `network/{resolv.conf,hosts,hostname}` in the allocation's directory.
async fn write_files(
    task: &Preparing<'_>,
    hostname: &str,
    attached: &Attached,
    dns: Option<Dns>,
) -> Result<(), Unprepared> {
    let (shared, alloc, address) = (task.shared.clone(), task.alloc.id, attached.address.clone());
    let hostname = if hostname.is_empty() { alloc.short() } else { hostname.to_owned() };
    let written = tokio::task::spawn_blocking(move || {
        let mut of_node = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        if of_node.len() > MAX_RESOLV_CONF {
            of_node.clear();
        }
        let files = host_files(&hostname, &address, dns.as_ref(), &of_node);
        for (name, text) in [
            ("resolv.conf", files.resolv_conf),
            ("hosts", files.hosts),
            ("hostname", files.hostname),
        ] {
            shared.dirs.write_network_file(alloc, name, &text)?;
        }
        Ok::<_, crate::DirError>(())
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string(), true)),
        Err(_) => Err(failed("the network's files could not be written".to_owned(), true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_told_its_own_address() {
        let port = PortAssignment {
            label: "my-port".into(),
            value: 20_001,
            to: 80,
            ..PortAssignment::default()
        };
        let env: std::collections::BTreeMap<_, _> =
            own_address(&[port], "172.26.64.2").into_iter().collect();
        assert_eq!(env["NOMAD_ALLOC_ADDR_my_port"], "172.26.64.2:80");
        assert_eq!(env["NOMAD_ALLOC_IP_my_port"], "172.26.64.2");
        assert_eq!(own_address(&[PortAssignment::default()], ""), []);
    }
}
