//! `/v1/health`.

use axum::extract::{Path, State};
use axum::response::Response;
use catalog::{Catalog, consul};

use super::read::{read, rows, select};
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;

type Answer = Result<Response, Refusal>;

pub(super) async fn service(State(app): State<App>, Path(name): Path<String>, ask: Ask) -> Answer {
    let select = select(&ask)?;
    read(
        &app,
        &ask,
        |catalog| catalog.service_index(&name),
        |catalog| rows(&ask, &consul::health_service(catalog, &name, &select).value),
    )
    .await
}

/// There is no mesh, so no service has an instance in it.
pub(super) async fn mesh(State(app): State<App>, Path(name): Path<String>, ask: Ask) -> Answer {
    let none: [(); 0] = [];
    read(&app, &ask, |catalog| catalog.service_index(&name), |_| rows(&ask, &none)).await
}

pub(super) async fn checks(State(app): State<App>, Path(name): Path<String>, ask: Ask) -> Answer {
    let select = select(&ask)?;
    read(
        &app,
        &ask,
        |catalog| catalog.service_index(&name),
        |catalog| rows(&ask, &consul::health_checks(catalog, &name, &select).value),
    )
    .await
}

pub(super) async fn state(State(app): State<App>, Path(state): Path<String>, ask: Ask) -> Answer {
    let select = select(&ask)?;
    let wanted = consul::Wanted::parse(&state).ok_or_else(|| {
        Refusal::invalid("Invalid check state, must be one of any, passing, warning, critical")
    })?;
    read(&app, &ask, Catalog::health_index, |catalog| {
        rows(&ask, &consul::health_state(catalog, wanted, &select).value)
    })
    .await
}

pub(super) async fn node(State(app): State<App>, Path(name): Path<String>, ask: Ask) -> Answer {
    read(&app, &ask, Catalog::health_index, |catalog| {
        rows(&ask, &consul::health_node(catalog, &name).value)
    })
    .await
}
