//! How placement chooses in a cluster that was told nothing yet.

use std::time::Duration;

use consensus::Consensus;
use model::SchedulerConfig;
use state::Command;
use tokio_util::sync::CancellationToken;

/// How often is looked whether this server leads now.
const LOOK: Duration = Duration::from_secs(1);

/// Writes down what this server's configuration says, if it leads before anybody said something. What is written once
/// is changed by operators alone.
pub(crate) async fn settle(consensus: Consensus, config: SchedulerConfig, stop: CancellationToken) {
    while consensus.state().scheduler_config().modify_index == 0 {
        if consensus.is_leader() {
            let command = Command::SetSchedulerConfig { config, if_index: Some(0) };
            match consensus.propose(command).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!("the scheduler configuration is not written yet: {error}");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
