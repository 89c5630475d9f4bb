//! Requests that one agent alone can answer. Any agent takes them and passes them on: what concerns an allocation to its
//! own node (output, files, usage, restarts), what the leader alone knows or does to the leader.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use consensus::Consensus;
use futures_util::stream::{self, Stream};
use identity::{Credentials, Role};
use model::{AllocId, NodeId};
use rpc::{CallError, Class, Client, Code};
use tokio::sync::watch;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::messages::{
    HTTP, HTTP_MORE, HttpAnswer, HttpPiece, HttpRequest, MoreRequest, decode, encode,
};
use super::pieces::{OpenBodies, WAIT};

/// The largest body that goes from agent to agent at once.
const MAX_BODY: usize = 8 << 20;
/// How long an answer may take to begin.
const LIMIT: Duration = Duration::from_secs(30);
/// What a call may take beyond what the other side takes to answer.
const ON_THE_WAY: Duration = Duration::from_secs(5);
/// How often a piece is asked for again that did not come.
const TRIES: u32 = 3;
/// The wait before that.
const PAUSE: Duration = Duration::from_millis(500);
/// Headers of an answer that are passed on beside its type: they keep browsers from running what a task wrote.
const PASSED_ON: [header::HeaderName; 2] =
    [header::CONTENT_DISPOSITION, header::X_CONTENT_TYPE_OPTIONS];

/// The request changes something, and a worker's certificate is not enough for it.
pub(crate) const NOT_FOR_WORKERS: Code = Code(102);

/// Passes requests on that concern other nodes' allocations.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) own: NodeId,
    pub(crate) consensus: Consensus,
    /// Calls any node.
    pub(crate) client: Arc<Client>,
    /// What this agent shows of itself.
    pub(crate) credentials: Credentials,
    /// Where servers are.
    pub(crate) servers: watch::Receiver<Vec<String>>,
}

/// Who is asked: one after the other until one can be reached.
type Route = Vec<String>;

impl Proxy {
    pub(crate) async fn pass(self, request: Request, next: Next) -> Response {
        let path = request.uri().path();
        let elsewhere = match is_leaders(path) {
            true => self.leader().map(|leader| vec![leader]),
            false => {
                allocation_in(path).and_then(|id| self.node_of(id)).map(|node| self.route(node))
            }
        };
        let Some(route) = elsewhere else { return next.run(request).await };
        let method = request.method().to_string();
        let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
        let body = match to_bytes(request.into_body(), MAX_BODY).await {
            Ok(body) => body.into(),
            Err(error) => {
                let words = format!("the request could not be passed on: {error}");
                return (StatusCode::BAD_REQUEST, words).into_response();
            }
        };
        self.ask(&route, &HttpRequest { method, target, body, pieces: true }).await
    }

    /// The answer of whoever can give it to a request of another agent, which came to this server because a worker may
    /// not ask the node itself. `None` where this agent can.
    pub(crate) async fn relay(&self, request: &HttpRequest) -> Option<Response> {
        let node = allocation_in(&request.target).and_then(|id| self.node_of(id))?;
        let request = HttpRequest { pieces: true, ..request.clone() };
        Some(self.ask(&[node], &request).await)
    }

    /// Where the leader is, if that is another agent.
    fn leader(&self) -> Option<String> {
        let leader = self.consensus.leader().filter(|_| !self.consensus.is_leader())?;
        Some(leader.address).filter(|address| !address.is_empty())
    }

    /// Where the allocation's node is, if that is another one.
    fn node_of(&self, id: AllocId) -> Option<String> {
        let state = self.consensus.state();
        let alloc = state.alloc(id).filter(|alloc| alloc.node != self.own)?;
        let node = state.node(alloc.node)?;
        Some(node.rpc_address.clone()).filter(|address| !address.is_empty())
    }

    /// The way to a node: straight for a server, by way of one for a worker. Nodes take nothing from workers, so that
    /// who has broken into one has not broken into all; a server looks at what is asked and asks in its own name.
    fn route(&self, node: String) -> Route {
        let is_server = self.credentials.peer().is_some_and(|peer| peer.role == Role::Server);
        let servers = self.servers.borrow().clone();
        match is_server || servers.contains(&node) {
            true => vec![node],
            false => servers,
        }
    }

    async fn ask(&self, route: &[String], request: &HttpRequest) -> Response {
        let mut last = None;
        for address in route {
            let limit = LIMIT + ON_THE_WAY;
            let called = self.client.call(address, Class::Bulk, HTTP, encode(request), limit).await;
            match called {
                Ok(body) => {
                    let answer = decode(&body).and_then(|answer| self.response(address, answer));
                    return answer.unwrap_or_else(|words| bad_gateway(&words));
                }
                Err(error) if error.may_have_been_carried_out() && request.method != "GET" => {
                    last = Some((address, error));
                    break;
                }
                Err(CallError::Refused { refused, .. }) if refused.code == NOT_FOR_WORKERS => {
                    return (StatusCode::FORBIDDEN, refused.words).into_response();
                }
                Err(CallError::Refused { refused, .. })
                    if refused.code.0 >= Code::FIRST_OF_HANDLERS.0 =>
                {
                    return bad_gateway(&refused.words);
                }
                Err(error) => last = Some((address, error)),
            }
        }
        bad_gateway(&match last {
            Some((address, error)) => {
                format!("the agent at {address}, which alone can answer, did not: {error}")
            }
            None => "no server is known that could be asked for it".to_owned(),
        })
    }

    /// What the other agent answered, as this agent's answer. What is not whole yet goes on as it comes.
    fn response(&self, address: &str, answer: HttpAnswer) -> Result<Response, String> {
        let mut response = Response::builder()
            .status(answer.status)
            .header(header::CONTENT_TYPE, answer.content_type);
        for (name, value) in answer.headers {
            if PASSED_ON.iter().any(|known| known.as_str() == name) {
                response = response.header(name, value);
            }
        }
        let Some(rest) = answer.rest else {
            return response.body(Body::from(answer.body)).map_err(|error| error.to_string());
        };
        let rest = Rest {
            client: Arc::clone(&self.client),
            address: address.to_owned(),
            rest,
            number: 0,
            over: false,
        };
        let body = Body::from_stream(rest.pieces(answer.body.into()));
        let mut response = response.body(body).map_err(|error| error.to_string())?;
        response.extensions_mut().insert(api::Live);
        Ok(response)
    }
}

fn bad_gateway(words: &str) -> Response {
    (StatusCode::BAD_GATEWAY, words.to_owned()).into_response()
}

/// The rest of a body that another agent hands out piece by piece. That agent is told when it is not wanted any more.
struct Rest {
    client: Arc<Client>,
    address: String,
    rest: Uuid,
    /// The last piece that came.
    number: u64,
    over: bool,
}

impl Rest {
    fn pieces(self, first: Bytes) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        stream::unfold((Some(first), self), |(first, mut rest)| async move {
            if let Some(first) = first.filter(|first| !first.is_empty()) {
                return Some((Ok(first), (None, rest)));
            }
            while !rest.over {
                let piece = match rest.next().await {
                    Ok(piece) => piece,
                    Err(words) => {
                        rest.over = true;
                        return Some((Err(std::io::Error::other(words)), (None, rest)));
                    }
                };
                rest.over = piece.over && piece.broken.is_none();
                if !piece.body.is_empty() {
                    return Some((Ok(piece.body.into()), (None, rest)));
                }
                if let Some(broken) = piece.broken {
                    rest.over = true;
                    return Some((Err(std::io::Error::other(broken)), (None, rest)));
                }
            }
            None
        })
    }

    async fn next(&mut self) -> Result<HttpPiece, String> {
        let request = MoreRequest { rest: self.rest, number: self.number + 1, ended: false };
        let mut tries = 0;
        loop {
            let limit = WAIT + ON_THE_WAY;
            let called =
                self.client.call(&self.address, Class::Bulk, HTTP_MORE, encode(&request), limit);
            match called.await {
                Ok(body) => {
                    self.number += 1;
                    return decode(&body);
                }
                Err(CallError::Refused { refused, .. })
                    if refused.code.0 >= Code::FIRST_OF_HANDLERS.0 =>
                {
                    return Err(refused.words);
                }
                Err(error) if tries == TRIES => return Err(error.to_string()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.over {
            return;
        }
        let (client, address) = (Arc::clone(&self.client), std::mem::take(&mut self.address));
        let bye = encode(&MoreRequest { rest: self.rest, number: 0, ended: true });
        // One that does not arrive is made up for: what is not asked for is let go after a while.
        runtime.spawn(async move {
            let _ = client.call(&address, Class::Bulk, HTTP_MORE, bye, ON_THE_WAY).await;
        });
    }
}

/// Answers what another agent passes on, where nobody else has to be asked for it.
pub(crate) async fn response(
    api: &axum::Router,
    request: &HttpRequest,
) -> Result<Response, String> {
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
        .body(Body::from(request.body.clone()))
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(LIMIT, api.clone().oneshot(inner)).await {
        Ok(Ok(response)) => Ok(response),
        Err(_) => Err(format!("the node took longer than {} s to answer", LIMIT.as_secs())),
    }
}

/// An answer as it goes to the agent that passed the request on.
pub(crate) async fn hand_out(
    open: &OpenBodies,
    asker: Option<NodeId>,
    response: Response,
    pieces: bool,
) -> Result<HttpAnswer, String> {
    let (parts, body) = response.into_parts();
    let text = |headers: &HeaderMap, name: &header::HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let content_type = text(&parts.headers, &header::CONTENT_TYPE)
        .unwrap_or_else(|| "application/octet-stream".to_owned());
    let headers = PASSED_ON
        .iter()
        .filter_map(|name| Some((name.to_string(), text(&parts.headers, name)?)))
        .collect();
    let (body, rest) = if pieces {
        open.begin(asker, body).await?
    } else {
        let whole = tokio::time::timeout(LIMIT, to_bytes(body, MAX_BODY)).await;
        let whole = whole.map_err(|_| "the answer has no end".to_owned())?;
        let whole = whole.map_err(|_| {
            format!("the answer is larger than {MAX_BODY} bytes; ask for a part of it")
        })?;
        (whole.into(), None)
    };
    Ok(HttpAnswer { status: parts.status.as_u16(), content_type, headers, body, rest })
}

/// Whether an agent that is no server may have the request answered: it changes nothing. What it says of the servers and
/// of what tasks wrote is no more secret than the jobs, of which every agent has its copy.
pub(crate) fn is_for_workers(request: &HttpRequest) -> bool {
    let path = request.target.split('?').next().unwrap_or_default();
    let kept = path.starts_with("/v1/client/fs/")
        || (path.starts_with("/v1/client/allocation/") && path.ends_with("/stats"));
    request.method == "GET" && (is_leaders(path) || kept)
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
                pieces: false,
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
    fn workers_may_read_and_nothing_else() {
        let id = "6c3f6f9e-2b7c-8a8e-9d1f-000000000001";
        let may = |method: &str, path: &str| {
            let target = format!("/v1/client/{path}?task=a");
            let method = method.to_owned();
            is_for_workers(&HttpRequest { method, target, body: Vec::new(), pieces: true })
        };
        for path in
            [format!("fs/logs/{id}"), format!("fs/cat/{id}"), format!("allocation/{id}/stats")]
        {
            assert!(may("GET", &path), "{path}");
            assert!(!may("PUT", &path) && !may("POST", &path), "{path}");
        }
        for path in ["restart", "signal", "gc"] {
            let path = format!("allocation/{id}/{path}");
            assert!(!may("GET", &path) && !may("PUT", &path) && !may("POST", &path), "{path}");
        }
    }
}
