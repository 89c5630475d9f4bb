//! Objects from an agent that can read a remote, for a leader that cannot.
//!
//! That a node says where a branch is proves nothing: objects are checked by their IDs, but which commit is to run would
//! be the node's word alone. So the leader asks only nodes that `heads_from` names, by default servers, each of which may
//! lead and decide that anyway.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use consensus::Consensus;
use gitrepo::{FetchError, Given, RepoHandle, TakeError};
use identity::{Peer, Role};
use rpc::{Class, Client};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::messages::{HeadSeen, OBJECTS, ObjectsRequest, decode, encode};
use crate::config::HeadsFrom;

/// The largest pack that goes from agent to agent, in bytes.
const MAX_PACK: u64 = 64 << 20;
/// How much of it goes at once.
const PIECE: usize = 4 << 20;
/// Before each piece: how large the whole pack is.
const SIZE: usize = 8;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(120);
/// A pack that nobody goes on fetching is kept for so long.
const KEPT: Duration = Duration::from_secs(60);

/// A repository that this agent follows.
pub(crate) struct Followed {
    pub(crate) mirror: Arc<RepoHandle>,
    /// Whom it believes where the branch is, while it cannot see that itself.
    pub(crate) heads_from: HeadsFrom,
}

/// Gives objects, and takes them.
pub(crate) struct Relay {
    consensus: Consensus,
    client: Arc<Client>,
    followed: OnceLock<BTreeMap<String, Followed>>,
    /// One at a time is taken, and one pack is kept for whoever fetches it.
    taking: Mutex<()>,
    packed: Arc<Mutex<Option<Packed>>>,
}

/// A pack that is on its way.
struct Packed {
    request: ObjectsRequest,
    pack: Bytes,
    at: Instant,
}

impl Relay {
    /// `client` is one that talks to any node.
    pub(crate) fn new(consensus: Consensus, client: Arc<Client>) -> Self {
        Self {
            consensus,
            client,
            followed: OnceLock::new(),
            taking: Mutex::default(),
            packed: Arc::default(),
        }
    }

    /// What is followed, once that is known.
    pub(crate) fn follow(&self, followed: BTreeMap<String, Followed>) {
        let _ = self.followed.set(followed);
    }

    fn of(&self, repo: &str) -> Result<&Followed, String> {
        let followed = self.followed.get().ok_or("this agent is still starting")?;
        followed.get(repo).ok_or_else(|| format!("this agent follows no repository `{repo}`"))
    }

    /// A node saw a commit that this leader does not know: it looks itself, and where it cannot, it takes what the node
    /// has, if that node may be believed.
    pub(crate) async fn look(&self, peer: &Peer, seen: &HeadSeen) -> Result<(), String> {
        let followed = self.of(&seen.repo)?;
        match followed.mirror.check_now().await {
            Ok(_) => Ok(()),
            Err(error) if is_out_of_reach(&error) => {
                let taken = self.take(peer, seen, followed).await;
                taken.map_err(|why| format!("{error}; not taken from the node either: {why}"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn take(&self, peer: &Peer, seen: &HeadSeen, from: &Followed) -> Result<(), String> {
        let node = peer.node.ok_or("its certificate names no node")?;
        if !from.heads_from.allows(peer.role == Role::Server, node) {
            let (repo, node) = (&seen.repo, node.short());
            tracing::warn!(repo, %node, commit = seen.commit.short(), "seen by a node that `heads_from` does not name; not taken");
            return Err("it is no server, and `heads_from` does not name it".to_owned());
        }
        let _turn = self.taking.lock().await;
        let desired = {
            let state = self.consensus.state();
            state.repo(&seen.repo).and_then(|record| record.head.clone())
        };
        if desired.as_ref() == Some(&seen.commit) {
            return Ok(());
        }
        let address = self.consensus.state().node(node).map(|node| node.rpc_address.clone());
        let address =
            address.filter(|address| !address.is_empty()).ok_or("its address is not known")?;
        let known = from.mirror.read(|reader| reader.followed()).await;
        let request = ObjectsRequest {
            repo: seen.repo.clone(),
            commit: seen.commit.clone(),
            // A mirror that was never filled knows nothing.
            known: known.unwrap_or_default(),
            offset: 0,
        };
        let pack = self.fetch(&address, request).await?;
        let given =
            Given { commit: seen.commit.clone(), branch: seen.branch.clone(), pack, desired };
        match from.mirror.take(given).await {
            Ok(_) => {
                tracing::info!(
                    repo = seen.repo,
                    commit = seen.commit.short(),
                    node = %node.short(),
                    "the remote cannot be read here; its objects came from another node"
                );
                Ok(())
            }
            // Nothing is lost: that commit has had its time, or the leader sees for itself again.
            Err(TakeError::Old { .. } | TakeError::Readable) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The whole pack, piece by piece.
    async fn fetch(&self, address: &str, mut request: ObjectsRequest) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + LIMIT;
        let mut pack = Vec::new();
        loop {
            request.offset = pack.len() as u64;
            let left = deadline.saturating_duration_since(Instant::now());
            let body = encode(&request);
            let call = self.client.call(address, Class::Bulk, OBJECTS, body, left);
            let answer = match timeout_at(deadline, call).await {
                Ok(answered) => answered.map_err(|error| error.to_string())?,
                Err(_) => return Err(format!("its objects did not come within {LIMIT:?}")),
            };
            let (size, piece) = split(&answer)?;
            pack.extend_from_slice(piece);
            match size.cmp(&(pack.len() as u64)) {
                std::cmp::Ordering::Equal => return Ok(pack),
                std::cmp::Ordering::Greater if !piece.is_empty() => {}
                _ => return Err("what it sends is not the size that it says".to_owned()),
            }
        }
    }

    /// A piece of what a server that leads asks for.
    pub(crate) async fn give(&self, peer: &Peer, body: &[u8]) -> Result<Bytes, String> {
        if peer.role != Role::Server {
            return Err("objects are for servers; a node reads the remote itself".to_owned());
        }
        let mut request: ObjectsRequest = decode(body)?;
        let offset = usize::try_from(std::mem::take(&mut request.offset)).unwrap_or(usize::MAX);
        let mirror = &self.of(&request.repo)?.mirror;
        let mut packed = self.packed.lock().await;
        let pack = match packed.as_ref().filter(|kept| kept.request == request && offset > 0) {
            Some(kept) => kept.pack.clone(),
            None => {
                // What was made for somebody else goes first: there is never more than one.
                *packed = None;
                let (commit, known) = (request.commit.clone(), request.known.clone());
                let made = mirror.read(move |reader| reader.pack(&commit, &known, MAX_PACK)).await;
                Bytes::from(made.map_err(|error| error.to_string())?)
            }
        };
        let end = pack.len().min(offset.saturating_add(PIECE));
        let piece = pack.get(offset..end).ok_or("the pack ends before that")?;
        let mut answer = Vec::with_capacity(SIZE + piece.len());
        answer.extend_from_slice(&(pack.len() as u64).to_be_bytes());
        answer.extend_from_slice(piece);
        *packed = (end < pack.len()).then(|| Packed { request, pack, at: Instant::now() });
        if packed.is_some() {
            tokio::spawn(forget(Arc::clone(&self.packed)));
        }
        Ok(answer.into())
    }
}

/// Lets go of a pack that nobody went on fetching.
async fn forget(packed: Arc<Mutex<Option<Packed>>>) {
    tokio::time::sleep(KEPT).await;
    packed.lock().await.take_if(|kept| kept.at.elapsed() >= KEPT);
}

/// Whether the remote said nothing of where the branch is.
fn is_out_of_reach(error: &FetchError) -> bool {
    match error {
        // Hosts hide what one may not see behind "there is none".
        FetchError::HostUnreachable { .. }
        | FetchError::Timeout { .. }
        | FetchError::Authentication { .. }
        | FetchError::RateLimited { .. }
        | FetchError::RepositoryNotFound { .. } => true,
        FetchError::BranchNotFound { .. }
        | FetchError::EmptyRepository { .. }
        | FetchError::Corrupt { .. }
        | FetchError::Other { .. } => false,
    }
}

/// The size of the whole pack, and a piece of it.
fn split(answer: &[u8]) -> Result<(u64, &[u8]), String> {
    let (size, piece) = answer.split_first_chunk::<SIZE>().ok_or("what it sends makes no sense")?;
    let size = u64::from_be_bytes(*size);
    if size > MAX_PACK {
        return Err(format!(
            "its pack has {size} bytes, more than the {MAX_PACK} that are allowed"
        ));
    }
    Ok((size, piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_a_size_and_a_limit() {
        let answer = |size: u64| [&size.to_be_bytes()[..], b"PACK"].concat();
        assert_eq!(split(&answer(9)), Ok((9, &b"PACK"[..])));
        assert!(split(&answer(MAX_PACK + 1)).is_err());
        assert!(split(b"").is_err() && split(b"1234567").is_err());
    }

    #[test]
    fn what_the_remote_said_is_never_replaced() {
        let remote = String::new;
        let away = FetchError::HostUnreachable { remote: remote(), detail: String::new() };
        assert!(is_out_of_reach(&away));
        assert!(!is_out_of_reach(&FetchError::EmptyRepository { remote: remote() }));
        let gone = FetchError::BranchNotFound {
            remote: remote(),
            branch: "main".to_owned(),
            available: vec!["next".to_owned()],
        };
        assert!(!is_out_of_reach(&gone));
    }
}
