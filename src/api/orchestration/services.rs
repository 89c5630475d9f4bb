//! Services, as Nomad's own catalog shows them. Traefik and Prometheus read these.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::{Path, State};
use axum::response::Response;
use catalog::Catalog;
use model::wire::{ServiceInstance, ServiceList};
use serde::Serialize;

use super::read::fresh;
use super::shape;
use crate::app::App;
use crate::blocking::{ORCHESTRATION, hold, until_newer};
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::json;

pub(super) async fn list(State(app): State<App>, ask: Ask) -> Result<Response, Refusal> {
    let tag = tag_filter(ask.filled("filter"))?;
    view(&app, &ask, Catalog::services_index, |catalog| {
        let services = shape::service_stubs(
            catalog.services().map(|entry| (&*entry.name, entry.tags.as_slice())),
            tag.as_deref(),
        );
        let one = ServiceList { namespace: "default".to_owned(), services };
        if one.services.is_empty() { Vec::new() } else { vec![one] }
    })
    .await
}

pub(super) async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    ask: Ask,
) -> Result<Response, Refusal> {
    let tag = tag_filter(ask.filled("filter"))?;
    let choice = ask.filled("choose").map(parse_choice).transpose()?;
    view(
        &app,
        &ask,
        |catalog| catalog.service_index(&name),
        |catalog| {
            // The servers are not a service of Nomad's catalog.
            let entry = catalog.services().find(|entry| *entry.name == *name);
            let instances = entry.map(|entry| entry.instances.as_slice()).unwrap_or_default();
            let rows: Vec<ServiceInstance> = instances
                .iter()
                .filter(|one| tag.as_ref().is_none_or(|tag| one.tags.contains(tag)))
                .map(|one| shape::service_instance(one))
                .collect();
            match &choice {
                Some((count, key)) => choose(rows, *count, key),
                None => rows,
            }
        },
    )
    .await
}

async fn view<T: Serialize>(
    app: &App,
    ask: &Ask,
    index: impl Fn(&Catalog) -> u64,
    body: impl FnOnce(&Catalog) -> T,
) -> Result<Response, Refusal> {
    let hold = hold(ask, ORCHESTRATION, (app.jitter)())?;
    let changes = app.catalog.changed();
    until_newer(hold, changes, &ask.stopping.0, || index(&app.catalog.load())).await;
    let catalog = app.catalog.load();
    let mut response = json(&body(&catalog), ask.pretty())?;
    fresh(app, &mut response, index(&catalog));
    Ok(response)
}

/// The tag of `Tags contains "tag"`, the only filter that the known clients send.
fn tag_filter(filter: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(filter) = filter else { return Ok(None) };
    let quoted = filter
        .trim()
        .strip_prefix("Tags")
        .and_then(|rest| rest.trim_start().strip_prefix("contains"))
        .map(str::trim);
    let tag = quoted.and_then(|text| {
        text.strip_prefix('`')
            .and_then(|rest| rest.strip_suffix('`'))
            .map(str::to_owned)
            .or_else(|| serde_json::from_str::<String>(text).ok())
    });
    tag.map(Some)
        .ok_or_else(|| Refusal::invalid("only the filter `Tags contains \"…\"` is supported here"))
}

/// `<count>|<key>`: so many instances, the same ones for the same key as long as they are there.
fn parse_choice(text: &str) -> Result<(usize, String), Refusal> {
    let (count, key) = text.split_once('|').unwrap_or((text, ""));
    match count.parse() {
        Ok(count) if count > 0 => Ok((count, key.to_owned())),
        _ => Err(Refusal::invalid("choose must be a count and a key, such as 2|key")),
    }
}

/// Rendezvous hashing: an instance that leaves moves only the keys that had chosen it.
fn choose(mut rows: Vec<ServiceInstance>, count: usize, key: &str) -> Vec<ServiceInstance> {
    rows.sort_by_cached_key(|row| {
        let mut hasher = DefaultHasher::new();
        (key, &row.id).hash(&mut hasher);
        hasher.finish()
    });
    rows.truncate(count);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_clients_send_are_read() {
        let tag = |text| tag_filter(Some(text)).ok().flatten();
        assert_eq!(
            tag("Tags contains \"traefik.enable=true\"").as_deref(),
            Some("traefik.enable=true")
        );
        assert_eq!(tag("Tags contains `a\"b`").as_deref(), Some("a\"b"));
        assert_eq!(tag("ServiceName == \"x\""), None);
        assert!(tag_filter(Some("ServiceName == \"x\"")).is_err());
    }

    #[test]
    fn a_choice_is_stable() {
        let row = |id: &str| ServiceInstance { id: id.to_owned(), ..ServiceInstance::default() };
        let three = || vec![row("a"), row("b"), row("c")];
        let first = choose(three(), 1, "key");
        let mut without_others = three();
        without_others.retain(|one| one.id == first[0].id || one.id == "b");
        assert_eq!(choose(without_others, 1, "key"), first);
        assert_eq!(choose(three(), 9, "key").len(), 3);
        assert!(parse_choice("0|x").is_err());
    }
}
