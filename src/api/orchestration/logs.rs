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
use model::{Allocation, Node};

use super::allocations::{alloc_id, missing};
use crate::app::App;
use crate::logs::{LogError, LogOrigin, LogOutput, LogPiece, LogPieces, LogRequest};
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::stack::Live;
use crate::tls::speaks_tls;

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
        let node = state.node(alloc.node).map(|node| &**node);
        return elsewhere(alloc, node, &uri);
    }
    let follow = request.follow;
    let pieces = app.logs.read(request).await.map_err(|error| match error {
        LogError::NotFound(words) => Refusal::not_found(words),
        LogError::Unreadable(words) => Refusal::unavailable(words),
    })?;
    let stop = ask.stopping.0.clone();
    let (kind, body) = if plain {
        let bytes = pieces.map(|piece| piece.map(plain_bytes));
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
    let lines = ask.number("lines")?.map(|lines| u32::try_from(lines).unwrap_or(u32::MAX));
    let follow = ask.switch("follow")?;
    Ok(LogRequest { alloc: alloc.id, task, output, origin, offset, lines, follow })
}

/// The files are on the allocation's own node, so its agent must answer.
pub(super) fn elsewhere(
    alloc: &Allocation,
    node: Option<&Node>,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let address = node.map_or("", |node| node.http_address.as_str());
    if address.is_empty() {
        return Err(Refusal::not_found(format!(
            "allocation {} is on node {}, which cannot be reached from here",
            alloc.id.short(),
            alloc.node_name
        )));
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = if node.is_some_and(speaks_tls) { "https" } else { "http" };
    let target = format!("{scheme}://{address}{path}");
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

/// The bytes as they are; a line of our own stands where some are missing.
fn plain_bytes(piece: LogPiece) -> Bytes {
    let Some(missing) = piece.missing else { return piece.data };
    let mut bytes = format!("\n[herder: {missing}]\n").into_bytes();
    bytes.extend_from_slice(&piece.data);
    bytes.into()
}

fn frame(piece: &LogPiece) -> Bytes {
    let frame = serde_json::json!({
        "Offset": piece.offset,
        "Data": STANDARD.encode(&piece.data),
        "File": piece.file,
    });
    match &piece.missing {
        None => Bytes::from(format!("{frame}\n")),
        Some(missing) => {
            let event = serde_json::json!({"File": piece.file, "FileEvent": missing});
            Bytes::from(format!("{event}\n{frame}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_where_it_is_missing() {
        let missing = Some("12 bytes were rotated away before they were read".to_owned());
        let data = Bytes::from_static(b"on\n");
        let piece = LogPiece { file: "web.stdout.7".to_owned(), offset: 0, data, missing };
        let framed = frame(&piece);
        let lines: Vec<serde_json::Value> = framed
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["FileEvent"], "12 bytes were rotated away before they were read");
        assert_eq!(
            lines[1],
            serde_json::json!({"File": "web.stdout.7", "Offset": 0, "Data": "b24K"})
        );
        let plain = plain_bytes(piece);
        assert_eq!(plain, "\n[herder: 12 bytes were rotated away before they were read]\non\n");
    }
}
