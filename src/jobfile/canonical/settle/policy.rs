//! Policies: inherited field by field, and defaulted by the type of job.

use serde_json::{Value, json};

use super::super::Object;
use super::super::read::AT;
use super::set_default;

/// What groups inherit.
pub(super) struct Above {
    kind: Kind,
    update: Option<Value>,
    reschedule: Option<Value>,
    migrate: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    Batch,
    System,
    Sysbatch,
}

impl Kind {
    fn of(text: &str) -> Self {
        match text {
            "batch" => Self::Batch,
            "system" => Self::System,
            "sysbatch" => Self::Sysbatch,
            _ => Self::Service,
        }
    }

    const fn rolls_out(self) -> bool {
        matches!(self, Self::Service | Self::System)
    }

    fn restart(self) -> Value {
        let (attempts, interval) = match self {
            Self::Service | Self::System => (2, minutes(30)),
            Self::Batch | Self::Sysbatch => (3, minutes(24 * 60)),
        };
        json!({
            "Interval": interval, "Attempts": attempts, "Delay": seconds(15), "Mode": "fail",
            "RenderTemplates": false,
        })
    }

    fn reschedule(self) -> Option<Value> {
        match self {
            Self::Service => Some(json!({
                "Attempts": 0, "Interval": 0, "Delay": seconds(30),
                "DelayFunction": "exponential", "MaxDelay": minutes(60), "Unlimited": true,
            })),
            Self::Batch => Some(json!({
                "Attempts": 1, "Interval": minutes(24 * 60), "Delay": seconds(5),
                "DelayFunction": "constant", "MaxDelay": 0, "Unlimited": false,
            })),
            Self::System | Self::Sysbatch => None,
        }
    }
}

const fn seconds(n: i64) -> i64 {
    n * 1_000_000_000
}

const fn minutes(n: i64) -> i64 {
    seconds(60 * n)
}

/// The job's own blocks. `update` is there whenever the type of job has updates.
pub(super) fn of_job(job: &mut Object) {
    if Kind::of(super::text(job, "Type")).rolls_out() {
        set_default(job, "Update", Object::new());
    }
}

impl Above {
    pub(super) fn take(job: &Object, kind: &str) -> Self {
        let part = |name: &str| job.get(name).cloned();
        Self {
            kind: Kind::of(kind),
            update: part("Update"),
            reschedule: part("Reschedule"),
            migrate: part("Migrate"),
        }
    }
}

/// A group's policies, and the count with its bounds.
pub(super) fn of_group(group: &mut Object, above: &Above) {
    let kind = above.kind;
    let said = take(group, "Update");
    set(group, "Update", over(above.update.as_ref(), said.as_ref()));
    let said = over(above.reschedule.as_ref(), take(group, "ReschedulePolicy").as_ref());
    let policy = kind.reschedule().and_then(|base| {
        let said = said.map(limited).map(Value::Object);
        over(Some(&base), said.as_ref())
    });
    set(group, "ReschedulePolicy", policy);
    let said = over(above.migrate.as_ref(), take(group, "Migrate").as_ref()).map(Value::Object);
    let base = (kind == Kind::Service).then(migrate);
    set(group, "Migrate", base.and_then(|base| over(Some(&base), said.as_ref())));
    let said = take(group, "RestartPolicy");
    set(group, "RestartPolicy", over(Some(&kind.restart()), said.as_ref()));

    let least = group.get("Scaling").and_then(|scaling| scaling.get("Min")).cloned();
    set_default(group, "Count", least.filter(|least| !least.is_null()).unwrap_or_else(|| 1.into()));
    let count = group.get("Count").cloned().unwrap_or(Value::Null);
    if let Some(scaling) = super::object(group, "Scaling") {
        set_default(scaling, "Min", count);
        set_default(scaling, "Enabled", true);
        set_default(scaling, "Type", "horizontal");
    }
}

/// A task's restarts go over its group's.
pub(super) fn of_task(task: &mut Object, of_group: Option<&Value>) {
    let own = take(task, "RestartPolicy");
    set(task, "RestartPolicy", over(of_group, own.as_ref()));
}

fn migrate() -> Value {
    json!({
        "MaxParallel": 1, "HealthCheck": "checks", "MinHealthyTime": seconds(10),
        "HealthyDeadline": seconds(300),
    })
}

/// Whoever gives a number of attempts means it as the limit, and whoever says `unlimited` means no number; Nomad refuses
/// such files instead.
fn limited(mut said: Object) -> Object {
    let attempts = said.get("Attempts").and_then(Value::as_i64);
    match said.get("Unlimited").and_then(Value::as_bool) {
        None if attempts.is_some_and(|n| n > 0) => {
            said.insert("Unlimited".to_owned(), false.into());
        }
        Some(true) if attempts.is_none() => {
            said.insert("Attempts".to_owned(), 0.into());
        }
        _ => {}
    }
    said
}

/// `upper` field by field over `lower`; nothing if neither is there. The result stands where both stand.
pub(super) fn over(lower: Option<&Value>, upper: Option<&Value>) -> Option<Object> {
    let lower = lower.and_then(Value::as_object);
    let upper = upper.and_then(Value::as_object);
    let mut merged = lower.or(upper)?.clone();
    if let (Some(lower), Some(upper)) = (lower, upper) {
        let both = [upper.get(AT), lower.get(AT)];
        let places: Vec<&str> = both.into_iter().flatten().filter_map(Value::as_str).collect();
        let places = places.join("\n");
        for (name, value) in upper.iter().filter(|(_, value)| !value.is_null()) {
            merged.insert(name.clone(), value.clone());
        }
        merged.insert(AT.to_owned(), places.into());
    }
    Some(merged)
}

fn take(parent: &mut Object, name: &str) -> Option<Value> {
    parent.remove(name).filter(|value| !value.is_null())
}

fn set(parent: &mut Object, name: &str, value: Option<Object>) {
    if let Some(value) = value {
        parent.insert(name.to_owned(), value.into());
    }
}
