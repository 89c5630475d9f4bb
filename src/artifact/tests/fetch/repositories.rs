//! Repositories, served by Git's own server.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use artifact::{Mode, fetch};

use crate::server::{Answer, Asked, Server};
use crate::{download, get, options, place, read, with};

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Answers as `git http-backend` does.
fn backend(projects: &Path, asked: &Asked) -> Answer {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", projects)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &asked.method)
        .env("CONTENT_TYPE", asked.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", asked.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    child.stdin.take().expect("input").write_all(&asked.body).expect("written");
    let output = child.wait_with_output().expect("output").stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let headers = String::from_utf8_lossy(&output[..end + 2]).into_owned();
    let status = headers
        .lines()
        .find_map(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK")
        .to_owned();
    Answer::with(&status, &headers, &output[end + 4..])
}

fn served(work: &Path) -> (tempfile::TempDir, Server) {
    let projects = tempfile::tempdir().expect("a folder");
    let bare = projects.path().join("repo.git");
    git(work, &["clone", "-q", "--bare", ".", &bare.display().to_string()]);
    let root: PathBuf = projects.path().to_owned();
    let server = Server::start(move |asked| backend(&root, asked));
    (projects, server)
}

pub(crate) async fn are_fetched() {
    let work = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = work.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("makes");
        fs::write(path, text).expect("writes");
    };
    git(work.path(), &["init", "-q"]);
    write("conf/app.ini", "one");
    // Nothing of this is acted on.
    write(".gitattributes", "*.ini filter=evil export-subst\n");
    write(".gitmodules", "[submodule \"s\"]\n\tpath = s\n\turl = ext::sh -c touch% /tmp/never\n");
    symlink("conf/app.ini", work.path().join("link")).expect("a link");
    git(work.path(), &["add", "."]);
    git(work.path(), &["commit", "-qm", "one"]);
    let first = git(work.path(), &["rev-parse", "HEAD"]);
    git(work.path(), &["tag", "-a", "v1", "-m", "one"]);
    write("conf/app.ini", "two");
    git(work.path(), &["commit", "-qam", "two"]);
    git(work.path(), &["branch", "feature/x"]);
    let (_projects, server) = served(work.path());

    let root = place();
    let source = format!("git::{}", server.url("/repo.git"));
    get(&source, root.path()).await.expect("HEAD");
    assert_eq!(
        (read(root.path(), "conf/app.ini"), read(root.path(), "link")),
        ("two".into(), "two".into())
    );
    assert!(!root.path().join("web/local/.git").exists());
    let wants: Vec<_> = server
        .asked()
        .iter()
        .map(|asked| String::from_utf8_lossy(&asked.body).into_owned())
        .collect();
    assert!(wants.iter().any(|body| body.contains("deepen 1")), "only what is needed: {wants:?}");
    let wanted = download(&source, root.path());
    for (reference, text) in
        [("v1", "one"), ("main", "two"), (first.as_str(), "one"), ("feature/x", "two")]
    {
        with(&wanted, "ref", reference)
            .await
            .unwrap_or_else(|error| panic!("{reference}: {error}"));
        assert_eq!(read(root.path(), "conf/app.ini"), text, "{reference}");
    }
    let error = with(&wanted, "ref", "nope").await.expect_err("absent");
    assert!(error.message.contains("`nope`") && error.message.contains("main"), "{error}");
    let mut part = download(&format!("{source}//conf?ref=v1"), root.path());
    part.destination = "local/part".into();
    fetch(&options(), &part, &|_| ()).await.expect("a folder of it");
    assert_eq!(read(root.path(), "part/app.ini"), "one");
    part.source = format!("{source}//conf/app.ini");
    (part.mode, part.destination) = (Mode::File, "local/one-file".into());
    fetch(&options(), &part, &|_| ()).await.expect("a file of it");
    assert_eq!(read(root.path(), "one-file"), "two");
    let error =
        get(&format!("git::{}", server.url("/none.git")), root.path()).await.expect_err("none");
    assert!(error.message.contains("404"), "{error}");
    let plain = Server::start(|_| Answer::ok("no repository"));
    let error = get(&format!("git::{}", plain.url("/x.git")), root.path()).await.expect_err("none");
    assert!(error.message.contains("no Git repository"), "{error}");
}

pub(crate) async fn do_not_escape() {
    for (target, words) in [("/etc/passwd", "absolute path"), ("../../../x", "leads out")] {
        let work = tempfile::tempdir().expect("a folder");
        git(work.path(), &["init", "-q"]);
        symlink(target, work.path().join("way")).expect("a link");
        git(work.path(), &["add", "."]);
        git(work.path(), &["commit", "-qm", "x"]);
        let (_projects, server) = served(work.path());
        let root = place();
        let error = get(&format!("git::{}", server.url("/repo.git")), root.path())
            .await
            .expect_err("refused");
        assert!(
            error.message.contains("`way`") && error.message.contains(words) && !error.recoverable,
            "{error}"
        );
        assert_eq!(fs::read_dir(root.path().join("web/local")).expect("lists").count(), 0);
    }
}
