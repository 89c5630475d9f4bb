//! A task's output, whole or as it is written.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::unfold;
use model::Allocation;

use super::allocations::{alloc_id, missing};
use crate::app::App;
use crate::logs::{LogError, LogOrigin, LogOutput, LogPiece, LogPieces, LogRequest};
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::stack::Live;

/// How often a framed log that has nothing new says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

pub(super) async fn logs(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
    ask: Ask,
) -> Result<Response, Refusal> {
    let state = app.control.state();
    let alloc = state.alloc(alloc_id(&id)?).ok_or_else(missing)?;
    let request = request(alloc, &ask)?;
    let plain = ask.switch("plain")?;
    if alloc.node != app.agent.node.id {
        let node = state.node(alloc.node);
        return elsewhere(alloc, node.map_or("", |node| node.http_address.as_str()), &uri);
    }
    let follow = request.follow;
    let pieces = app.logs.read(request).await.map_err(|error| match error {
        LogError::NotFound(words) => Refusal::not_found(words),
        LogError::Unreadable(words) => Refusal::unavailable(words),
    })?;
    let stop = ask.stopping.0.clone();
    let (kind, body) = if plain {
        let bytes = pieces.map(|piece| piece.map(|piece| piece.data));
        ("text/plain; charset=utf-8", Body::from_stream(bytes.take_until(stop.cancelled_owned())))
    } else {
        (
            "application/json",
            Body::from_stream(frames(pieces, follow).take_until(stop.cancelled_owned())),
        )
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    if follow {
        response.extensions_mut().insert(Live);
    }
    Ok(response)
}

/// What is to be read, from the query.
fn request(alloc: &Allocation, ask: &Ask) -> Result<LogRequest, Refusal> {
    let mut names = alloc.tasks.keys();
    let task = match (ask.filled("task"), names.next(), names.next()) {
        (Some(task), ..) => task.to_owned(),
        (None, Some(only), None) => only.clone(),
        _ => return Err(Refusal::invalid("must provide task name")),
    };
    if !alloc.tasks.contains_key(&task) {
        return Err(Refusal::not_found(format!(
            "allocation {} has no task `{task}` that has started",
            alloc.id.short()
        )));
    }
    let output = match ask.filled("type") {
        None | Some("stdout") => LogOutput::Stdout,
        Some("stderr") => LogOutput::Stderr,
        Some(_) => return Err(Refusal::invalid("log type must be stdout or stderr")),
    };
    let origin = match ask.filled("origin") {
        None | Some("start") => LogOrigin::Start,
        Some("end") => LogOrigin::End,
        Some(_) => return Err(Refusal::invalid("log origin must be start or end")),
    };
    let offset = ask.number("offset")?.unwrap_or_default();
    Ok(LogRequest { alloc: alloc.id, task, output, origin, offset, follow: ask.switch("follow")? })
}

/// The files are on the allocation's own node, so its agent must answer.
fn elsewhere(alloc: &Allocation, address: &str, uri: &Uri) -> Result<Response, Refusal> {
    if address.is_empty() {
        return Err(Refusal::not_found(format!(
            "allocation {} is on node {}, which cannot be reached from here",
            alloc.id.short(),
            alloc.node_name
        )));
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let target = format!("http://{address}{path}");
    Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]).into_response())
}

/// Nomad's frames: one JSON object after the other, `{}` as a sign of life.
fn frames(
    pieces: LogPieces,
    follow: bool,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    unfold(Some(pieces), move |pieces| async move {
        let mut pieces = pieces?;
        let next = if follow {
            let beat = Box::pin(tokio::time::sleep(HEARTBEAT));
            match select(pieces.next(), beat).await {
                Either::Left((next, _)) => next,
                Either::Right(_) => return Some((Ok(Bytes::from_static(b"{}\n")), Some(pieces))),
            }
        } else {
            pieces.next().await
        };
        match next {
            None => None,
            Some(Ok(piece)) => Some((Ok(frame(&piece)), Some(pieces))),
            Some(Err(error)) => {
                let event = serde_json::json!({"FileEvent": format!("log ended: {error}")});
                Some((Ok(Bytes::from(format!("{event}\n"))), None))
            }
        }
    })
}

fn frame(piece: &LogPiece) -> Bytes {
    let frame = serde_json::json!({
        "Offset": piece.offset,
        "Data": STANDARD.encode(&piece.data),
        "File": piece.file,
    });
    Bytes::from(format!("{frame}\n"))
}
