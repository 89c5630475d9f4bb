//! CPU time per DNS answer over loopback UDP: `cargo run --release -p herder-catalog --example dns_cpu`.
//!
//! The client runs in another process, so that its time is not counted; the server's is user and system time.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use catalog::dns::{Config, Server, respond};
use catalog::{Catalog, CatalogHandle};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio_util::sync::CancellationToken;

#[path = "../sample.rs"]
#[expect(dead_code, reason = "the crate's own tests use the rest")]
mod sample;

const SERVICES: u16 = 10_000;
const QUERIES: u32 = 300_000;
/// Queries that are under way at a time.
const WINDOW: u32 = 32;

fn main() {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("client"), Some(address)) => client(address.parse().expect("an address")),
        _ => server(),
    }
}

fn query(service: u32, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    let name = format!("service-{}.service.consul.", service % u32::from(SERVICES));
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message.to_vec().expect("encodes")
}

fn client(server: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(server).expect("connects");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let queries: Vec<Vec<u8>> = (0..1000).map(|n| query(n * 7, RecordType::A)).collect();
    let mut reply = [0; 1500];
    let mut sent = 0;
    let mut received = 0;
    while received < QUERIES {
        while sent < QUERIES && sent - received < WINDOW {
            socket.send(&queries[sent as usize % queries.len()]).expect("sends");
            sent += 1;
        }
        match socket.recv(&mut reply) {
            Ok(_) => received += 1,
            Err(_) => break,
        }
    }
    print!("{received}");
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

fn catalog() -> Catalog {
    let mut world = sample::World::default();
    for number in 0..4 {
        world.add_node(sample::node(number));
    }
    let names = 0..SERVICES;
    let services = names.map(|n| sample::service(&format!("service-{n}"), &["v1"])).collect();
    world.add_job(sample::job("job", services));
    world.place(vec![sample::alloc(1, 1), sample::alloc(2, 2)]);
    Catalog::rebuild(&world.state)
}

fn server() {
    let catalog = catalog();
    let config = Config::default();
    for kind in [RecordType::A, RecordType::SRV] {
        let query = query(77, kind);
        let mut reply = Vec::new();
        let (started, rounds) = (Instant::now(), 200_000);
        for seed in 0..rounds {
            assert!(respond(&catalog, &config, &query, true, seed, &mut reply));
        }
        let each = started.elapsed() / u32::try_from(rounds).expect("small");
        println!("{kind}: {each:?} per answer without sockets, {} bytes", reply.len());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let server = runtime.block_on(Server::bind(([127, 0, 0, 1], 0).into())).expect("a free port");
    let address = server.address();
    let stop = CancellationToken::new();
    let running = runtime.spawn(server.run(CatalogHandle::new(catalog), config, stop.clone()));
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["client", &address.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let (before, started) = (cpu(), Instant::now());
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    child.wait().expect("ends");
    let (used, took) = (cpu() - before, started.elapsed());
    let received: f64 = text.parse().expect("a number");
    println!(
        "A over UDP: {:.2} µs of CPU per answer, {:.0} answers/s",
        used.as_secs_f64() * 1e6 / received,
        received / took.as_secs_f64()
    );
    std::io::stdout().flush().expect("written");
    stop.cancel();
    runtime.block_on(running).expect("it ends in order");
}
