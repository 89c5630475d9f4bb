//! What a member gives to those who follow without taking part: applied entries out of its log, and the newest snapshot
//! piece by piece out of its file. Neither costs memory of its own: the newest entries are those that the log keeps at
//! hand anyway (see the tail), older ones are read from it, and what is no longer there is in the snapshot.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Instant as _, ServerState};
use tokio::time::{Instant, timeout_at};

use super::Seat;
use crate::error::AnswerError;
use crate::record::encode_members;
use crate::screen::View;
use crate::types::Entry;
use crate::wire::{self, Head, PIECE_BYTES, Piece, Record, Reply, Triple};

/// The longest that somebody may wait for something to come.
const WAIT: Duration = Duration::from_secs(30);

impl Seat {
    /// What this member knows of the cluster. The membership is the committed one: it cannot be undone.
    pub(crate) fn head(&self, view: &View) -> Head {
        let leader = self.leader();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = &metrics.committed_membership_config;
        let members = encode_members(membership.membership()).unwrap_or_default();
        let silent = if metrics.state == ServerState::Leader {
            let sole = metrics.membership_config.membership().voter_ids().eq([self.node]);
            let acked = metrics.last_quorum_acked.map(|at| at.elapsed());
            if sole { Duration::ZERO } else { acked.unwrap_or(Duration::ZERO) }
        } else {
            self.silence()
        };
        Head {
            leader,
            members_at: wire::triple(membership.log_id().as_ref()),
            members,
            reached: *view.reached.borrow(),
            silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Applied entries after `after`; waits until there is one.
    pub(super) async fn serve_entries(
        &self,
        after: Option<Triple>,
        wait_ms: u64,
        view: &View,
    ) -> Result<Reply, AnswerError> {
        let next = after.map_or(0, |[_, _, index]| index.saturating_add(1));
        let deadline = Instant::now() + Duration::from_millis(wait_ms).min(WAIT);
        let mut reached = view.reached.clone();
        let waiting = timeout_at(deadline, reached.wait_for(|reached| *reached > next));
        if let Ok(Err(_)) = waiting.await {
            return Err(AnswerError::Stopped { reason: "it was closed".to_owned() });
        }
        let end = *reached.borrow();
        let head = self.head(view);
        if end < next {
            return Ok(Reply::Applied { entries: Vec::new(), head });
        }
        let Some(log) = self.log.upgrade() else {
            return Err(AnswerError::Stopped { reason: "it was closed".to_owned() });
        };
        let failed = |error: std::io::Error| AnswerError::Failed(error.to_string());
        // The one before is read too: it must be the same that the follower has.
        let start = next.saturating_sub(1);
        let mut entries = if after.is_some() && start < next {
            let before = log.read(start..next).await.map_err(failed)?;
            let known = before.first().map(|entry| entry.log_id);
            let known = known.or_else(|| log.purged().filter(|id| id.index == start));
            if wire::triple(known.as_ref()) != after {
                return Ok(self.restart(head));
            }
            log.read(next..end).await.map_err(failed)?
        } else {
            log.read(0..end).await.map_err(failed)?
        };
        if next < end && entries.first().is_none_or(|entry| entry.log_id.index != next) {
            return Ok(self.restart(head));
        }
        entries.retain(|entry: &Entry| entry.log_id.index < end);
        let records: Result<Vec<Record>, String> = entries.iter().map(Record::new).collect();
        Ok(Reply::Applied { entries: records.map_err(AnswerError::Failed)?, head })
    }

    /// Where to begin anew. Without a snapshot there is nothing that could have been forgotten.
    fn restart(&self, head: Head) -> Reply {
        let found = self.snapshots.current().and_then(|(meta, data)| {
            Some((wire::triple(meta.last_log_id.as_ref())?, data.length().ok()?))
        });
        match found {
            Some((last, length)) => Reply::Restart { last, length, head },
            None => Reply::Gone,
        }
    }

    pub(super) async fn serve_piece(
        &self,
        last: Triple,
        offset: u64,
    ) -> Result<Reply, AnswerError> {
        let id = wire::log_id(Some(last));
        let Some(data) = id.and_then(|id| self.snapshots.find(&id)) else {
            return Ok(Reply::Gone);
        };
        let read = tokio::task::spawn_blocking(move || data.piece(offset, PIECE_BYTES));
        let bytes = read
            .await
            .map_err(|error| AnswerError::Failed(error.to_string()))?
            .map_err(|error| AnswerError::Failed(error.to_string()))?;
        Ok(Reply::Piece(Piece::new(offset, bytes)))
    }
}
