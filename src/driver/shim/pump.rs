//! From the task's pipes into its logs, until it has ended.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::process;
use crate::ExitStatus;
use crate::exit;
use crate::isolate::Isolated;
use crate::logs::LogWriter;

/// What one read takes at most. Memory that is never filled is never used.
const BUFFER: usize = 64 * 1024;

/// What the kernel may hold of each pipe, so that a burst does not stop the task.
const PIPE: i32 = 256 * 1024;

/// How long what the task left behind may go on writing.
const GRACE: Duration = Duration::from_millis(250);

/// How long its output is waited for after it was killed.
const DRAIN: Duration = Duration::from_secs(1);

/// One output of the task.
pub(super) struct Stream {
    pipe: Option<OwnedFd>,
    writer: LogWriter,
}

impl Stream {
    pub(super) fn new(pipe: OwnedFd, writer: LogWriter) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // A smaller pipe does too; users without privileges may have used up their share.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok(Self { pipe: Some(pipe), writer })
    }

    /// Takes what is there, but not for ever: the other pipe waits.
    fn take(&mut self, buffer: &mut [u8]) {
        for _ in 0..16 {
            let Some(pipe) = &self.pipe else { return };
            match nix::unistd::read(pipe, buffer) {
                Ok(0) => self.pipe = None,
                Ok(n) => self.writer.write(buffer.get(..n).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// The task has ended.
struct Ended {
    status: ExitStatus,
    /// How long its output is still waited for.
    until: Instant,
    /// Whether what it left behind has been killed.
    killed: bool,
}

/// Everything the shim does after the start.
pub(super) struct Pump {
    pid: i32,
    children: SignalFd,
    streams: Vec<Stream>,
}

impl Pump {
    pub(super) fn new(pid: i32, children: SignalFd, streams: Vec<Stream>) -> Self {
        Self { pid, children, streams }
    }

    /// Goes on until the task has ended and its output is written.
    pub(super) fn run(mut self, isolated: Option<&Isolated>) -> ExitStatus {
        let mut buffer = vec![0; BUFFER];
        let mut ended: Option<Ended> = None;
        loop {
            let open = self.streams.iter().any(|stream| stream.pipe.is_some());
            if let Some(end) = &mut ended
                && (!open || Instant::now() >= end.until)
            {
                if end.killed {
                    let status = end.status.clone();
                    return self.finish(&mut buffer, status, isolated);
                }
                // A task is its main process, as in a container; what outlives it would never be ended.
                process::kill_all(process::own_descendants, DRAIN);
                end.killed = true;
                end.until = Instant::now() + DRAIN;
                continue;
            }
            self.wait(ended.as_ref().map(|end| end.until));
            for stream in &mut self.streams {
                stream.take(&mut buffer);
            }
            while let Ok(Some(_)) = self.children.read_signal() {}
            if let Some(status) = self.collect() {
                ended = Some(Ended { status, until: Instant::now() + GRACE, killed: false });
            }
        }
    }

    fn wait(&self, until: Option<Instant>) {
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)
        });
        let pipes = self.streams.iter().filter_map(|stream| stream.pipe.as_ref());
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.children.as_fd())
            .chain(pipes.map(AsFd::as_fd))
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // An interrupted wait is one more turn of the loop.
        let _ = poll(&mut fds, timeout);
    }

    /// Collects every child that has ended; the task's own end, if it was among them.
    fn collect(&self) -> Option<ExitStatus> {
        let mut end = None;
        loop {
            let ended = waitpid(None, Some(WaitPidFlag::WNOHANG));
            let (pid, code, signal) = match ended {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Some(code), None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, None, Some(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return end,
                Ok(_) | Err(_) => continue,
            };
            if pid == Pid::from_raw(self.pid) {
                end = Some(ExitStatus {
                    code,
                    signal,
                    finished_at: exit::now(),
                    ..ExitStatus::default()
                });
            }
        }
    }

    fn finish(
        &mut self,
        buffer: &mut [u8],
        mut status: ExitStatus,
        isolated: Option<&Isolated>,
    ) -> ExitStatus {
        // A slow disk may have taken all of the time; what the pipes still hold is the task's too.
        for stream in &mut self.streams {
            stream.take(buffer);
            stream.writer.write(&[]);
        }
        let dropped: u64 = self.streams.iter().map(|stream| stream.writer.dropped()).sum();
        if dropped > 0 {
            status.message = format!("{dropped} bytes of output were lost: the disk refused them");
        }
        if let Some(isolated) = isolated {
            status.oom = isolated.cgroup.oom_kills() > 0 && !status.is_success();
            // Whoever finds the end written down need not look for this.
            let _ = isolated.cgroup.remove();
        }
        status
    }
}
