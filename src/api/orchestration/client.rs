//! What only the allocation's own node can answer or do: what is used, files, restarts, signals.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use model::AllocId;
use model::wire::AllocStopResponse;
use serde::Deserialize;

use super::allocations::{alloc_id, missing};
use super::logs::elsewhere;
use super::read::fresh;
use crate::app::App;
use crate::local::LocalError;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::{BODY_LIMIT, json, read_json};

type Answer = Result<Response, Refusal>;

impl From<LocalError> for Refusal {
    fn from(error: LocalError) -> Self {
        match error {
            LocalError::NotFound(words) => Self::not_found(words),
            LocalError::Forbidden(words) => Self::forbidden(words),
            LocalError::Invalid(words) => Self::invalid(words),
            LocalError::Failed(words) => Self::unavailable(words),
        }
    }
}

/// The allocation if it is this node's; otherwise the way to the one it is on.
fn here(app: &App, id: &str, uri: &Uri) -> Result<Result<AllocId, Response>, Refusal> {
    let state = app.control.state();
    let alloc = state.alloc(alloc_id(id)?).ok_or_else(missing)?;
    if alloc.node == app.agent.node.id {
        return Ok(Ok(alloc.id));
    }
    let node = state.node(alloc.node).map(|node| &**node);
    elsewhere(alloc, node, uri).map(Err)
}

/// Goes on with the allocation, or answers with the way to its node.
macro_rules! here {
    ($app:expr, $id:expr, $uri:expr) => {
        match here(&$app, &$id, &$uri)? {
            Ok(alloc) => alloc,
            Err(redirect) => return Ok(redirect),
        }
    };
}

pub(super) async fn stats(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
) -> Answer {
    let alloc = here!(app, id, uri);
    json(&app.local.usage(alloc).await?, ask.pretty())
}

pub(super) async fn host(State(app): State<App>, ask: Ask) -> Answer {
    if let Some(node) = ask.filled("node_id").filter(|node| *node != app.agent.node.id.to_string())
    {
        return Err(Refusal::not_found(format!("node `{node}` is not this agent's; ask its own")));
    }
    json(&app.local.host().await, ask.pretty())
}

/// The body of a restart.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Restart {
    task_name: String,
    all_tasks: bool,
}

pub(super) async fn restart(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
    body: Body,
) -> Answer {
    let alloc = here!(app, id, uri);
    let asked: Restart = read_json(body, BODY_LIMIT).await?;
    if asked.all_tasks {
        let words = "AllTasks is not supported: tasks that are over are not started again";
        return Err(Refusal::invalid(words));
    }
    app.local.restart(alloc, named(asked.task_name)).await?;
    json(&serde_json::json!({}), ask.pretty())
}

/// The body of a signal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Signal {
    task: String,
    signal: String,
}

pub(super) async fn signal(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
    body: Body,
) -> Answer {
    let alloc = here!(app, id, uri);
    let asked: Signal = read_json(body, BODY_LIMIT).await?;
    let signal = if asked.signal.is_empty() { "SIGKILL".to_owned() } else { asked.signal };
    app.local.signal(alloc, named(asked.task), signal).await?;
    json(&serde_json::json!({}), ask.pretty())
}

pub(super) async fn collect(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
) -> Answer {
    let alloc = here!(app, id, uri);
    app.local.collect(Some(alloc)).await?;
    json(&serde_json::json!({}), ask.pretty())
}

pub(super) async fn collect_all(State(app): State<App>, ask: Ask) -> Answer {
    app.local.collect(None).await?;
    json(&serde_json::json!({}), ask.pretty())
}

pub(super) async fn stop(State(app): State<App>, Path(id): Path<String>, ask: Ask) -> Answer {
    let index = app.control.stop_allocation(alloc_id(&id)?).await?;
    let mut response = json(&AllocStopResponse { index, ..Default::default() }, ask.pretty())?;
    fresh(&app, &mut response, index);
    Ok(response)
}

pub(super) async fn list(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
) -> Answer {
    let alloc = here!(app, id, uri);
    json(&app.local.list(alloc, path(&ask)).await?, ask.pretty())
}

pub(super) async fn stat(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
) -> Answer {
    let alloc = here!(app, id, uri);
    json(&app.local.stat(alloc, path(&ask)).await?, ask.pretty())
}

pub(super) async fn cat(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
) -> Answer {
    let alloc = here!(app, id, uri);
    file(&app, alloc, &ask, 0, None).await
}

pub(super) async fn read_at(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
) -> Answer {
    let alloc = here!(app, id, uri);
    let offset = ask.number("offset")?.unwrap_or_default();
    // Nomad takes no limit, and none at all, for all that is left.
    let limit = ask.number("limit")?.filter(|limit| *limit > 0);
    file(&app, alloc, &ask, offset, limit).await
}

async fn file(app: &App, alloc: AllocId, ask: &Ask, offset: u64, limit: Option<u64>) -> Answer {
    let pieces = app.local.read(alloc, path(ask), offset, limit).await?;
    // A task chose what is in it: never anything that a browser would run.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "attachment"),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

fn path(ask: &Ask) -> &str {
    ask.filled("path").unwrap_or("/")
}

fn named(task: String) -> Option<String> {
    Some(task).filter(|task| !task.is_empty())
}
