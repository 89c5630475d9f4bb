//! The child: takes one request, locks itself in, fetches, says how it went.

mod sandbox;
mod work;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::ExitCode;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::FetchError;
use crate::request::{MAX_REQUEST, Request, Said};

/// The first argument that makes the binary a child of this kind.
pub const FETCH_ARG: &str = "__fetch-artifacts";

/// What `main` does when the first argument is [`FETCH_ARG`]: takes a request from standard input and answers on standard
/// output. The agent is the only one who calls it.
pub fn fetch_main() -> ExitCode {
    let said = match fetch() {
        Ok((entries, bytes)) => Said::Done { entries, bytes },
        Err(error) => Said::Failed(error),
    };
    say(&said);
    ExitCode::SUCCESS
}

fn fetch() -> Result<(u64, u64), FetchError> {
    let mut line = Vec::new();
    let mut input = BufReader::new(io::stdin().take(MAX_REQUEST + 1));
    input
        .read_until(b'\n', &mut line)
        .map_err(|error| FetchError::system("reading the request", error))?;
    let request: Request = serde_json::from_slice(&line).map_err(|_| {
        FetchError::refused("the request cannot be read; only the agent starts this")
    })?;
    line.fill(0);
    sandbox::enter(&request)?;
    // Threads from here on are in it too. The agent keeps our input open for as long as it wants the download.
    std::thread::spawn(end_with_the_agent);
    work::work(&request, &mut Progress::default())
}

/// Ends everything in this session when the agent is gone or has lost interest.
fn end_with_the_agent() {
    let mut byte = [0];
    while matches!(io::stdin().read(&mut byte), Ok(1)) {}
    let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
}

/// Tells the agent how far it is, now and then.
#[derive(Default)]
struct Progress(Option<std::time::Instant>);

impl Progress {
    fn received(&mut self, bytes: u64) {
        const EVERY: std::time::Duration = std::time::Duration::from_secs(60);
        let last = self.0.get_or_insert_with(std::time::Instant::now);
        if last.elapsed() >= EVERY {
            *last = std::time::Instant::now();
            say(&Said::Received(bytes));
        }
    }
}

fn say(said: &Said) {
    if let Ok(mut text) = serde_json::to_vec(said) {
        text.push(b'\n');
        // When nobody listens any more, nobody needs to know.
        let _ = io::stdout().write_all(&text).and_then(|()| io::stdout().flush());
    }
}
