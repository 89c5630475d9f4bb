//! The loop that follows: ask, apply, show; move on when a server is of no use.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use state::Applied;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::{Copied, Known, candidates, members_of};
use crate::error::ConsensusError;
use crate::network::{Caller, Received, Receiver};
use crate::options::{Following, Options};
use crate::screen::{Screen, Step};
use crate::snapshot::Snapshots;
use crate::types::{Payload, StoredMembers};
use crate::wire::{self, Head, PIECE_BYTES, Record, Reply, Request, Triple};

/// How long a server holds a question while there is nothing to say.
const WAIT: Duration = Duration::from_secs(3);
/// How much longer its answer may take.
const GRACE: Duration = Duration::from_secs(3);
/// A server that has heard of no leader for this long is left for another.
const STALE: Duration = Duration::from_secs(3);
/// How long one piece of a snapshot may take, and how often it is asked for.
const PIECE_LIMIT: Duration = Duration::from_secs(10);
const PIECE_TRIES: u32 = 4;
/// Pauses after a round in which no server was of use.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];
/// Changes go to the copy on disk after this long at the latest.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// Whether to stay with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Good,
    Behind,
}

/// What one turn of the loop brought.
enum Event {
    Stop,
    Again,
    Keep(oneshot::Sender<Result<u64, ConsensusError>>),
    Stepped(Result<Use, String>),
}

/// Returns when the handle says so, or is gone.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

pub(super) struct Stream {
    caller: Caller,
    address: String,
    following: Following,
    copy: Copied,
    snapshots: Arc<Snapshots>,
    receiver: Receiver,
    screen: Arc<Screen>,
    known: Arc<Mutex<Known>>,
    keep_after: u64,
    /// Where the copy on disk ends, and since when it is older than this one.
    kept: u64,
    stale_since: Option<Instant>,
    /// Which of the servers is asked.
    turn: usize,
}

impl Stream {
    pub(super) fn new(
        options: &Options,
        following: Following,
        snapshots: Snapshots,
        copy: Copied,
        screen: Arc<Screen>,
        known: Arc<Mutex<Known>>,
    ) -> Self {
        let snapshots = Arc::new(snapshots);
        let kept = snapshots.current().and_then(|(meta, _)| meta.last_log_id);
        Self {
            caller: options.caller(),
            address: options.address.clone(),
            following,
            receiver: Receiver::new(snapshots.clone()),
            kept: kept.map_or(0, |id| id.index + 1),
            snapshots,
            copy,
            screen,
            known,
            keep_after: options.snapshot_after,
            stale_since: None,
            // So that many nodes do not all ask the same one.
            turn: usize::try_from(options.node % 1_024).unwrap_or_default(),
        }
    }

    /// Follows until it is told to stop, then writes the copy.
    pub(super) async fn run(
        mut self,
        mut stopped: watch::Receiver<bool>,
        mut asked: mpsc::Receiver<oneshot::Sender<Result<u64, ConsensusError>>>,
        hurried: Arc<Notify>,
    ) {
        let mut failures = 0;
        let mut servers = self.following.servers.clone();
        loop {
            let all = self.candidates();
            let step = async {
                let Some(address) = self.turn.checked_rem(all.len()).and_then(|at| all.get(at))
                else {
                    sleep(WAIT).await;
                    return Err("no server is known".to_owned());
                };
                self.step(address, all.len() > 1).await
            };
            // A step changes the copy only between two waits, so it can be left at any time.
            let event = tokio::select! {
                biased;
                () = told_to_stop(&mut stopped) => Event::Stop,
                Some(done) = asked.recv() => Event::Keep(done),
                _ = servers.changed(), if all.is_empty() => Event::Again,
                () = hurried.notified(), if !all.is_empty() => {
                    Event::Stepped(Err("nothing comes from it any more".to_owned()))
                }
                result = step => Event::Stepped(result),
            };
            match event {
                Event::Stop => break,
                Event::Again => continue,
                Event::Keep(done) => {
                    let _ = done.send(self.keep().await);
                    continue;
                }
                Event::Stepped(Ok(Use::Good)) => failures = 0,
                Event::Stepped(Ok(Use::Behind)) => {
                    self.turn += 1;
                    failures += 1;
                }
                Event::Stepped(Err(reason)) => {
                    tracing::debug!(%reason, "following another server");
                    self.turn += 1;
                    failures += 1;
                }
            }
            if failures > 0 && failures % all.len().max(1) == 0 {
                self.forget_leader();
                let round = (failures / all.len().max(1)).saturating_sub(1).min(PAUSES.len() - 1);
                let pause = PAUSES.get(round).copied().unwrap_or_default();
                let _ = timeout(pause, told_to_stop(&mut stopped)).await;
            }
            self.keep_if_due().await;
        }
        if self.copy.next() > self.kept
            && let Err(error) = self.keep().await
        {
            tracing::warn!(%error, "the copy of the state could not be written");
        }
    }

    fn candidates(&self) -> Vec<String> {
        let told = self.following.servers.borrow();
        candidates(&told, self.copy.members.membership(), &self.address)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_leader(&self) {
        if let Some(head) = &mut self.known().head {
            head.leader = None;
        }
    }

    /// Asks a server once and applies what it says.
    async fn step(&mut self, address: &str, others: bool) -> Result<Use, String> {
        self.known().fetching = false;
        let after = wire::triple(self.copy.applied.as_ref());
        let wait_ms = u64::try_from(WAIT.as_millis()).unwrap_or_default();
        let body = Request::Follow { after, wait_ms };
        let call = self.caller.call(None, address, false, body, WAIT + GRACE);
        let head = match call.await.map_err(|error| error.to_string())? {
            Reply::Applied { entries, head } => {
                self.apply(&entries)?;
                head
            }
            Reply::Restart { last, length, head } => {
                let [_, _, index] = last;
                if index < self.copy.next() {
                    // Not this history, or not yet this far: what was shown is not taken back.
                    return Ok(Use::Behind);
                }
                self.known().fetching = true;
                let fetched = self.fetch(address, last, length).await;
                self.known().fetching = false;
                fetched?;
                head
            }
            Reply::Gone => return Ok(Use::Behind),
            _ => return Err(format!("the server at `{address}` answered something else")),
        };
        let silent = Duration::from_millis(head.silent_ms);
        let behind = head.reached < self.copy.next() || (silent > STALE && others);
        if behind {
            return Ok(Use::Behind);
        }
        self.learn(head);
        Ok(Use::Good)
    }

    fn learn(&self, head: Head) {
        let mut known = self.known();
        if let Some(members) = members_of(&head) {
            known.members = members;
        }
        known.applied = self.copy.applied;
        known.head = Some(head);
    }

    fn apply(&mut self, records: &[Record]) -> Result<(), String> {
        let from = self.copy.next();
        let mut results = Vec::new();
        let mut damage = None;
        for record in records {
            let next = self.copy.next();
            if record.index != next {
                damage = Some(format!("entry {} came instead of {next}", record.index));
                break;
            }
            let entry = match record.entry() {
                Ok(entry) => entry,
                Err(reason) => {
                    damage = Some(reason);
                    break;
                }
            };
            match entry.payload {
                Payload::Normal(proposal) => {
                    let applied: Applied = self.copy.state.apply(next, proposal.command());
                    if !applied.events.is_empty() {
                        results.push(Arc::new(applied));
                    }
                }
                Payload::Membership(members) => {
                    self.copy.members = StoredMembers::new(Some(entry.log_id), members);
                }
                Payload::Blank => {}
            }
            self.copy.applied = Some(entry.log_id);
        }
        self.show(from, &results);
        damage.map_or(Ok(()), Err)
    }

    fn show(&mut self, from: u64, results: &[Arc<Applied>]) {
        let to = self.copy.next();
        if to > self.kept {
            self.stale_since.get_or_insert_with(Instant::now);
        }
        self.screen.show(Step { state: &self.copy.state, from, to, results });
    }

    /// Gets a snapshot, piece by piece, and goes on from there.
    async fn fetch(&mut self, address: &str, last: Triple, length: u64) -> Result<(), String> {
        let mut offset = 0;
        let mut tries = 0;
        let incoming = loop {
            let body = Request::Fetch { last, offset };
            let piece = match self.caller.call(None, address, true, body, PIECE_LIMIT).await {
                Ok(Reply::Piece(piece)) if piece.offset == offset && !piece.bytes.is_empty() => {
                    piece
                }
                Ok(Reply::Gone) => return Err("the snapshot is gone meanwhile".to_owned()),
                Ok(_) => return Err(format!("`{address}` sent something else than a snapshot")),
                Err(error) if tries >= PIECE_TRIES => return Err(error.to_string()),
                Err(_) => {
                    tries += 1;
                    continue;
                }
            };
            tries = 0;
            debug_assert!(piece.bytes.len() <= PIECE_BYTES);
            match self.receiver.take(0, Some(last), length, piece).await? {
                Received::At(next) => offset = next,
                Received::Whole(incoming) => break incoming,
            }
        };
        let data = incoming.open().map_err(|error| error.to_string())?;
        let snapshots = self.snapshots.clone();
        let restored = tokio::task::spawn_blocking(move || {
            let restored = data.restore()?;
            snapshots.write(&restored.meta, &restored.state)?;
            Ok::<_, ConsensusError>(restored)
        });
        let restored = restored
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        drop(incoming);
        if wire::triple(restored.meta.last_log_id.as_ref()) != Some(last) {
            return Err("the snapshot ends at another entry than announced".to_owned());
        }
        self.copy = restored.into();
        self.kept = self.copy.next();
        self.stale_since = None;
        self.known().kept = self.copy.applied.map(|id| id.index);
        let next = self.copy.next();
        self.show(next, &[]);
        Ok(())
    }

    async fn keep_if_due(&mut self) {
        let many = self.copy.next().saturating_sub(self.kept) >= self.keep_after;
        let old = self.stale_since.is_some_and(|since| since.elapsed() >= KEEP_EVERY);
        if (many || old)
            && let Err(error) = self.keep().await
        {
            tracing::warn!(%error, "the copy of the state could not be written");
            // Not again at once.
            self.stale_since = Some(Instant::now());
            self.kept = self.copy.next();
        }
    }

    /// Writes the copy to the disk.
    async fn keep(&mut self) -> Result<u64, ConsensusError> {
        let (meta, state) = (self.copy.meta(), self.copy.state.clone());
        let index = meta.last_log_id.map(|id| id.index);
        let snapshots = self.snapshots.clone();
        let written = tokio::task::spawn_blocking(move || snapshots.write(&meta, &state).map(drop));
        written.await.map_err(|error| ConsensusError::Stopped {
            dir: self.following.dir.clone(),
            reason: error.to_string(),
        })??;
        self.kept = self.copy.next();
        self.stale_since = None;
        self.known().kept = index;
        Ok(index.unwrap_or_default())
    }
}
