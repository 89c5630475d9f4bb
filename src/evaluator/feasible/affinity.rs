//! What a node had better be (nomad.md 1.1, 2.6).

use model::{Affinity, Constraint, Group, Job, Node};

use super::{Compiled, is_unique};

/// Affinities, ready to be held against many nodes.
pub(crate) struct Affinities {
    weighted: Vec<(Compiled, f64)>,
    /// Whether nodes of one class may answer differently.
    pub(crate) escapes: bool,
}

/// An affinity's condition as the constraint that it would be.
fn condition(affinity: &Affinity) -> Constraint {
    Constraint {
        attribute: affinity.attribute.clone(),
        value: affinity.value.clone(),
        operator: affinity.operator.clone(),
    }
}

impl Affinities {
    /// Those of a group: the job's, its own and its tasks'. `None` where there are none.
    pub(crate) fn of(job: &Job, group: &Group) -> Option<Self> {
        Self::from(Self::listed(job, group))
    }

    /// The same, as they are written.
    pub(crate) fn listed<'a>(job: &'a Job, group: &'a Group) -> impl Iterator<Item = &'a Affinity> {
        let of_tasks = group.tasks.iter().flat_map(|task| &task.affinities);
        job.affinities.iter().chain(&group.affinities).chain(of_tasks)
    }

    pub(crate) fn from<'a>(all: impl Iterator<Item = &'a Affinity>) -> Option<Self> {
        let mut escapes = false;
        let weighted: Vec<_> = all
            .filter(|affinity| affinity.weight != 0)
            .map(|affinity| {
                escapes |= is_unique(&affinity.attribute) || is_unique(&affinity.value);
                (Compiled::from(&condition(affinity)), f64::from(affinity.weight))
            })
            .collect();
        (!weighted.is_empty()).then_some(Self { weighted, escapes })
    }

    /// The same for what has units.
    pub(super) fn of_quantities(self) -> Self {
        let weighted =
            self.weighted.into_iter().map(|(one, weight)| (one.of_quantities(), weight)).collect();
        Self { weighted, ..self }
    }

    /// How well a node meets them, from −1 to 1.
    pub(crate) fn score(&self, node: &Node) -> f64 {
        self.sum(|condition| condition.holds(node))
    }

    /// How well something meets them, given which conditions it meets.
    pub(crate) fn sum(&self, holds: impl Fn(&Compiled) -> bool) -> f64 {
        let all: f64 = self.weighted.iter().map(|(_, weight)| weight.abs()).sum();
        let met = self.weighted.iter().filter(|(condition, _)| holds(condition));
        // The sum of nothing is a negative zero, which nobody wants to read.
        (met.map(|(_, weight)| weight).sum::<f64>() + 0.0) / all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{node, service};

    #[test]
    fn weights_are_shares_of_all_weights() {
        let mut job = service("a", 1);
        let affinity = |attribute: &str, value: &str, weight| Affinity {
            attribute: attribute.into(),
            value: value.into(),
            weight,
            ..Affinity::default()
        };
        assert!(Affinities::of(&job, &job.task_groups[0]).is_none());
        job.affinities = vec![affinity("${node.datacenter}", "dc1", 50)];
        job.task_groups[0].affinities = vec![affinity("${meta.rack}", "r1", -25)];
        job.task_groups[0].tasks[0].affinities = vec![affinity("${node.class}", "big", 25)];
        let score = |node: &Node| {
            Affinities::of(&job, &job.task_groups[0]).expect("there are some").score(node)
        };
        let mut node = node(1);
        assert_eq!(score(&node), 0.5);
        node.meta.insert("rack".into(), "r1".into());
        assert_eq!(score(&node), 0.25);
        node.class = "big".into();
        assert_eq!(score(&node), 0.5);
        node.datacenter = "dc2".into();
        assert_eq!(score(&node), 0.0);
    }
}
