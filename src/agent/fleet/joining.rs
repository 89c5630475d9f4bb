//! The first thing that a new agent does: it shows a token and gets a certificate.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use identity::{ClientTls, Clock, ClusterId, JoinToken};
use model::{NodeId, NodeRole};
use rpc::{CallError, Class, Client, Method};
use serde::de::DeserializeOwned;

use super::messages::{JOIN, JoinAnswer, JoinRequest, decode, encode};
use super::papers::{Membership, Papers, number_of};

/// How long one server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long is tried in all while no server can be reached: machines that are started together come up in any order.
const REACH_LIMIT: Duration = Duration::from_secs(60);
/// The wait between two rounds.
const PAUSE: Duration = Duration::from_secs(1);

/// Who joins.
pub(crate) struct Newcomer<'a> {
    pub(crate) node: NodeId,
    pub(crate) name: &'a str,
    pub(crate) role: NodeRole,
    pub(crate) version: &'a str,
    /// Where people reach it.
    pub(crate) addresses: &'a [IpAddr],
}

/// Joins by any of these servers, and stores what came of it. One that `belongs` to a cluster only gets a new certificate
/// of that one: the papers that it has are not touched by a token of another.
///
/// # Errors
/// When the token is no good, a server says no, or none can be reached for a minute.
pub(crate) async fn join(
    papers: &Papers,
    servers: &[String],
    token: &str,
    newcomer: &Newcomer<'_>,
    belongs: Option<ClusterId>,
    clock: &Clock,
) -> anyhow::Result<Membership> {
    let parsed = JoinToken::parse(token).context("the join token cannot be used")?;
    if let Some(own) = belongs.filter(|own| *own != parsed.cluster()) {
        bail!(
            "the join token is of cluster {}, but this agent belongs to cluster {own}: take a token of that one, or \
             begin with an empty data directory to change over",
            parsed.cluster()
        );
    }
    parsed.check(clock.now()).context("the join token cannot be used")?;
    let client = Client::new(ClientTls::for_joining(&parsed, clock.clone())?);
    let request = JoinRequest {
        token: parsed.to_text().reveal().to_owned(),
        request: papers.key()?.request()?,
        node: newcomer.node,
        name: newcomer.name.to_owned(),
        role: newcomer.role,
        version: newcomer.version.to_owned(),
        addresses: newcomer.addresses.to_vec(),
    };
    let answer: JoinAnswer = ask_any(&client, servers, JOIN, &encode(&request)).await?;
    if answer.cluster != parsed.cluster() {
        bail!("the server belongs to another cluster than the token");
    }
    papers.store_authority(&answer.authority)?;
    papers.store_certificate(&answer.certificate)?;
    let number = number_of(newcomer.node);
    let membership =
        Membership { cluster: answer.cluster, number, servers: answer.servers, own: false };
    papers.store_membership(&membership)?;
    tracing::info!(cluster = %membership.cluster, "joined");
    Ok(membership)
}

/// Asks these servers, one after the other and again, until one answers.
///
/// # Errors
/// When one says no, or none can be reached for a minute.
pub(super) async fn ask_any<T: DeserializeOwned>(
    client: &Client,
    servers: &[String],
    method: Method,
    body: &Bytes,
) -> anyhow::Result<T> {
    let deadline = tokio::time::Instant::now() + REACH_LIMIT;
    let mut told = false;
    loop {
        let mut last = None;
        for server in servers {
            match client.call(server, Class::Control, method, body.clone(), ANSWER_LIMIT).await {
                Ok(body) => {
                    return decode(&body)
                        .map_err(anyhow::Error::msg)
                        .with_context(|| format!("the answer of {server}"));
                }
                // It heard the request and will say the same again.
                Err(CallError::Refused { refused, .. })
                    if refused.code.0 >= rpc::Code::FIRST_OF_HANDLERS.0 =>
                {
                    bail!("{server} does not let this machine join: {}", refused.words);
                }
                Err(error) => last = Some(error),
            }
        }
        let Some(error) = last else { bail!("no server to join was named") };
        if tokio::time::Instant::now() >= deadline {
            return Err(error).context("no server could be asked to join");
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!("waiting for a server to join: {error}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use identity::Authority;

    use super::*;

    #[tokio::test]
    async fn a_token_of_another_cluster_touches_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        crate::directory::prepare(dir.path()).expect("prepared");
        let papers = Papers::in_directory(dir.path());
        let (node, clock) = (NodeId::new(uuid::Uuid::new_v4()), Clock::system());
        let addresses = vec![IpAddr::from([127, 0, 0, 1])];
        let own = papers.found(node, "a", addresses, 7, &clock).expect("founded");
        let kept = |name: &str| std::fs::read(dir.path().join("tls").join(name)).expect("a file");
        let names = ["ca.pem", "node.pem", "node.key", "cluster.json"];
        let before = names.map(kept);

        let other = ClusterId::new(uuid::Uuid::new_v4());
        let authority = Authority::create(other, clock.now()).expect("an authority");
        let expires = clock.now() + Duration::from_secs(3600);
        let token = JoinToken::create(other, authority.fingerprint(), expires).expect("a token");
        let newcomer =
            Newcomer { node, name: "a", role: NodeRole::Auto, version: "0", addresses: &[] };
        let text = token.to_text();
        // Nobody is asked: there is no server at all.
        let refused = join(&papers, &[], text.reveal(), &newcomer, Some(own.cluster), &clock).await;
        let words = refused.expect_err("refused").to_string();
        assert!(words.contains(&other.to_string()), "{words}");
        assert!(words.contains(&own.cluster.to_string()), "{words}");
        assert_eq!(names.map(kept), before);
    }
}
