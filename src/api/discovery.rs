//! The discovery dialect: Consul's paths, shapes, headers and words for errors, as its clients check them.

mod agent;
mod catalog_routes;
mod health;
mod read;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use crate::app::App;
use crate::refusal::Refusal;
use crate::stack::dress;

/// The routes of port 8500. All of them only read.
pub fn discovery(app: App) -> Router {
    let routes = Router::new()
        .route("/v1/catalog/datacenters", get(catalog_routes::datacenters))
        .route("/v1/catalog/nodes", get(catalog_routes::nodes))
        .route("/v1/catalog/services", get(catalog_routes::services))
        .route("/v1/catalog/service/{name}", get(catalog_routes::service))
        .route("/v1/catalog/service/", missing("Missing service name"))
        .route("/v1/catalog/node/{name}", get(catalog_routes::node))
        .route("/v1/catalog/node/", missing("Missing node name"))
        .route("/v1/health/service/{name}", get(health::service))
        .route("/v1/health/service/", missing("Missing service name"))
        .route("/v1/health/connect/{name}", get(health::mesh))
        .route("/v1/health/ingress/{name}", get(health::mesh))
        .route("/v1/health/checks/{name}", get(health::checks))
        .route("/v1/health/checks/", missing("Missing service name"))
        .route("/v1/health/state/{state}", get(health::state))
        .route("/v1/health/state/", missing("Missing check state"))
        .route("/v1/health/node/{name}", get(health::node))
        .route("/v1/health/node/", missing("Missing node name"))
        .route("/v1/agent/self", get(agent::own))
        .route("/v1/agent/members", get(agent::members))
        .route("/v1/status/leader", get(agent::leader))
        .route("/v1/status/peers", get(agent::peers))
        .fallback(async || {
            Refusal::not_found("Invalid URL path: not a recognized HTTP API endpoint")
        })
        .method_not_allowed_fallback(other_method)
        .with_state(app.clone());
    dress(routes, &app, "discovery")
}

fn missing(words: &'static str) -> MethodRouter<App> {
    get(async move || Refusal::invalid(words))
}

async fn other_method(request: Request) -> Response {
    let method = request.method();
    let mut response = match *method {
        Method::OPTIONS => StatusCode::OK.into_response(),
        _ => Refusal::wrong_method(format!("method {method} not allowed")).into_response(),
    };
    let allowed = header::HeaderValue::from_static("OPTIONS,GET");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
