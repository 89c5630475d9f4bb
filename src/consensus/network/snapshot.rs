//! A snapshot on its way to a member, piece by piece out of its file.

use std::time::Duration;

use openraft::alias;
use openraft::error::{NetworkError, RPCError, StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;

use super::{CallError, Peer};
use crate::snapshot::SnapshotData;
use crate::types::{Types, Vote};
use crate::wire::{self, PIECE_BYTES, Piece, Reply, Request};

/// How often a piece may be answered with another place than it leads to, before the whole is given up.
const DETOURS: u32 = 16;
/// Pieces that got lost and were sent again.
const RETRIES: u32 = 5;
/// How long a piece that is not the last may take.
const PIECE_LIMIT: Duration = Duration::from_secs(10);

impl From<CallError> for StreamingError<Types> {
    fn from(error: CallError) -> Self {
        match RPCError::from(error) {
            RPCError::Unreachable(error) => Self::Unreachable(error),
            RPCError::Network(error) => Self::Network(error),
            RPCError::Timeout(error) => Self::Timeout(error),
            RPCError::RemoteError(error) => Self::Unreachable(Unreachable::new(&error)),
        }
    }
}

impl Peer {
    /// Sends what the receiver does not have yet, and returns when it has installed the whole.
    pub(super) async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: alias::SnapshotOf<Types, SnapshotData>,
        limit: Duration,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let unreadable = |error: crate::ConsensusError| {
            StreamingError::Network(NetworkError::from_string(error.to_string()))
        };
        let length = snapshot.snapshot.length().map_err(unreadable)?;
        let (mut offset, mut detours, mut retries) = (0, 0, 0);
        // Nothing yet: asks how far the receiver is.
        let mut wanted = 0;
        loop {
            let data = snapshot.snapshot.clone();
            let bytes = tokio::task::spawn_blocking(move || data.piece(offset, wanted))
                .await
                .map_err(|error| NetworkError::new(&error))?
                .map_err(unreadable)?;
            let after = offset + bytes.len() as u64;
            let body = Request::Snapshot {
                vote: wire::vote_triple(&vote),
                last: wire::triple(snapshot.meta.last_log_id.as_ref()),
                length,
                piece: Piece::new(offset, bytes),
            };
            let limit = if after == length { limit } else { limit.min(PIECE_LIMIT) };
            let reply = match self.call(true, body, limit).await {
                Ok(reply) => reply,
                Err(CallError::Unknown(reason)) if retries < RETRIES => {
                    tracing::debug!(node = self.node, %reason, "a piece of a snapshot is sent again");
                    retries += 1;
                    // Whether it arrived is for the receiver to say.
                    wanted = 0;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match reply {
                Reply::SnapshotDone { vote } => {
                    return Ok(SnapshotResponse::new(wire::vote(vote)));
                }
                Reply::HigherVote(vote) => return Ok(SnapshotResponse::new(wire::vote(vote))),
                Reply::SnapshotAt(next) if next <= length => {
                    if next == after {
                        retries = 0;
                    } else if wanted > 0 {
                        detours += 1;
                    }
                    if detours > DETOURS {
                        let reason = format!("server {} keeps starting over", self.node);
                        return Err(NetworkError::from_string(reason).into());
                    }
                    offset = next;
                    wanted = PIECE_BYTES;
                }
                other => return Err(self.odd(&other).into()),
            }
        }
    }
}
