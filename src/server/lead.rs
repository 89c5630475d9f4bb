//! Loops that decide run on the leader alone, and begin anew from the state each time that this server comes to lead.

use std::time::Duration;

use consensus::Consensus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The wait before a leader that could not learn what is committed asks again.
const RETRY: Duration = Duration::from_millis(50);

/// What tells a loop whether this server leads.
#[derive(Clone)]
pub(crate) struct Lead {
    consensus: Consensus,
    leads: watch::Receiver<bool>,
    stop: CancellationToken,
}

impl Lead {
    pub(crate) fn new(consensus: Consensus, stop: CancellationToken) -> Self {
        Self { leads: consensus.leadership(), consensus, stop }
    }

    /// Waits until this server leads and knows everything that was decided before. `false` when it is time to stop.
    pub(crate) async fn begin(&mut self) -> bool {
        let begun = async {
            loop {
                if self.leads.wait_for(|leads| *leads).await.is_err() {
                    return false;
                }
                if self.consensus.linearizable().await.is_ok() {
                    return true;
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        self.stop.run_until_cancelled(begun).await.unwrap_or(false)
    }

    /// Waits until this server leads no more, or is to stop.
    pub(crate) async fn end(&mut self) {
        let ended = self.leads.wait_for(|leads| !leads);
        drop(self.stop.run_until_cancelled(ended).await);
    }

    /// Whether this server leads now.
    pub(crate) fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    /// Runs a loop while this server leads, from its beginning each time. A loop that is ended is dropped where it
    /// waits: whatever it knew is in the state, or is found out again.
    pub(crate) async fn keep<F: Future<Output = ()>>(mut self, mut run: impl FnMut() -> F) {
        while self.begin().await {
            tokio::select! {
                // Raft has stopped, or there was nothing to do more than once.
                () = run() => self.end().await,
                () = async { self.end().await } => {}
            }
        }
    }
}
