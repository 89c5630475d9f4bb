//! How a read of the catalog is answered.

use axum::response::Response;
use catalog::Catalog;
use catalog::consul::Select;
use serde::Serialize;

use crate::app::App;
use crate::blocking::{DISCOVERY, hold, until_newer};
use crate::control::{consistent, last_contact};
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{json, set};

/// Answers with what `body` makes of the newest catalog, once `index` of it is beyond what the client has seen.
pub(super) async fn read(
    app: &App,
    ask: &Ask,
    index: impl Fn(&Catalog) -> u64,
    body: impl FnOnce(&Catalog) -> Result<Response, Refusal>,
) -> Result<Response, Refusal> {
    let consistency = consistency(ask)?;
    let hold = hold(ask, DISCOVERY, (app.jitter)())?;
    if let Some(dc) = ask.filled("dc") {
        let known = dc == app.agent.datacenter || app.catalog.load().datacenters().contains(dc);
        if !known {
            return Err(Refusal::unavailable("No path to datacenter"));
        }
    }
    let is_consistent = consistency == "consistent";
    if is_consistent {
        let state = consistent(app.control.as_ref()).await?;
        // The catalog follows the state, and may be a moment behind it.
        tokio::select! {
            () = app.catalog.reaches(state.index()) => {}
            () = ask.stopping.0.cancelled() => {}
        }
    }
    let changes = app.catalog.changed();
    until_newer(hold, changes, &ask.stopping.0, || index(&app.catalog.load())).await;
    let catalog = app.catalog.load();
    let mut response = body(&catalog)?;
    let headers = response.headers_mut();
    set(headers, "x-consul-index", index(&catalog).max(1));
    let raft = app.control.raft();
    let contact = if is_consistent && hold.is_none() { 0 } else { last_contact(&raft) };
    set(headers, "x-consul-knownleader", raft.leader.is_some());
    set(headers, "x-consul-lastcontact", contact);
    set(headers, "x-consul-effective-consistency", consistency);
    set(headers, "x-consul-query-backend", "blocking-query");
    set(headers, "x-consul-default-acl-policy", "allow");
    Ok(response)
}

/// As [`json`], but `[]` when the client asks for another cluster's catalog: there are none.
pub(super) fn rows<T: Serialize>(ask: &Ask, rows: &[T]) -> Result<Response, Refusal> {
    let none: &[T] = &[];
    json(if ask.filled("peer").is_some() { none } else { rows }, ask.pretty())
}

/// What the common parameters leave in.
pub(super) fn select(ask: &Ask) -> Result<Select, Refusal> {
    if ask.filled("filter").is_some() {
        return Err(Refusal::invalid("filter expressions are not supported"));
    }
    let node_meta = ask.all("node-meta").map(|pair| {
        let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
        (key.to_owned(), value.to_owned())
    });
    Ok(Select {
        tags: ask.all("tag").filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        passing: ask.switch("passing")?,
        node_meta: node_meta.collect(),
    })
}

/// These are switches by their presence alone.
fn consistency(ask: &Ask) -> Result<&'static str, Refusal> {
    let has = |name| ask.get(name).is_some();
    match (has("stale"), has("consistent"), has("cached")) {
        (true, true, _) => {
            Err(Refusal::invalid("Cannot specify ?stale with ?consistent, conflicting semantics."))
        }
        (_, true, true) => {
            Err(Refusal::invalid("Cannot specify ?cached with ?consistent, conflicting semantics."))
        }
        (true, ..) => Ok("stale"),
        (_, true, _) => Ok("consistent"),
        _ => Ok("leader"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_select() {
        let ask = Ask::of(&[("tag", "a"), ("tag", "b"), ("passing", "1"), ("node-meta", "k:v:w")]);
        let wanted = Select {
            tags: vec!["a".to_owned(), "b".to_owned()],
            passing: true,
            node_meta: vec![("k".to_owned(), "v:w".to_owned())],
        };
        assert_eq!(select(&ask), Ok(wanted));
        let wrong = select(&Ask::of(&[("passing", "perhaps")]));
        assert_eq!(wrong, Err(Refusal::invalid("Invalid value for ?passing")));
    }

    #[test]
    fn consistencies_conflict() {
        assert_eq!(consistency(&Ask::of(&[("stale", "")])), Ok("stale"));
        assert_eq!(consistency(&Ask::of(&[])), Ok("leader"));
        assert!(consistency(&Ask::of(&[("stale", ""), ("consistent", "")])).is_err());
        assert!(consistency(&Ask::of(&[("cached", ""), ("consistent", "")])).is_err());
    }
}
