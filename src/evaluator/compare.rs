//! What kind of change a new version makes to a group's allocations, and the first field that makes it so. What each
//! field's change means is one table in `diff`.

use model::Job;
use model::wire::ChangeClass;

use crate::diff::changes;

/// What a new version does to an allocation of an older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that concerns it.
    None,
    /// It goes on running and takes the new version's number. The field, in words.
    InPlace(String),
    /// It must be replaced. The field, in words: `task "web" config.args`.
    Destructive(String),
}

/// The first field that differs between two versions as far as `group` is concerned, and what kind of change that
/// makes. Fields that replace come before fields that do not.
pub fn compare(old: &Job, new: &Job, group: &str) -> Change {
    if old.group(group).is_none() || new.group(group).is_none() {
        return Change::Destructive(format!("group \"{group}\""));
    }
    let Some(first) = changes(old, new, group).into_iter().next() else { return Change::None };
    // Whoever reads it knows the group; only a setting that the job may have too needs it.
    let clear = |rest: &&str| {
        first.class == ChangeClass::Destructive || *rest == "count" || rest.starts_with("task ")
    };
    let within = first.path.strip_prefix(&format!("group \"{group}\" ")).filter(clear);
    let path = within.unwrap_or(&first.path).to_owned();
    match first.class {
        ChangeClass::Destructive => Change::Destructive(path),
        ChangeClass::InPlace | ChangeClass::None => Change::InPlace(path),
    }
}

#[cfg(test)]
mod tests {
    use model::Task;

    use super::*;
    use crate::samples::service;

    #[test]
    fn each_field_makes_its_kind_of_change() {
        type Edit = fn(&mut Job);
        let replaced: [(&str, Edit); 9] = [
            ("task \"web\" config.command", |job| {
                job.task_groups[0].tasks[0].config.insert("command".into(), "b".into());
            }),
            ("task \"web\" env.A", |job| {
                job.task_groups[0].tasks[0].env.insert("A".into(), "1".into());
            }),
            ("task \"web\" driver", |job| job.task_groups[0].tasks[0].driver = "exec".into()),
            ("task \"web\" resources.memory", |job| {
                job.task_groups[0].tasks[0].resources.memory_mb += 1;
            }),
            ("task \"web\" logs.disabled", |job| {
                job.task_groups[0].tasks[0].log_config.disabled = true;
            }),
            ("task \"side\"", |job| {
                let task = Task { name: "side".into(), ..Task::default() };
                job.task_groups[0].tasks.push(task);
            }),
            ("ephemeral_disk.size", |job| job.task_groups[0].ephemeral_disk.size_mb += 1),
            ("network port \"http\" to", |job| {
                job.task_groups[0].networks[0].dynamic_ports[0].to = 80;
            }),
            ("network mode", |job| job.task_groups[0].networks[0].mode = "bridge".into()),
        ];
        for (field, edit) in replaced {
            let old = service("a", 1);
            let mut new = old.clone();
            edit(&mut new);
            assert_eq!(compare(&old, &new, "web"), Change::Destructive(field.into()), "{field}");
        }
        let kept: [(&str, Edit); 6] = [
            ("count", |job| job.task_groups[0].count = 9),
            ("task \"web\" kill_timeout", |job| {
                job.task_groups[0].tasks[0].kill_timeout = std::time::Duration::from_secs(9);
            }),
            ("group \"web\" service", |job| {
                job.task_groups[0].services.push(model::Service::default());
            }),
            ("meta.a", |job| {
                job.meta.insert("a".into(), "b".into());
            }),
            ("priority", |job| job.priority = 80),
            ("constraint", |job| job.constraints.push(model::Constraint::default())),
        ];
        for (field, edit) in kept {
            let old = service("a", 1);
            let mut new = old.clone();
            edit(&mut new);
            assert_eq!(compare(&old, &new, "web"), Change::InPlace(field.into()), "{field}");
        }
        assert_eq!(compare(&service("a", 1), &service("a", 1), "web"), Change::None);
    }

    #[test]
    fn metadata_replaces_only_where_the_job_asks_for_it() {
        let old = service("a", 1);
        let mut new = old.clone();
        new.gitops.restart_on_meta = true;
        new.task_groups[0].meta.insert("team".into(), "x".into());
        assert_eq!(compare(&old, &new, "web"), Change::Destructive("meta.team".into()));
    }

    #[test]
    fn an_empty_network_mode_is_host() {
        let old = service("a", 1);
        let mut new = old.clone();
        new.task_groups[0].networks[0].mode = "host".into();
        assert!(matches!(compare(&old, &new, "web"), Change::InPlace(_)));
    }
}
