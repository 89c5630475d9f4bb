//! What is remembered of an allocation's network: enough to undo it, whatever moment the agent was killed at, and
//! whatever the configuration says by then.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use model::AllocId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::NetworkError;
use crate::cni::{Chain, Runtime};

/// The largest record that is read, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// A port of the node that leads to one of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The node's address; all of them when empty.
    pub host_ip: String,
    /// The node's port.
    pub host_port: u16,
    /// The port in the network.
    pub port: u16,
}

/// The record of one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Whose.
    pub alloc: AllocId,
    /// The boot in which it was made; namespaces do not outlive it.
    pub boot: String,
    /// Where the namespace is.
    pub namespace: PathBuf,
    /// What was, or is being, added to it; `None` for a network of loopback alone.
    pub added: Option<Added>,
    /// Whether everything was done.
    pub made: bool,
}

/// What CNI plugins were called with. They are called with the same to undo it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Added {
    pub chain: Chain,
    pub runtime: Runtime,
    /// `CNI_ARGS`.
    pub args: String,
    /// Where the plugins were found.
    pub path: Vec<PathBuf>,
    /// What the last plugin that ended answered.
    pub result: Option<Value>,
}

/// The folder of the records.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Records {
    pub(crate) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn prepare(&self) -> Result<(), NetworkError> {
        fs::create_dir_all(&self.dir)
            .map_err(|error| NetworkError::system("make", &self.dir, error))
    }

    /// The file whose lock is the turn to work on an allocation's network.
    pub(crate) fn turn(&self, alloc: AllocId) -> PathBuf {
        self.dir.join(format!("{alloc}.turn"))
    }

    fn path(&self, alloc: AllocId) -> PathBuf {
        self.dir.join(format!("{alloc}.json"))
    }

    /// Whether there is a record, without reading it.
    pub(crate) fn has(&self, alloc: AllocId) -> bool {
        self.path(alloc).exists()
    }

    /// Reads a record. One that cannot be read is set aside: there is nothing in it to go by.
    pub(crate) fn load(&self, alloc: AllocId) -> Result<Option<Record>, NetworkError> {
        let path = self.path(alloc);
        let size = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(NetworkError::system("read", path, error)),
        };
        let bytes = if size > LIMIT {
            Vec::new()
        } else {
            fs::read(&path).map_err(|error| NetworkError::system("read", &path, error))?
        };
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.alloc == alloc => Ok(Some(record)),
            other => {
                let problem =
                    other.map_or_else(|error| error.to_string(), |_| "it is another's".to_owned());
                tracing::error!(path = %path.display(), problem, "the record of a network is set aside");
                let aside = path.with_extension("damaged");
                fs::rename(&path, aside)
                    .map_err(|error| NetworkError::system("set aside", &path, error))?;
                Ok(None)
            }
        }
    }

    /// Writes a record before what it says is done.
    pub(crate) fn save(&self, record: &Record) -> Result<(), NetworkError> {
        let path = self.path(record.alloc);
        let fresh = path.with_extension("new");
        let failed = |error| NetworkError::system("write", &fresh, error);
        let bytes = serde_json::to_vec(record)
            .map_err(|error| failed(std::io::Error::new(ErrorKind::InvalidData, error)))?;
        let mut file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&fresh)
            .map_err(failed)?;
        // What it describes does not outlive a crash of the machine, so that the disk need not be waited for.
        file.write_all(&bytes).map_err(failed)?;
        fs::rename(&fresh, &path).map_err(failed)
    }

    pub(crate) fn remove(&self, alloc: AllocId) -> Result<(), NetworkError> {
        let path = self.path(alloc);
        for file in [path.with_extension("new"), path.with_extension("damaged"), path] {
            match fs::remove_file(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(NetworkError::system("remove", file, error)),
            }
        }
        Ok(())
    }

    /// The allocations with a record.
    pub(crate) fn all(&self) -> Result<Vec<AllocId>, NetworkError> {
        names(&self.dir, Some("json"))
    }
}

/// The allocations that files of a folder are named after; none where the folder is not there.
pub(crate) fn names(dir: &Path, ending: Option<&str>) -> Result<Vec<AllocId>, NetworkError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(NetworkError::system("list", dir, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| NetworkError::system("list", dir, error))?.path();
        if path.extension().and_then(|ending| ending.to_str()) != ending {
            continue;
        }
        found.extend(path.file_stem().and_then(|name| name.to_str()?.parse::<AllocId>().ok()));
    }
    Ok(found)
}

/// The boot that this machine is in.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damaged_ones_are_set_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let records = Records::new(dir.path().join("networks"));
        assert_eq!(records.all().expect("listed"), []);
        records.prepare().expect("made");
        let alloc = AllocId::new(model::seeded_uuid(&[b"record"]));
        let record =
            Record { alloc, boot: boot(), namespace: "/n".into(), added: None, made: false };
        records.save(&record).expect("saved");
        drop(crate::keep::Turn::take(records.turn(alloc)).expect("a turn"));
        assert_eq!(records.all().expect("listed"), [alloc]);
        assert_eq!(records.load(alloc).expect("read"), Some(record));
        fs::write(records.path(alloc), "{").expect("written");
        assert_eq!(records.load(alloc).expect("set aside"), None);
        assert!(!records.has(alloc));
        records.remove(alloc).expect("removed");
        assert_eq!(
            fs::read_dir(dir.path().join("networks")).expect("a folder").count(),
            1,
            "the turn"
        );
    }
}
