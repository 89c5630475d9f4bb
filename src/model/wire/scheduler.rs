//! `/v1/operator/scheduler/configuration`: how placement chooses.

use serde::{Deserialize, Serialize};

use crate::{PlacementAlgorithm, SchedulerConfig};

/// How placement chooses, with Nomad's switches that are always off here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SchedulerConfigView {
    /// How.
    #[serde(flatten)]
    pub config: SchedulerConfig,
    /// Always false: what runs comes from Git.
    pub reject_job_registration: bool,
    /// Always false.
    pub pause_eval_broker: bool,
}

/// The answer to a read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SchedulerConfigResponse {
    /// How placement chooses.
    pub scheduler_config: SchedulerConfigView,
    /// State index of the last change.
    pub index: u64,
    /// Nanoseconds since the agent heard a leader.
    pub last_contact: u64,
    /// Whether there is a leader.
    pub known_leader: bool,
    /// Always empty.
    pub next_token: String,
}

/// The body of a change. What is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SchedulerConfigChange {
    /// `binpack` or `spread`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_algorithm: Option<String>,
    /// As [`SchedulerConfig::memory_oversubscription`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_oversubscription_enabled: Option<bool>,
    /// As [`SchedulerConfig::preemption`].
    pub preemption_config: PreemptionChange,
    /// Must not be true: what runs comes from Git.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reject_job_registration: bool,
    /// Must not be true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pause_eval_broker: bool,
}

/// The types of job in a [`SchedulerConfigChange`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PreemptionChange {
    /// System jobs.
    #[serde(rename = "SystemSchedulerEnabled", skip_serializing_if = "Option::is_none")]
    pub system: Option<bool>,
    /// Sysbatch jobs.
    #[serde(rename = "SysBatchSchedulerEnabled", skip_serializing_if = "Option::is_none")]
    pub sysbatch: Option<bool>,
    /// Batch jobs.
    #[serde(rename = "BatchSchedulerEnabled", skip_serializing_if = "Option::is_none")]
    pub batch: Option<bool>,
    /// Service jobs.
    #[serde(rename = "ServiceSchedulerEnabled", skip_serializing_if = "Option::is_none")]
    pub service: Option<bool>,
}

/// The answer to a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SchedulerConfigUpdated {
    /// Whether it was made: one with `?cas=` is not when another came first.
    pub updated: bool,
    /// The state's index.
    pub index: u64,
}

impl SchedulerConfigChange {
    /// `known`, changed.
    ///
    /// # Errors
    /// In words: what is asked for that does not exist here.
    pub fn of(&self, known: SchedulerConfig) -> Result<SchedulerConfig, String> {
        let mut config = known;
        if self.reject_job_registration {
            return Err(
                "RejectJobRegistration cannot be on: what runs comes from Git, so hold back the commit instead"
                    .to_owned(),
            );
        }
        if self.pause_eval_broker {
            return Err("PauseEvalBroker cannot be on: evaluation is not paused here".to_owned());
        }
        match self.scheduler_algorithm.as_deref() {
            None | Some("") => {}
            Some("binpack") => config.algorithm = PlacementAlgorithm::Binpack,
            Some("spread") => config.algorithm = PlacementAlgorithm::Spread,
            Some(other) => {
                return Err(format!(
                    "SchedulerAlgorithm is `{other}`; write \"binpack\" or \"spread\""
                ));
            }
        }
        let set = |to: &mut bool, from: Option<bool>| *to = from.unwrap_or(*to);
        set(&mut config.memory_oversubscription, self.memory_oversubscription_enabled);
        set(&mut config.preemption.system, self.preemption_config.system);
        set(&mut config.preemption.sysbatch, self.preemption_config.sysbatch);
        set(&mut config.preemption.batch, self.preemption_config.batch);
        set(&mut config.preemption.service, self.preemption_config.service);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let known = SchedulerConfig { modify_index: 7, ..SchedulerConfig::default() };
        let change = |text: &str| {
            serde_json::from_str::<SchedulerConfigChange>(text).expect("is read").of(known)
        };
        assert_eq!(change("{}"), Ok(known));
        let changed = change(
            r#"{"SchedulerAlgorithm":"spread","MemoryOversubscriptionEnabled":false,"RejectJobRegistration":false,
                "PreemptionConfig":{"BatchSchedulerEnabled":true},"CreateIndex":3}"#,
        )
        .expect("is a change");
        assert_eq!(changed.algorithm, PlacementAlgorithm::Spread);
        assert!(!changed.memory_oversubscription);
        assert!(changed.preemption.batch && changed.preemption.system);
        assert!(!changed.preemption.service);
        for wrong in [
            r#"{"SchedulerAlgorithm":"best"}"#,
            r#"{"RejectJobRegistration":true}"#,
            r#"{"PauseEvalBroker":true}"#,
        ] {
            assert!(change(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_view_has_nomads_names() {
        let value = serde_json::to_value(SchedulerConfigView::default()).expect("is written");
        let names: Vec<&str> =
            value.as_object().expect("an object").keys().map(String::as_str).collect();
        for name in [
            "SchedulerAlgorithm",
            "PreemptionConfig",
            "MemoryOversubscriptionEnabled",
            "RejectJobRegistration",
            "PauseEvalBroker",
            "CreateIndex",
            "ModifyIndex",
        ] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        let read: SchedulerConfigView = serde_json::from_value(value).expect("is read");
        assert_eq!(read, SchedulerConfigView::default());
    }
}
