//! Differences of jobs.

use evaluator::diff;
use model::Job;
use model::wire::JobDiff;

/// What differs between two versions; `None` stands for a job that is not there.
pub(crate) fn job_versions_diff(old: Option<&Job>, new: Option<&Job>) -> JobDiff {
    job_diff(&diff::diff_jobs(old, new))
}

/// The evaluator's difference as the API writes it. Both types have the same JSON, which a test holds.
pub(crate) fn job_diff(diff: &diff::JobDiff) -> JobDiff {
    serde_json::to_value(diff).and_then(serde_json::from_value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use model::{Group, Task};

    use super::*;

    #[test]
    fn nothing_is_lost_between_the_two() {
        let job = |count, image: &str| Job {
            id: "web".into(),
            task_groups: vec![Group {
                name: "app".into(),
                count,
                tasks: vec![Task {
                    name: "main".into(),
                    config: [("image".to_owned(), image.into())].into(),
                    ..Task::default()
                }],
                ..Group::default()
            }],
            ..Job::default()
        };
        let own = diff::diff_jobs(Some(&job(1, "a")), Some(&job(2, "b")));
        let wire = job_diff(&own);
        assert_eq!(wire.kind, "Edited");
        assert_eq!(
            serde_json::to_value(&own).expect("serialises"),
            serde_json::to_value(&wire).expect("serialises")
        );
    }
}
