//! Removes images that are of no more use: the shell around [`Record`].

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::query_parameters::RemoveImageOptionsBuilder;
use serde_json::Value;

use super::record::Record;
use crate::docker::api::{Api, encode, refusal};
use crate::docker::options::Cleanup;
use crate::{DriverError, exit};

/// The largest record that is read: some ten thousand images.
const MAX_RECORD: u64 = 4 * 1024 * 1024;

/// How long the daemon may take to remove one image.
const REMOVE_LIMIT: Duration = Duration::from_secs(60);

/// What is being started with which image, so that it is not taken away in between.
type Wanted = Arc<Mutex<HashMap<String, usize>>>;

/// Keeps an image from being removed until dropped.
#[derive(Debug)]
pub(crate) struct Want {
    name: String,
    wanted: Wanted,
}

impl Drop for Want {
    fn drop(&mut self) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = wanted.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(&self.name);
            }
        }
    }
}

/// The images that came because of us.
#[derive(Debug)]
pub(crate) struct Sweeper {
    api: Api,
    options: Cleanup,
    record: Mutex<Record>,
    wanted: Wanted,
    /// Held while an image is decided over and removed.
    gate: tokio::sync::RwLock<()>,
}

impl Sweeper {
    pub(super) fn new(api: Api, options: Cleanup) -> Self {
        let record = options.record.as_deref().and_then(load).unwrap_or_default();
        Self {
            api,
            options,
            record: Mutex::new(record),
            wanted: Wanted::default(),
            gate: tokio::sync::RwLock::default(),
        }
    }

    /// Says that a task is about to use an image.
    pub(crate) async fn want(&self, name: &str) -> Want {
        let _gate = self.gate.read().await;
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted.entry(name.to_owned()).or_default() += 1;
        Want { name: name.to_owned(), wanted: Arc::clone(&self.wanted) }
    }

    /// Notes that an image is there because of us.
    pub(super) fn ours(&self, id: &str, name: &str) {
        if !id.is_empty() {
            self.change(|record| record.bring(id, name));
        }
    }

    /// Removes what is due. One that cannot be removed now is looked at again after the delay.
    pub(crate) async fn sweep(&self) {
        if !self.options.image || self.record().images.is_empty() {
            return;
        }
        // Another sweep is under way, or a task is about to start.
        let Ok(_gate) = self.gate.try_write() else { return };
        let used = match self.used().await {
            Ok(used) => used,
            Err(error) => {
                tracing::debug!(%error, "images are not cleaned up");
                return;
            }
        };
        let wanted: HashSet<String> =
            self.wanted.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let mut due = Vec::new();
        let delay = self.options.image_delay;
        self.change(|record| due = record.look(&used, &wanted, exit::now(), delay));
        for (id, name) in due {
            match self.remove(&id, &name).await {
                Ok(()) => {
                    tracing::info!(image = name, id, "removed an image that nothing uses any more");
                    self.change(|record| record.forget(&id));
                }
                Err(problem) => {
                    tracing::debug!(image = name, id, problem, "an image stays");
                    self.change(|record| record.bring(&id, &name));
                }
            }
        }
    }

    /// The images of all containers, whoever's they are.
    async fn used(&self) -> Result<HashSet<String>, DriverError> {
        match self.api.get("/containers/json?all=1").await? {
            Some(Value::Array(containers)) => Ok(containers
                .iter()
                .filter_map(|container| container.get("ImageID")?.as_str())
                .map(|id| if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") })
                .collect()),
            _ => Err(self.api.unavailable("its answer is not a list of containers")),
        }
    }

    /// Takes the name from the image, and with its last name the image. By force never: a container of somebody else that
    /// came this moment keeps it.
    async fn remove(&self, id: &str, name: &str) -> Result<(), String> {
        let path = format!("/images/{name}/json");
        let named = self.api.get(&path).await.map_err(|error| error.to_string())?;
        let is_same = named.and_then(|value| Some(value.get("Id")?.as_str()? == id));
        // A tag that moved on belongs to another image by now.
        let target = if is_same == Some(true) { name.to_owned() } else { encode(id) };
        let client = self.api.client().map_err(|error| error.to_string())?;
        let options = RemoveImageOptionsBuilder::default().force(false).noprune(false).build();
        let work = client.remove_image(&target, Some(options), None);
        match tokio::time::timeout(REMOVE_LIMIT, work).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => match refusal(&error) {
                (404, _) => Ok(()),
                (_, said) => Err(said),
            },
            Err(_) => Err("the daemon took too long".to_owned()),
        }
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record and stores it. A record that cannot be stored costs space and never an image.
    fn change(&self, change: impl FnOnce(&mut Record)) {
        let Some(path) = &self.options.record else { return };
        let mut record = self.record();
        let before = record.clone();
        change(&mut record);
        if *record != before
            && let Err(error) = store(path, &record)
        {
            tracing::warn!(path = %path.display(), %error, "which images are ours is not kept");
        }
    }
}

/// What was kept. A record that cannot be read is none: its images then stay for ever, which harms nobody.
fn load(path: &Path) -> Option<Record> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW).open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn store(path: &Path, record: &Record) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    std::fs::rename(temporary, path)
}
