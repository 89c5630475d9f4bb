//! Downloads before a task's first start.
//!
//! They are fetched once for an allocation and task. A mark beside the node's records, where no task reaches, says that
//! all of them are in place; as long as it is not there, all are fetched anew, however the last attempt ended.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use artifact::{Download, FetchError, Mode, Owner};
use model::{AllocId, Artifact, interpolate, lookup};
use tokio::sync::Semaphore;

use super::{Preparing, Unprepared};

const FAILED: &str = "Failed Artifact Download";
/// Most children that fetch at once on this node.
const AT_ONCE: usize = 4;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Fetches what the task asks for, one after the other.
pub(super) async fn fetch_all(task: &Preparing<'_>) -> Result<(), Unprepared> {
    if task.task.artifacts.is_empty() {
        return Ok(());
    }
    let mark = Mark::new(&task.shared.options.data_dir, task.alloc.id, &task.task.name);
    if mark.is_set() {
        return Ok(());
    }
    task.progress.say("Downloading Artifacts", "Client is downloading artifacts");
    for artifact in &task.task.artifacts {
        let download = download(task, artifact)?;
        // Shared by all; closed never.
        let _turn = TURNS.acquire().await;
        let shown = download.shown();
        let (progress, name) = (task.progress.clone(), shown.clone());
        let tell = move |bytes: u64| {
            progress.say(
                "Downloading Artifacts",
                format!("{} MB of {name} have come", bytes / 1_000_000),
            );
        };
        let fetched = artifact::fetch(&task.shared.options.artifact, &download, &tell).await;
        let fetched = fetched.map_err(|error| failed(&shown, &error))?;
        tracing::debug!(
            alloc = %task.alloc.id, task = %task.task.name, source = shown,
            entries = fetched.entries, bytes = fetched.bytes, "an artifact is in place"
        );
    }
    let set = tokio::task::spawn_blocking(move || mark.set()).await;
    match set {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            Err(setup(&format!("it cannot be noted that artifacts are in place: {error}")))
        }
        Err(_) => Err(setup("it cannot be noted that artifacts are in place")),
    }
}

/// Forgets what was fetched for an allocation whose files are gone. Blocks on the disk.
pub(crate) fn forget(data_dir: &Path, alloc: AllocId) -> io::Result<()> {
    match fs::remove_dir_all(folder(data_dir, alloc)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(source: &str, error: &FetchError) -> Unprepared {
    Unprepared {
        kind: FAILED,
        message: format!("failed to download artifact {source}: {}", error.message),
        recoverable: error.recoverable,
    }
}

fn setup(message: &str) -> Unprepared {
    Unprepared { kind: FAILED, message: message.to_owned(), recoverable: true }
}

/// The artifact with every reference resolved.
fn download(task: &Preparing<'_>, artifact: &Artifact) -> Result<Download, Unprepared> {
    let node = &task.shared.options.node;
    let resolve = |text: &str| interpolate(text, |reference| lookup(task.env, node, reference));
    // What the task's own folders are called in it is not what they are called here.
    let mut here = task.env.clone();
    for (name, folder) in [
        ("NOMAD_ALLOC_DIR", "../alloc"),
        ("NOMAD_TASK_DIR", "local"),
        ("NOMAD_SECRETS_DIR", "secrets"),
    ] {
        here.insert(name.to_owned(), folder.to_owned());
    }
    let resolved = |all: &BTreeMap<String, String>| {
        all.iter().map(|(key, value)| (resolve(key), resolve(value))).collect()
    };
    let mode = Mode::parse(&artifact.mode).ok_or_else(|| Unprepared {
        kind: FAILED,
        message: format!("`{}` is no mode of an artifact: any, file, dir", artifact.mode),
        recoverable: false,
    })?;
    let owner = if artifact.chown { owner(&resolve(&task.task.user))? } else { None };
    let root = task.dirs.task_dir.parent().map(Path::to_owned).unwrap_or_default();
    Ok(Download {
        source: resolve(artifact.source.as_deref().unwrap_or_default()),
        options: resolved(&artifact.options),
        headers: resolved(&artifact.headers),
        mode,
        insecure: artifact.insecure,
        destination: interpolate(&artifact.destination, |reference| lookup(&here, node, reference)),
        owner,
        root,
        task: task.task.name.clone(),
    })
}

/// The task's user as `name`, `uid`, `user:group` or numbers of both; nobody in particular when it names none.
fn owner(user: &str) -> Result<Option<Owner>, Unprepared> {
    if user.is_empty() {
        return Ok(None);
    }
    let unknown = |name: &str| Unprepared {
        kind: FAILED,
        message: format!("`chown` is set, and this node has no user or group `{name}`"),
        recoverable: false,
    };
    let (user, group) =
        user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let known = match user.parse::<u32>() {
        Ok(uid) => nix::unistd::User::from_uid(uid.into())
            .ok()
            .flatten()
            .map_or((uid, uid), |u| (uid, u.gid.as_raw())),
        Err(_) => nix::unistd::User::from_name(user)
            .ok()
            .flatten()
            .map(|user| (user.uid.as_raw(), user.gid.as_raw()))
            .ok_or_else(|| unknown(user))?,
    };
    let gid = match group {
        None => known.1,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => nix::unistd::Group::from_name(group)
                .ok()
                .flatten()
                .map(|group| group.gid.as_raw())
                .ok_or_else(|| unknown(group))?,
        },
    };
    Ok(Some(Owner { uid: known.0, gid }))
}

fn folder(data_dir: &Path, alloc: AllocId) -> PathBuf {
    data_dir.join("client/artifacts").join(alloc.to_string())
}

/// That a task's artifacts are in place.
struct Mark(PathBuf);

impl Mark {
    /// The name was a directory's already, so that it is one name and no path.
    fn new(data_dir: &Path, alloc: AllocId, task: &str) -> Self {
        Self(folder(data_dir, alloc).join(task))
    }

    fn is_set(&self) -> bool {
        self.0.is_file()
    }

    /// On the disk when it returns. That the files it speaks of are there too after a loss of power is what the file
    /// system promises of names, not of bytes; the machine's tasks are gone then as well.
    fn set(&self) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(&self.0);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::write(&self.0, b"")?;
        fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_belong_to_an_allocation_and_a_task() {
        let data = tempfile::tempdir().expect("a folder");
        let alloc = |name: &[u8]| AllocId::new(model::seeded_uuid(&[name]));
        let mark = |name: &[u8], task: &str| Mark::new(data.path(), alloc(name), task);
        mark(b"a", "web").set().expect("set");
        assert!(mark(b"a", "web").is_set());
        assert!(!mark(b"a", "db").is_set() && !mark(b"b", "web").is_set());
        forget(data.path(), alloc(b"a")).expect("forgotten");
        forget(data.path(), alloc(b"a")).expect("a second time");
        assert!(!mark(b"a", "web").is_set());
    }

    #[test]
    fn users_are_names_or_numbers() {
        assert_eq!(owner("").expect("nobody"), None);
        assert_eq!(owner("root").expect("known"), Some(Owner { uid: 0, gid: 0 }));
        assert_eq!(owner("4242:77").expect("numbers"), Some(Owner { uid: 4242, gid: 77 }));
        assert_eq!(owner("0:root").expect("both"), Some(Owner { uid: 0, gid: 0 }));
        let error = owner("no-such-user-here").expect_err("unknown");
        assert!(error.message.contains("no-such-user-here") && !error.recoverable);
    }
}
