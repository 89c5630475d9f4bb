//! What Nomad's API has of the mesh beside what job files can say.

use serde_json::Value;

use super::super::Object;
use super::object;

pub(super) fn settle(service: &mut Object) {
    let Some(connect) = object(service, "Connect") else { return };
    if let Some(task) = object(connect, "SidecarTask") {
        super::material::resources(task);
    }
    let Some(sidecar) = object(connect, "SidecarService") else { return };
    let Some(proxy) = object(sidecar, "Proxy") else { return };
    // Both are older names of what stands beside them.
    proxy.insert("ExposeConfig".to_owned(), Value::Null);
    if let Some(expose) = object(proxy, "Expose") {
        expose.insert("Path".to_owned(), Value::Null);
    }
}
