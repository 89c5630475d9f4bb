//! What the daemon says of itself, for the node's attributes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{DockerOptions, Engine};

/// The oldest API that is spoken: Docker 20.10, and Podman since 3.
const OLDEST_API: (u32, u32) = (1, 41);

/// An API version as two numbers.
pub(super) fn api_version(version: &Value) -> Option<(u32, u32)> {
    let (major, minor) = version.get("ApiVersion")?.as_str()?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The attributes of a daemon that is new enough. `info` and `bridge` may have come to nothing.
pub(super) fn attributes(
    version: &Value,
    info: &Value,
    bridge: &Value,
    options: &DockerOptions,
) -> Result<BTreeMap<String, String>, String> {
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let api = text(version, "ApiVersion");
    if api_version(version).is_none_or(|version| version < OLDEST_API) {
        let (major, minor) = OLDEST_API;
        let needed = match options.engine {
            Engine::Docker => "Docker 20.10",
            Engine::Podman => "Podman 3",
        };
        return Err(format!(
            "the daemon speaks API {api}; {major}.{minor} is needed ({needed} or newer)"
        ));
    }
    let mut runtimes: Vec<&str> = info
        .get("Runtimes")
        .and_then(Value::as_object)
        .map(|runtimes| runtimes.keys().map(String::as_str).collect())
        .unwrap_or_default();
    runtimes.sort_unstable();
    let gateway = bridge.pointer("/IPAM/Config/0/Gateway").and_then(Value::as_str);
    let driver = format!("driver.{}", options.engine.name());
    let known = [
        ("", "1".to_owned()),
        (".version", text(version, "Version")),
        (".api_version", api),
        (".os_type", text(version, "Os")),
        (".bridge_ip", gateway.unwrap_or_default().to_owned()),
        (".runtimes", runtimes.join(",")),
        (".privileged.enabled", options.allow_privileged.to_string()),
        (".volumes.enabled", options.volumes_enabled.to_string()),
    ];
    let known = known.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(known.map(|(name, value)| (format!("{driver}{name}"), value)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn old_daemons_are_told_so() {
        let options = DockerOptions::new("x");
        for api in ["1.40", "1.9", "", "nonsense"] {
            let version = json!({"ApiVersion": api});
            let none = Value::Null;
            assert!(attributes(&version, &none, &none, &options).is_err(), "{api}");
        }
    }

    #[test]
    fn the_daemon_is_described() {
        let version = json!({"ApiVersion": "1.41", "Version": "20.10.24", "Os": "linux"});
        let info = json!({"Runtimes": {"runc": {}, "crun": {}}});
        let bridge = json!({"IPAM": {"Config": [{"Gateway": "172.17.0.1"}]}});
        let options = DockerOptions { volumes_enabled: true, ..DockerOptions::new("x") };
        let found = attributes(&version, &info, &bridge, &options).expect("new enough");
        for (name, value) in [
            ("driver.docker", "1"),
            ("driver.docker.version", "20.10.24"),
            ("driver.docker.api_version", "1.41"),
            ("driver.docker.os_type", "linux"),
            ("driver.docker.bridge_ip", "172.17.0.1"),
            ("driver.docker.runtimes", "crun,runc"),
            ("driver.docker.privileged.enabled", "false"),
            ("driver.docker.volumes.enabled", "true"),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
        }
        let podman = DockerOptions::of(Engine::Podman, "x");
        let none = Value::Null;
        let found = attributes(&version, &none, &none, &podman).expect("new enough");
        assert!(
            found.contains_key("driver.podman") && !found.contains_key("driver.podman.runtimes")
        );
    }
}
