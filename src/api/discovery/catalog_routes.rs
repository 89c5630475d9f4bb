//! `/v1/catalog`.

use axum::extract::{Path, State};
use axum::response::Response;
use catalog::{Catalog, consul};

use super::read::{read, rows, select};
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::json;

type Answer = Result<Response, Refusal>;

pub(super) async fn datacenters(State(app): State<App>, ask: Ask) -> Answer {
    let catalog = app.catalog.load();
    json(&consul::datacenters(&catalog, &app.agent.datacenter), ask.pretty())
}

pub(super) async fn nodes(State(app): State<App>, ask: Ask) -> Answer {
    let select = select(&ask)?;
    read(&app, &ask, Catalog::nodes_index, |catalog| {
        rows(&ask, &consul::nodes(catalog, &select).value)
    })
    .await
}

pub(super) async fn services(State(app): State<App>, ask: Ask) -> Answer {
    let select = select(&ask)?;
    let index = |catalog: &Catalog| catalog.services_index().max(catalog.servers().index);
    read(&app, &ask, index, |catalog| json(&consul::services(catalog, &select).value, ask.pretty()))
        .await
}

pub(super) async fn service(State(app): State<App>, Path(name): Path<String>, ask: Ask) -> Answer {
    let select = select(&ask)?;
    read(
        &app,
        &ask,
        |catalog| catalog.service_index(&name),
        |catalog| rows(&ask, &consul::service(catalog, &name, &select).value),
    )
    .await
}

pub(super) async fn node(State(app): State<App>, Path(name): Path<String>, ask: Ask) -> Answer {
    read(&app, &ask, Catalog::health_index, |catalog| {
        json(&consul::node(catalog, &name).value, ask.pretty())
    })
    .await
}
