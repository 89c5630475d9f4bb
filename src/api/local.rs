//! How the API gets at what only the allocation's own node knows. The agent provides it, for its node.

use async_trait::async_trait;
use axum::body::Bytes;
use futures_util::stream::BoxStream;
use model::AllocId;
use model::wire::{AllocFileInfo, AllocResourceUsage, HostStats};

/// Why the node did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// What is named is not there.
    #[error("{0}")]
    NotFound(String),
    /// It is there, and nobody may see it.
    #[error("{0}")]
    Forbidden(String),
    /// It makes no sense for what is there.
    #[error("{0}")]
    Invalid(String),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
}

/// One number that a node counts, for metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalFigure {
    /// Its name, such as `nomad_client_uptime`.
    pub name: &'static str,
    /// What it is, in words.
    pub help: &'static str,
    /// Labels.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: f64,
    /// Whether it only grows.
    pub counter: bool,
}

/// A file as it is read.
pub type FilePieces = BoxStream<'static, std::io::Result<Bytes>>;

/// The node of this agent.
#[async_trait]
pub trait LocalNode: Send + Sync + 'static {
    /// What an allocation uses.
    async fn usage(&self, alloc: AllocId) -> Result<AllocResourceUsage, LocalError>;

    /// What the machine uses.
    async fn host(&self) -> HostStats;

    /// What the node counts. Quick enough for each scrape.
    async fn figures(&self) -> Vec<LocalFigure>;

    /// Starts tasks that run again; all if none is named.
    async fn restart(&self, alloc: AllocId, task: Option<String>) -> Result<(), LocalError>;

    /// Sends a signal to tasks that run; to all if none is named.
    async fn signal(
        &self,
        alloc: AllocId,
        task: Option<String>,
        signal: String,
    ) -> Result<(), LocalError>;

    /// Removes the files of an allocation that is over; of all such if none is named.
    async fn collect(&self, alloc: Option<AllocId>) -> Result<(), LocalError>;

    /// What a directory of an allocation holds.
    async fn list(&self, alloc: AllocId, path: &str) -> Result<Vec<AllocFileInfo>, LocalError>;

    /// What a path in an allocation is.
    async fn stat(&self, alloc: AllocId, path: &str) -> Result<AllocFileInfo, LocalError>;

    /// A file of an allocation from `offset` on, at most `limit` bytes of it.
    async fn read(
        &self,
        alloc: AllocId,
        path: &str,
        offset: u64,
        limit: Option<u64>,
    ) -> Result<FilePieces, LocalError>;
}

/// An agent that runs nothing.
pub(crate) struct NoNode;

fn nothing<T>() -> Result<T, LocalError> {
    Err(LocalError::NotFound("this agent runs no allocations".to_owned()))
}

#[async_trait]
impl LocalNode for NoNode {
    async fn usage(&self, _: AllocId) -> Result<AllocResourceUsage, LocalError> {
        nothing()
    }

    async fn host(&self) -> HostStats {
        HostStats::default()
    }

    async fn figures(&self) -> Vec<LocalFigure> {
        Vec::new()
    }

    async fn restart(&self, _: AllocId, _: Option<String>) -> Result<(), LocalError> {
        nothing()
    }

    async fn signal(&self, _: AllocId, _: Option<String>, _: String) -> Result<(), LocalError> {
        nothing()
    }

    async fn collect(&self, _: Option<AllocId>) -> Result<(), LocalError> {
        nothing()
    }

    async fn list(&self, _: AllocId, _: &str) -> Result<Vec<AllocFileInfo>, LocalError> {
        nothing()
    }

    async fn stat(&self, _: AllocId, _: &str) -> Result<AllocFileInfo, LocalError> {
        nothing()
    }

    async fn read(
        &self,
        _: AllocId,
        _: &str,
        _: u64,
        _: Option<u64>,
    ) -> Result<FilePieces, LocalError> {
        nothing()
    }
}

/// Figures as lines of the Prometheus text format. Those of one name must follow each other.
pub(crate) fn exposition(figures: &[LocalFigure]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut last = "";
    for figure in figures {
        let LocalFigure { name, help, labels, value, counter } = figure;
        if last != *name {
            let kind = if *counter { "counter" } else { "gauge" };
            // Writing to a String does not fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            last = name;
        }
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{key}=\"{value}\"")
            })
            .collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let ending = if *counter { "_total" } else { "" };
        let _ = writeln!(text, "{name}{ending}{labels} {value}");
    }
    text
}

/// Figures in the JSON of `/v1/metrics`: gauges and counters.
pub(crate) fn as_json(figures: &[LocalFigure], counters: bool) -> Vec<serde_json::Value> {
    figures
        .iter()
        .filter(|figure| figure.counter == counters)
        .map(|figure| {
            let labels: std::collections::BTreeMap<_, _> = figure.labels.iter().cloned().collect();
            let key = if counters { "Count" } else { "Value" };
            serde_json::json!({"Name": figure.name, key: figure.value, "Labels": labels})
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_one_exposition() {
        let figure = |name, value, counter, task: &str| LocalFigure {
            name,
            help: "what it is",
            labels: vec![("task", task.to_owned())],
            value,
            counter,
        };
        let all = [
            figure("a", 1.5, false, "x\"y"),
            figure("a", 2.0, false, "z"),
            figure("b", 3.0, true, "z"),
        ];
        assert_eq!(
            exposition(&all),
            "# HELP a what it is\n# TYPE a gauge\na{task=\"x\\\"y\"} 1.5\na{task=\"z\"} 2\n\
             # HELP b what it is\n# TYPE b counter\nb_total{task=\"z\"} 3\n"
        );
        assert_eq!(as_json(&all, true)[0]["Count"], 3.0);
    }
}
