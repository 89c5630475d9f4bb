//! Policies: inherited field by field, and defaulted by the type of job.

use serde_json::Value;

use super::super::Object;
use super::super::read::AT;
use super::set_default;

/// What groups inherit.
pub(super) struct Above {
    kind: Kind,
    update: Option<Object>,
    reschedule: Option<Object>,
    migrate: Option<Object>,
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

    fn restart(self) -> Object {
        let (attempts, interval) = match self {
            Self::Service | Self::System => (2, minutes(30)),
            Self::Batch | Self::Sysbatch => (3, minutes(24 * 60)),
        };
        object([
            ("Interval", interval.into()),
            ("Attempts", attempts.into()),
            ("Delay", seconds(15).into()),
            ("Mode", "fail".into()),
            ("RenderTemplates", false.into()),
        ])
    }

    fn reschedule(self) -> Option<Object> {
        match self {
            Self::Service => Some(object([
                ("Attempts", 0.into()),
                ("Interval", 0.into()),
                ("Delay", seconds(30).into()),
                ("DelayFunction", "exponential".into()),
                ("MaxDelay", minutes(60).into()),
                ("Unlimited", true.into()),
            ])),
            Self::Batch => Some(object([
                ("Attempts", 1.into()),
                ("Interval", minutes(24 * 60).into()),
                ("Delay", seconds(5).into()),
                ("DelayFunction", "constant".into()),
                ("MaxDelay", 0.into()),
                ("Unlimited", false.into()),
            ])),
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
        let part = |name: &str| job.get(name).and_then(Value::as_object).cloned();
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
    set(group, "Update", over(above.update.clone(), said));
    let said = over(above.reschedule.clone(), take(group, "ReschedulePolicy"));
    let base = kind.reschedule();
    set(group, "ReschedulePolicy", base.and_then(|base| over(Some(base), said.map(limited))));
    let said = over(above.migrate.clone(), take(group, "Migrate"));
    let base = (kind == Kind::Service).then(migrate);
    set(group, "Migrate", base.and_then(|base| over(Some(base), said)));
    let said = take(group, "RestartPolicy");
    set(group, "RestartPolicy", over(Some(kind.restart()), said));

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
    let of_group = of_group.and_then(Value::as_object).cloned();
    set(task, "RestartPolicy", over(of_group, own));
}

fn migrate() -> Object {
    object([
        ("MaxParallel", 1.into()),
        ("HealthCheck", "checks".into()),
        ("MinHealthyTime", seconds(10).into()),
        ("HealthyDeadline", seconds(300).into()),
    ])
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Object {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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
pub(super) fn over(lower: Option<Object>, upper: Option<Object>) -> Option<Object> {
    let (mut merged, upper) = match (lower, upper) {
        (Some(lower), Some(upper)) => (lower, upper),
        (lower, upper) => return lower.or(upper),
    };
    let both = [upper.get(AT), merged.get(AT)];
    let places: Vec<&str> = both.into_iter().flatten().filter_map(Value::as_str).collect();
    let places = places.join("\n");
    merged.extend(upper.into_iter().filter(|(_, value)| !value.is_null()));
    merged.insert(AT.to_owned(), places.into());
    Some(merged)
}

pub(super) fn take(parent: &mut Object, name: &str) -> Option<Object> {
    match parent.remove(name) {
        Some(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn set(parent: &mut Object, name: &str, value: Option<Object>) {
    if let Some(value) = value {
        parent.insert(name.to_owned(), value.into());
    }
}
