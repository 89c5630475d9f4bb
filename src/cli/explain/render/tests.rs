//! Explanations as people see them, kept.

use std::collections::BTreeMap;

use console::measure_text_width;
use model::wire::{DeploymentBrief, GateView, WaitKind};
use model::{AllocId, ClientStatus, NodeId, NodeScore, ScorePart, seeded_uuid};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(10_000);

fn style(verbose: bool) -> Style {
    Style { verbose, width: WIDTH, now: NOW }
}

fn plain(lines: &[String]) -> String {
    let lines = lines.iter().map(|line| console::strip_ansi_codes(line).into_owned());
    let lines: Vec<_> = lines.collect();
    for line in &lines {
        assert!(measure_text_width(line) <= WIDTH, "{line}");
    }
    lines.join("\n")
}

fn node(name: &str) -> NodeVerdict {
    let node = NodeId::new(seeded_uuid(&[name.as_bytes()]));
    NodeVerdict { node, name: name.to_owned(), ..NodeVerdict::default() }
}

fn fits(name: &str, packing: f64, spread: f64) -> NodeVerdict {
    let node = node(name);
    let parts = [(ScorePart::Binpack, packing), (ScorePart::AllocationSpread, spread)];
    let total = f64::midpoint(packing, spread);
    let score = NodeScore { node: node.node, total, parts: parts.into_iter().collect() };
    NodeVerdict { score: Some(score), ..node }
}

fn filtered(name: &str, reason: &str) -> NodeVerdict {
    NodeVerdict { verdict: Verdict::Filtered, reason: reason.to_owned(), ..node(name) }
}

fn short(name: &str, lacks: &[(&str, u64, u64, u64)]) -> NodeVerdict {
    let lacks = lacks.iter().map(|(dimension, asked, free, total)| Shortage {
        dimension: (*dimension).to_owned(),
        asked: *asked,
        free: *free,
        total: *total,
    });
    let lacks: Vec<_> = lacks.collect();
    let reason = lacks.first().map(|lack| lack.dimension.clone()).unwrap_or_default();
    NodeVerdict { verdict: Verdict::Exhausted, reason, lacks, ..node(name) }
}

fn counts<const N: usize>(counts: [(&str, u32); N]) -> BTreeMap<String, u32> {
    counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
}

fn evaluation() -> EvaluationBrief {
    EvaluationBrief {
        triggered_by: EvalTrigger::JobRegister,
        created_at: Timestamp::from_secs(9_700),
        ..EvaluationBrief::default()
    }
}

fn blocked() -> JobExplanation {
    let group = GroupExplanation {
        group: "web".to_owned(),
        desired: 2,
        nodes_total: 17,
        filtered: counts([("${meta.rack} = r1", 12), ("missing driver docker", 1)]),
        exhausted: counts([("cpu", 2), ("memory", 1), ("network: port 80 is taken", 1)]),
        nodes: vec![
            short("n3", &[("cpu", 1_500, 1_300, 4_000)]),
            short("n4", &[("cpu", 1_500, 100, 4_000), ("memory", 2_000, 12, 16_384)]),
            filtered("n1", "${meta.rack} = r1"),
        ],
        nodes_left_out: 14,
        waits: vec![WaitView {
            kind: WaitKind::Room,
            description:
                "2 allocations find no node: of 17 nodes 13 must not have it and 4 have no room"
                    .to_owned(),
            since: Some(Timestamp::from_secs(9_400)),
            until: None,
        }],
        ..GroupExplanation::default()
    };
    JobExplanation {
        job_id: "shop".into(),
        priority: 50,
        commit: "0123456789012345678901234567890123456789".into(),
        path: "jobs/shop.nomad.hcl".to_owned(),
        evaluation: Some(evaluation()),
        groups: vec![group],
        ..JobExplanation::default()
    }
}

fn alloc(n: u8, node: &str, today: Option<ChosenToday>) -> AllocationExplanation {
    AllocationExplanation {
        id: AllocId::new(seeded_uuid(&[&[n]])),
        name: format!("shop.web[{n}]"),
        node_name: node.to_owned(),
        client: ClientStatus::Running,
        created_at: Timestamp::from_secs(9_700),
        reason: "replaces 1a2b3c4d: task \"server\" config.args changed from what it was to \
                 something that takes more room than there is"
            .to_owned(),
        score_then: Some(0.75),
        today,
        ..AllocationExplanation::default()
    }
}

fn rolling() -> JobExplanation {
    let same = ChosenToday {
        same: true,
        own: fits("n1", 0.9, 0.5),
        best_other: Some(fits("n2", 0.8, 0.5)),
    };
    let moved = ChosenToday {
        same: false,
        own: fits("n2", 0.8, 0.0),
        best_other: Some(fits("n5", 0.8, 0.5)),
    };
    let gate = GateView {
        outdated: 3,
        now: 0,
        reason: "max_parallel is 2, and 2 must prove healthy first".to_owned(),
    };
    let group = GroupExplanation {
        group: "web".to_owned(),
        desired: 2,
        placed: 2,
        nodes_total: 3,
        nodes_fit: 2,
        filtered: counts([("node is down", 1)]),
        nodes: vec![fits("n5", 0.8, 0.5), fits("n1", 0.9, -0.5), filtered("n9", "node is down")],
        waits: vec![WaitView {
            kind: WaitKind::Gate,
            description: format!("0 of 3 may be replaced now: {}", gate.reason),
            since: None,
            until: Some(Timestamp::from_secs(10_090)),
        }],
        gate: Some(gate),
        allocations: vec![alloc(0, "n1", Some(same)), alloc(1, "n2", Some(moved))],
        ..GroupExplanation::default()
    };
    JobExplanation {
        job_version: 3,
        deployment: Some(DeploymentBrief {
            description: "Deployment is running".to_owned(),
            ..DeploymentBrief::default()
        }),
        groups: vec![group],
        ..blocked()
    }
}

fn one() -> AllocationExplained {
    let job = rolling();
    let mut group = job.groups[0].clone();
    let allocation = group.allocations.swap_remove(1);
    AllocationExplained {
        allocation,
        job_id: job.job_id,
        job_version: 3,
        commit: job.commit,
        path: job.path,
        previous: Some(AllocId::new(seeded_uuid(&[b"before"]))),
        evaluation: job.evaluation,
        deployment: job.deployment,
        nodes_evaluated: 9,
        filtered: counts([("${meta.rack} = r1", 4)]),
        exhausted: counts([("memory", 2)]),
        scores: vec![fits("n2", 0.8, 0.7), fits("n1", 0.6, 0.5)],
        group: Some(group),
        ..AllocationExplained::default()
    }
}

#[test]
fn a_job_without_room_says_what_is_missing() {
    insta::assert_snapshot!("blocked", plain(&job(&blocked(), &style(false))));
    insta::assert_snapshot!("blocked_verbose", plain(&job(&blocked(), &style(true))));
}

#[test]
fn a_rollout_says_what_it_waits_for() {
    insta::assert_snapshot!("rolling", plain(&job(&rolling(), &style(false))));
}

#[test]
fn an_allocation_says_why_it_is_there() {
    insta::assert_snapshot!("allocation", plain(&allocation(&one(), &style(false))));
}

#[test]
fn a_job_that_is_not_to_run_says_so() {
    let told = JobExplanation { stopped: "the job is stopped".to_owned(), ..blocked() };
    let text = plain(&job(&JobExplanation { groups: Vec::new(), ..told }, &style(false)));
    assert!(text.ends_with("\nnothing of it runs: the job is stopped"), "{text}");
}

#[test]
fn digits_are_in_threes() {
    for (number, text) in [(0, "0"), (999, "999"), (1_500, "1,500"), (1_234_567, "1,234,567")] {
        assert_eq!(thousands(number), text);
    }
}
