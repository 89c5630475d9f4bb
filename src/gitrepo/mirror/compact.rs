//! Each fetch adds a pack; when there are many, all objects go into one.

use std::fs;
use std::path::PathBuf;

use git2::{Oid, Repository};
use tokio_util::sync::CancellationToken;

use super::Mirror;

/// Packs at which they are put together.
const MAX_PACKS: usize = 64;
/// Mirrors with more objects are left as they are: it would take too long.
const MAX_OBJECTS: usize = 1_000_000;

impl Mirror {
    /// Puts all objects, reachable or not, into one pack once there are many packs. A mirror that cannot be compacted
    /// still works, so failures are logged only.
    pub(super) fn compact(&mut self, stop: &CancellationToken) {
        let packs = self.packs();
        if packs.len() < MAX_PACKS {
            return;
        }
        match self.repack(&packs, stop) {
            Ok(objects) => tracing::info!(
                repository = self.config.name,
                packs = packs.len(),
                objects,
                "the mirror was compacted"
            ),
            Err(error) => tracing::warn!(
                repository = self.config.name,
                %error,
                "the mirror could not be compacted"
            ),
        }
    }

    fn packs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path.join("objects/pack")) else { return Vec::new() };
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "pack"))
            .collect()
    }

    fn repack(&mut self, old: &[PathBuf], stop: &CancellationToken) -> Result<usize, git2::Error> {
        let mut all: Vec<Oid> = Vec::new();
        let odb = self.repo.odb()?;
        odb.foreach(|oid| {
            all.push(*oid);
            all.len() <= MAX_OBJECTS && !stop.is_cancelled()
        })?;
        all.sort_unstable();
        all.dedup();
        let mut builder = self.repo.packbuilder()?;
        for oid in &all {
            builder.insert_object(*oid, None)?;
        }
        let folder = self.path.join("objects/pack");
        builder.write(&folder, 0o444)?;
        let name = builder.name()?.unwrap_or_default().to_owned();
        let counted = builder.written() == all.len();
        drop((builder, odb));
        let new = folder.join(format!("pack-{name}.pack"));
        // The old packs go only when everything can be read from a fresh look at the folder.
        let fresh = Repository::open_bare(&self.path)?;
        let odb = fresh.odb()?;
        let whole = counted && new.exists() && all.iter().all(|oid| odb.exists(*oid));
        if !whole {
            return Err(git2::Error::from_str("the new pack is not whole"));
        }
        for path in old.iter().filter(|path| **path != new) {
            for file in [path.with_extension("idx"), path.clone()] {
                if let Err(error) = fs::remove_file(&file) {
                    tracing::warn!(file = %file.display(), %error, "an old pack stays");
                }
            }
        }
        drop(odb);
        self.repo = Repository::open_bare(&self.path)?;
        Ok(all.len())
    }
}
