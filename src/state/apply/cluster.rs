//! What identifies the cluster, and who may join it.

use std::sync::Arc;

use model::{NodeId, Timestamp};

use crate::command::Garbage;
use crate::event::{Event, Rejection};
use crate::record::{ClusterRecord, JoinToken, SecretHash};
use crate::table::State;

impl State {
    pub(super) fn found_cluster(
        &mut self,
        id: &str,
        ca_certificate: &str,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        if let Some(known) = &self.cluster {
            return Err(Rejection::Conflict(format!(
                "the cluster is founded already, as {}",
                known.id
            )));
        }
        self.cluster = Some(Arc::new(ClusterRecord {
            id: id.to_owned(),
            ca_certificate: ca_certificate.to_owned(),
            founded_at: at,
        }));
        events.push(Event::Cluster);
        Ok(())
    }

    pub(super) fn put_join_token(
        &mut self,
        id: &str,
        secret_hash: SecretHash,
        expires_at: Timestamp,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        if expires_at <= at {
            return Err(Rejection::Conflict("the join token has expired already".to_owned()));
        }
        let is_new = !self.join_tokens.contains_key(id);
        if is_new && self.join_tokens.len() >= crate::JOIN_TOKENS {
            return Err(Rejection::Conflict(format!(
                "there are {} join tokens, and there can be no more; revoke one that is not needed",
                crate::JOIN_TOKENS
            )));
        }
        let token = JoinToken { id: id.to_owned(), secret_hash, expires_at, created_at: at };
        self.join_tokens.insert(id.to_owned(), Arc::new(token));
        events.push(Event::Cluster);
        Ok(())
    }

    pub(super) fn revoke_join_token(
        &mut self,
        id: &str,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        if self.join_tokens.remove(id).is_none() {
            return Err(Rejection::NotFound { what: "join token", id: id.to_owned() });
        }
        events.push(Event::Cluster);
        Ok(())
    }

    /// Forgets join tokens and removed nodes, but only those that have expired.
    pub(super) fn forget_expired(&mut self, garbage: &Garbage, events: &mut Vec<Event>) {
        let before = (self.join_tokens.len(), self.removed_nodes.len());
        for id in &garbage.join_tokens {
            if self.join_tokens.get(id).is_some_and(|token| !token.is_valid(garbage.at)) {
                self.join_tokens.remove(id);
            }
        }
        for id in &garbage.removed_nodes {
            let id: &NodeId = id;
            if self.removed_nodes.get(id).is_some_and(|removed| removed.until <= garbage.at) {
                self.removed_nodes.remove(id);
            }
        }
        if before != (self.join_tokens.len(), self.removed_nodes.len()) {
            events.push(Event::Cluster);
        }
    }
}
