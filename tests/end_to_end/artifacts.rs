//! A task finds what its job asks to download, and one that must not be taken keeps it from starting.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::{ClientStatus, RevisionOutcome};

use crate::agent::Agent;
use crate::repository::Repository;

const TEXT: &str = "hello from afar\n";

/// Answers with [`TEXT`], for as long as the tests run; the first `hanging` requests get no answer. Counts requests.
fn serve(hanging: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            if counted.fetch_add(1, Ordering::SeqCst) < hanging {
                kept.push(stream);
                continue;
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{TEXT}",
                TEXT.len()
            );
            let _ = stream.write_all(head.as_bytes());
        }
    });
    (address, count)
}

/// Follows the repository, and may ask servers on this machine.
fn start(repo: &Repository) -> Agent {
    let url = repo.path().display().to_string();
    Agent::start_configured(&format!(
        "repo \"jobs\" {{\n  url = {url:?}\n}}\nclient {{\n  artifact {{\n    allow = [\"127.0.0.0/8\"]\n  }}\n}}\n"
    ))
}

fn job(server: SocketAddr, checksum: &str) -> String {
    format!(
        r#"
job "reader" {{
  type = "service"

  group "g" {{
    update {{
      min_healthy_time  = "0s"
      healthy_deadline  = "20s"
      progress_deadline = "30s"
    }}

    restart {{
      attempts = 1
      interval = "10m"
      delay    = "100ms"
      mode     = "fail"
    }}

    reschedule {{
      attempts  = 0
      unlimited = false
    }}

    task "t" {{
      driver = "raw_exec"

      artifact {{
        source      = "http://{server}/words-${{NOMAD_META_release}}.txt"
        destination = "${{NOMAD_ALLOC_DIR}}/fetched"
        options {{
          checksum = "{checksum}"
        }}
        headers {{
          X-Token = "canary-in-a-header"
        }}
      }}

      artifact {{
        source      = "http://{server}/key"
        destination = "${{NOMAD_SECRETS_DIR}}"
      }}

      meta {{
        release = "7"
      }}

      config {{
        command = "/bin/sh"
        args    = ["-c", "cat ../alloc/fetched/words-7.txt; test -e local/second || {{ touch local/second; exit 1; }}; exec sleep 600"]
      }}
    }}
  }}
}}
"#
    )
}

#[test]
fn a_task_reads_what_was_downloaded() {
    let (server, asked) = serve(0);
    let repo = Repository::new();
    let right = format!("sha256:{}", sha256(TEXT));
    repo.write("reader.nomad.hcl", job(server, &right));
    let good = repo.commit("reader");
    let mut agent = start(&repo);
    agent.wait_outcome(&good, RevisionOutcome::Deployed);
    let alloc = agent.wait_running("reader", 1).remove(0);
    let folder = agent.data_dir().join("alloc").join(alloc.id.to_string());
    let text =
        std::fs::read_to_string(folder.join("alloc/fetched/words-7.txt")).expect("downloaded");
    assert_eq!(text, TEXT);
    let key =
        std::fs::read_to_string(folder.join("t/secrets/key")).expect("in memory, as secrets are");
    assert_eq!(key, TEXT);
    agent.wait_for("the task's output", |_| {
        let said =
            std::fs::read_to_string(folder.join("alloc/logs/t.stdout.0")).unwrap_or_default();
        (said == TEXT.repeat(2)).then_some(())
    });
    assert_eq!(asked.load(Ordering::SeqCst), 2, "a task that is restarted finds what was fetched");
    assert!(!agent.log().contains("canary-in-a-header"));

    repo.write("reader.nomad.hcl", job(server, "md5:f9d48d7cbb3c0ae20e3a1d0e1f22be97"));
    repo.commit("reader: another checksum");
    let failed = agent.wait_for("the failed download", |agent| {
        let output = agent.herder(&["alloc", "status", &latest(agent)?]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("Failed Artifact Download").then_some(text)
    });
    assert!(failed.contains("Downloading Artifacts"), "{failed}");
    assert!(failed.contains("the checksum is wrong"), "{failed}");
    assert!(!failed.contains("canary-in-a-header") && !agent.log().contains("canary-in-a-header"));
}

#[test]
fn a_download_that_an_agents_end_cut_short_is_done_anew() {
    let (server, asked) = serve(1);
    let repo = Repository::new();
    repo.write("reader.nomad.hcl", job(server, &format!("sha256:{}", sha256(TEXT))));
    let commit = repo.commit("reader");
    let mut agent = start(&repo);
    agent.wait_for("the first request", |_| (asked.load(Ordering::SeqCst) == 1).then_some(()));
    agent.kill();
    agent.launch();
    agent.wait_outcome(&commit, RevisionOutcome::Deployed);
    let alloc = agent.wait_running("reader", 1).remove(0);
    let folder = agent.data_dir().join("alloc").join(alloc.id.to_string());
    let text = std::fs::read_to_string(folder.join("alloc/fetched/words-7.txt")).expect("there");
    assert_eq!(text, TEXT);
    let staged = std::fs::read_dir(folder.join(".artifacts")).expect("lists");
    assert_eq!(staged.count(), 0, "nothing is left");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

/// The newest allocation that failed.
fn latest(agent: &Agent) -> Option<String> {
    let allocs = agent.client().job_allocations("reader").ok()?.into_value();
    allocs
        .into_iter()
        .find(|alloc| alloc.client_status == ClientStatus::Failed)
        .map(|alloc| alloc.id.to_string())
}

/// By coreutils, which every machine that runs these tests has.
fn sha256(text: &str) -> String {
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sha256sum runs");
    child.stdin.take().expect("input").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("output");
    String::from_utf8_lossy(&output.stdout).chars().take(64).collect()
}
