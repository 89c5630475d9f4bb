//! Heartbeats of nodes that speak to this server while another one leads. They go on to the leader together, so that the
//! leader has as many connections as there are servers, and a new one is not met by every node at once.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use consensus::Consensus;
use model::NodeId;
use rpc::{CallError, Class, Client, Code, Refused};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::messages::{HEARTBEAT, Heartbeat, encode};

/// What comes within this time goes on together.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long a leader may be waited for. With all else it must fit into what the node waits.
const ELECTION: Duration = Duration::from_millis(200);
/// The wait between two looks whether there is a leader.
const LOOK: Duration = Duration::from_millis(50);
/// How long the leader may take.
const LIMIT: Duration = Duration::from_millis(350);
/// Most nodes that are spoken for at once.
const MOST: usize = 16 * 1024;

/// What the leader said to all of them.
type Answer = Result<Bytes, Refused>;

/// Those that came since the last were sent on.
#[derive(Default)]
pub(crate) struct Gathering(Mutex<Option<Round>>);

struct Round {
    nodes: Vec<NodeId>,
    told: watch::Sender<Option<Answer>>,
}

impl Gathering {
    /// Has a node's heartbeat sent on, and returns what became of it. `send` is called once for all that are gathered.
    pub(crate) async fn hear<S, F>(self: &Arc<Self>, node: NodeId, send: S) -> Answer
    where
        S: FnOnce(Vec<NodeId>) -> F + Send + 'static,
        F: Future<Output = Answer> + Send,
    {
        let mut told = match self.enter(node) {
            Entered::First(told) => {
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    sleep(TOGETHER).await;
                    let round = this.lock().take();
                    if let Some(Round { nodes, told }) = round {
                        told.send_replace(Some(send(nodes).await));
                    }
                });
                told
            }
            Entered::Joined(told) => told,
            Entered::Full => {
                return Err(Refused::new(Code::BUSY, "too many heartbeats; ask another server"));
            }
        };
        match told.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(lost),
            Err(_) => lost(),
        }
    }

    fn enter(&self, node: NodeId) -> Entered {
        let mut round = self.lock();
        match &mut *round {
            Some(round) if round.nodes.len() >= MOST => Entered::Full,
            Some(round) => {
                round.nodes.push(node);
                Entered::Joined(round.told.subscribe())
            }
            None => {
                let (told, telling) = watch::channel(None);
                *round = Some(Round { nodes: vec![node], told });
                Entered::First(telling)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Round>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entered {
    /// Nobody was there yet: whoever it is sends the round on.
    First(watch::Receiver<Option<Answer>>),
    Joined(watch::Receiver<Option<Answer>>),
    Full,
}

fn lost() -> Answer {
    Err(Refused::new(Code::BUSY, "the heartbeats were not handed on"))
}

/// Speaks to the leader for these nodes, waiting for one if there is none just now.
pub(crate) async fn hand_on(
    consensus: Consensus,
    client: Arc<Client>,
    nodes: Vec<NodeId>,
) -> Answer {
    let patience = Instant::now() + ELECTION;
    let leader = loop {
        if let Some(leader) = consensus.leader().filter(|leader| !leader.address.is_empty()) {
            break leader;
        }
        if Instant::now() >= patience {
            return Err(Refused::new(Code::BUSY, "the cluster has no leader now"));
        }
        sleep(LOOK).await;
    };
    let body = encode(&Heartbeat { nodes });
    client.call(&leader.address, Class::Control, HEARTBEAT, body, LIMIT).await.map_err(|error| {
        match error {
            CallError::Refused { refused, .. } => refused,
            other => Refused::new(Code::BUSY, other.to_string()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u128) -> NodeId {
        NodeId::new(uuid::Uuid::from_u128(n))
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_together_goes_on_together_and_all_are_told() {
        let gathering = Arc::new(Gathering::default());
        let (sent, rounds) = (Arc::new(Mutex::new(Vec::new())), 2);
        for round in 0..rounds {
            let mut heard = tokio::task::JoinSet::new();
            for n in 0..20 {
                let (gathering, sent) = (Arc::clone(&gathering), Arc::clone(&sent));
                heard.spawn(async move {
                    let send = move |nodes: Vec<NodeId>| async move {
                        sent.lock().expect("a list").push(nodes.len());
                        match round {
                            0 => Ok(Bytes::from_static(b"fine")),
                            _ => Err(Refused::new(Code::BUSY, "no leader")),
                        }
                    };
                    gathering.hear(node(n), send).await
                });
            }
            while let Some(answer) = heard.join_next().await {
                assert_eq!(answer.expect("ends").is_ok(), round == 0);
            }
        }
        assert_eq!(*sent.lock().expect("a list"), [20, 20]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_round_does_not_wait_for_the_one_before() {
        let gathering = Arc::new(Gathering::default());
        let slow = Arc::clone(&gathering);
        let first = tokio::spawn(async move {
            slow.hear(node(1), |_| async {
                sleep(Duration::from_secs(60)).await;
                Ok(Bytes::new())
            })
            .await
        });
        sleep(TOGETHER * 2).await;
        let begun = Instant::now();
        assert!(gathering.hear(node(2), |_| async { Ok(Bytes::new()) }).await.is_ok());
        assert_eq!(begun.elapsed(), TOGETHER);
        assert!(first.await.expect("ends").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_limit() {
        let gathering = Arc::new(Gathering::default());
        let (told, _) = watch::channel(None);
        *gathering.lock() = Some(Round { nodes: vec![node(0); MOST], told });
        let refused = gathering.hear(node(1), |_| async { Ok(Bytes::new()) }).await;
        assert_eq!(refused.expect_err("full").code, Code::BUSY);
    }
}
