//! An image out of an archive that the task brought along.

use std::os::fd::OwnedFd;
use std::path::{Component, Path};
use std::time::Duration;

use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::StreamExt;
use hyper::body::Bytes;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use tokio::io::AsyncReadExt;

use super::pull::NotPulled;
use crate::docker::api::{Api, refusal};
use crate::docker::config::Config;

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// Gives the daemon the archive at `path` in the task's `local` directory.
pub(super) async fn load(
    api: &Api,
    config: &Config,
    local: &Path,
    path: &str,
    activity: Duration,
) -> Result<(), NotPulled> {
    let failed = |problem: String, never| NotPulled {
        message: format!("the image archive {path} cannot be loaded: {problem}"),
        never,
    };
    let (folder, name) = (local.to_owned(), path.to_owned());
    let opened = tokio::task::spawn_blocking(move || open_beneath(&folder, &name)).await;
    let opened = opened.map_err(|error| failed(error.to_string(), false))?;
    let fd = opened.map_err(|problem| failed(problem, true))?;
    let file = tokio::fs::File::from_std(std::fs::File::from(fd));
    let body = futures_util::stream::unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok::<_, std::io::Error>(Bytes::from(chunk)), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    let client = api.client().map_err(|error| failed(error.to_string(), false))?;
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let mut steps = Box::pin(client.import_image(options, bollard::body_try_stream(body), None));
    let work = async {
        while let Some(step) = tokio::time::timeout(activity, steps.next()).await.map_err(|_| {
            failed(format!("nothing happened for {}", model::format_duration(activity)), false)
        })? {
            match step {
                Ok(_) | Err(bollard::errors::Error::JsonDataError { .. }) => {}
                Err(error) => return Err(failed(refusal(&error).1, false)),
            }
        }
        Ok(())
    };
    tokio::time::timeout(config.pull_timeout, work).await.unwrap_or_else(|_| {
        let limit = model::format_duration(config.pull_timeout);
        Err(failed(format!("it took longer than {limit}"), false))
    })
}

/// Opens a plain file beneath a folder, through no link.
fn open_beneath(folder: &Path, path: &str) -> Result<OwnedFd, String> {
    let mut names = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err("it has to be in the task's `local` directory".to_owned()),
        }
    }
    let Some((last, folders)) = names.split_last() else {
        return Err("it names no file".to_owned());
    };
    let words = |error: nix::errno::Errno| match error {
        nix::errno::Errno::ELOOP | nix::errno::Errno::ENOTDIR => {
            "it goes through a link, or what is no directory".to_owned()
        }
        error => error.desc().to_owned(),
    };
    let step = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut fd = open(folder, step, Mode::empty()).map_err(words)?;
    for name in folders {
        fd = openat(&fd, *name, step | OFlag::O_NOFOLLOW, Mode::empty()).map_err(words)?;
    }
    // Without waiting for whoever might write to a pipe.
    let read = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = openat(&fd, *last, read, Mode::empty()).map_err(words)?;
    let kind = fstat(&fd).map_err(words)?.st_mode & SFlag::S_IFMT.bits();
    if kind != SFlag::S_IFREG.bits() {
        return Err("it is no plain file".to_owned());
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_files_in_the_tasks_own_directory_are_opened() {
        let place = tempfile::tempdir().expect("a directory");
        let local = place.path().join("local");
        fs::create_dir_all(local.join("images")).expect("makes");
        fs::write(local.join("images/a.tar"), "x").expect("writes");
        fs::write(place.path().join("outside"), "x").expect("writes");
        symlink("../outside", local.join("link")).expect("links");
        symlink("images", local.join("linked")).expect("links");
        assert!(open_beneath(&local, "images/a.tar").is_ok());
        assert!(open_beneath(&local, "./images/a.tar").is_ok());
        for path in
            ["../outside", "/etc/passwd", "link", "linked/a.tar", "images", "images/../x", "", "no"]
        {
            assert!(open_beneath(&local, path).is_err(), "{path}");
        }
    }
}
