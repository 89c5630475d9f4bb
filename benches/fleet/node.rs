//! A simulated node: a key, a certificate and a connection of its own; no tasks. It does what an agent does: joins with a
//! token, registers, sends heartbeats, reports.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use consensus::{Courier, Transport, TransportError};
use identity::{ClientTls, Clock, ClusterId, Credentials, JoinToken, NodeKey, Trust};
use model::{
    AllocHealth, AllocReport, Allocation, ClientStatus, DriverInfo, Node, NodeId, NodeResources,
    NodeRole, TaskRunState, TaskState, Timestamp, seeded_uuid,
};
use rpc::{CallError, Class, Client, Method};
use serde_json::json;
use state::Command;
use tokio::sync::watch;

const JOIN: Method = Method(1);
const CONSENSUS: Method = Method(2);
const HEARTBEAT: Method = Method(3);
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is tried, and the wait between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// As agents do it.
const BEAT: Duration = Duration::from_millis(500);
const BEAT_LIMIT: Duration = Duration::from_millis(700);
/// The class that the bench's job asks for.
pub(crate) const CLASS: &str = "simulated";

/// Raft's messages over a node's connection.
pub(crate) struct OverRpc(Client);

#[async_trait]
impl Transport for OverRpc {
    async fn send(
        &self,
        address: &str,
        bulk: bool,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, TransportError> {
        let class = if bulk { Class::Bulk } else { Class::Control };
        let called = self.0.call(address, class, CONSENSUS, request, limit).await;
        called.map_err(|error| match &error {
            CallError::Refused { .. } => TransportError::Refused(error.to_string()),
            _ if error.may_have_been_carried_out() => TransportError::NoAnswer(error.to_string()),
            _ => TransportError::Unreachable(error.to_string()),
        })
    }
}

pub(crate) struct Simulated {
    pub(crate) id: NodeId,
    pub(crate) number: u64,
    pub(crate) cluster: ClusterId,
    pub(crate) client: Client,
    courier: Courier,
    name: String,
}

impl Simulated {
    /// Joins by a server with a token.
    pub(crate) async fn join(number: u64, token: &str, server: &str) -> anyhow::Result<Self> {
        let clock = Clock::system();
        let parsed = JoinToken::parse(token)?;
        let key = NodeKey::generate()?;
        let id = NodeId::new(seeded_uuid(&[b"node", key.fingerprint().as_bytes()]));
        let name = format!("simulated-{number}");
        let request = json!({
            "token": token, "request": key.request()?, "node": id, "name": name,
            "role": NodeRole::Worker, "version": "bench",
        });
        let newcomer = Client::new(ClientTls::for_joining(&parsed, clock.clone())?);
        let body = Bytes::from(serde_json::to_vec(&request)?);
        let mut tries = 0;
        let answer = loop {
            // While servers are elected nobody is let in.
            match newcomer.call(server, Class::Control, JOIN, body.clone(), LIMIT).await {
                Ok(answer) => break answer,
                Err(error) if tries == TRIES => return Err(error.into()),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            tries += 1;
        };
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let text = |key: &str| answer[key].as_str().with_context(|| format!("no {key}"));
        let cluster = parsed.cluster();
        let credentials = Credentials::empty(Trust::cluster(text("authority")?, cluster)?);
        credentials.replace(text("certificate")?, &key, clock.now())?;
        let client = Client::new(ClientTls::new(&credentials, clock)?);
        let number = number + 1_000;
        let courier = Courier::new(cluster.to_string(), number, Arc::new(OverRpc(client.clone())));
        Ok(Self { id, number, cluster, client, courier, name })
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(OverRpc(self.client.clone()))
    }

    pub(crate) async fn register(&self, leader: &watch::Receiver<String>) -> anyhow::Result<()> {
        let driver = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
        let attributes = [
            ("kernel.name", "linux"),
            ("kernel.version", "6.1.0"),
            ("cpu.arch", "amd64"),
            ("cpu.numcores", "8"),
            ("os.name", "debian"),
            ("driver.raw_exec", "1"),
        ];
        let node = Node {
            id: self.id,
            name: self.name.clone(),
            datacenter: "dc1".to_owned(),
            pool: "default".to_owned(),
            class: CLASS.to_owned(),
            address: "127.0.0.1".to_owned(),
            version: "bench".to_owned(),
            attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            drivers: [("raw_exec".to_owned(), driver)].into(),
            resources: NodeResources {
                cpu: 16_000,
                memory_mb: 32_000,
                disk_mb: 100_000,
                min_dynamic_port: 20_000,
                max_dynamic_port: 32_000,
                ..NodeResources::default()
            },
            // Nobody asks there.
            rpc_address: format!("127.9.{}.{}:4647", self.number / 250 % 250, self.number % 250),
            role: NodeRole::Worker,
            ..Node::default()
        };
        self.propose(leader, Command::RegisterNode { node: Box::new(node), at: now() }).await
    }

    /// Says that these run and are healthy.
    pub(crate) async fn report(
        &self,
        leader: &watch::Receiver<String>,
        all: &[Arc<Allocation>],
    ) -> anyhow::Result<()> {
        let at = now();
        let report = |alloc: &Arc<Allocation>| AllocReport {
            alloc: alloc.id,
            client: ClientStatus::Running,
            tasks: [(
                "t".to_owned(),
                TaskState { state: TaskRunState::Running, started_at: at, ..TaskState::default() },
            )]
            .into(),
            health: Some(AllocHealth { healthy: true, at, reason: "".into() }),
            deployment: alloc.deployment,
            ..AllocReport::default()
        };
        let updates = all.iter().map(report).collect();
        self.propose(leader, Command::UpdateAllocs { updates, at }).await
    }

    async fn propose(
        &self,
        leader: &watch::Receiver<String>,
        command: Command,
    ) -> anyhow::Result<()> {
        let mut tries = 0;
        loop {
            let address = leader.borrow().clone();
            match self.courier.propose(&address, command.clone(), LIMIT).await {
                Ok(applied) => {
                    return applied
                        .rejection
                        .map_or(Ok(()), |rejection| Err(anyhow::anyhow!("refused: {rejection}")));
                }
                Err(error) if tries == TRIES => return Err(error.into()),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            tries += 1;
        }
    }

    /// Sends heartbeats by way of one of the servers until it is dropped, as agents do.
    pub(crate) async fn beat(&self, servers: Arc<Vec<String>>) {
        let body = Bytes::from(json!({ "nodes": [self.id] }).to_string());
        // Nodes that were started one after the other do not beat together either.
        let offset = BEAT.mul_f64((self.number % 997) as f64 / 997.0);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset, BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut turn, mut refused) = (self.number as usize, 0);
        loop {
            ticks.tick().await;
            let Some(address) = servers.get(turn % servers.len()) else { return };
            let call =
                self.client.call(address, Class::Control, HEARTBEAT, body.clone(), BEAT_LIMIT);
            refused = match call.await {
                Ok(_) => 0,
                Err(CallError::Refused { .. }) => refused + 1,
                Err(_) => 2,
            };
            if refused >= 2 {
                (turn, refused) = (turn + 1, 0);
            }
        }
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
