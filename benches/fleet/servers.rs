//! Three real agents, as an operator would start them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

const HERDER: &str = env!("CARGO_BIN_EXE_herder");
/// How long an agent may take to be ready on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Agents that end with this.
pub(crate) struct Servers {
    dir: tempfile::TempDir,
    children: Vec<Child>,
    http: String,
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Servers {
    pub(crate) fn start(repo: &Path) -> anyhow::Result<Self> {
        let mut this =
            Self { dir: tempfile::tempdir()?, children: Vec::new(), http: String::new() };
        this.agent(0, repo, &["--bootstrap".to_owned()])?;
        this.http = this.told(0, "http")?;
        let token = this.dir.path().join("token");
        fs::write(&token, this.token()?)?;
        let first = this.told(0, "rpc")?;
        for number in 1..3 {
            let joins = [format!("--join={first}"), format!("--token-file={}", token.display())];
            this.agent(number, repo, &joins)?;
        }
        Ok(this)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A join token.
    pub(crate) fn token(&self) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            let output = Command::new(HERDER)
                .args(["token", "join"])
                .env("HERDER_ADDR", format!("http://{}", self.http))
                .output()?;
            if output.status.success() {
                return Ok(String::from_utf8(output.stdout)?.trim().to_owned());
            }
            if begun.elapsed() > PATIENCE {
                bail!("no token: {}", String::from_utf8_lossy(&output.stderr));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Where all agents take each other's requests.
    pub(crate) fn addresses(&self) -> anyhow::Result<Vec<String>> {
        (0..self.children.len()).map(|number| self.told(number, "rpc")).collect()
    }

    /// The process of the agent with this address.
    pub(crate) fn pid(&self, address: &str) -> anyhow::Result<u32> {
        let addresses = self.addresses()?;
        let at = addresses.iter().position(|known| known == address);
        let child = at.and_then(|at| self.children.get(at)).context("no agent has that address")?;
        Ok(child.id())
    }

    fn data_dir(&self, number: usize) -> PathBuf {
        self.dir.path().join(format!("server-{number}"))
    }

    fn agent(&mut self, number: usize, repo: &Path, flags: &[String]) -> anyhow::Result<()> {
        let log = fs::File::create(self.dir.path().join(format!("server-{number}.log")))?;
        let child = Command::new(HERDER)
            .args(["agent", "--http-port=0", "--rpc-port=0", "--catalog-port=0", "--dns-port=0"])
            .arg(format!("--bind=127.0.77.{}", number + 2))
            .arg(format!("--name=server-{number}"))
            .arg("--log-level=info")
            .arg("--data-dir")
            .arg(self.data_dir(number))
            .arg("--repo")
            .arg(repo)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.children.push(child);
        let begun = Instant::now();
        while self.told(number, "rpc").is_err() {
            let ended = self.children.last_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let log = self.dir.path().join(format!("server-{number}.log"));
                bail!("agent {number} is not ready:\n{}", fs::read_to_string(log)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn told(&self, number: usize, key: &str) -> anyhow::Result<String> {
        let text = fs::read_to_string(self.data_dir(number).join("agent.json"))?;
        let told: serde_json::Value = serde_json::from_str(&text)?;
        Ok(told[key].as_str().context("agent.json lacks an address")?.to_owned())
    }
}
