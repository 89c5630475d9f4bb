//! What a call costs: processor time of both ends together, over loopback, with one and with 64 callers at once; and
//! what an open connection keeps in memory.
//!
//! ```sh
//! cargo run --release -p herder-rpc --example cost
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use identity::Role;
use nix::sys::resource::{UsageWho, getrusage};
use rpc::testing::{Answer, Running, TestCluster, everybody, patient_server};
use rpc::{Class, Client, Method};

const LIMIT: Duration = Duration::from_secs(60);
const CONNECTIONS: u32 = 1000;

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts");
    let span = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    span(usage.user_time()) + span(usage.system_time())
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

async fn measure(client: &Client, address: &str, callers: u32, calls: u32, size: usize) {
    let body = Bytes::from(vec![7; size]);
    let (start, before) = (Instant::now(), processor_time());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (client, address, body) = (client.clone(), address.to_owned(), body.clone());
            tokio::spawn(async move {
                for _ in 0..calls / callers {
                    let call =
                        client.call(&address, Class::Control, Method(1), body.clone(), LIMIT);
                    call.await.expect("answered");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("ran");
    }
    let micros = |span: Duration| span.as_secs_f64() * 1e6 / f64::from(calls);
    println!(
        "{callers:>3} callers, {size:>6} bytes: {:>7.1} µs of processor time, {:>7.1} µs by the clock per call",
        micros(processor_time() - before),
        micros(start.elapsed()),
    );
}

#[tokio::main]
async fn main() {
    let cluster = TestCluster::new();
    let echo = Answer(|_, _, body| async { Ok(body) });
    let running = Running::start(cluster.server(echo, everybody(), patient_server())).await;
    let client = cluster.client(&cluster.member(Role::Worker));
    measure(&client, &running.address, 1, 1000, 100).await;
    println!("after warming up:");
    measure(&client, &running.address, 1, 20_000, 100).await;
    measure(&client, &running.address, 64, 200_000, 100).await;
    measure(&client, &running.address, 64, 20_000, 16 * 1024).await;
    measure(&client, &running.address, 4, 400, 1024 * 1024).await;

    let member = cluster.member(Role::Worker);
    let (before, start) = (resident_kib(), processor_time());
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = cluster.client(&member);
        let call = client.call(&running.address, Class::Control, Method(1), Bytes::new(), LIMIT);
        call.await.expect("answered");
        clients.push(client);
    }
    println!(
        "{CONNECTIONS} connections: {} KiB and {:.0} µs of processor time each, both ends",
        (resident_kib() - before) / u64::from(CONNECTIONS),
        (processor_time() - start).as_secs_f64() * 1e6 / f64::from(CONNECTIONS),
    );
    let (start, clock) = (processor_time(), Instant::now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!(
        "at rest: {:.1} µs of processor time per connection and second, both ends",
        (processor_time() - start).as_secs_f64() * 1e6
            / f64::from(CONNECTIONS)
            / clock.elapsed().as_secs_f64(),
    );
}
