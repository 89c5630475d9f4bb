//! What takes the place of images and programs that are not here: it lives for a moment and ends well, whatever it is
//! told.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use model::Job;

use crate::docker::docker;

/// The image under its own name.
const IMAGE: &str = "herder-test/stand-in:1";

const SCRIPT: &str = "#!/bin/sh\ntrap 'exit 0' TERM INT QUIT HUP\nsleep 1 &\nwait $!\nexit 0\n";

/// What tasks of `exec` see of the node by default, beside the stand-ins.
const LENT: [&str; 7] = ["/bin", "/etc", "/lib", "/lib32", "/lib64", "/sbin", "/usr"];

pub(super) struct StandIns {
    dir: tempfile::TempDir,
    /// Names that were given to our image and to no other.
    tagged: BTreeSet<String>,
    id: Option<String>,
    volumes: BTreeSet<String>,
}

impl StandIns {
    pub(super) fn new(jobs: &[&Job]) -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("open to all");
        let groups = jobs.iter().flat_map(|job| &job.task_groups);
        let volumes: BTreeSet<String> = groups
            .flat_map(|group| group.volumes.values())
            .filter(|volume| !volume.source.is_empty() && !volume.source.contains('$'))
            .map(|volume| volume.source.clone())
            .collect();
        for volume in &volumes {
            fs::create_dir_all(dir.path().join("volumes").join(plain(volume))).expect("folders");
        }
        let mut stand_ins = Self { dir, tagged: BTreeSet::new(), id: None, volumes };
        if super::has_docker() {
            stand_ins.id = stand_ins.make_image();
        }
        stand_ins
    }

    /// The part of the agent's configuration that lends them out.
    pub(super) fn client_config(&self) -> String {
        let mut text = "  chroot_env = {\n".to_owned();
        let own = self.dir.path().display().to_string();
        let there = LENT.into_iter().filter(|path| Path::new(path).exists());
        for path in there.chain([own.as_str()]) {
            let _ = writeln!(text, "    {path:?} = {path:?}");
        }
        text += "  }\n";
        for volume in &self.volumes {
            let path = self.dir.path().join("volumes").join(plain(volume));
            let _ = writeln!(text, "  host_volume {volume:?} {{\n    path = {path:?}\n  }}");
        }
        text
    }

    /// Gives our image the names of a job's. One that is there and is not ours stays what it is.
    pub(super) fn images(&mut self, job: &Job) {
        let Some(id) = self.id.clone() else { return };
        let tasks = job.task_groups.iter().flat_map(|group| &group.tasks);
        let images = tasks
            .filter(|task| task.driver == "docker")
            .filter_map(|task| task.config.get("image")?.as_str());
        for image in images.filter(|image| !image.contains(['$', '@'])) {
            let there = docker(&["image", "inspect", "--format", "{{.Id}}", image]);
            if there.is_none() && docker(&["tag", &id, image]).is_some() {
                self.tagged.insert(image.to_owned());
            }
        }
    }

    /// A file with programs that are not here replaced. Whatever would run as the agent's user is replaced too: nobody
    /// has looked at what it does.
    pub(super) fn text(&self, text: &str) -> String {
        let squeezed: String = text.split_whitespace().collect();
        let all = squeezed.contains("driver=\"raw_exec\"");
        let mut out = String::new();
        for line in text.lines() {
            let replaced = command_of(line).filter(|command| all || !is_here(command));
            match replaced {
                Some(command) => {
                    let name = command.rsplit('/').next().unwrap_or(command);
                    let path = self.program(&plain(name)).display().to_string();
                    out += &line.replace(&format!("\"{command}\""), &format!("{path:?}"));
                }
                None => out += line,
            }
            out.push('\n');
        }
        out
    }

    fn program(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        if !path.exists() {
            fs::write(&path, SCRIPT).expect("a script");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        path
    }

    fn make_image(&self) -> Option<String> {
        let root = tempfile::tempdir().expect("a directory");
        for dir in ["bin", "tmp", "etc"] {
            fs::create_dir(root.path().join(dir)).expect("folders");
        }
        fs::copy("/bin/busybox", root.path().join("bin/busybox")).expect("busybox-static");
        let applets = Command::new("/bin/busybox").arg("--list").output().expect("busybox runs");
        let applets = String::from_utf8_lossy(&applets.stdout).into_owned();
        for name in applets.lines().filter(|name| *name != "busybox").chain(["bash"]) {
            let link = root.path().join("bin").join(name);
            std::os::unix::fs::symlink("busybox", link).expect("a link");
        }
        let script = root.path().join("bin/stand-in");
        fs::write(&script, SCRIPT).expect("a script");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("executable");
        let archive = self.dir.path().join("image.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(root.path()).arg("-cf").arg(&archive).arg(".");
        assert!(tar.status().expect("tar runs").success());
        let entrance = "ENTRYPOINT [\"/bin/stand-in\"]";
        let imported =
            docker(&["import", "--change", entrance, &archive.display().to_string(), IMAGE]);
        imported.map(|id| id.trim().to_owned())
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        for image in &self.tagged {
            let there = docker(&["image", "inspect", "--format", "{{.Id}}", image]);
            // Somebody may have pulled the real one meanwhile.
            if there.map(|id| id.trim().to_owned()) == self.id {
                docker(&["rmi", image]);
            }
        }
    }
}

/// The program that a line names.
fn command_of(line: &str) -> Option<&str> {
    let value = line.trim().strip_prefix("command")?.trim_start().strip_prefix('=')?.trim_start();
    value.strip_prefix('"')?.split_once('"').map(|(command, _)| command)
}

/// Whether the machine has it where every task finds it.
fn is_here(command: &str) -> bool {
    if command.contains('/') {
        return command.starts_with('/') && Path::new(command).is_file();
    }
    ["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(command).is_file())
}

fn plain(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .collect()
}
