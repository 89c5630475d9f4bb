//! Equal inputs give equal plans, and jobs that share nothing have nothing to do with each other.

use evaluator::evaluate;
use model::{EvalTrigger, JobId};
use proptest::prelude::*;
use state::{Plan, State};

use crate::world::{Building, Now, World, world};

fn bytes(plan: &Plan) -> String {
    serde_json::to_string(plan).expect("writes")
}

/// What of a plan is about one job.
fn part(state: &State, plan: &Plan, job: &JobId) -> String {
    let own = |id: &model::AllocId| state.alloc(*id).is_some_and(|alloc| alloc.job == *job);
    let mut part = plan.clone();
    part.place.retain(|alloc| alloc.job == *job);
    part.stop.retain(|stop| own(&stop.alloc));
    part.update.retain(|update| own(&update.alloc));
    part.disconnect.retain(|gone| own(&gone.alloc));
    part.reconnect.retain(own);
    part.deployments.retain(|deployment| deployment.job == *job);
    part.deployment_changes
        .retain(|change| state.deployment(change.id).is_some_and(|known| known.job == *job));
    part.stable.retain(|(id, _)| id == job);
    part.reverts.retain(|revert| revert.job == *job);
    part.evaluations.retain(|evaluation| evaluation.job == *job);
    part.wake.retain(|id, _| id == job);
    bytes(&part)
}

/// The world with job `mine` on the odd nodes and all others, which are called so, on the even ones.
fn apart(world: &World, mine: usize, others: &str, without: bool) -> Now {
    world.build_as(&Building {
        without: &|job| without && job != mine,
        name: &|job| if job == mine { "m".to_owned() } else { format!("{others}{job}") },
        node: &|n, node| node.datacenter = format!("dc{}", n % 2),
        job: &|job, built| built.datacenters = vec![format!("dc{}", u32::from(job == mine))],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_inputs_give_equal_plans(world in world()) {
        let now = world.build();
        let plan = bytes(&now.plan());
        prop_assert_eq!(&plan, &bytes(&now.plan()));
        let again = world.build();
        prop_assert_eq!(&plan, &bytes(&again.plan()), "the same commands give the same state");
        let restored = State::from_bytes(&now.state.to_bytes().expect("writes")).expect("reads");
        let restored = Now { state: restored, now: now.now };
        prop_assert_eq!(&plan, &bytes(&restored.plan()), "also where it was restored");
    }

    #[test]
    fn jobs_that_share_nothing_do_not_change_each_others_plans(world in world(), mine in 0..5usize) {
        let job = JobId::from("m");
        let now = apart(&world, mine, "z", false);
        if now.state.job(&job).is_none() {
            return Ok(());
        }
        let only = [(job.clone(), EvalTrigger::JobRegister)].into();
        let alone = bytes(&evaluate(&now.state, &only, now.now));
        prop_assert_eq!(&alone, &part(&now.state, &now.plan(), &job), "looked at beside others");
        for (others, without) in [("a", false), ("z", true)] {
            let other = apart(&world, mine, others, without);
            prop_assert_eq!(now.state.index(), other.state.index());
            let plan = part(&other.state, &other.plan(), &job);
            prop_assert_eq!(&alone, &plan, "others are called {}, are gone: {}", others, without);
        }
    }
}
