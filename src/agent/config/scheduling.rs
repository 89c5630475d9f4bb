//! How placement chooses in a cluster that was told nothing yet.

use anyhow::{Context as _, anyhow};
use model::SchedulerConfig;
use model::wire::{PreemptionChange, SchedulerConfigChange};

use super::file::SchedulerBlock;

pub(super) fn config(block: &SchedulerBlock) -> anyhow::Result<SchedulerConfig> {
    let preemption = &block.preemption_config;
    let change = SchedulerConfigChange {
        scheduler_algorithm: block.scheduler_algorithm.clone(),
        memory_oversubscription_enabled: block.memory_oversubscription_enabled,
        preemption_config: PreemptionChange {
            system: preemption.system_scheduler_enabled,
            sysbatch: preemption.sysbatch_scheduler_enabled,
            batch: preemption.batch_scheduler_enabled,
            service: preemption.service_scheduler_enabled,
        },
        reject_job_registration: block.reject_job_registration,
        pause_eval_broker: block.pause_eval_broker,
    };
    change
        .of(SchedulerConfig::default())
        .map_err(|problem| anyhow!(problem))
        .context("server: default_scheduler_config")
}

#[cfg(test)]
mod tests {
    use model::PlacementAlgorithm;

    use super::super::file::File;
    use super::*;

    #[test]
    fn the_block_is_read_as_nomads() {
        let read = |text: &str| {
            let file = File::parse(text, false).expect("HCL");
            config(&file.server.default_scheduler_config.expect("a block"))
        };
        let found = read(
            r#"
            server {
              default_scheduler_config {
                scheduler_algorithm             = "spread"
                memory_oversubscription_enabled = false
                preemption_config {
                  batch_scheduler_enabled  = true
                  system_scheduler_enabled = false
                }
              }
            }
            "#,
        )
        .expect("fine");
        assert_eq!(found.algorithm, PlacementAlgorithm::Spread);
        assert!(!found.memory_oversubscription);
        assert!(found.preemption.batch && !found.preemption.system && !found.preemption.service);
        let untouched = read("server {\n default_scheduler_config {}\n}").expect("fine");
        assert_eq!(untouched, SchedulerConfig::default());
        for wrong in ["scheduler_algorithm = \"best\"", "reject_job_registration = true"] {
            let text = format!("server {{\n default_scheduler_config {{\n {wrong}\n }}\n}}");
            assert!(read(&text).is_err(), "{wrong}");
        }
    }
}
