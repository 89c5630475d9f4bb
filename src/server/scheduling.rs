//! What operators say about how placement chooses.

use model::SchedulerConfig;
use state::Command;

use crate::request::ServerError;
use crate::server::Server;

impl Server {
    /// Has placement choose like this from now on; with `if_index` only if nobody changed it since. Returns the state's
    /// index, or `None` where somebody did.
    pub async fn set_scheduler_config(
        &self,
        config: SchedulerConfig,
        if_index: Option<u64>,
    ) -> Result<Option<u64>, ServerError> {
        match self.propose(Command::SetSchedulerConfig { config, if_index }).await {
            Ok(index) => Ok(Some(index)),
            Err(ServerError::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
