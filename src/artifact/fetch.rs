//! The agent's side: starts a child, gives it the request, listens, ends it, and moves what it brought to its place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::place::{self, Destination, Owner};
use crate::request::{MAX_LINE, MAX_REQUEST, Request, Said};
use crate::source::{Kind, Source};
use crate::{AddressRules, FETCH_ARG, FetchError, Limits, Mode};

/// Most lines that a child may write; it tells how far it is once a minute.
const MAX_LINES: u32 = 10_000;
/// How long a child that said how it went may take to end.
const END: Duration = Duration::from_secs(10);
/// How much longer than its own limits a child may take before it is ended.
const SLACK: Duration = Duration::from_secs(5);

/// How a node fetches.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that is called with [`FETCH_ARG`]. By default the running binary itself, also when its file was
    /// replaced.
    pub program: PathBuf,
    /// How much a download may take.
    pub limits: Limits,
    /// Which addresses may be asked.
    pub rules: AddressRules,
    /// Whether the child closes the file system to itself. Only for kernels or file systems where that does not work.
    pub isolate: bool,
    /// Environment variables of the agent that the child gets; it gets no other.
    pub environment: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            limits: Limits::default(),
            rules: AddressRules::default(),
            isolate: true,
            environment: Vec::new(),
        }
    }
}

/// What is to be fetched; every reference is resolved. May hold secrets, and so has no `Debug`.
#[derive(Clone)]
pub struct Download {
    /// Where it comes from.
    pub source: String,
    /// How it is fetched.
    pub options: BTreeMap<String, String>,
    /// Headers for the first host.
    pub headers: BTreeMap<String, String>,
    /// What the destination is.
    pub mode: Mode,
    /// Whether any certificate or host key is good enough.
    pub insecure: bool,
    /// Where it goes, from the task's folder; `local/` when empty, and the source's own name in it for a single file.
    pub destination: String,
    /// Who owns it; the agent when there is nobody.
    pub owner: Option<Owner>,
    /// The allocation's folder.
    pub root: PathBuf,
    /// The task, whose folder is in it.
    pub task: String,
}

impl Download {
    /// The source as it may be shown: without credentials and query.
    pub fn shown(&self) -> String {
        Source::parse(&self.source, &self.options)
            .map_or_else(|_| "a source that cannot be read".to_owned(), |source| source.shown())
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Files, folders and links.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Fetches, in a child that ends with the returned future, and moves what came to its destination.
///
/// # Errors
/// In words, without secrets. What the destination held before is untouched unless the error is about the destination
/// itself.
pub async fn fetch(
    options: &Options,
    download: &Download,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Fetched, FetchError> {
    let source = Source::parse(&download.source, &download.options)?;
    let text = match (download.destination.as_str(), download.mode) {
        ("", Mode::File) => format!("local/{}", source.file_name().replace('/', "_")),
        ("", _) => "local/".to_owned(),
        (text, _) => text.to_owned(),
    };
    let destination = Destination::parse(&download.task, &text, download.mode)?;
    let child = Owner::child();
    let (root, task) = (download.root.clone(), download.task.clone());
    let staging = blocking(move || place::stage(&root, &task, child)).await?;
    let request = Request {
        source: download.source.clone(),
        options: download.options.clone(),
        headers: download.headers.clone(),
        mode: download.mode,
        insecure: download.insecure,
        name: destination.name.clone(),
        staging,
        limits: options.limits.clone(),
        rules: options.rules.clone(),
        isolate: options.isolate,
        nobody: (child.uid, child.gid),
    };
    let limits = &options.limits;
    let own = match source.kind {
        Kind::Http => limits.http_read_timeout,
        Kind::Git => limits.git_timeout,
        Kind::S3 => limits.s3_timeout,
    };
    let limit = own.saturating_add(limits.unpack_timeout).saturating_add(SLACK);
    let said = tokio::time::timeout(limit, in_child(options, &request, progress)).await;
    let result = match said {
        Ok(result) => result,
        Err(_) => Err(FetchError::failed(format!(
            "the download and its unpacking took longer than {}; it was ended",
            model::format_duration(limit)
        ))),
    };
    let owner = download.owner.unwrap_or_else(Owner::agent);
    let (root, task) = (download.root.clone(), download.task.clone());
    blocking(move || {
        let installed = result.and_then(|fetched| {
            place::install(&root, &task, &destination, owner, child).map(|()| fetched)
        });
        place::unstage(&root, &task).and(installed)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|_| {
        Err(FetchError::failed("the files of the download could not be handled"))
    })
}

/// A child and everything in its session, ended when this is dropped.
struct Session(Child);

impl Session {
    /// Ends it and waits until it has ended.
    async fn end(&mut self) -> Result<(), FetchError> {
        self.kill();
        match tokio::time::timeout(END, self.0.wait()).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(FetchError::failed("the downloading process does not end")),
        }
    }

    fn kill(&self) {
        // Not collected yet, so that the number is still its own.
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) {
            // The group is there once the child leads its session; before that it has started nobody.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn in_child(
    options: &Options,
    request: &Request,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Fetched, FetchError> {
    let mut line = serde_json::to_vec(request)
        .map_err(|_| FetchError::refused("the request cannot be written as JSON"))?;
    line.push(b'\n');
    if line.len() as u64 > MAX_REQUEST {
        return Err(FetchError::refused(format!(
            "options and headers are larger than {MAX_REQUEST} bytes"
        )));
    }
    let environment =
        options.environment.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let child = Command::new(&options.program)
        .arg(FETCH_ARG)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            FetchError::failed(format!("the downloading process cannot be started: {error}"))
        })?;
    let mut session = Session(child);
    let stdin = session.0.stdin.take();
    let output = session.0.stdout.take();
    let (Some(mut stdin), Some(output)) = (stdin, output) else {
        return Err(FetchError::failed("the downloading process cannot be talked to"));
    };
    let result = talk(&mut stdin, &line, output, progress).await;
    drop(stdin);
    if result.as_ref().is_ok_and(Option::is_some) {
        // Nothing of it may move any more when what it left is looked at.
        session.end().await?;
    }
    let Some(said) = result? else {
        // It said nothing more: how it ended is all there is.
        let status = tokio::time::timeout(END, session.0.wait()).await;
        let how = match status {
            Ok(Ok(status)) => status.to_string(),
            _ => "and does not end".to_owned(),
        };
        return Err(FetchError::failed(format!(
            "the downloading process broke down ({how}); it may have needed more memory than it is allowed"
        )));
    };
    match said {
        Said::Done { entries, bytes } => Ok(Fetched { entries, bytes }),
        Said::Failed(error) => Err(error.without(&[])),
        Said::Received(_) => Err(FetchError::failed("the downloading process ended early")),
    }
}

/// Hands the request over and listens until the end is told.
async fn talk(
    stdin: &mut ChildStdin,
    line: &[u8],
    output: tokio::process::ChildStdout,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Option<Said>, FetchError> {
    let sent = stdin.write_all(line).await;
    let mut output = BufReader::new(output);
    for _ in 0..MAX_LINES {
        let mut text = Vec::new();
        let read = (&mut output).take(MAX_LINE).read_until(b'\n', &mut text).await;
        match (read, &sent) {
            (Ok(0), _) => return Ok(None),
            (Ok(_), _) => {}
            (Err(error), _) => {
                return Err(FetchError::system("listening to the downloading process", error));
            }
        }
        match serde_json::from_slice(&text) {
            Ok(Said::Received(bytes)) => progress(bytes),
            Ok(end) => return Ok(Some(end)),
            Err(_) => {
                return Err(FetchError::failed("the downloading process says what cannot be read"));
            }
        }
    }
    Err(FetchError::failed("the downloading process says too much"))
}
