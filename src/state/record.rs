//! What the tables hold beside the model's own types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{BlobId, CommitId, Diagnostic, Job, JobId, JobVersion, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

/// A job with its history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRecord {
    /// The job.
    pub id: JobId,
    /// Versions, oldest first; never empty. The last one is desired.
    pub versions: Vec<Arc<JobVersion>>,
    /// Whether it is to stop: its file is gone.
    pub stopped: bool,
    /// Why it is to stop, in words.
    pub stop_reason: String,
    /// State index of creation.
    pub create_index: u64,
    /// State index of the last change of any kind.
    pub modify_index: u64,
    /// State index of the last change of what is desired.
    pub job_modify_index: u64,
    /// When what is desired last changed.
    pub submitted_at: Timestamp,
}

impl JobRecord {
    /// The desired version.
    pub fn current(&self) -> Option<&Arc<JobVersion>> {
        self.versions.last()
    }

    /// The desired job.
    pub fn job(&self) -> Option<&Arc<Job>> {
        self.current().map(|version| &version.job)
    }

    /// A version by number.
    pub fn version(&self, number: u64) -> Option<&Arc<JobVersion>> {
        self.versions.iter().rev().find(|version| version.version == number)
    }

    /// The newest version whose deployment succeeded.
    pub fn stable(&self) -> Option<&Arc<JobVersion>> {
        self.versions.iter().rev().find(|version| version.stable)
    }
}

/// One job file of a repository, as of the head.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileRecord {
    /// The content at the head.
    pub blob: BlobId,
    /// What it was read with beside its content: [`crate::FileReading::inputs`].
    pub inputs: String,
    /// The other files that it depends on: [`crate::FileReading::reads`].
    pub reads: BTreeSet<String>,
    /// The jobs it declares; for a broken file those it last declared.
    #[serde(alias = "job", deserialize_with = "one_or_many")]
    pub jobs: BTreeSet<JobId>,
    /// Findings in the content at the head.
    pub problems: Vec<Diagnostic>,
    /// Whether it is unusable, so that its job keeps its last good version.
    pub broken: bool,
    /// Whether the file is gone but its job was kept because the removal was held.
    pub removal_held: bool,
}

/// Files held one job at first, and snapshots of then are still read.
fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<JobId>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Jobs {
        Many(BTreeSet<JobId>),
        One(JobId),
        None,
    }
    Ok(match Jobs::deserialize(from)? {
        Jobs::Many(jobs) => jobs,
        Jobs::One(job) => BTreeSet::from([job]),
        Jobs::None => BTreeSet::new(),
    })
}

/// A repository, as the log knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RepoRecord {
    /// Its name.
    pub name: String,
    /// The branch that is followed.
    pub branch: String,
    /// The commit that is desired.
    pub head: Option<CommitId>,
    /// A commit of which only a part was taken in so far.
    pub partial: Option<CommitId>,
    /// Its job files. A job that its file declares no more, and whose removal is held, is here under
    /// [`crate::renamed_path`].
    pub files: BTreeMap<String, FileRecord>,
    /// State index of the last change.
    pub modify_index: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_files_with_one_job_are_still_read() {
        #[derive(Serialize)]
        struct Old {
            blob: &'static str,
            job: Option<&'static str>,
        }
        for (job, jobs) in
            [(Some("a"), BTreeSet::from([JobId::from("a")])), (None, BTreeSet::new())]
        {
            let bytes = rmp_serde::to_vec_named(&Old { blob: "1", job }).expect("is written");
            let record: FileRecord = rmp_serde::from_slice(&bytes).expect("is read");
            assert_eq!((record.blob.as_str(), record.jobs), ("1", jobs));
        }
        let record = FileRecord { jobs: ["a".into(), "b".into()].into(), ..FileRecord::default() };
        let bytes = rmp_serde::to_vec_named(&record).expect("is written");
        assert_eq!(rmp_serde::from_slice::<FileRecord>(&bytes).expect("is read"), record);
    }
}
