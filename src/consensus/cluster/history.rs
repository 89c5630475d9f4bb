//! Clients write and read a few registers through all nodes while everything goes wrong; what they saw is checked.

use super::checker::{Done, MOST, What, is_linearizable};
use super::*;
use crate::error::ProposeError;

const REGISTERS: u64 = 4;
const CLIENTS: u64 = 6;

fn hasty(options: &mut Options) {
    options.patience = Duration::from_millis(1_500);
    options.snapshot_after = 100;
    options.keep_entries = 20;
}

/// What clients saw, by register.
#[derive(Default)]
struct History {
    clock: AtomicU64,
    done: Mutex<BTreeMap<u64, Vec<Done>>>,
}

impl History {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn record(&self, register: u64, done: Done) {
        let mut all = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(register).or_default().push(done);
    }

    fn is_full(&self, register: u64) -> bool {
        let all = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&register).is_some_and(|done| done.len() + CLIENTS as usize >= MOST)
    }
}

fn value(consensus: &Consensus, register: u64) -> u64 {
    let state = consensus.state();
    state.node(node_id(register)).map_or(0, |node| node.name.parse().expect("a number"))
}

async fn client(
    net: Arc<Net>,
    client: u64,
    nodes: Vec<u64>,
    history: Arc<History>,
    stop: watch::Receiver<bool>,
) {
    for step in 1_u64.. {
        sleep(Duration::from_millis(net.roll(30))).await;
        if *stop.borrow() {
            return;
        }
        let register = 1 + net.roll(REGISTERS);
        let at = nodes[usize::try_from(net.roll(nodes.len() as u64)).expect("small")];
        let Some(node) = net.node(&address(at)) else { continue };
        if history.is_full(register) {
            continue;
        }
        let start = history.tick();
        if net.roll(2) == 0 {
            let written = client * 1_000_000 + step;
            let result = node.propose(named(register, written.to_string())).await;
            let end = match result {
                Ok(applied) => {
                    assert_eq!(applied.rejection, None);
                    Some(history.tick())
                }
                // Certainly not taken.
                Err(ProposeError::NotLeader { .. }) => continue,
                Err(_) => None,
            };
            history.record(register, Done { what: What::Write(written), start, end });
        } else if node.linearizable().await.is_ok() {
            let read = value(&node, register);
            let end = Some(history.tick());
            history.record(register, Done { what: What::Read(read), start, end });
        }
    }
}

/// Does one bad thing after the other, each for a moment.
async fn go_wrong(cluster: &Cluster, voters: u64, steps: u64) {
    let net = &cluster.net;
    for _ in 0..steps {
        let victim = 1 + net.roll(voters);
        let others: Vec<u64> = (1..=voters).filter(|node| *node != victim).collect();
        match net.roll(7) {
            0 => net.isolate(victim, others),
            1 => others.iter().for_each(|other| net.cut(victim, *other)),
            2 => others.iter().for_each(|other| net.cut(*other, victim)),
            3 => net.weather().lost = 100,
            4 => net.weather().delay = Duration::from_millis(40),
            5 => {
                net.isolate(victim, others);
                cluster.restart(victim).await;
            }
            _ => {
                let leader = (1..=voters).find(|node| cluster.node(*node).is_leader());
                if let Some(leader) = leader {
                    let rest = (1..=voters).filter(|node| *node != leader);
                    net.isolate(leader, rest);
                }
            }
        }
        sleep(Duration::from_millis(400 + net.roll(800))).await;
        net.heal();
        sleep(Duration::from_millis(net.roll(600))).await;
    }
}

async fn check(seed: u64, voters: u64) {
    let cluster = Cluster::of(seed, voters, hasty).await;
    cluster.tell_servers(1..=voters);
    cluster.follow(9).await;
    let history = Arc::new(History::default());
    let (stop, stopped) = watch::channel(false);
    let mut clients = tokio::task::JoinSet::new();
    let nodes: Vec<u64> = (1..=voters).chain([9]).collect();
    for number in 1..=CLIENTS {
        let (net, history) = (cluster.net.clone(), history.clone());
        clients.spawn(client(net, number, nodes.clone(), history, stopped.clone()));
    }
    go_wrong(&cluster, voters, 8).await;
    stop.send_replace(true);
    while let Some(done) = timeout(LIMIT, clients.join_next()).await.expect("they end") {
        done.expect("a client");
    }
    cluster.net.heal();
    cluster.leader_among(1..=voters).await;
    let replica = cluster.node(9);
    timeout(LIMIT, async { while replica.linearizable().await.is_err() {} })
        .await
        .expect("all is well again");
    drop(replica);
    cluster.caught_up(nodes).await;
    assert_equal(&cluster.nodes());
    let histories =
        std::mem::take(&mut *history.done.lock().unwrap_or_else(PoisonError::into_inner));
    let count = |keep: fn(&Done) -> bool| -> usize {
        histories.values().flatten().filter(|done| keep(done)).count()
    };
    println!(
        "{voters} voters, seed {seed}: {} writes answered, {} unknown, {} reads",
        count(|done| matches!(done.what, What::Write(_)) && done.end.is_some()),
        count(|done| done.end.is_none()),
        count(|done| matches!(done.what, What::Read(_))),
    );
    assert!(count(|done| done.end.is_some()) > 10, "something was done");
    for (register, history) in histories {
        let mut shown = history.clone();
        shown.sort_by_key(|done| done.start);
        assert!(
            is_linearizable(&history),
            "seed {seed}, register {register}: nobody could have seen this: {shown:#?}"
        );
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_three_voters_answer_could_have_happened_in_one_place() {
    check(31, 3).await;
    check(32, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_five_voters_answer_could_have_happened_in_one_place() {
    check(41, 5).await;
    check(42, 5).await;
}
