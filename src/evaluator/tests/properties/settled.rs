//! A plan that was applied leaves nothing to do.

use evaluator::preview;
use model::wire::DiffType;
use proptest::prelude::*;
use state::Command;

use crate::asked::{KINDS, spec};
use crate::world::{file, world};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_applied_plan_leaves_nothing_to_do(world in world()) {
        let mut now = world.build();
        now.settle();
        prop_assert!(now.plan().is_empty());
    }

    #[test]
    fn what_was_shown_happens_and_is_not_shown_again(
        world in world(),
        job in 0..KINDS.len(),
        spec in spec(),
    ) {
        let mut now = world.build();
        let (path, outcome) = file(&spec.build(KINDS[job].0, KINDS[job].1));
        let revision = now.revision(path.clone(), outcome.clone());
        let shown = preview(&now.state, &revision, now.now);
        prop_assert_eq!(&shown.rejection, &None);
        prop_assert!(now.apply(&Command::TakeRevision(Box::new(revision))));
        if !shown.plan.is_empty() {
            prop_assert!(now.apply(&Command::ApplyPlan(Box::new(shown.plan))), "it is the next plan");
        }
        now.settle();
        // One that fails at once and goes back is not what its file says: it would be changed again.
        let reverted = now.state.job(&KINDS[job].0.into()).is_some_and(|record| {
            record.current().is_some_and(|version| version.reverts_to.is_some())
        });
        let again = preview(&now.state, &now.revision(path, outcome), now.now);
        prop_assert_eq!(&again.rejection, &None);
        prop_assert!(reverted || again.plan.is_empty(), "{:#?}", again.plan);
        for shown in again.jobs.iter().filter(|_| !reverted) {
            prop_assert_eq!(shown.diff.kind, DiffType::None, "{:#?}", shown.diff);
        }
    }
}
