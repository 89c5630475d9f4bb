//! Secrets that let new machines join.

use std::time::Duration;

use identity::{ClusterId, Fingerprint, JoinToken, SecretText};
use model::Timestamp;
use state::{Command, SecretHash};

use crate::request::ServerError;
use crate::server::Server;

/// The longest that a token may be good for.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A new token: what is shown of it once, and never again.
#[derive(Debug)]
pub struct NewToken {
    /// Its name in the cluster's list.
    pub id: String,
    /// The line to give to the new machine.
    pub text: SecretText,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl Server {
    /// Makes a token that lets machines join until `life` is over.
    ///
    /// # Errors
    /// When this agent belongs to no cluster, or the cluster has no leader now.
    pub async fn make_join_token(&self, life: Duration) -> Result<NewToken, ServerError> {
        if life.is_zero() || life > LONGEST {
            return Err(ServerError::Invalid(
                "a join token is good for a second up to 30 days".to_owned(),
            ));
        }
        let state = self.state();
        let cluster = state.cluster().ok_or_else(|| {
            ServerError::Invalid(
                "this agent is alone: start it with --bootstrap to found a cluster that others can join"
                    .to_owned(),
            )
        })?;
        if cluster.ca_certificate.is_empty() {
            return Err(ServerError::Invalid(
                "the certificates of this cluster come from an authority of its organisation: a machine that has one \
                 joins without a token (`herder tls cert create`)"
                    .to_owned(),
            ));
        }
        let damaged =
            |what: String| ServerError::Unavailable(format!("the cluster's record: {what}"));
        let id: ClusterId = cluster
            .id
            .parse::<uuid::Uuid>()
            .map(ClusterId::new)
            .map_err(|error| damaged(error.to_string()))?;
        let authority = Fingerprint::of_certificate(&cluster.ca_certificate)
            .map_err(|error| damaged(error.to_string()))?;
        let at = self.now();
        let token = JoinToken::create(id, authority, at + life)
            .map_err(|error| ServerError::Unavailable(error.to_string()))?;
        self.propose(Command::PutJoinToken {
            id: token.id().to_string(),
            secret_hash: SecretHash(*token.secret_hash().as_bytes()),
            expires_at: token.expires(),
            at,
        })
        .await?;
        Ok(NewToken {
            id: token.id().to_string(),
            text: token.to_text(),
            expires_at: token.expires(),
        })
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// When there is none of this name, or the cluster has no leader now.
    pub async fn revoke_join_token(&self, id: &str) -> Result<u64, ServerError> {
        if self.state().join_token(id).is_none() {
            return Err(ServerError::NotFound { what: format!("join token `{id}`") });
        }
        self.propose(Command::RevokeJoinToken { id: id.to_owned(), at: self.now() }).await
    }
}
