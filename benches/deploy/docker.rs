//! An image that holds this program.

use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const IMAGE: &str = "herder-bench/stamp:1";

fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a daemon answers; makes the image.
pub(crate) fn available() -> bool {
    docker(&["info"]).is_some() && make_image().is_some()
}

fn make_image() -> Option<()> {
    let dir = tempfile::tempdir().ok()?;
    let own = std::env::current_exe().ok()?;
    let linked = Command::new("ldd").arg(&own).output().ok()?;
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    for file in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = dir.path().join(file.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent()?).ok()?;
        std::fs::copy(file, target).ok()?;
    }
    std::fs::copy(own, dir.path().join("stamp")).ok()?;
    let archive = dir.path().with_extension("tar");
    let packed = Command::new("tar")
        .arg("-C")
        .arg(dir.path())
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status()
        .ok()?;
    let imported = docker(&["import", archive.to_str()?, IMAGE]).is_some();
    let _ = std::fs::remove_file(archive);
    (packed.success() && imported).then_some(())
}

/// Ends the containers whose files lie beneath a data directory.
pub(crate) fn remove_containers_of(data_dir: &Path) {
    let ids = docker(&["ps", "-aq", "--filter", "label=herder.alloc_id"]).unwrap_or_default();
    for id in ids.lines() {
        let mounts = docker(&["inspect", "-f", "{{range .Mounts}}{{.Source}} {{end}}", id])
            .unwrap_or_default();
        if mounts.contains(&data_dir.display().to_string()) {
            docker(&["rm", "-f", id]);
        }
    }
}
