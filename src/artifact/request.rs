//! What agent and child say to each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AddressRules, FetchError};

/// The largest request, in bytes.
pub(crate) const MAX_REQUEST: u64 = 1 << 20;
/// The longest line that a child may write.
pub(crate) const MAX_LINE: u64 = 16 << 10;

/// What the destination is, as job files say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// A folder that a file, or what is in an archive, goes into.
    #[default]
    Any,
    /// A file.
    File,
    /// A folder that what is in an archive or a repository goes into.
    Dir,
}

impl Mode {
    /// Reads the word of a job file; `any` when it is empty.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" | "any" => Some(Self::Any),
            "file" => Some(Self::File),
            "dir" => Some(Self::Dir),
            _ => None,
        }
    }
}

/// How much a download may take. Nomad's names and defaults; zero stands for the largest there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How long a download over HTTP may take: 30 minutes.
    pub http_read_timeout: Duration,
    /// The largest download over HTTP and from S3, in bytes: 100 GB.
    pub http_max_bytes: u64,
    /// How long a repository may take: 30 minutes.
    pub git_timeout: Duration,
    /// How long an object may take: 30 minutes.
    pub s3_timeout: Duration,
    /// The most bytes that are unpacked: 100 GB.
    pub decompression_size_limit: u64,
    /// The most files and folders that are unpacked: 4096.
    pub decompression_file_count_limit: u64,
    /// How long unpacking may take beyond the download: 30 minutes.
    pub unpack_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let half_an_hour = Duration::from_secs(30 * 60);
        Self {
            http_read_timeout: half_an_hour,
            http_max_bytes: 100_000_000_000,
            git_timeout: half_an_hour,
            s3_timeout: half_an_hour,
            decompression_size_limit: 100_000_000_000,
            decompression_file_count_limit: 4096,
            unpack_timeout: half_an_hour,
        }
    }
}

/// What a child is to fetch. Holds secrets, and so has no `Debug`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) source: String,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) mode: Mode,
    pub(crate) insecure: bool,
    /// What a single file is to be called; its own name when there is none.
    pub(crate) name: Option<String>,
    /// A folder of the child's own.
    pub(crate) staging: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) rules: AddressRules,
    pub(crate) isolate: bool,
    /// Who the child becomes when it is root.
    pub(crate) nobody: (u32, u32),
}

/// What a child says, one JSON document a line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// How many bytes have come.
    Received(u64),
    /// The end: what lies in the staging folder's `tree`.
    Done { entries: u64, bytes: u64 },
    /// The other end.
    Failed(FetchError),
}
