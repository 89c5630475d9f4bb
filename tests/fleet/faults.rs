//! Networks that lose packets, and that carry them one way only.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, rounds};

#[test]
fn lost_packets_and_one_way_links_break_nothing() {
    let Some(mut fleet) = Fleet::start(4) else { return };
    let watch = fleet.watch(&fleet.catalogs());
    let machines = fleet.machines();
    let mut release = 1;
    let mut during = |fleet: &mut Fleet, watch_for: Duration| {
        let end = Instant::now() + watch_for;
        while Instant::now() < end {
            release += 1;
            fleet.commit(4, &release.to_string());
            std::thread::sleep(Duration::from_secs(4));
        }
    };
    for machine in &machines {
        machine.lossy(&machines, 0.3);
    }
    during(&mut fleet, Duration::from_secs(rounds(12)));
    for machine in &machines {
        machine.heal();
    }
    fleet.wait_settled();

    // Others hear the leader, and it hears nobody.
    let leader = fleet.wait_leader();
    machines[leader].deaf_to(&machines);
    during(&mut fleet, Duration::from_secs(6));
    fleet.next_write();
    machines[leader].heal();
    fleet.wait_settled();

    // It hears all others, and nobody hears it.
    let leader = fleet.wait_leader();
    machines[leader].unheard_by(&machines);
    during(&mut fleet, Duration::from_secs(6));
    fleet.next_write();
    machines[leader].heal();
    fleet.wait_settled();
    fleet.wait_agreement();
    watch.end();
}
