//! What is kept of nodes from pass to pass changes no plan, whatever has become of the plans and of the state meanwhile.

use evaluator::{Fleet, evaluate, evaluate_with};
use model::{NodeId, PlacementAlgorithm};
use proptest::prelude::*;
use state::{Command, Plan, State};

use crate::asked::{Machine, machine};
use crate::samples::node;
use crate::world::{Now, World, world};

/// Nodes that come while passes are made are numbered from here.
const LATER: u32 = 100;

/// What becomes of a plan, or of the state, between two passes.
#[derive(Clone, Debug)]
enum Fate {
    /// The plan is not carried out: it came too late, or the leader lost its place.
    Lost,
    Applied,
    /// Only the first part is, and of that so many placements.
    Part(usize),
    /// A node comes.
    Joins(Machine),
    /// One goes for good.
    Leaves(usize),
    /// Nodes are chosen in another way.
    Chooses(PlacementAlgorithm),
    /// The server is told the whole state anew.
    Restored,
    /// It led before, and its nodes are those of long ago.
    LongAgo,
}

fn fate() -> impl Strategy<Value = Fate> {
    let algorithm =
        prop_oneof![Just(PlacementAlgorithm::Binpack), Just(PlacementAlgorithm::Spread)];
    prop_oneof![
        4 => Just(Fate::Lost),
        4 => Just(Fate::Applied),
        2 => (0..4usize).prop_map(Fate::Part),
        1 => machine().prop_map(Fate::Joins),
        1 => (0..8usize).prop_map(Fate::Leaves),
        1 => algorithm.prop_map(Fate::Chooses),
        1 => Just(Fate::Restored),
        2 => Just(Fate::LongAgo),
    ]
}

fn bytes(plan: &Plan) -> String {
    serde_json::to_string(plan).expect("writes")
}

/// What leads on from one pass to the next.
struct Passes {
    fleet: Fleet,
    /// A state that was seen, and the fleet of a server that has planned nothing since.
    long_ago: Option<(State, Fleet)>,
    fates: Vec<Fate>,
    made: usize,
}

impl Passes {
    fn pass(&mut self, now: &mut Now) -> Result<(), TestCaseError> {
        let jobs = now.everything();
        let anew = evaluate(&now.state, &jobs, now.now);
        let kept = evaluate_with(&mut self.fleet, &now.state, &jobs, now.now);
        prop_assert_eq!(bytes(&anew), bytes(&kept), "in pass {}", self.made);
        // Some jobs only, as in most passes.
        for job in jobs.into_iter().skip(self.made % 3).step_by(3) {
            let one = [job].into();
            let anew = evaluate(&now.state, &one, now.now);
            let kept = evaluate_with(&mut self.fleet, &now.state, &one, now.now);
            prop_assert_eq!(bytes(&anew), bytes(&kept), "in pass {}", self.made);
        }
        let fate = self.fates.get(self.made % self.fates.len()).cloned();
        self.made += 1;
        match fate.unwrap_or(Fate::Lost) {
            Fate::Lost => {}
            Fate::Applied => {
                now.apply(&Command::ApplyPlan(Box::new(kept)));
            }
            Fate::Part(placed) => {
                let mut part = kept;
                part.place.truncate(placed);
                part.stop.retain(|stop| stop.next.is_none());
                now.apply(&Command::ApplyPlan(Box::new(part)));
            }
            Fate::Joins(machine) => {
                let node = Box::new(machine.build(LATER + self.made as u32));
                now.apply(&Command::RegisterNode { node, at: now.now });
            }
            Fate::Leaves(at) => {
                let all: Vec<NodeId> = now.state.nodes().map(|node| node.id).collect();
                if let Some(node) = all.get(at % all.len().max(1)) {
                    let (node, at) = (*node, now.now);
                    now.apply(&Command::RemoveNode { node, until: at, at });
                }
            }
            Fate::Chooses(algorithm) => {
                let mut config = *now.state.scheduler_config();
                config.algorithm = algorithm;
                now.apply(&Command::SetSchedulerConfig { config, if_index: None });
            }
            Fate::Restored => {
                let bytes = now.state.to_bytes().expect("writes");
                now.state = State::from_bytes(&bytes).expect("reads");
            }
            Fate::LongAgo => {
                let fleet = std::mem::take(&mut self.fleet);
                if let Some((_, fleet)) = self.long_ago.replace((now.state.clone(), fleet)) {
                    self.fleet = fleet;
                }
                // Also back to a state of which all that came later is gone.
                if let Some((state, _)) = &self.long_ago {
                    let jobs = now.everything();
                    let anew = evaluate(state, &jobs, now.now);
                    let kept = evaluate_with(&mut self.fleet, state, &jobs, now.now);
                    prop_assert_eq!(bytes(&anew), bytes(&kept), "back in pass {}", self.made);
                }
            }
        }
        Ok(())
    }
}

fn plans_alike(world: &World, fates: Vec<Fate>) -> Result<(), TestCaseError> {
    let mut passes = Passes { fleet: Fleet::default(), long_ago: None, fates, made: 0 };
    let mut failed = Ok(());
    let mut now = world.build_watched(&mut |now| {
        if failed.is_ok() {
            failed = passes.pass(now);
        }
    });
    failed?;
    for _ in 0..4 {
        passes.pass(&mut now)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_changes_no_plan(
        world in world(),
        fates in proptest::collection::vec(fate(), 1..12),
    ) {
        plans_alike(&world, fates)?;
    }
}

#[test]
fn a_node_that_is_drained_dies_and_comes_back_takes_what_it_took() {
    // One node of three is in each state, and what was kept before is of another.
    let mut now = Now { state: State::default(), now: model::Timestamp::from_secs(1) };
    for n in 1..=3 {
        now.apply(&Command::RegisterNode { node: Box::new(node(n)), at: now.now });
    }
    let job = crate::samples::of_kind("web", model::JobType::Service, 6);
    let (file, outcome) = crate::world::file(&job);
    let revision = now.revision(file, outcome);
    now.apply(&Command::TakeRevision(Box::new(revision)));
    let mut fleet = Fleet::default();
    let mut on_first = |now: &Now| {
        let plan = evaluate_with(&mut fleet, &now.state, &now.everything(), now.now);
        assert_eq!(bytes(&plan), bytes(&now.plan()));
        plan.place.iter().filter(|alloc| alloc.node == node(1).id).count()
    };
    let (first, at) = (node(1).id, now.now);
    assert_eq!(on_first(&now), 2);
    let status = |status| Command::SetNodeStatus { node: first, status, at };
    now.apply(&status(model::NodeStatus::Down));
    assert_eq!(on_first(&now), 0, "it is down");
    now.apply(&status(model::NodeStatus::Ready));
    assert_eq!(on_first(&now), 2, "it is back");
    let eligibility = model::Eligibility::Ineligible;
    now.apply(&Command::SetEligibility { node: first, eligibility, at });
    assert_eq!(on_first(&now), 0, "it takes nothing");
}
