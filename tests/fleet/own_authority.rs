//! Agents with certificates of an authority of the organisation's own, made by `herder tls`.

use std::path::Path;
use std::process::Command;

use crate::agent::{HERDER, signal};
use crate::fleet::Fleet;
use crate::https::{herder, said};
use crate::network;

/// Runs `herder tls …` in a folder, and gives the first file that it wrote.
fn tls(folder: &Path, line: &str) -> String {
    std::fs::create_dir_all(folder).expect("a folder");
    let output = Command::new(HERDER)
        .arg("tls")
        .args(line.split(' '))
        .current_dir(folder)
        .output()
        .expect("herder runs");
    assert!(output.status.success(), "{line}: {}", said(&output));
    let text = String::from_utf8(output.stdout).expect("text");
    folder.join(text.lines().next().expect("a file")).display().to_string()
}

fn key_of(certificate: &str) -> String {
    certificate.replace(".pem", "-key.pem")
}

fn block(folder: &Path, certificate: &str) -> String {
    format!(
        "tls {{\n  verify_https_client = true\n  ca_file = {:?}\n  cert_file = {certificate:?}\n  key_file = {:?}\n}}\n",
        folder.join("herder-ca.pem"),
        key_of(certificate)
    )
}

#[test]
fn agents_of_an_own_authority_need_no_token() {
    if !network::available() {
        return;
    }
    let mut fleet = Fleet::empty();
    let (ours, theirs) = (fleet.dir().join("ours"), fleet.dir().join("theirs"));
    let authority = tls(&ours, "ca create -name Acme");
    tls(&theirs, "ca create -name Acme");

    // The machines have the addresses that they will have.
    for (name, kind, begin) in
        [("a", "-server", "--bootstrap"), ("b", "-server", ""), ("c", "-worker", "")]
    {
        let number = fleet.agents.len();
        let first = fleet.agents.first().map(|agent| agent.machine.address.to_string());
        let join = format!("--join={}", first.unwrap_or_default());
        let begin = if begin.is_empty() { join.as_str() } else { begin };
        let address = fleet.next_address();
        let made = tls(&ours, &format!("cert create {kind} -additional-ipaddress {address}"));
        fleet.add_configured(name, &[begin], &block(&ours, &made));
        fleet.agents[number].launch();
        fleet.wait_ready(number);
    }
    let shown = tls(&ours, "cert create -cli");
    let address = fleet.agents[0].address();
    let ask = |line: &str, shown: &str| {
        let key = key_of(shown);
        let words: Vec<&str> = line.split(' ').collect();
        let own = [("HERDER_CLIENT_CERT", shown), ("HERDER_CLIENT_KEY", &*key)];
        let shown = if shown.is_empty() { &[][..] } else { &own[..] };
        let known = [("HERDER_ADDR", &*address), ("HERDER_CACERT", &*authority)];
        herder(&words, &[&known[..], shown].concat())
    };
    fleet.wait_for("three nodes, of which two vote", |_| {
        let members = said(&ask("server members -json", &shown));
        let nodes = said(&ask("node status -json", &shown));
        let count = |text: &str, what: &str| text.matches(what).count();
        let ready = count(&nodes, "\"Status\": \"ready\"");
        (count(&members, "\"id\"") >= 2 && ready == 3).then_some(())
    });

    // Whoever asks over HTTP shows a certificate too.
    let none = ask("node status", "");
    assert!(!none.status.success() && said(&none).contains("-client-cert"), "{}", said(&none));
    let stranger = tls(&theirs, "cert create -cli");
    let refused = ask("node status", &stranger);
    assert!(!refused.status.success(), "{}", said(&refused));
    // On its machine the agent's owner has the agent's.
    let data_dir = fleet.agents[0].data_dir().display().to_string();
    let local = herder(&["node", "status"], &[("HERDER_DATA_DIR", &*data_dir)]);
    assert!(local.status.success(), "{}", said(&local));
    // Tokens are for clusters with an authority of their own.
    let token = ask("token join", &shown);
    assert!(said(&token).contains("joins without a token"), "{}", said(&token));

    // Another authority's certificate lets nobody in, whatever it says.
    let number = fleet.agents.len();
    let foreign = tls(&theirs, "cert create -server");
    let join = format!("--join={}", fleet.agents[0].machine.address);
    let mixed = block(&theirs, &foreign);
    fleet.add_configured("d", &[&join], &mixed);
    fleet.agents[number].launch();
    fleet.wait_for("the stranger to be refused", |fleet| {
        fleet.agents[number].log().contains("waiting for a server to join").then_some(())
    });
    assert!(fleet.agents[number].log().contains("another authority"), "it says why");
    fleet.agents[number].kill();
    fleet.agents.pop();

    // A new certificate for the same node is read by itself; one of another node is not.
    let node = fleet.agents[2].node_id();
    let folder = fleet.dir().join("next");
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in ["herder-ca.pem", "herder-ca-key.pem"] {
        std::fs::copy(ours.join(name), folder.join(name)).expect("copied");
    }
    let worker = ours.join("global-worker-herder-0.pem").display().to_string();
    let put = |made: &str| {
        std::fs::copy(key_of(made), key_of(&worker)).expect("copied");
        std::fs::copy(made, &worker).expect("copied");
        signal(fleet.agents[2].pid(), "HUP");
    };
    let address = fleet.agents[2].machine.address;
    let other = format!("cert create -worker -additional-ipaddress {address}");
    put(&tls(&folder, &other));
    fleet.agents[2].wait_log("names another node");
    let worker_https = fleet.agents[2].address();
    let as_renewed =
        format!("node status -address {worker_https} -tls-server-name renewed.example.org");
    assert!(!ask(&as_renewed, &shown).status.success(), "not its name yet");
    let renewal = format!("{other} -node-id {node} -additional-dnsname renewed.example.org");
    put(&tls(&folder, &renewal));
    fleet.agents[2].wait_log("certificate read again");
    let renewed = ask(&as_renewed, &shown);
    assert!(renewed.status.success(), "HTTPS shows it without a restart: {}", said(&renewed));
    // After a restart it is the node that it was.
    fleet.agents[2].terminate();
    fleet.agents[2].launch();
    fleet.wait_ready(2);
    assert_eq!(fleet.agents[2].node_id(), node);
    fleet.wait_for("the worker to be there again", |_| {
        let nodes = said(&ask("node status -json", &shown));
        (nodes.matches("\"Status\": \"ready\"").count() == 3).then_some(())
    });
}
