//! A small cluster for tests: one node, one job with one running allocation, no Raft and no Git.

mod cluster;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use catalog::{Catalog, CatalogHandle};
use futures_util::StreamExt;
use model::wire::{
    GitopsError, JobDispatchRequest, JobDispatchResponse, LoopView, NewJoinToken,
    PeriodicForceResponse, PlanRequest, PlanResponse,
};
use model::{AllocId, DeploymentId, JobId, NodeId, Timestamp};
use state::{Command, State};
use tokio::sync::watch;
use tower::ServiceExt;

pub(crate) use cluster::{alloc_id, at, deployment_id, node_id};
use cluster::{node, state};

use crate::app::AgentInfo;
pub(crate) use crate::app::App;
use crate::control::{Control, Heartbeats, RaftMember, RaftView, RepoPoll};
use crate::logs::{LogError, LogOutput, LogPiece, LogPieces, LogRequest, TaskLogs};
use crate::refusal::Refusal;

/// An app over the small cluster, without jitter.
pub(crate) fn app() -> App {
    app_of(state(), true)
}

/// The same, after these commands.
pub(crate) fn app_after(commands: &[Command]) -> App {
    let mut state = state();
    for command in commands {
        let applied = state.apply(state.index() + 1, command);
        assert_eq!(applied.rejection, None, "{command:?}");
    }
    app_of(state, true)
}

/// The same on a server that hears no leader.
pub(crate) fn leaderless() -> App {
    app_of(state(), false)
}

fn app_of(state: State, led: bool) -> App {
    let catalog = CatalogHandle::new(Catalog::rebuild(&state));
    let (index, _) = watch::channel(state.index());
    let agent = AgentInfo {
        version: "0.1.0".to_owned(),
        node: Arc::new(node()),
        name: "n1".to_owned(),
        datacenter: "dc1".to_owned(),
        http_address: "10.0.0.1:4646".to_owned(),
        rpc_address: "10.0.0.1:4647".to_owned(),
        started_at: at(0),
        ..AgentInfo::default()
    };
    let control = Arc::new(Fake { state, index, led });
    App::new(control, catalog, Arc::new(agent), Arc::new(TwoLines))
        .with_owner_key("the owner's key")
        .with_jitter(|| 0.0)
}

struct Fake {
    state: State,
    index: watch::Sender<u64>,
    /// Whether it hears a leader.
    led: bool,
}

#[async_trait]
impl Control for Fake {
    fn state(&self) -> State {
        self.state.clone()
    }

    fn index(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    fn raft(&self) -> RaftView {
        RaftView {
            node: 1,
            leader: self.led.then_some(1),
            role: "leader".to_owned(),
            voters: vec![1],
            term: 3,
            last_log: 9,
            committed: 9,
            applied: 8,
            last_contact: Some(Duration::from_millis(if self.led { 0 } else { 1234 })),
            elections: 4,
            leader_changes: 2,
            won: 1,
        }
    }

    fn members(&self) -> Vec<RaftMember> {
        let member = |node: u64, leader| RaftMember {
            node,
            address: format!("10.0.0.{node}:4647"),
            voter: node < 3,
            leader,
            last_contact: Some(Duration::from_millis(if leader { 0 } else { 12 })),
            matched: Some(9),
        };
        vec![member(1, true), member(2, false), member(3, false)]
    }

    fn heartbeats(&self) -> Heartbeats {
        Heartbeats {
            listening: 9,
            declared: 3,
            allowed: 3,
            held: vec![node_id()],
            message: "1 node does not answer".to_owned(),
        }
    }

    fn loops(&self) -> Vec<LoopView> {
        vec![LoopView {
            name: "reconciler".to_owned(),
            state: "idle".to_owned(),
            steps: 5,
            last_step_at: at(9),
            error: None,
        }]
    }

    async fn consistent(&self) -> Result<State, Refusal> {
        match self.led {
            true => Ok(self.state.clone()),
            false => Err(Refusal::unavailable("nobody leads")),
        }
    }

    async fn transfer_leadership(&self, to: Option<u64>) -> Result<u64, Refusal> {
        Ok(to.unwrap_or(2))
    }

    async fn remove_member(&self, number: u64) -> Result<(), Refusal> {
        if number == 1 { Err(Refusal::conflict("it leads")) } else { Ok(()) }
    }

    fn approve_losses(&self) -> usize {
        1
    }

    fn repos(&self) -> Vec<RepoPoll> {
        vec![RepoPoll {
            name: "fleet".to_owned(),
            url: "https://git.example/fleet".to_owned(),
            branch: "main".to_owned(),
            last_poll: at(30),
            last_success: at(20),
            next_poll: at(40),
            error: Some(GitopsError {
                kind: "network".to_owned(),
                message: "no route to git.example".to_owned(),
            }),
            ..RepoPoll::default()
        }]
    }

    fn now(&self) -> Timestamp {
        at(100)
    }

    async fn dispatch(
        &self,
        job: JobId,
        request: JobDispatchRequest,
        token: String,
    ) -> Result<JobDispatchResponse, Refusal> {
        if job.as_str() != "team/send" {
            return Err(Refusal::not_found(format!("job `{job}` not found")));
        }
        let words = format!("{}-{token}", String::from_utf8_lossy(&request.payload));
        Ok(JobDispatchResponse {
            dispatched_job_id: job.dispatch_child(&words, at(100), 1),
            eval_id: "e".to_owned(),
            eval_create_index: 80,
            job_create_index: 79,
            index: 79,
        })
    }

    async fn force_periodic(&self, job: JobId) -> Result<PeriodicForceResponse, Refusal> {
        let job_id = job.periodic_child(at(100));
        Ok(PeriodicForceResponse { job_id, index: 81, ..PeriodicForceResponse::default() })
    }

    async fn promote(&self, _: DeploymentId, _: Vec<String>) -> Result<u64, Refusal> {
        Ok(77)
    }

    async fn fail_deployment(&self, _: DeploymentId) -> Result<u64, Refusal> {
        Ok(78)
    }

    async fn stop_allocation(&self, _: AllocId) -> Result<u64, Refusal> {
        Ok(80)
    }

    async fn drain_node(
        &self,
        _: NodeId,
        drain: Option<model::wire::DrainSpec>,
        mark_eligible: bool,
    ) -> Result<u64, Refusal> {
        match drain {
            Some(spec) => Ok(if spec.ignore_system_jobs { 81 } else { 82 }),
            None => Ok(if mark_eligible { 83 } else { 84 }),
        }
    }

    async fn set_eligibility(&self, _: NodeId, to: model::Eligibility) -> Result<u64, Refusal> {
        Ok(if to == model::Eligibility::Eligible { 85 } else { 86 })
    }

    async fn purge_node(&self, _: NodeId, force: bool) -> Result<u64, Refusal> {
        if force { Ok(87) } else { Err(Refusal::conflict("node n1 answers")) }
    }

    async fn set_scheduler_config(
        &self,
        config: model::SchedulerConfig,
        if_index: Option<u64>,
    ) -> Result<Option<u64>, Refusal> {
        let spread = config.algorithm == model::PlacementAlgorithm::Spread;
        Ok(if_index.is_none_or(|index| index == 0).then_some(if spread { 90 } else { 91 }))
    }

    async fn approve(&self, _: Option<String>, _: Vec<JobId>) -> Result<u64, Refusal> {
        Ok(79)
    }

    async fn plan(&self, _: PlanRequest) -> Result<PlanResponse, Refusal> {
        Ok(PlanResponse { repo: "fleet".to_owned(), ..PlanResponse::default() })
    }

    async fn make_join_token(&self, _: Duration) -> Result<NewJoinToken, Refusal> {
        Err(Refusal::invalid("this agent is alone"))
    }

    async fn revoke_join_token(&self, id: String) -> Result<u64, Refusal> {
        Err(Refusal::not_found(format!("join token `{id}` not found")))
    }

    async fn check_now(&self, _: Option<String>) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A task that has written two lines, and nothing to its other output.
struct TwoLines;

#[async_trait]
impl TaskLogs for TwoLines {
    async fn read(&self, request: LogRequest) -> Result<LogPieces, LogError> {
        if request.output == LogOutput::Stderr {
            return Err(LogError::NotFound("nothing was written".to_owned()));
        }
        let piece = |offset, data: &'static str| {
            Ok(LogPiece {
                file: "main.stdout.0".to_owned(),
                offset,
                data: data.into(),
                missing: None,
            })
        };
        Ok(futures_util::stream::iter([piece(0, "one\n"), piece(4, "two\n")]).boxed())
    }
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body, for a person to read. What a job's groups look like is not this room's matter.
    pub(crate) fn pretty(&self) -> String {
        let mut value = self.json();
        leave_out_groups(&mut value);
        serde_json::to_string_pretty(&value).expect("JSON")
    }
}

fn leave_out_groups(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(all) => all.iter_mut().for_each(leave_out_groups),
        serde_json::Value::Object(fields) => {
            if fields.contains_key("SpecHash") {
                fields.insert("TaskGroups".to_owned(), "…".into());
                fields.insert("SpecHash".to_owned(), "…".into());
            }
            fields.values_mut().for_each(leave_out_groups);
        }
        _ => {}
    }
}

async fn send(router: Router, request: Request<Body>) -> Reply {
    let response = router.oneshot(request).await.expect("routers do not fail");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Reply { status: parts.status, headers: parts.headers, text }
}

/// Sends a request to the orchestration face.
pub(crate) async fn call(app: &App, request: Request<Body>) -> Reply {
    send(crate::orchestration(app.clone()), request).await
}

/// Reads from the orchestration face.
pub(crate) async fn get(app: &App, path: &str) -> Reply {
    call(app, Request::get(path).body(Body::empty()).expect("a request")).await
}

/// Sends a body to the orchestration face, as a program on the same machine would.
pub(crate) async fn post(app: &App, path: &str, body: &str) -> Reply {
    let request = Request::post(path).header("host", "127.0.0.1:4646");
    call(app, request.body(Body::from(body.to_owned())).expect("a request")).await
}

/// Sends a request to the discovery face.
pub(crate) async fn ask_discovery(app: &App, request: Request<Body>) -> Reply {
    send(crate::discovery(app.clone()), request).await
}

/// Reads from the discovery face.
pub(crate) async fn discover(app: &App, path: &str) -> Reply {
    ask_discovery(app, Request::get(path).body(Body::empty()).expect("a request")).await
}
