//! Where groups would rather run: affinities and spreads. What nodes must have is in `constraint`.

use std::collections::HashSet;

use model::{Affinity, JobType, Spread};

use super::{Rules, constraint};

pub(super) fn affinities(rules: &Rules<'_>, parent: &str, affinities: &[Affinity]) {
    for (at, affinity) in affinities.iter().enumerate() {
        let path = format!("{parent}/affinity.{at}");
        if rules.job.kind == JobType::System {
            let message = "a system job has no `affinity`";
            rules.error(
                "invalid-placement",
                &path,
                message,
                "it runs on each node: use `constraint`",
            );
            continue;
        }
        let Affinity { attribute, value, operator, weight } = affinity;
        constraint::operator(rules, &path, operator, &constraint::AFFINITY_OPERATORS);
        constraint::sides(rules, &path, "affinity", (attribute, operator, value));
        constraint::pattern(rules, &path, operator, value);
        if *weight == 0 {
            let message = "`weight` must not be 0, which means nothing";
            let help = "-100 to 100: below 0 for nodes to keep away from";
            rules.error("out-of-range", &format!("{path}/weight"), message, help);
        }
    }
}

pub(super) fn spreads(rules: &Rules<'_>, parent: &str, spreads: &[Spread]) {
    for (at, spread) in spreads.iter().enumerate() {
        let path = format!("{parent}/spread.{at}");
        if rules.job.kind == JobType::System {
            let message = "a system job has no `spread`";
            rules.error("invalid-placement", &path, message, "it runs on each node: delete it");
            continue;
        }
        if spread.attribute.is_empty() && rules.places.is_whole(&path) {
            let help = "for example attribute = \"${node.datacenter}\"";
            rules.error("missing-attribute", &path, "`spread` needs `attribute`", help);
        } else if !spread.attribute.is_empty() {
            constraint::reference(
                rules,
                &format!("{path}/attribute"),
                &spread.attribute,
                "a spread",
            );
        }
        if spread.weight < 1 {
            let message = format!("`weight` must be 1 to 100, this is {}", spread.weight);
            rules.error("out-of-range", &format!("{path}/weight"), message, "");
        }
        targets(rules, &path, spread);
    }
}

fn targets(rules: &Rules<'_>, path: &str, spread: &Spread) {
    let mut seen = HashSet::new();
    for (n, target) in spread.targets.iter().enumerate() {
        if !seen.insert(target.value.as_str()) {
            let message = format!("the target `{}` is in this spread twice", target.value);
            rules.error("duplicate-name", &format!("{path}/target.{n}"), message, "keep one");
        }
    }
    let all: u32 = spread.targets.iter().map(|target| u32::from(target.percent)).sum();
    if all > 100 {
        let message = format!("the targets of a spread share 100 percent, these have {all}");
        let help = "what is left of 100 is shared by all other values";
        rules.error("invalid-placement", path, message, help);
    }
}
