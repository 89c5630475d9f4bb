//! Requests that one agent alone can answer. Any agent takes them and passes them on: what concerns an allocation to its
//! own node (output, files, usage, restarts), what the leader alone knows or does to the leader.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use consensus::Consensus;
use model::{AllocId, NodeId};
use rpc::{CallError, Class, Client};
use tower::ServiceExt as _;

use super::messages::{HTTP, HttpAnswer, HttpRequest, decode, encode};

/// The largest body that goes from agent to agent.
const MAX_BODY: usize = 8 << 20;
/// How long an answer may take to be whole. What is followed for longer is cut there, and asked for again.
const LIMIT: Duration = Duration::from_secs(30);

/// Passes requests on that concern other nodes' allocations.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) own: NodeId,
    pub(crate) consensus: Consensus,
    pub(crate) client: Arc<Client>,
}

impl Proxy {
    pub(crate) async fn pass(self, request: Request, next: Next) -> Response {
        let path = request.uri().path();
        let elsewhere = match is_leaders(path) {
            true => self.leader(),
            false => allocation_in(path).and_then(|id| self.elsewhere(id)),
        };
        let Some(address) = elsewhere else { return next.run(request).await };
        match self.ask(&address, request).await {
            Ok(answer) => answer,
            Err(words) => (StatusCode::BAD_GATEWAY, words).into_response(),
        }
    }

    /// Where the leader is, if that is another agent.
    fn leader(&self) -> Option<String> {
        let leader = self.consensus.leader().filter(|_| !self.consensus.is_leader())?;
        Some(leader.address).filter(|address| !address.is_empty())
    }

    /// Where the allocation's node is, if that is another one.
    fn elsewhere(&self, id: AllocId) -> Option<String> {
        let state = self.consensus.state();
        let alloc = state.alloc(id).filter(|alloc| alloc.node != self.own)?;
        let node = state.node(alloc.node)?;
        Some(node.rpc_address.clone()).filter(|address| !address.is_empty())
    }

    async fn ask(&self, address: &str, request: Request) -> Result<Response, String> {
        let method = request.method().to_string();
        let target = request
            .uri()
            .path_and_query()
            .map_or_else(String::new, |target| without_follow(target.as_str()));
        let body = to_bytes(request.into_body(), MAX_BODY)
            .await
            .map_err(|error| format!("the request could not be passed on: {error}"))?;
        let message = encode(&HttpRequest { method, target, body: body.into() });
        let body = self
            .client
            .call(address, Class::Bulk, HTTP, message, LIMIT + Duration::from_secs(5))
            .await
            .map_err(|error| match error {
                CallError::Refused { refused, .. } => refused.to_string(),
                error => {
                    format!("the agent at {address}, which alone can answer, did not: {error}")
                }
            })?;
        let answer: HttpAnswer = decode(&body)?;
        Response::builder()
            .status(answer.status)
            .header(header::CONTENT_TYPE, answer.content_type)
            .body(Body::from(answer.body))
            .map_err(|error| error.to_string())
    }
}

/// Answers what another agent passes on.
pub(crate) async fn answer(api: &axum::Router, request: HttpRequest) -> Result<HttpAnswer, String> {
    let method: Method = request.method.parse().map_err(|_| "that is no method".to_owned())?;
    if allocation_in(&request.target).is_none() && !is_leaders(&request.target) {
        return Err(
            "only what concerns an allocation, or the leader alone, is passed on".to_owned()
        );
    }
    let inner = axum::http::Request::builder()
        .method(method)
        .uri(&request.target)
        .header(header::HOST, "127.0.0.1")
        .body(Body::from(request.body))
        .map_err(|error| error.to_string())?;
    let whole = async {
        let Ok(response) = api.clone().oneshot(inner).await;
        let (parts, body) = response.into_parts();
        let content_type = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("application/octet-stream")
            .to_owned();
        let body = to_bytes(body, MAX_BODY).await.map_err(|_| {
            format!("the answer is larger than {MAX_BODY} bytes; ask for a part of it")
        })?;
        Ok(HttpAnswer { status: parts.status.as_u16(), content_type, body: body.into() })
    };
    match tokio::time::timeout(LIMIT, whole).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("the node took longer than {} s to answer", LIMIT.as_secs())),
    }
}

/// Whether an agent that is no server may have the request answered: it changes nothing, and is about the servers.
pub(crate) fn is_for_workers(request: &HttpRequest) -> bool {
    request.method == "GET" && is_leaders(&request.target)
}

/// Whether the leader alone can answer: who takes part in Raft and how far everybody is, and how the nodes answer.
fn is_leaders(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    ["/v1/operator/raft/", "/v1/operator/lost-nodes"].iter().any(|begin| path.starts_with(begin))
}

/// The allocation that a path of `/v1/client/` is about.
fn allocation_in(target: &str) -> Option<AllocId> {
    let path = target.split('?').next()?.strip_prefix("/v1/client/")?;
    path.split('/').find_map(|part| part.parse().ok())
}

/// What is followed has no end, and is not passed on: the caller gets what there is.
fn without_follow(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("follow=")).collect();
    format!("{path}?{}", kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_allocation() {
        let id = "6c3f6f9e-2b7c-8a8e-9d1f-000000000001";
        for path in [
            format!("/v1/client/fs/logs/{id}?task=a&type=stdout"),
            format!("/v1/client/allocation/{id}/stats"),
        ] {
            assert_eq!(allocation_in(&path), id.parse().ok(), "{path}");
        }
        for path in ["/v1/operator/raft/peer?id=7", "/v1/operator/lost-nodes/approve"] {
            assert!(is_leaders(path), "{path}");
            let asked = |method: &str| HttpRequest {
                method: method.to_owned(),
                target: path.to_owned(),
                body: Vec::new(),
            };
            assert!(is_for_workers(&asked("GET")) && !is_for_workers(&asked("DELETE")));
        }
        for path in ["/v1/operator/snapshot", "/v1/jobs?x=/v1/operator/raft/"] {
            assert!(!is_leaders(path), "{path}");
        }
        for path in ["/v1/client/stats", "/v1/jobs", &format!("/v1/allocation/{id}")] {
            assert_eq!(allocation_in(path), None, "{path}");
        }
    }

    #[test]
    fn following_ends_at_the_next_agent() {
        assert_eq!(without_follow("/a?task=x&follow=true&plain=true"), "/a?task=x&plain=true");
        assert_eq!(without_follow("/a"), "/a");
    }
}
