//! Services.

use model::Instance;
use model::wire::{ServiceInstance, ServiceStub};

/// The services, those that carry `tag` if one is named.
pub(crate) fn service_stubs<'a>(
    services: impl Iterator<Item = (&'a str, &'a [String])>,
    tag: Option<&str>,
) -> Vec<ServiceStub> {
    services
        .filter(|(_, tags)| tag.is_none_or(|wanted| tags.iter().any(|tag| tag == wanted)))
        .map(|(name, tags)| ServiceStub { service_name: name.to_owned(), tags: tags.to_vec() })
        .collect()
}

pub(crate) fn service_instance(instance: &Instance) -> ServiceInstance {
    ServiceInstance {
        id: instance.id.clone(),
        service_name: instance.service.clone(),
        namespace: "default".to_owned(),
        node_id: instance.node,
        datacenter: instance.datacenter.clone(),
        job_id: instance.job.clone(),
        alloc_id: instance.alloc,
        tags: instance.tags.clone(),
        address: instance.address.clone(),
        port: instance.port,
        status: instance.status().as_str().to_owned(),
        create_index: instance.create_index,
        modify_index: instance.modify_index,
    }
}
