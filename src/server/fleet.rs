//! The loop that listens to the nodes, and what a server of a fleet is told beside its log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consensus::{Consensus, SubscriptionError};
use model::{NodeId, Timestamp};
use state::{Command, Event};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::heartbeat::{HeartbeatOptions, HeartbeatStatus, Heartbeats};
use crate::server::{Clock, Server};
use crate::worker::Worker;

/// How often it is looked for nodes that fell silent.
const TICK: Duration = Duration::from_millis(100);

/// What a server knows of the fleet that it is part of.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The node in the same process, which is never taken for lost by its own server.
    pub node: Option<NodeId>,
    /// How nodes are judged.
    pub heartbeat: HeartbeatOptions,
    /// The longest that a certificate of a node may be valid: so long a node that was removed is remembered.
    pub certificate_life: Duration,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            node: None,
            heartbeat: HeartbeatOptions::default(),
            certificate_life: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// What the leader has heard; nothing on a server that does not lead.
#[derive(Clone, Default)]
pub(crate) struct Listening(Arc<Mutex<Option<(Instant, Heartbeats)>>>);

impl Listening {
    fn with<T>(&self, look: impl FnOnce(&mut Heartbeats, Duration) -> T) -> Option<T> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.as_mut().map(|(since, beats)| look(beats, since.elapsed()))
    }

    pub(crate) async fn run(
        self,
        consensus: Consensus,
        fleet: FleetOptions,
        clock: Clock,
        worker: Arc<Worker>,
    ) {
        let mut subscription = consensus.subscribe();
        let state = consensus.state();
        let begun = Heartbeats::begin(fleet.heartbeat, fleet.node, &state, Duration::ZERO, clock());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), begun));
        let ended = Ended(self.clone());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut held = 0;
        loop {
            let idle = self.with(|beats, _| beats.is_idle()).unwrap_or(true);
            tokio::select! {
                received = subscription.next() => match received {
                    Ok(applied) => {
                        let state = consensus.state();
                        for event in &applied.events {
                            if let Event::Node(id) = event {
                                self.with(|beats, _| beats.changed(&state, *id));
                            }
                        }
                    }
                    Err(SubscriptionError::Lagged) => {
                        let state = consensus.state();
                        self.with(|beats, _| beats.resume(&state));
                    }
                    Err(SubscriptionError::Closed) => break,
                },
                _ = ticks.tick(), if !idle => {
                    let (state, at) = (consensus.state(), clock());
                    self.with(|beats, now| beats.tick(&state, now, at));
                    self.show(&mut held);
                    if self.word().is_none() {
                        continue;
                    }
                    worker.busy();
                    let error = self.say(&consensus).await.err();
                    worker.done(at, error);
                }
            }
        }
        drop(ended);
    }

    fn word(&self) -> Option<Command> {
        self.with(|beats, _| beats.word()).flatten()
    }

    /// Puts what is to be said into the log, in order; what could not be said stays.
    async fn say(&self, consensus: &Consensus) -> Result<(), String> {
        while let Some(command) = self.word() {
            if let Command::SetNodeStatuses { nodes, reason, .. } = &command
                && !nodes.is_empty()
            {
                tracing::warn!("{} nodes {reason}: {nodes:?}", nodes.len());
            }
            let applied =
                consensus.propose_here(command).await.map_err(|error| error.to_string())?;
            if let Some(rejection) = &applied.rejection {
                tracing::warn!("{rejection}");
            }
            self.with(|beats, _| beats.answered(&applied));
        }
        Ok(())
    }

    /// Tells whoever reads the agent's log that the brake holds, when that is news.
    fn show(&self, known: &mut usize) {
        let Some(held) = self.with(|beats, _| beats.held()) else { return };
        if std::mem::replace(known, held) != held
            && held > 0
            && let Some(status) = self.with(|beats, _| beats.status())
        {
            tracing::error!("{}", status.message);
        }
    }
}

/// However the loop ends, what it heard is forgotten.
struct Ended(Listening);

impl Drop for Ended {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Server {
    /// These nodes are alive. `false` when this server does not lead: then nobody took note, and the leader is to be
    /// told.
    pub fn heard(&self, nodes: &[NodeId]) -> bool {
        let note = |beats: &mut Heartbeats, now| {
            for node in nodes {
                beats.heard(*node, now);
            }
        };
        self.inner.listening.with(note).is_some()
    }

    /// How the nodes answer. Empty on a server that does not lead.
    pub fn heartbeats(&self) -> HeartbeatStatus {
        self.inner.listening.with(|beats, _| beats.status()).unwrap_or_default()
    }

    /// Says that the nodes that the brake holds are lost indeed; returns how many there are.
    pub fn approve_losses(&self) -> usize {
        self.inner.listening.with(|beats, _| beats.approve()).unwrap_or_default()
    }

    /// When the certificates that a node may have now have all ended.
    pub(crate) fn certificates_end(&self, now: Timestamp) -> Timestamp {
        now + self.inner.fleet.certificate_life
    }
}
