//! What the tables hold beside the model's own types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    BlobId, Child, CommitId, Dependency, Diagnostic, Job, JobId, JobVersion, NodeId, Periodic,
    Timestamp,
};
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
    /// What of its schedule is behind a periodic job.
    #[serde(skip_serializing_if = "Launches::is_none")]
    pub launches: Launches,
    /// When a child was found to be over; zero before that, and for all other jobs. It never runs again.
    #[serde(skip_serializing_if = "is_never")]
    pub finished_at: Timestamp,
}

fn is_never(at: &Timestamp) -> bool {
    at.is_zero()
}

/// What of its schedule is behind a periodic job. It is in the log, so that whoever leads next goes on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launches {
    /// Times up to this one are settled: they had their run, were left out, or lie before the schedule was taken in.
    pub settled: Timestamp,
    /// The time that the newest child is the run of; zero before the first.
    pub last: Timestamp,
}

impl Launches {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
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

    /// What makes it a child of another job, if it is one.
    pub fn child(&self) -> Option<&Child> {
        self.current()?.child.as_ref()
    }

    /// The schedule that it is to start by: that of a periodic job which is not stopped and not switched off.
    pub fn schedule(&self) -> Option<&Periodic> {
        let version = self.current().filter(|_| !self.stopped)?;
        let periodic = version.job.periodic.as_ref().filter(|periodic| periodic.enabled)?;
        (version.child.is_none() && version.job.parameterized_job.is_none()).then_some(periodic)
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
    /// Which of its jobs start after which others; for a broken file as it last declared them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
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

/// What identifies the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterRecord {
    /// Its identity.
    pub id: String,
    /// The certificate of its authority, as PEM.
    pub ca_certificate: String,
    /// When it was founded.
    pub founded_at: Timestamp,
}

/// A hash of a secret. Written as hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl Serialize for SecretHash {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || serde::de::Error::custom("a hash has 64 hexadecimal digits");
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or_else(wrong)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| (byte << 4) | digit);
        }
        Ok(Self(hash))
    }
}

/// A secret that lets new nodes join.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinToken {
    /// Its public part.
    pub id: String,
    /// A hash of its secret part.
    pub secret_hash: SecretHash,
    /// Until when it counts.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

impl JoinToken {
    /// Whether it still lets somebody join.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// A node that is not let in again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemovedNode {
    /// Which.
    pub id: NodeId,
    /// When it was removed.
    pub removed_at: Timestamp,
    /// When its last certificate ends, and with it the need to remember it.
    pub until: Timestamp,
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

    #[test]
    fn a_hash_is_written_as_digits() {
        let mut bytes = [0; 32];
        for (n, byte) in (0_u8..).zip(&mut bytes) {
            *byte = n.wrapping_mul(9);
        }
        let hash = SecretHash(bytes);
        let written = rmp_serde::to_vec_named(&hash).expect("is written");
        assert_eq!(rmp_serde::from_slice::<SecretHash>(&written).expect("is read"), hash);
        let text: String = rmp_serde::from_slice(&written).expect("is text");
        assert!(text.starts_with("0009121b"), "{text}");
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(66)] {
            let written = rmp_serde::to_vec_named(wrong).expect("is written");
            assert!(rmp_serde::from_slice::<SecretHash>(&written).is_err(), "{wrong}");
        }
        assert!(!format!("{hash:?}").contains('9'), "it is not shown");
    }
}
