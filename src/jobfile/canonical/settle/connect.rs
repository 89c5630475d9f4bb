//! What Nomad's API has of the mesh beside what job files can say.

use serde_json::Value;

use super::super::Object;
use super::{object, objects, set_default};

pub(super) fn settle(service: &mut Object) {
    let Some(connect) = object(service, "Connect") else { return };
    if let Some(task) = object(connect, "SidecarTask") {
        super::material::resources(task);
        if let Some(resources) = object(task, "Resources") {
            super::asked(resources);
        }
    }
    if let Some(gateway) = object(connect, "Gateway")
        && let Some(ingress) = object(gateway, "Ingress")
    {
        for listener in objects(ingress, "Listeners") {
            set_default(listener, "Protocol", "tcp");
        }
    }
    let Some(sidecar) = object(connect, "SidecarService") else { return };
    let Some(proxy) = object(sidecar, "Proxy") else { return };
    // Both are older names of what stands beside them.
    proxy.insert("ExposeConfig".to_owned(), Value::Null);
    if let Some(expose) = object(proxy, "Expose") {
        expose.insert("Path".to_owned(), Value::Null);
    }
}
