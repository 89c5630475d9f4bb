//! What every request passes on its way in and out: a number, a span, counters, compression, and a net for panics.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tracing::Instrument;

use crate::app::App;
use crate::refusal::Refusal;
use crate::reply::set;

/// Smaller answers are not worth compressing.
const COMPRESS_ABOVE: u64 = 1_400;

/// Put on a response that must reach its reader as it is made, and so is not compressed.
#[derive(Clone, Copy, Debug)]
pub struct Live;

/// Puts the layers around a face's routes. `face` is its name in logs and metrics.
pub(crate) fn dress(router: Router, app: &App, face: &'static str) -> Router {
    let metrics = app.metrics.clone();
    router
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .quality(CompressionLevel::Fastest)
                .compress_when(SizeAbove::new(COMPRESS_ABOVE).and(may_wait)),
        )
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(move |request: Request, next: Next| {
            let metrics = metrics.clone();
            async move {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let method = request.method().clone();
                let route = request.extensions().get::<MatchedPath>().cloned();
                let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
                let waits = request.uri().query().is_some_and(asks_to_wait);
                let span = tracing::debug_span!("request", face, number, %method, route);
                let begin = Instant::now();
                let mut response = next.run(request).instrument(span.clone()).await;
                let took = begin.elapsed();
                let status = response.status();
                span.in_scope(|| tracing::debug!(status = status.as_u16(), ?took, "answered"));
                metrics.request(face, &method, route, status, (!waits).then_some(took));
                set(response.headers_mut(), "x-request-id", number);
                response
            }
        }))
}

/// Numbers requests across both faces, so that an answer can be found in the log.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A query that waits says nothing about how fast we are.
fn asks_to_wait(query: &str) -> bool {
    query.split('&').any(|pair| {
        pair.split_once('=').is_some_and(|(key, value)| match key {
            "index" => value != "0",
            "follow" => value == "true",
            _ => false,
        })
    })
}

fn may_wait(_: StatusCode, _: Version, _: &HeaderMap, more: &Extensions) -> bool {
    more.get::<Live>().is_none()
}

fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let words = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = words, "a request handler panicked");
    Refusal::unavailable("internal error; the agent's log says more").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_recognised() {
        assert!(asks_to_wait("stale=&index=7&wait=60s"));
        assert!(asks_to_wait("follow=true"));
        assert!(!asks_to_wait("index=0"));
        assert!(!asks_to_wait("prefix=index"));
    }
}
