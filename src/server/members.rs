//! What operators ask of the servers themselves: who takes part, who leads, and a state that nothing is missing from.

use consensus::{ChangeError, MemberStatus};
use model::NodeId;
use state::State;

use crate::request::ServerError;
use crate::server::Server;

impl Server {
    /// The servers, as this one knows them. How far the others are is only known to the leader.
    pub fn members(&self) -> Vec<MemberStatus> {
        self.inner.consensus.members()
    }

    /// The node of the server that leads. What a node says of its address proves nothing: of two that claim the same one,
    /// none is believed.
    pub(crate) fn leading_node(&self, state: &State) -> Option<NodeId> {
        if self.is_leader() {
            return self.inner.fleet.node;
        }
        let leader = self.members().into_iter().find(|member| member.leader)?;
        let mut there = state
            .nodes()
            .filter(|node| !node.rpc_address.is_empty() && node.rpc_address == leader.address);
        match (there.next(), there.next()) {
            (Some(only), None) => Some(only.id),
            _ => None,
        }
    }

    /// A state that contains every change that was answered before this was asked for.
    ///
    /// # Errors
    /// When the cluster has no leader now.
    pub async fn consistent_state(&self) -> Result<State, ServerError> {
        self.inner
            .consensus
            .linearizable()
            .await
            .map_err(|error| ServerError::Unavailable(error.to_string()))?;
        Ok(self.state())
    }

    /// Lets another server lead: the one that is named, or the voter that is furthest. Returns its number. To be asked of
    /// the leader.
    ///
    /// # Errors
    /// When there is no other voter that answers, or it does not come to lead in time.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<u64, ServerError> {
        let others = self.members().into_iter().filter(|member| member.voter && !member.leader);
        let best = others.max_by_key(|member| (member.last_contact.is_some(), member.matched));
        let Some(to) = to.or_else(|| best.map(|member| member.node)) else {
            return Err(ServerError::Conflict(
                "no other server votes, so no other can lead".to_owned(),
            ));
        };
        self.inner.consensus.transfer(to).await.map_err(refused)?;
        Ok(to)
    }

    /// Takes a server out of Raft, where that does not endanger the quorum. One whose node answers comes back by
    /// itself: what goes for good is a node, see [`Server::purge_node`].
    ///
    /// # Errors
    /// When it is no member or leads, or the others could not go on without it.
    pub async fn remove_member(&self, number: u64) -> Result<(), ServerError> {
        let members = self.members();
        let Some(member) = members.iter().find(|member| member.node == number) else {
            return Err(ServerError::NotFound { what: format!("server {number}") });
        };
        if member.leader {
            return Err(ServerError::Conflict(HAND_OVER.to_owned()));
        }
        self.inner.consensus.remove(number).await.map_err(refused)
    }
}

/// What is said to whoever would remove the leader.
pub(crate) const HAND_OVER: &str =
    "it leads; hand the leadership over first: herder operator raft transfer-leadership";

fn refused(error: ChangeError) -> ServerError {
    let words = error.to_string();
    match error {
        ChangeError::Refused(_) => ServerError::Conflict(words),
        _ => ServerError::Unavailable(words),
    }
}
