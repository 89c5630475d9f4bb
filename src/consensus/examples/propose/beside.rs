//! Voters in processes of their own, and clients in another one, so that they can be measured beside something else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consensus::{Consensus, FollowOptions, Member, Options, Start};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{Failure, http, register, tcp};

/// Bytes that etcd is given for each write: about what a command here has.
const VALUE: usize = 512;
/// Keys, and nodes, that are written in turns.
const KEYS: u128 = 1_000;

/// `DIRECTORY NODE ADDRESS [NODE=ADDRESS…]`: a voter. The first one is told of the others, and lets them vote.
pub(crate) async fn serve(mut arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("--serve wants {what}"));
    let dir = PathBuf::from(next("a directory")?);
    let node: u64 = next("a number")?.parse()?;
    let address = next("an address")?;
    let others: Vec<Member> = arguments
        .map(|other| {
            let (node, address) = other.split_once('=').ok_or("others are NODE=ADDRESS")?;
            Ok(Member { node: node.parse()?, address: address.to_owned() })
        })
        .collect::<Result<_, Failure>>()?;
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let mut options = Options::new(dir.join("raft"), node);
    options.address.clone_from(&address);
    options.start = if others.is_empty() { Start::Join } else { Start::Bootstrap };
    options.transport = Some(Arc::new(tcp::Tcp::default()));
    let consensus = Consensus::open(options).await?;
    tokio::spawn(tcp::serve(listener, consensus.clone()));
    let voters = others.iter().map(|member| member.node).chain([node]).collect();
    if !others.is_empty() {
        for other in others {
            consensus.add_learner(other).await?;
        }
        while consensus.members().iter().any(|member| member.matched.is_none()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        consensus.set_voters(voters).await?;
    }
    println!("ready");
    std::future::pending::<()>().await;
    Ok(())
}

/// `herder|etcd ADDRESS CLIENTS EACH`: writes, and says how it went in one line: commits per second, p50 and p99 in ms.
pub(crate) async fn load(mut arguments: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("--load wants {what}"));
    let what = next("`herder` or `etcd`")?;
    let address = next("an address")?;
    let clients: u128 = next("a number of clients")?.parse()?;
    let each: u128 = next("a number of writes")?.parse()?;
    let (times, took) = match what.as_str() {
        "herder" => herder(&address, clients, each).await?,
        "etcd" => etcd(&address, clients, each).await?,
        _ => return Err("--load wants `herder` or `etcd`".into()),
    };
    let mut times = times;
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!("{:.0} {:.2} {:.2}", times.len() as f64 / took.as_secs_f64(), at(50), at(99));
    Ok(())
}

type Measured = (Vec<Duration>, Duration);

/// As every agent does it: it follows the log by stream, and what it proposes is passed on to the leader; a write is done
/// when it is also seen in its own copy of the state.
async fn herder(address: &str, clients: u128, each: u128) -> Result<Measured, Failure> {
    let temporary = tempfile::tempdir()?;
    let (_servers, known) = watch::channel(vec![address.to_owned()]);
    let transport = Arc::new(tcp::Tcp::default());
    let node =
        Consensus::follow(FollowOptions::new(temporary.path(), 99, known, transport)).await?;
    node.propose(register(0)).await?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let node = node.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            for number in 0..each {
                let start = Instant::now();
                node.propose(register(client * each + number)).await?;
                times.push(start.elapsed());
            }
            Ok::<_, consensus::ProposeError>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let took = start.elapsed();
    node.close().await;
    Ok((times, took))
}

/// By the HTTP gateway, a connection for each client that stays open.
async fn etcd(address: &str, clients: u128, each: u128) -> Result<Measured, Failure> {
    let mut open = Vec::new();
    for _ in 0..clients {
        let mut connection = http::Connection::open(address).await?;
        connection.put(b"first", &[b'x'; VALUE]).await?;
        open.push(connection);
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (client, mut connection) in (0..clients).zip(open) {
        tasks.spawn(async move {
            let mut times = Vec::new();
            for number in 0..each {
                let key = format!("machine-{}", (client * each + number) % KEYS);
                let start = Instant::now();
                connection.put(key.as_bytes(), &[b'x'; VALUE]).await?;
                times.push(start.elapsed());
            }
            Ok::<_, std::io::Error>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Ok((times, start.elapsed()))
}
