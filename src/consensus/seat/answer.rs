//! What a member answers to what others ask of it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use openraft::error::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::{ReadPolicy, Snapshot};
use state::Applied;
use tokio::time::{Instant, timeout};

use super::Seat;
use crate::consensus::Leader;
use crate::error::AnswerError;
use crate::network::Received;
use crate::screen::View;
use crate::types::{Proposal, Types};
use crate::wire::{self, Piece, Record, Reply, Request, Triple};

/// The longest that a command of somebody else is waited for.
const PROPOSE_LIMIT: Duration = Duration::from_secs(60);
/// How long a leader tries to make sure that it leads.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// What came of a command that was handed to this node's engine.
pub(crate) enum Written {
    Applied(Applied),
    /// Certainly not taken: somebody else leads, or nobody.
    NotTaken(Option<Leader>),
    /// Taken, but the leader changed before it was known to be kept.
    Unknown,
    Stopped(String),
}

impl Seat {
    /// Answers what `from` asks.
    pub(crate) async fn answer(
        &self,
        from: u64,
        body: Request,
        view: &View,
    ) -> Result<Reply, AnswerError> {
        match body {
            Request::Append { vote, previous, committed, entries } => {
                self.append(vote, previous, committed, &entries).await
            }
            Request::Vote { vote, last, transfer } => {
                let mut request = VoteRequest::new(wire::vote(vote), wire::log_id(last));
                request.leadership_transfer = transfer;
                self.raft.vote(request).await.map(voted).map_err(|error| self.fatal(&error))
            }
            Request::PreVote { vote, last } => {
                let request = VoteRequest::new(wire::vote(vote), wire::log_id(last));
                self.raft.pre_vote(request).await.map(voted).map_err(|error| self.fatal(&error))
            }
            Request::Transfer { vote, to, last } => {
                let request = TransferLeaderRequest::new(wire::vote(vote), to, wire::log_id(last));
                match self.raft.handle_transfer_leader(request).await {
                    Ok(Ok(())) => Ok(Reply::Transferred),
                    Ok(Err(error)) => Ok(Reply::Refused(error.to_string())),
                    Err(error) => Err(self.fatal(&error)),
                }
            }
            Request::Snapshot { vote, last, length, piece } => {
                self.take_piece(from, vote, last, length, piece).await
            }
            Request::Propose { command, wait_ms } => self.propose_for(&command, wait_ms).await,
            Request::ReadIndex => self.read_index().await,
            Request::Change(change) => match self.change(change).await {
                Ok(()) => Ok(Reply::Changed),
                Err(refused) => Ok(refused.into_reply()),
            },
            Request::Follow { after, wait_ms } => self.serve_entries(after, wait_ms, view).await,
            Request::Fetch { last, offset } => self.serve_piece(last, offset).await,
            Request::Members => Ok(Reply::Members(self.head(view))),
        }
    }

    async fn append(
        &self,
        vote: Triple,
        previous: Option<Triple>,
        committed: Option<Triple>,
        records: &[Record],
    ) -> Result<Reply, AnswerError> {
        let entries: Result<Vec<_>, String> = records.iter().map(Record::entry).collect();
        let entries = entries.map_err(AnswerError::Malformed)?;
        let request = AppendEntriesRequest {
            vote: wire::vote(vote),
            prev_log_id: wire::log_id(previous),
            entries,
            leader_commit: wire::log_id(committed),
        };
        let response =
            self.raft.append_entries(request).await.map_err(|error| self.fatal(&error))?;
        if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        Ok(match response {
            AppendEntriesResponse::Success => Reply::Appended,
            AppendEntriesResponse::PartialSuccess(last) => {
                Reply::AppendedUpTo(wire::triple(last.as_ref()))
            }
            AppendEntriesResponse::Conflict => Reply::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Reply::HigherVote(wire::vote_triple(&vote)),
        })
    }

    async fn take_piece(
        &self,
        from: u64,
        vote: Triple,
        last: Option<Triple>,
        length: u64,
        piece: Piece,
    ) -> Result<Reply, AnswerError> {
        let offered = wire::vote(vote);
        let ours = self
            .raft
            .with_raft_state(|state| *state.vote_ref())
            .await
            .map_err(|error| self.fatal(&error))?;
        if ours > offered {
            return Ok(Reply::HigherVote(wire::vote_triple(&ours)));
        }
        let incoming = match self.receiver.take(from, last, length, piece).await {
            Ok(Received::At(next)) => return Ok(Reply::SnapshotAt(next)),
            Ok(Received::Whole(incoming)) => incoming,
            Err(reason) => return Ok(Reply::Refused(reason)),
        };
        // Read once here to check it, and once more to be installed: never both at a time.
        let data = incoming.open().map_err(|error| AnswerError::Failed(error.to_string()))?;
        let checked = data.clone();
        let meta = tokio::task::spawn_blocking(move || checked.restore().map(|found| found.meta))
            .await
            .map_err(|error| AnswerError::Failed(error.to_string()))?;
        let meta = match meta {
            Ok(meta) if wire::triple(meta.last_log_id.as_ref()) == last => meta,
            Ok(_) => {
                let reason = "the snapshot ends at another entry than announced".to_owned();
                return Ok(Reply::Refused(reason));
            }
            Err(error) => return Ok(Reply::Refused(error.to_string())),
        };
        let response = self
            .raft
            .install_full_snapshot(offered, Snapshot { meta, snapshot: data })
            .await
            .map_err(|error| self.fatal(&error))?;
        drop(incoming);
        Ok(Reply::SnapshotDone { vote: wire::vote_triple(&response.vote) })
    }

    /// Hands a command to the engine of this node, once.
    pub(crate) async fn write(&self, proposal: Proposal) -> Written {
        match self.raft.client_write(proposal).await {
            Ok(response) => Written::Applied(Arc::unwrap_or_clone(response.data.0)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Written::NotTaken(self.elsewhere(forward))
            }
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Written::Unknown,
            Err(error) => Written::Stopped(self.reason(error.to_string())),
        }
    }

    async fn propose_for(&self, command: &[u8], wait_ms: u64) -> Result<Reply, AnswerError> {
        if !self.is_leader() {
            return Ok(Reply::NotTaken { leader: self.leader() });
        }
        let proposal = Proposal::decode(command)
            .map_err(|error| AnswerError::Malformed(format!("the command: {error}")))?;
        let limit = Duration::from_millis(wait_ms).min(PROPOSE_LIMIT);
        match timeout(limit, self.write(proposal)).await {
            Ok(Written::Applied(applied)) => Ok(Reply::Proposed {
                index: applied.index,
                rejection: applied.rejection.map(Into::into),
            }),
            Ok(Written::NotTaken(leader)) => Ok(Reply::NotTaken { leader }),
            Ok(Written::Unknown) | Err(_) => Ok(Reply::Unknown),
            // It may be on this disk, and on others.
            Ok(Written::Stopped(_)) => Ok(Reply::Unknown),
        }
    }

    async fn read_index(&self) -> Result<Reply, AnswerError> {
        let read = self.raft.get_read_log_id(ReadPolicy::ReadIndex);
        match timeout(READ_LIMIT, read).await {
            Err(_) => Ok(Reply::NoQuorum("no answer in time".to_owned())),
            Ok(Ok((read, _))) => Ok(Reply::ReadAt(read.index())),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Ok(Reply::NotTaken { leader: self.elsewhere(forward) })
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error)))) => {
                Ok(Reply::NoQuorum(error.to_string()))
            }
            Ok(Err(RaftError::Fatal(error))) => Err(self.fatal(&error)),
        }
    }

    /// The leader, if it is another node.
    pub(crate) fn elsewhere(&self, forward: ForwardToLeader<Types>) -> Option<Leader> {
        let node = forward.leader_id.filter(|leader| *leader != self.node)?;
        let address = forward.leader_node.map(|place| place.addr).unwrap_or_default();
        Some(Leader { node, address })
    }

    pub(super) fn fatal(&self, error: &impl ToString) -> AnswerError {
        AnswerError::Stopped { reason: self.reason(error.to_string()) }
    }
}

fn voted(response: VoteResponse<Types>) -> Reply {
    Reply::Voted {
        vote: wire::vote_triple(&response.vote),
        last: wire::triple(response.last_log_id.as_ref()),
        granted: response.vote_granted,
    }
}
