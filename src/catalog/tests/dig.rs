//! The bound server as `dig` sees it.

#[expect(dead_code, reason = "the crate's own tests use the rest")]
#[path = "../sample.rs"]
mod sample;

use std::net::SocketAddr;
use std::process::Command;

use catalog::dns::{Config, Server};
use catalog::{Catalog, CatalogHandle};
use sample::World;
use tokio_util::sync::CancellationToken;

/// Whether `dig` is there. Its absence is an error where everything must be tested.
fn has_dig() -> bool {
    let there = Command::new("dig").arg("-v").output().is_ok();
    if !there {
        assert!(std::env::var_os("CI").is_none(), "dig is not installed; install dnsutils");
        eprintln!("skipped: dig is not installed");
    }
    there
}

fn dig(server: SocketAddr, args: &[&str]) -> String {
    let output = Command::new("dig")
        .args(["-p", &server.port().to_string(), "@127.0.0.1", "+tries=2", "+time=5"])
        .args(args)
        .output()
        .expect("dig runs");
    String::from_utf8(output.stdout).expect("text")
}

/// The lines of a section, without comments.
fn section<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let head = format!(";; {name} SECTION:");
    text.lines()
        .skip_while(|line| *line != head)
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect()
}

#[track_caller]
fn assert_has(text: &str, part: &str) {
    assert!(text.contains(part), "no `{part}` in:\n{text}");
}

fn world() -> World {
    let mut world = World::small();
    world.add_job(sample::job("wide", vec![sample::service("wide", &[])]));
    let mut allocs = Vec::new();
    for number in 0..200_u8 {
        let mut node = sample::node(number);
        node.id = model::NodeId::new(model::seeded_uuid(&[b"wide", &[number]]));
        node.name = format!("wide-{number}");
        node.address = format!("10.2.0.{number}");
        let mut alloc = sample::alloc(100 + u32::from(number), 0);
        alloc.node = node.id;
        alloc.job = "wide".into();
        world.add_node(node);
        allocs.push(alloc);
    }
    world.place(allocs);
    world
}

#[test]
fn dig_gets_what_it_asks_for() {
    if !has_dig() {
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let server =
        runtime.block_on(Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("a free port");
    let address = server.address();
    let stop = CancellationToken::new();
    let handle = CatalogHandle::new(Catalog::rebuild(&world().state));
    let running = runtime.spawn(server.run(handle, Config::default(), stop.clone()));

    for transport in ["+notcp", "+tcp"] {
        let ask = |args: &[&str]| {
            let all: Vec<&str> = [transport].iter().chain(args).copied().collect();
            dig(address, &all)
        };
        let text = ask(&["wEb.service.consul", "A"]);
        assert_has(&text, "status: NOERROR");
        assert_has(&text, "flags: qr aa rd;");
        assert_has(&text, ";wEb.service.consul.");
        let answers = section(&text, "ANSWER");
        assert_eq!(answers.len(), 2, "{text}");
        assert!(answers.iter().any(|line| line.ends_with("A\t10.0.0.1")), "{text}");

        let text = ask(&["web.service.consul", "AAAA"]);
        assert_has(&text, "status: NOERROR");
        assert_has(&text, "ANSWER: 0, AUTHORITY: 1");
        assert_has(&text, "SOA\tns.consul. hostmaster.consul.");

        let text = ask(&["_web._tcp.service.herder", "SRV"]);
        assert_eq!(section(&text, "ANSWER").len(), 2, "{text}");
        assert_has(&text, "SRV\t1 1 20001 n1.node.dc1.herder.");
        let extra = section(&text, "ADDITIONAL");
        assert!(
            extra.iter().any(
                |line| line.starts_with("n1.node.dc1.herder.") && line.ends_with("A\t10.0.0.1")
            ),
            "{text}"
        );

        let text = ask(&["nope.service.consul", "A"]);
        assert_has(&text, "status: NXDOMAIN");
        assert_eq!(section(&text, "AUTHORITY").len(), 1, "{text}");

        let text = ask(&["example.com", "A"]);
        assert_has(&text, "status: REFUSED");
        assert!(!text.contains(" aa"), "{text}");

        let text = ask(&["n1.node.consul", "A", "+noedns"]);
        assert_has(&text, "A\t10.0.0.1");
        assert!(!text.contains("OPT PSEUDOSECTION"), "{text}");
    }

    // `+ignore` shows the reply that was cut; without it dig asks again over TCP by itself.
    let cut = dig(address, &["+ignore", "+noedns", "wide.service.consul", "A"]);
    assert_has(&cut, "flags: qr aa tc rd;");
    let some = section(&cut, "ANSWER").len();
    assert!((20..200).contains(&some), "{some} answers in 512 bytes");
    let whole = dig(address, &["+noedns", "wide.service.consul", "A"]);
    assert_has(&whole, "TCP");
    assert_eq!(section(&whole, "ANSWER").len(), 200, "{whole}");
    let whole = dig(address, &["wide.service.consul", "SRV", "+tcp"]);
    assert_eq!(section(&whole, "ANSWER").len(), 200);
    assert_eq!(section(&whole, "ADDITIONAL").len(), 200);

    stop.cancel();
    runtime.block_on(running).expect("it ends in order");
}
