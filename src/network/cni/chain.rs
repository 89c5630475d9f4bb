//! What each plugin of a chain is told. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{NetworkError, PortMapping};

/// The versions of the protocol that are spoken.
const VERSIONS: [&str; 4] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// The most plugins in a chain.
const MAX_PLUGINS: usize = 16;

/// A list of plugins that make one network together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chain {
    /// The network's name, by which plugins keep what they know of it.
    pub name: String,
    /// The version of the protocol.
    pub version: String,
    /// Each plugin's configuration, in order.
    pub plugins: Vec<Map<String, Value>>,
}

/// What only the moment of the call tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Runtime {
    /// For plugins with the capability `portMappings`.
    pub ports: Vec<PortMapping>,
    /// For plugins with the capability `ips`: addresses to have again.
    pub ips: Vec<String>,
}

impl Chain {
    /// Reads a configuration list, or the older form of a single plugin.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, NetworkError> {
        let wrong = |problem: String| NetworkError::Config { name: name.to_owned(), problem };
        let value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let Value::Object(mut list) = value else {
            return Err(wrong("it is not a JSON object".to_owned()));
        };
        let text = |list: &Map<String, Value>, key: &str| {
            list.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (own, version) = (text(&list, "name"), text(&list, "cniVersion"));
        if own.is_empty() {
            return Err(wrong("`name` is missing".to_owned()));
        }
        if !VERSIONS.contains(&version.as_str()) {
            return Err(wrong(format!(
                "cniVersion is `{version}`; one of {} is spoken",
                VERSIONS.join(", ")
            )));
        }
        let plugins = match list.remove("plugins") {
            Some(Value::Array(plugins)) => plugins
                .into_iter()
                .map(|plugin| match plugin {
                    Value::Object(plugin) => Ok(plugin),
                    _ => Err(wrong("`plugins` holds something that is not an object".to_owned())),
                })
                .collect::<Result<Vec<_>, _>>()?,
            Some(_) => return Err(wrong("`plugins` is not a list".to_owned())),
            None => vec![list],
        };
        if plugins.is_empty() || plugins.len() > MAX_PLUGINS {
            let count = plugins.len();
            return Err(wrong(format!(
                "it has {count} plugins; 1 to {MAX_PLUGINS} make a network"
            )));
        }
        let chain = Self { name: own, version, plugins };
        for at in 0..chain.plugins.len() {
            let kind = chain.kind(at);
            // It becomes the name of a program.
            if kind.is_empty() || kind.contains(['/', '\0']) || kind.starts_with('.') {
                return Err(wrong(format!(
                    "the `type` of plugin {at} is `{kind}`, which names no program"
                )));
            }
        }
        Ok(chain)
    }

    /// The type of a plugin, which is its program's name.
    pub(crate) fn kind(&self, at: usize) -> &str {
        self.plugins
            .get(at)
            .and_then(|plugin| plugin.get("type"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// What plugin `at` reads: its configuration, the list's name and version, what it is capable of and the result so
    /// far.
    pub(crate) fn input(&self, at: usize, runtime: &Runtime, before: Option<&Value>) -> Value {
        let mut input = self.plugins.get(at).cloned().unwrap_or_default();
        let mut told = Map::new();
        if let Some(Value::Object(capabilities)) = input.remove("capabilities") {
            let can = |name: &str| capabilities.get(name).and_then(Value::as_bool) == Some(true);
            if can("portMappings") && !runtime.ports.is_empty() {
                told.insert("portMappings".into(), mappings(&runtime.ports));
            }
            if can("ips") && !runtime.ips.is_empty() {
                told.insert("ips".into(), json!(runtime.ips));
            }
        }
        if !told.is_empty() {
            input.insert("runtimeConfig".into(), Value::Object(told));
        }
        input.insert("name".into(), self.name.clone().into());
        input.insert("cniVersion".into(), self.version.clone().into());
        if let Some(before) = before {
            input.insert("prevResult".into(), before.clone());
        }
        Value::Object(input)
    }
}

/// Each port for both protocols, as Nomad maps them.
fn mappings(ports: &[PortMapping]) -> Value {
    let both = ports.iter().flat_map(|port| {
        ["tcp", "udp"].map(|protocol| {
            let mut mapping = json!({
                "hostPort": port.host_port,
                "containerPort": port.port,
                "protocol": protocol,
            });
            // An address that stands for all is left out.
            if !port.host_ip.is_empty() && !matches!(port.host_ip.as_str(), "0.0.0.0" | "::") {
                mapping["hostIP"] = port.host_ip.clone().into();
            }
            mapping
        })
    });
    both.collect()
}

/// `CNI_ARGS`.
pub(crate) fn arguments(args: &BTreeMap<String, String>) -> Result<String, NetworkError> {
    let mut parts = vec!["IgnoreUnknown=true".to_owned()];
    for (key, value) in args.iter().filter(|(key, _)| *key != "IgnoreUnknown") {
        let part = |text: &str| text.contains([';', '\0', '\n']);
        if key.is_empty() || key.contains('=') || part(key) || part(value) {
            return Err(NetworkError::Asked(format!(
                "the CNI argument `{key}` cannot be told to a plugin: no `;`, no new line, and no `=` in its name"
            )));
        }
        parts.push(format!("{key}={value}"));
    }
    Ok(parts.join(";"))
}

/// The first address of a result, without the length of its network. IPv4 before IPv6.
pub(crate) fn address_of(result: &Value) -> Option<String> {
    let ips = result.get("ips")?.as_array()?;
    let all: Vec<&str> = ips
        .iter()
        .filter_map(|ip| ip.get("address")?.as_str()?.split('/').next())
        .filter(|ip| ip.parse::<std::net::IpAddr>().is_ok())
        .collect();
    let v4 = all.iter().find(|ip| ip.contains('.'));
    v4.or_else(|| all.first()).map(|ip| (*ip).to_owned())
}

/// The names of the interfaces that a result has on the node's side.
pub(crate) fn interfaces_of(result: &Value) -> Vec<String> {
    let Some(interfaces) = result.get("interfaces").and_then(Value::as_array) else {
        return Vec::new();
    };
    interfaces
        .iter()
        .filter(|interface| {
            interface.get("sandbox").and_then(Value::as_str).is_none_or(str::is_empty)
        })
        .filter_map(|interface| interface.get("name")?.as_str())
        // It becomes a part of a path.
        .filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{
        "name": "dbnet", "cniVersion": "1.0.0", "disableCheck": true,
        "plugins": [
            {"type": "bridge", "bridge": "br0", "capabilities": {"ips": true}, "ipam": {"type": "host-local"}},
            {"type": "portmap", "snat": false, "capabilities": {"portMappings": true, "ips": false}}
        ]
    }"#;

    #[test]
    fn each_plugin_is_told_what_it_can_use() {
        let chain = Chain::parse("dbnet", LIST).expect("a list");
        let port = PortMapping { host_ip: "10.0.0.1".into(), host_port: 20_000, port: 80 };
        let runtime = Runtime { ports: vec![port], ips: vec!["10.1.0.7".into()] };
        assert_eq!(
            chain.input(0, &runtime, None),
            json!({
                "type": "bridge", "bridge": "br0", "ipam": {"type": "host-local"},
                "name": "dbnet", "cniVersion": "1.0.0", "runtimeConfig": {"ips": ["10.1.0.7"]},
            })
        );
        let before = json!({"ips": [{"address": "10.1.0.7/24"}]});
        assert_eq!(
            chain.input(1, &runtime, Some(&before)),
            json!({
                "type": "portmap", "snat": false, "name": "dbnet", "cniVersion": "1.0.0",
                "runtimeConfig": {"portMappings": [
                    {"hostPort": 20000, "containerPort": 80, "protocol": "tcp", "hostIP": "10.0.0.1"},
                    {"hostPort": 20000, "containerPort": 80, "protocol": "udp", "hostIP": "10.0.0.1"},
                ]},
                "prevResult": {"ips": [{"address": "10.1.0.7/24"}]},
            })
        );
        assert_eq!(chain.input(1, &Runtime::default(), None).get("runtimeConfig"), None);
    }

    #[test]
    fn the_older_form_is_a_chain_of_one() {
        let chain = Chain::parse("x", r#"{"name":"lo","cniVersion":"0.4.0","type":"loopback"}"#)
            .expect("one");
        assert_eq!((chain.plugins.len(), chain.kind(0)), (1, "loopback"));
    }

    #[test]
    fn what_is_no_chain_is_named() {
        for (text, word) in [
            ("[]", "not a JSON object"),
            ("{", "EOF"),
            (r#"{"cniVersion":"0.4.0","plugins":[]}"#, "`name` is missing"),
            (r#"{"name":"a","cniVersion":"9","plugins":[]}"#, "cniVersion is `9`"),
            (r#"{"name":"a","cniVersion":"0.4.0","plugins":[]}"#, "0 plugins"),
            (r#"{"name":"a","cniVersion":"0.4.0","plugins":[3]}"#, "not an object"),
            (
                r#"{"name":"a","cniVersion":"0.4.0","plugins":[{"type":"../sh"}]}"#,
                "names no program",
            ),
            (r#"{"name":"a","cniVersion":"0.4.0"}"#, "names no program"),
        ] {
            let error = Chain::parse("net", text).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn arguments_cannot_smuggle_others() {
        let args = |key: &str, value: &str| arguments(&[(key.to_owned(), value.to_owned())].into());
        assert_eq!(args("A", "b=c").expect("fine"), "IgnoreUnknown=true;A=b=c");
        for (key, value) in
            [("A", "b;IP=1.2.3.4"), ("A;B", "c"), ("", "x"), ("A=B", "c"), ("A", "b\nc")]
        {
            assert!(args(key, value).is_err(), "{key} {value}");
        }
    }

    #[test]
    fn results_are_read_with_care() {
        let result = json!({
            "ips": [{"address": "fd00::5/64"}, {"address": "10.1.0.7/24"}, {"address": 3}],
            "interfaces": [{"name": "br0"}, {"name": "veth1"}, {"name": "../x"}, {"name": "eth0", "sandbox": "/n"}],
        });
        assert_eq!(address_of(&result).as_deref(), Some("10.1.0.7"));
        assert_eq!(interfaces_of(&result), ["br0", "veth1"]);
        assert_eq!(address_of(&json!({})), None);
    }
}
