//! The agent and the cluster it is part of.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use model::wire::{AgentHealth, AgentSelf, HealthLine, Namespace};

use super::members::{leader_address, members_of, own_member, server_addresses};
use super::read::fresh;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::json;

type Answer = Result<Response, Refusal>;

pub(super) async fn leader(State(app): State<App>, ask: Ask) -> Answer {
    let leader = leader_address(&app).ok_or_else(|| Refusal::unavailable("No cluster leader"))?;
    json(&leader, ask.pretty())
}

pub(super) async fn peers(State(app): State<App>, ask: Ask) -> Answer {
    json(&server_addresses(&app), ask.pretty())
}

pub(super) async fn own(State(app): State<App>, ask: Ask) -> Answer {
    let agent = &app.agent;
    let raft = app.control.raft();
    let mut config = agent.config.clone();
    let mut known = |key: &str, value: serde_json::Value| {
        config.entry(key.to_owned()).or_insert(value);
    };
    known("Name", agent.name.clone().into());
    known("Datacenter", agent.datacenter.clone().into());
    known("Region", "global".into());
    known("Version", serde_json::json!({"Version": agent.version}));
    known(
        "AdvertiseAddrs",
        serde_json::json!({"HTTP": agent.http_address, "RPC": agent.rpc_address}),
    );
    known("StartedAt", serde_json::json!(agent.started_at));
    let part = |figures: &[(&str, String)]| -> BTreeMap<String, String> {
        figures.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    };
    let stats = [
        (
            "nomad",
            part(&[
                ("leader", (raft.leader == Some(raft.node)).to_string()),
                ("leader_addr", leader_address(&app).unwrap_or_default()),
                ("server", "true".to_owned()),
                ("known_regions", "1".to_owned()),
            ]),
        ),
        (
            "raft",
            part(&[
                ("state", raft.role.clone()),
                ("term", raft.term.to_string()),
                ("last_log_index", raft.last_log.to_string()),
                ("commit_index", raft.committed.to_string()),
                ("applied_index", raft.applied.to_string()),
                ("num_peers", raft.voters.len().saturating_sub(1).to_string()),
            ]),
        ),
        ("client", part(&[("node_id", agent.node.id.to_string())])),
    ];
    let answer = AgentSelf {
        config,
        member: own_member(&app),
        stats: stats.into_iter().map(|(name, figures)| (name.to_owned(), figures)).collect(),
    };
    json(&answer, ask.pretty())
}

pub(super) async fn health(State(app): State<App>, ask: Ask) -> Answer {
    let ok = || HealthLine { ok: true, message: "ok".to_owned() };
    let known = app.control.raft().leader.is_some();
    let server = if known {
        ok()
    } else {
        HealthLine { ok: false, message: "No cluster leader".to_owned() }
    };
    let registered = app.control.state().node(app.agent.node.id).is_some();
    let client = if registered {
        ok()
    } else {
        HealthLine { ok: false, message: "the node is not registered yet".to_owned() }
    };
    // `?type=server` or `client` asks for one part alone.
    let wants = |part: &str| ask.filled("type").is_none_or(|wanted| wanted == part);
    let answer = AgentHealth {
        server: wants("server").then_some(server),
        client: wants("client").then_some(client),
    };
    let well = [&answer.server, &answer.client].into_iter().flatten().all(|line| line.ok);
    let mut response = json(&answer, ask.pretty())?;
    if !well {
        *response.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(response)
}

pub(super) async fn members(State(app): State<App>, ask: Ask) -> Answer {
    json(&members_of(&app), ask.pretty())
}

pub(super) async fn loops(State(app): State<App>, ask: Ask) -> Answer {
    json(&app.control.loops(), ask.pretty())
}

pub(super) async fn regions(ask: Ask) -> Answer {
    json(&["global"], ask.pretty())
}

pub(super) async fn namespaces(State(app): State<App>, ask: Ask) -> Answer {
    let one = Namespace {
        name: "default".to_owned(),
        description: "the only namespace".to_owned(),
        create_index: 1,
        modify_index: 1,
    };
    let mut response = json(&[one], ask.pretty())?;
    fresh(&app, &mut response, 1);
    Ok(response)
}

pub(super) async fn metrics(State(app): State<App>, ask: Ask) -> Answer {
    let raft = app.control.raft();
    let figures = crate::metrics::figures(&app.control.state(), &raft, &app.control.repos());
    let mut fleet = crate::metrics::fleet(&raft, &app.control.members(), &app.control.heartbeats());
    fleet.extend(app.local.figures().await);
    if ask.filled("format") != Some("prometheus") {
        let mut all = crate::metrics::as_json(&figures);
        for (key, counters) in [("Gauges", false), ("Counters", true)] {
            if let Some(list) = all.get_mut(key).and_then(serde_json::Value::as_array_mut) {
                list.extend(crate::local::as_json(&fleet, counters));
            }
        }
        return json(&all, ask.pretty());
    }
    let mut more = (app.more_metrics)();
    more.push_str(&crate::local::exposition(&fleet));
    let text = app.metrics.text(&figures, &more);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
