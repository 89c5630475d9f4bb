//! Holds a group's network with a container that does nothing, because Docker lets tasks join a container and not a
//! namespace.
//!
//! The container is made without a network, enters the group's namespace by itself, gives up every right and sleeps.
//! It is not what keeps the network alive: the node does. When it dies, with the daemon or alone, the tasks that run stay
//! in the namespace, and the next task that starts finds a new container in the same one.

mod image;
mod pause;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};
use model::{AllocId, Dns};
use serde_json::Value;

use super::api::encode;
use super::{Docker, container};
use crate::{DriverError, NetworkHold};

/// The label that makes a container the holder of a network; its value is the namespace.
const NETWORK: &str = "herder.network";

/// Where the container finds the namespace.
const INSIDE: &str = "/network";

/// How often a container that is in the way, or ended, is replaced before that is an error.
const ATTEMPTS: u32 = 10;

/// How long a container may take to be in the namespace after the daemon said that it was started.
const ENTER_LIMIT: Duration = Duration::from_secs(10);

/// The wait between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Two agents may share a daemon, and two small clusters may give an allocation the same id.
fn name(alloc: AllocId, instance: &str) -> String {
    let short: String = instance.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("herder-network-{alloc}-{short}")
}

/// The container as it was found.
struct Holder {
    id: String,
    namespace: String,
    running: bool,
    pid: u64,
    exit_code: i64,
}

impl Docker {
    /// The holder's container for an allocation's network, made if need be.
    pub(super) async fn hold(&self, hold: &NetworkHold) -> Result<String, DriverError> {
        let name = name(hold.alloc, &self.options.instance);
        let namespace = hold.namespace.display().to_string();
        image::ensure(&self.api).await?;
        let mut problem = "it is replaced by somebody else again and again".to_owned();
        for _ in 0..ATTEMPTS {
            match self.holder(hold.alloc).await? {
                Some(holder) if holder.running && holder.namespace == namespace => {
                    if self.has_entered(hold, &holder).await? {
                        return Ok(holder.id);
                    }
                }
                Some(holder) => {
                    if holder.exit_code > 0 {
                        // It ends with the number of the system's error.
                        let code = i32::try_from(holder.exit_code).unwrap_or_default();
                        problem = format!("it ended: {}", std::io::Error::from_raw_os_error(code));
                    }
                    self.remove(&holder.id).await?;
                }
                None => self.start_holder(hold, &name).await?,
            }
        }
        let doing =
            format!("hold the network of allocation {} with the container {name}", hold.alloc);
        Err(DriverError::failed(doing, problem))
    }

    /// Creates and starts the container. That another start of the same allocation was faster is fine.
    async fn start_holder(&self, hold: &NetworkHold, name: &str) -> Result<(), DriverError> {
        let client = self.api.client()?;
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let doing = || format!("creating the container {name}");
        let create = client.create_container(Some(options), body(hold, &self.options.instance));
        match self.change(doing, create).await? {
            Ok(_) => {}
            Err((409, _)) => tokio::time::sleep(PAUSE).await,
            Err((_, said)) => {
                return Err(DriverError::Start(format!(
                    "the container {name} cannot be created: {said}"
                )));
            }
        }
        let doing = || format!("starting the container {name}");
        let start = client.start_container(name, None::<StartContainerOptions>);
        match self.change(doing, start).await? {
            Ok(()) | Err((304 | 404 | 409, _)) => Ok(()),
            Err((_, said)) => {
                Err(DriverError::Start(format!("the container {name} cannot be started: {said}")))
            }
        }
    }

    /// Waits until the container is in the namespace; whoever joins it before would be in another one. `false` when it
    /// ended meanwhile.
    async fn has_entered(&self, hold: &NetworkHold, holder: &Holder) -> Result<bool, DriverError> {
        let its = Path::new("/proc").join(holder.pid.to_string()).join("ns/net");
        let deadline = tokio::time::Instant::now() + ENTER_LIMIT;
        loop {
            if is_same(&its, &hold.namespace) {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= deadline {
                let problem = format!(
                    "the container {} is not in {}; the daemon must run on this machine and see its processes",
                    name(hold.alloc, &self.options.instance),
                    hold.namespace.display()
                );
                return Err(DriverError::Unavailable {
                    driver: self.options.engine.name(),
                    problem,
                });
            }
            tokio::time::sleep(PAUSE).await;
            if !its.exists() {
                match self.holder(hold.alloc).await? {
                    Some(now) if now.running && now.id == holder.id && now.pid == holder.pid => {}
                    _ => return Ok(false),
                }
            }
        }
    }

    /// The container of an allocation's network; an error when something else has its name.
    async fn holder(&self, alloc: AllocId) -> Result<Option<Holder>, DriverError> {
        let name = name(alloc, &self.options.instance);
        let path = format!("/containers/{}/json", encode(&name));
        let Some(value) = self.api.get(&path).await? else { return Ok(None) };
        let label = |key: &str| {
            value.get("Config").and_then(|config| config.get("Labels")?.get(key)?.as_str())
        };
        let ours = label(container::INSTANCE) == Some(&self.options.instance)
            && label(container::ALLOC) == Some(&alloc.to_string());
        let Some(namespace) = label(NETWORK).filter(|_| ours) else {
            let what = format!("the container {name}");
            return Err(DriverError::NotOurs { what, task_id: alloc.to_string() });
        };
        let number = |at: &str| value.pointer(at).and_then(Value::as_i64).unwrap_or_default();
        Ok(Some(Holder {
            id: value.get("Id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            namespace: namespace.to_owned(),
            running: value.pointer("/State/Running").and_then(Value::as_bool) == Some(true),
            pid: u64::try_from(number("/State/Pid")).unwrap_or_default(),
            exit_code: number("/State/ExitCode"),
        }))
    }

    /// Removes the container of an allocation's network.
    pub(super) async fn let_go(&self, alloc: AllocId) -> Result<(), DriverError> {
        match self.holder(alloc).await? {
            Some(holder) => self.remove(&holder.id).await,
            None => Ok(()),
        }
    }

    /// The allocations whose networks are held here.
    pub(super) async fn held(&self) -> Result<Vec<AllocId>, DriverError> {
        let label = format!("{}={}", container::INSTANCE, self.options.instance);
        let filters = encode(&serde_json::json!({ "label": [label, NETWORK] }).to_string());
        match self.api.get(&format!("/containers/json?all=1&filters={filters}")).await? {
            Some(Value::Array(all)) => {
                let alloc = |value: &Value| {
                    value.get("Labels")?.get(container::ALLOC)?.as_str()?.parse().ok()
                };
                Ok(all.iter().filter_map(alloc).collect())
            }
            _ => Err(self.api.unavailable("its answer is not a list of containers")),
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}

fn body(hold: &NetworkHold, instance: &str) -> ContainerCreateBody {
    let filled = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let none = Dns::default();
    let dns = hold.dns.as_ref().unwrap_or(&none);
    let namespace = hold.namespace.display().to_string();
    let labels = [
        (container::ALLOC, hold.alloc.to_string()),
        (container::INSTANCE, instance.to_owned()),
        (NETWORK, namespace.clone()),
        ("herder.job", hold.job.to_string()),
        ("herder.group", hold.group.clone()),
    ];
    ContainerCreateBody {
        image: Some(image::NAME.to_owned()),
        entrypoint: Some(vec!["/pause".to_owned(), INSIDE.to_owned()]),
        // Tasks that join it share its name.
        hostname: (!hold.hostname.is_empty()).then(|| hold.hostname.clone()),
        labels: Some(HashMap::from(labels.map(|(key, value)| (key.to_owned(), value)))),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            // Entering a namespace takes this one; it is given up right after.
            cap_add: Some(vec!["SYS_ADMIN".to_owned()]),
            // And it takes it from the machine's own user namespace.
            userns_mode: Some("host".to_owned()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(true),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            mounts: Some(vec![Mount {
                typ: Some(MountType::BIND),
                source: Some(namespace),
                target: Some(INSIDE.to_owned()),
                read_only: Some(true),
                ..Mount::default()
            }]),
            dns: filled(&dns.servers),
            dns_search: filled(&dns.searches),
            dns_options: filled(&dns.options),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_can_do_nothing_but_enter() {
        let hold = NetworkHold {
            alloc: AllocId::default(),
            job: "shop".to_owned().into(),
            group: "front".into(),
            namespace: "/run/herder/netns/n/a".into(),
            hostname: "web".into(),
            dns: Some(Dns { servers: vec!["1.1.1.1".into()], ..Dns::default() }),
        };
        let body = body(&hold, "node");
        assert_eq!(body.hostname.as_deref(), Some("web"));
        let host = body.host_config.expect("is set");
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.cap_drop.as_deref(), Some(&["ALL".to_owned()][..]));
        assert_eq!(host.dns.as_deref(), Some(&["1.1.1.1".to_owned()][..]));
        assert_ne!(host.privileged, Some(true));
        let labels = body.labels.expect("is set");
        assert!(!labels.contains_key(container::TASK), "it is nobody's task");
        assert_eq!(labels[NETWORK], "/run/herder/netns/n/a");
    }

    #[test]
    fn namespaces_are_compared_by_what_they_are() {
        assert!(is_same(Path::new("/proc/self/ns/net"), Path::new("/proc/thread-self/ns/net")));
        assert!(!is_same(Path::new("/proc/self/ns/net"), Path::new("/proc/self/ns/mnt")));
        assert!(!is_same(Path::new("/nothing"), Path::new("/nothing")));
    }
}
