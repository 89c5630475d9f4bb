//! What every handler can reach.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use catalog::CatalogHandle;
use model::{Node, Timestamp};
use tokio::sync::Semaphore;

use crate::control::Control;
use crate::local::{LocalNode, NoNode};
use crate::logs::TaskLogs;
use crate::metrics::Metrics;

/// Plans that are made at the same time; each may hold a whole repository in memory.
const PLANS_AT_ONCE: usize = 4;

/// What the agent is.
#[derive(Clone, Debug, Default)]
pub struct AgentInfo {
    /// Herder's version.
    pub version: String,
    /// The node that it runs allocations as.
    pub node: Arc<Node>,
    /// Its name.
    pub name: String,
    /// Its datacenter.
    pub datacenter: String,
    /// The address and port of its HTTP API, as others reach it.
    pub http_address: String,
    /// The address and port of its RPC, as other servers reach it.
    pub rpc_address: String,
    /// Its settings, without secrets.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Further host names that the API may be addressed by when something is to change.
    pub hosts: Vec<String>,
    /// When it started.
    pub started_at: Timestamp,
}

/// Everything that the faces answer from. Cloning it is cheap.
#[derive(Clone)]
pub struct App {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) catalog: CatalogHandle,
    pub(crate) agent: Arc<AgentInfo>,
    pub(crate) logs: Arc<dyn TaskLogs>,
    pub(crate) local: Arc<dyn LocalNode>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) plans: Arc<Semaphore>,
    pub(crate) owner_key: Option<Arc<str>>,
    pub(crate) more_metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// From 0 up to 1: spreads the ends of waits, so that clients do not all come back at once.
    pub(crate) jitter: fn() -> f64,
}

impl App {
    /// An app over the parts of an agent.
    pub fn new(
        control: Arc<dyn Control>,
        catalog: CatalogHandle,
        agent: Arc<AgentInfo>,
        logs: Arc<dyn TaskLogs>,
    ) -> Self {
        Self {
            control,
            catalog,
            agent,
            logs,
            local: Arc::new(NoNode),
            metrics: Arc::new(Metrics::new()),
            plans: Arc::new(Semaphore::new(PLANS_AT_ONCE)),
            owner_key: None,
            more_metrics: Arc::new(String::new),
            jitter: chance,
        }
    }

    /// The node of this agent, whose allocations can be looked into and told to do things.
    #[must_use]
    pub fn with_node(mut self, node: Arc<dyn LocalNode>) -> Self {
        self.local = node;
        self
    }

    /// What whoever asks for the whole state must show: it holds in clear what other answers hide. Without one nobody gets
    /// it.
    #[must_use]
    pub fn with_owner_key(mut self, key: &str) -> Self {
        self.owner_key = Some(key.into());
        self
    }

    /// Adds metrics that the API cannot know: `text` gives lines in the Prometheus text format, without `# EOF`.
    #[must_use]
    pub fn with_metrics(mut self, text: Arc<dyn Fn() -> String + Send + Sync>) -> Self {
        self.more_metrics = text;
        self
    }

    /// Replaces the source of jitter, which gives numbers from 0 up to 1.
    #[must_use]
    pub fn with_jitter(mut self, jitter: fn() -> f64) -> Self {
        self.jitter = jitter;
        self
    }
}

/// The standard library seeds each hasher at random; that is random enough to spread waits.
fn chance() -> f64 {
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    f64::from((bits >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_in_range_and_varies() {
        let drawn: Vec<f64> = (0..64).map(|_| chance()).collect();
        assert!(drawn.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(drawn.iter().any(|value| *value != drawn[0]));
    }
}
