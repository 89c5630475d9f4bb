//! Figures for Prometheus: what the API counts itself, and what follows from the state at the moment of asking.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use state::State;

use crate::control::{RaftView, RepoPoll};

mod fleet;

pub(crate) use fleet::fleet;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    face: &'static str,
    method: &'static str,
    route: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    face: &'static str,
    route: String,
}

/// Labels of a [`Figure`].
type Labels = Vec<(String, String)>;

/// What the API counts itself.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        // From a tenth of a millisecond to two and a half seconds.
        let latency: Family<RouteLabels, Histogram> = Family::new_with_constructor(|| {
            Histogram::new([0.0001, 0.00025, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5])
        });
        registry.register("herder_http_requests", "Requests answered", requests.clone());
        registry.register(
            "herder_http_request_duration_seconds",
            "Time to an answer, for requests that did not ask to wait",
            latency.clone(),
        );
        Self { registry, requests, latency }
    }

    /// Counts a request. `route` is a pattern, never a client's path, so that the labels stay few.
    pub(crate) fn request(
        &self,
        face: &'static str,
        method: &Method,
        route: &str,
        status: StatusCode,
        took: Option<Duration>,
    ) {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::HEAD => "HEAD",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        };
        let route = route.to_owned();
        if let Some(took) = took {
            let labels = RouteLabels { face, route: route.clone() };
            self.latency.get_or_create(&labels).observe(took.as_secs_f64());
        }
        let status = u32::from(status.as_u16());
        self.requests.get_or_create(&RequestLabels { face, method, route, status }).inc();
    }

    /// All metrics in the OpenMetrics text format; `more` is lines that somebody else made.
    pub(crate) fn text(&self, figures: &[Figure], more: &str) -> String {
        let mut text = String::new();
        let mut now = Registry::default();
        let mut families: BTreeMap<&str, Family<Labels, Gauge>> = BTreeMap::new();
        for figure in figures {
            let value = i64::try_from(figure.value).unwrap_or(i64::MAX);
            if figure.labels.is_empty() {
                let gauge = <Gauge>::default();
                gauge.set(value);
                now.register(figure.name, figure.help, gauge);
                continue;
            }
            let family = families.entry(figure.name).or_insert_with(|| {
                let family = Family::<Labels, Gauge>::default();
                now.register(figure.name, figure.help, family.clone());
                family
            });
            family.get_or_create(&figure.labels).set(value);
        }
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &now));
        text.push_str(more.trim_end());
        if !more.trim_end().is_empty() {
            text.push('\n');
        }
        // Writing to a String does not fail.
        match written.and_then(|()| encode_eof(&mut text)) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

/// One number that follows from the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    name: &'static str,
    help: &'static str,
    labels: Labels,
    value: u64,
}

/// What there is now, counted.
pub(crate) fn figures(state: &State, raft: &RaftView, repos: &[RepoPoll]) -> Vec<Figure> {
    let mut all = Vec::new();
    let mut by_status = |name, help, known: &[&str], found: BTreeMap<&'static str, u64>| {
        for status in known {
            let labels = vec![("status".to_owned(), (*status).to_owned())];
            let value = found.get(status).copied().unwrap_or_default();
            all.push(Figure { name, help, labels, value });
        }
    };
    by_status(
        "herder_jobs",
        "Jobs by status",
        &["pending", "running", "dead"],
        tally(state.jobs().map(|record| state.job_status(&record.id).as_str())),
    );
    by_status(
        "herder_allocations",
        "Allocations by what their node says",
        &["pending", "running", "complete", "failed", "lost", "unknown"],
        tally(state.allocs().map(|alloc| alloc.client.as_str())),
    );
    by_status(
        "herder_nodes",
        "Nodes by status",
        &["initializing", "ready", "down", "disconnected"],
        tally(state.nodes().map(|node| node.status.as_str())),
    );
    by_status(
        "herder_deployments",
        "Deployments by status",
        &["running", "paused", "failed", "successful", "cancelled"],
        tally(state.deployments().map(|deployment| deployment.status.as_str())),
    );
    let mut plain = |name, help, value| all.push(Figure { name, help, labels: Vec::new(), value });
    plain("herder_state_index", "Index of the last command applied", state.index());
    plain("herder_raft_term", "The current term", raft.term);
    plain("herder_raft_last_log_index", "Last entry of the log", raft.last_log);
    plain("herder_raft_applied_index", "Last entry applied", raft.applied);
    plain("herder_raft_voters", "Servers that vote", raft.voters.len() as u64);
    let leads = u64::from(raft.leader == Some(raft.node));
    plain("herder_raft_leader", "Whether this server leads", leads);
    for repo in repos {
        let labels = vec![("repo".to_owned(), repo.name.clone())];
        let mut of_repo = |name, help, value| {
            all.push(Figure { name, help, labels: labels.clone(), value });
        };
        let seconds = u64::try_from(repo.last_success.0 / 1_000_000_000).unwrap_or_default();
        of_repo("herder_repo_polls", "Looks at the remote since the start", repo.polls);
        of_repo("herder_repo_fetches", "Looks that brought something new", repo.fetches);
        of_repo(
            "herder_repo_failing",
            "Whether the last look failed",
            u64::from(repo.error.is_some()),
        );
        of_repo("herder_repo_last_success_seconds", "Time of the last look that worked", seconds);
    }
    for record in state.repos() {
        let labels = vec![("repo".to_owned(), record.name.clone())];
        let broken = record.files.values().filter(|file| file.broken).count() as u64;
        let held = record.files.values().filter(|file| file.removal_held).count() as u64;
        let mut of_repo = |name, help, value| {
            all.push(Figure { name, help, labels: labels.clone(), value });
        };
        of_repo("herder_repo_files", "Job files", record.files.len() as u64);
        of_repo("herder_repo_files_broken", "Job files that cannot be used", broken);
        of_repo("herder_repo_removals_held", "Removals that are held", held);
    }
    all
}

fn tally<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u64> {
    let mut found = BTreeMap::new();
    for name in names {
        *found.entry(name).or_default() += 1;
    }
    found
}

/// The figures in the JSON that `/v1/metrics` has without `?format=prometheus`.
pub(crate) fn as_json(figures: &[Figure]) -> serde_json::Value {
    let gauges: Vec<_> = figures
        .iter()
        .map(|figure| {
            let labels: BTreeMap<_, _> = figure.labels.iter().cloned().collect();
            serde_json::json!({"Name": figure.name, "Value": figure.value, "Labels": labels})
        })
        .collect();
    serde_json::json!({"Gauges": gauges, "Points": [], "Counters": [], "Samples": []})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_one_exposition() {
        let metrics = Metrics::new();
        let took = Some(Duration::from_millis(2));
        metrics.request("orchestration", &Method::GET, "/v1/jobs", StatusCode::OK, took);
        let raft = RaftView { voters: vec![1, 2, 3], ..RaftView::default() };
        let repo = RepoPoll { name: "fleet \"x\"".to_owned(), polls: 7, ..RepoPoll::default() };
        let figures = figures(&State::default(), &raft, &[repo]);
        let text = metrics.text(&figures, "# TYPE herder_own gauge\nherder_own 3\n");
        for line in [
            "herder_http_requests_total{face=\"orchestration\",method=\"GET\",route=\"/v1/jobs\",status=\"200\"} 1",
            "herder_raft_voters 3",
            "herder_allocations{status=\"running\"} 0",
            "herder_repo_polls{repo=\"fleet \\\"x\\\"\"} 7",
            "herder_own 3",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(text.matches("# TYPE herder_jobs gauge").count(), 1);
    }
}
