//! Consul's mesh: the rules that a file can break by itself. Nothing is done with it yet.

use model::Service;
use serde_json::Value;

use super::Rules;
use super::service::Place;

pub(super) fn check(rules: &Rules<'_>, place: Place<'_>, service: &Service, connect: &Value) {
    let path = format!("{}/connect", place.path);
    if !rules.places.is_whole(&path) {
        return;
    }
    let has = |name: &str| connect.get(name).is_some_and(|value| !value.is_null());
    let native = connect.get("Native").and_then(Value::as_bool).unwrap_or(false);
    let forms = [native, has("SidecarService"), has("Gateway")];
    if forms.iter().filter(|is_there| **is_there).count() != 1 {
        let message = "`connect` is one of three: native, a sidecar, or a gateway";
        let help = "write one of native = true, sidecar_service {} and gateway {}";
        rules.error("invalid-service", &path, message, help);
        return;
    }
    if native {
        if service.task_name.is_empty() && place.task.is_none() && place.group.tasks.len() > 1 {
            let message = "a native service of a group needs `task`";
            rules.error("missing-attribute", &path, message, "say which task speaks for it");
        }
        return;
    }
    if place.task.is_some() {
        let message = "a service with a sidecar or a gateway belongs to the group";
        rules.error("invalid-service", &path, message, "move the service out of the task");
        return;
    }
    if has("SidecarService") {
        let mode = place.group.networks.first().map_or("", |network| network.mode.as_str());
        if place.group.networks.len() != 1 || !(mode == "bridge" || mode.starts_with("cni/")) {
            let message = "a sidecar needs a network of the group with `mode = \"bridge\"`";
            let help = "add network { mode = \"bridge\" } to the group";
            rules.error("invalid-service", &path, message, help);
        }
        upstreams(rules, &path, connect);
    }
}

fn upstreams(rules: &Rules<'_>, path: &str, connect: &Value) {
    let all = connect.pointer("/SidecarService/Proxy/Upstreams").and_then(Value::as_array);
    let block = format!("{path}/sidecar_service/proxy");
    let mut seen = std::collections::HashMap::new();
    for (n, upstream) in all.into_iter().flatten().enumerate() {
        let place = format!("{block}/upstreams.{n}");
        let text = |name: &str| upstream.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("DestinationName").is_empty() && rules.places.is_whole(&place) {
            let message = "an upstream needs `destination_name`";
            rules.error("missing-attribute", &place, message, "the service that it leads to");
        }
        let port = upstream.get("LocalBindPort").and_then(Value::as_i64).unwrap_or(0);
        let address = text("LocalBindAddress");
        if port > 0
            && let Some(first) = seen.insert((address, port), place.clone())
        {
            let message = format!("two upstreams listen on the port {port}");
            let first = (first, "the first is here");
            rules.error_also(
                "duplicate-port",
                &place,
                message,
                "give one of them another port",
                first,
            );
        }
    }
}
