//! The orchestration dialect: Nomad's paths and shapes, and Herder's own under `/v1/gitops`.

mod agent;
mod allocations;
mod client;
mod deployments;
mod evaluations;
mod explain;
mod gitops;
mod jobs;
mod join_tokens;
mod list;
mod logs;
mod members;
mod nodes;
mod operator;
mod read;
#[cfg(test)]
mod run_tests;
mod scheduling;
mod services;
mod shape;
mod slashes;
#[cfg(test)]
mod tests;

pub(crate) use members::{leader_address, server_addresses};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};

use crate::app::App;
use crate::guard::guard;
use crate::refusal::Refusal;
use crate::stack::dress;

/// The routes of port 4646.
pub fn orchestration(app: App) -> Router {
    let routes = Router::new()
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/job/{id}", get(jobs::one))
        .route("/v1/job/{id}/allocations", get(jobs::allocations))
        .route("/v1/job/{id}/evaluations", get(jobs::evaluations))
        .route("/v1/job/{id}/deployments", get(jobs::deployments))
        .route("/v1/job/{id}/deployment", get(jobs::deployment))
        .route("/v1/job/{id}/summary", get(jobs::summary))
        .route("/v1/job/{id}/versions", get(jobs::versions))
        .route("/v1/job/{id}/dispatch", post(jobs::dispatch).put(jobs::dispatch))
        .route("/v1/job/{id}/periodic/force", post(jobs::force).put(jobs::force))
        .route("/v1/allocations", get(allocations::list))
        .route("/v1/allocation/{id}", get(allocations::one))
        .route("/v1/allocation/{id}/stop", post(client::stop).put(client::stop))
        .route("/v1/client/fs/logs/{id}", get(logs::logs))
        .route("/v1/client/fs/ls/{id}", get(client::list))
        .route("/v1/client/fs/stat/{id}", get(client::stat))
        .route("/v1/client/fs/cat/{id}", get(client::cat))
        .route("/v1/client/fs/readat/{id}", get(client::read_at))
        .route("/v1/client/stats", get(client::host))
        .route("/v1/client/gc", post(client::collect_all).put(client::collect_all))
        .route("/v1/client/allocation/{id}/stats", get(client::stats))
        .route("/v1/client/allocation/{id}/gc", post(client::collect).put(client::collect))
        .route("/v1/client/allocation/{id}/signal", post(client::signal).put(client::signal))
        .route("/v1/client/allocation/{id}/restart", post(client::restart).put(client::restart))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/node/{id}", get(nodes::one))
        .route("/v1/node/{id}/allocations", get(nodes::allocations))
        .route("/v1/node/{id}/drain", post(nodes::drain).put(nodes::drain))
        .route("/v1/node/{id}/eligibility", post(nodes::eligibility).put(nodes::eligibility))
        .route("/v1/node/{id}/purge", post(nodes::purge).put(nodes::purge))
        .route("/v1/evaluations", get(evaluations::list))
        .route("/v1/evaluation/{id}", get(evaluations::one))
        .route("/v1/evaluation/{id}/allocations", get(evaluations::allocations))
        .route("/v1/deployments", get(deployments::list))
        .route("/v1/deployment/{id}", get(deployments::one))
        .route("/v1/deployment/allocations/{id}", get(deployments::allocations))
        .route("/v1/deployment/promote/{id}", post(deployments::promote).put(deployments::promote))
        .route("/v1/deployment/fail/{id}", post(deployments::fail).put(deployments::fail))
        .route("/v1/services", get(services::list))
        .route("/v1/service/{name}", get(services::one))
        .route("/v1/status/leader", get(agent::leader))
        .route("/v1/status/peers", get(agent::peers))
        .route("/v1/agent/self", get(agent::own))
        .route("/v1/agent/health", get(agent::health))
        .route("/v1/agent/members", get(agent::members))
        .route("/v1/regions", get(agent::regions))
        .route("/v1/namespaces", get(agent::namespaces))
        .route("/v1/metrics", get(agent::metrics))
        .route("/v1/operator/join-tokens", get(join_tokens::list).post(join_tokens::make))
        .route("/v1/operator/join-token/{id}", delete(join_tokens::revoke))
        .route("/v1/agent/loops", get(agent::loops))
        .route("/v1/operator/raft/configuration", get(operator::configuration))
        .route(
            "/v1/operator/raft/transfer-leadership",
            post(operator::transfer).put(operator::transfer),
        )
        .route("/v1/operator/raft/peer", delete(operator::remove_peer))
        .route("/v1/operator/lost-nodes", get(operator::lost_nodes))
        .route(
            "/v1/operator/lost-nodes/approve",
            post(operator::approve_losses).put(operator::approve_losses),
        )
        .route(
            "/v1/operator/snapshot",
            get(operator::snapshot).post(operator::restore).put(operator::restore),
        )
        .route(
            "/v1/operator/scheduler/configuration",
            get(scheduling::show).post(scheduling::change).put(scheduling::change),
        )
        .route("/v1/gitops/status", get(gitops::status))
        .route("/v1/gitops/revisions", get(gitops::revisions))
        .route("/v1/gitops/explain/job/{id}", get(explain::job))
        .route("/v1/gitops/explain/allocation/{id}", get(explain::allocation))
        .route("/v1/gitops/plan", post(gitops::plan))
        .route("/v1/gitops/check", post(gitops::check))
        .route("/v1/gitops/approve", post(gitops::approve))
        .fallback(async |uri: axum::http::Uri| {
            Refusal::not_found(format!("there is no endpoint {}", uri.path()))
        })
        .method_not_allowed_fallback(async || Refusal::wrong_method("Invalid method"))
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app.clone());
    slashes::joined(dress(routes, &app, "orchestration"))
}
