//! HTTP beyond loopback speaks TLS, and says so to those who do not.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use crate::agent::HERDER;
use crate::fleet::{Fleet, PATIENCE};
use crate::network;

/// Runs the binary on this machine with only these words of the environment.
pub(crate) fn herder(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(HERDER);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HERDER_")) {
        command.env_remove(name);
    }
    // No agent of this machine's own answers for those under test.
    command.env("HERDER_DATA_DIR", "/nowhere").env("NO_COLOR", "1");
    command.envs(environment.iter().copied()).args(arguments).output().expect("herder runs")
}

pub(crate) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    format!("{text}{}", String::from_utf8_lossy(&output.stdout))
}

fn plain(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.write_all(b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end");
    answer
}

#[test]
fn beyond_loopback_the_api_speaks_tls() {
    if !network::available() {
        return;
    }
    let mut fleet = Fleet::empty();
    fleet.add_configured("a", &["--bootstrap"], "");
    fleet.agents[0].launch();
    fleet.wait_ready(0);
    let agent = &fleet.agents[0];
    for face in [agent.http(), agent.catalog()] {
        let answer = plain(face);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("to an HTTPS server"), "{answer}");
    }
    let (https, authority) = (agent.address(), agent.authority().display().to_string());
    let status = ["node", "status"];
    let with =
        |more: &[(&str, &str)]| herder(&status, &[&[("HERDER_ADDR", &*https)], more].concat());

    let good = with(&[("HERDER_CACERT", &authority)]);
    assert!(good.status.success(), "{}", said(&good));
    let flags = herder(&["node", "status", "-address", &https, "-ca-cert", &authority], &[]);
    assert!(flags.status.success(), "{}", said(&flags));
    let unknown = with(&[]);
    assert!(!unknown.status.success() && said(&unknown).contains("-ca-cert"), "{}", said(&unknown));
    let skipped = with(&[("HERDER_SKIP_VERIFY", "true")]);
    assert!(skipped.status.success(), "{}", said(&skipped));
    for (name, good) in [("a", true), ("server.global.herder", true), ("b", false)] {
        let named = with(&[("HERDER_CACERT", &*authority), ("HERDER_TLS_SERVER_NAME", name)]);
        assert_eq!(named.status.success(), good, "{name}: {}", said(&named));
        assert!(good || said(&named).contains("-tls-server-name"), "{}", said(&named));
    }
    // What changes something names the host that it asks; under another name too.
    let changes = ["token", "join", "-address", &https, "-ca-cert", &authority];
    let named = herder(&[&changes[..], &["-tls-server-name", "a"]].concat(), &[]);
    assert!(named.status.success(), "{}", said(&named));
    let http = format!("http://{}", agent.http());
    let wrong = herder(&status, &[("HERDER_ADDR", &*http)]);
    assert!(!wrong.status.success() && said(&wrong).contains("https://"), "{}", said(&wrong));

    // Its owner needs no flag on its machine.
    let data_dir = agent.data_dir().display().to_string();
    let local = herder(&status, &[("HERDER_DATA_DIR", &*data_dir)]);
    assert!(local.status.success(), "{}", said(&local));

    // The certificates of those who join later are for their addresses too.
    fleet.token = fleet.agents[0].client().make_join_token("1h").expect("a token").token;
    let worker = fleet.join("b", &["--role", "worker"]);
    let seen = fleet.agents[worker].nodes().expect("an answer over https");
    assert!(!seen.is_empty());
}

#[test]
fn an_agent_that_is_alone_has_an_authority_of_its_own() {
    if !network::available() {
        return;
    }
    let mut fleet = Fleet::empty();
    fleet.add_configured("a", &["--dev"], "");
    fleet.agents[0].launch();
    fleet.wait_ready(0);
    let agent = &fleet.agents[0];
    let authority = agent.data_dir().join("tls/alone/ca.pem");
    assert!(agent.log().contains("tls/alone/ca.pem"), "the log says where it is");
    let (https, authority) = (agent.address(), authority.display().to_string());
    let good = herder(&["node", "status", "-address", &https, "-ca-cert", &authority], &[]);
    assert!(good.status.success(), "{}", said(&good));
    assert!(!Path::new(&agent.authority()).exists(), "it belongs to no cluster");

    // Plain, because somebody said so.
    fleet.add_configured("b", &["--dev"], "tls {\n  http = false\n}\n");
    fleet.agents[1].launch();
    fleet.wait_ready(1);
    let agent = &fleet.agents[1];
    let http = format!("http://{}", agent.http());
    let plain = herder(&["node", "status", "-address", &http], &[]);
    assert!(plain.status.success(), "{}", said(&plain));
    assert!(agent.log().contains("speaks plain HTTP beyond this machine"), "it is warned of");
    let https = herder(&["node", "status", "-address", &agent.address()], &[]);
    assert!(said(&https).contains("does not speak TLS"), "{}", said(&https));
}
