//! What lies around a job file: vars files, included files, several jobs in one file.

use server::{PlanRequest, PlanSource};

use crate::world::{World, job};

/// A job whose command depends on `var.x`.
fn templated(id: &str, head: &str) -> String {
    format!("{head}\nvariable \"x\" {{}}\n{}", job(id, 0).replace("true0", "run-${var.x}"))
}

/// What the job runs now.
fn command(world: &World, id: &str) -> String {
    let state = world.server().state();
    let record = state.job(&id.into()).expect("is known");
    let job = serde_json::to_value(record.job().expect("has a version")).expect("serialises");
    job["TaskGroups"][0]["Tasks"][0]["Config"]["command"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_vars_file_changes_the_jobs_that_it_applies_to_and_no_other() {
    let mut world = World::open(&["r"]).await;
    let web = ("jobs/web/a.hcl", templated("a", ""));
    let db = ("jobs/db/b.hcl", templated("b", ""));
    let plain = ("c.hcl", job("c", 1));
    let root = |value: &str| ("all.vars.hcl", format!("x = \"{value}\"\nother = 1\n"));
    let near = |value: &str| ("jobs/web/near.vars.hcl", format!("x = \"{value}\"\n"));
    world.commit("r", &[web.clone(), db.clone(), plain.clone(), root("1")]).await;
    assert_eq!((command(&world, "a"), command(&world, "b")), ("run-1".into(), "run-1".into()));
    world.commit("r", &[web.clone(), db.clone(), plain.clone(), root("1"), near("2")]).await;
    assert_eq!((command(&world, "a"), command(&world, "b")), ("run-2".into(), "run-1".into()));
    assert_eq!((world.version("a"), world.version("b"), world.version("c")), (1, 0, 0));
    world.commit("r", &[web.clone(), db.clone(), plain.clone(), root("3"), near("2")]).await;
    assert_eq!((world.version("a"), world.version("b"), world.version("c")), (1, 1, 0));
    // Without the file that it needs, the job goes on as it was.
    world.commit("r", &[web.clone(), db.clone(), plain.clone(), near("2")]).await;
    assert_eq!((command(&world, "b"), world.version("b")), ("run-3".into(), 1));
    assert!(world.problems("r", "jobs/db/b.hcl").contains("has no value"));
    world
        .commit("r", &[web, db, plain, root("4"), ("jobs/web/near.vars.hcl", "link: x".into())])
        .await;
    assert_eq!((command(&world, "a"), command(&world, "b")), ("run-2".into(), "run-4".into()));
    assert!(world.problems("r", "jobs/web/a.hcl").contains("symbolic link"));
    world.close().await;
}

#[tokio::test]
async fn values_of_an_environment_are_for_agents_of_it() {
    let mut world = World::open(&["r"]).await;
    let files = [
        ("a.hcl", templated("a", "")),
        ("x.vars.hcl", "x = \"all\"".to_owned()),
        ("x.prod.vars.hcl", "x = \"prod\"".to_owned()),
    ];
    world.commit("r", &files).await;
    assert_eq!(command(&world, "a"), "run-all");
    world.inputs.environment = Some("prod".into());
    world.restart(&["r"]).await;
    world
        .until("the other values count", |state| {
            state.job(&"a".into()).is_some_and(|a| a.versions.len() == 2)
        })
        .await;
    assert_eq!(command(&world, "a"), "run-prod");
    world.inputs.variables.insert("x".into(), "agent".into());
    world.restart(&["r"]).await;
    world
        .until("the agent's value counts", |state| {
            state.job(&"a".into()).is_some_and(|a| a.versions.len() == 3)
        })
        .await;
    world.close().await;
}

#[tokio::test]
async fn an_included_file_is_part_of_those_that_include_it() {
    let mut world = World::open(&["r"]).await;
    // What is included lies outside of the paths that are followed.
    world.paths("r", "jobs/");
    let a = (
        "jobs/a.hcl",
        templated("a", "include = [\"../lib/one.hcl\"]")
            .replace("var.x", "local.y")
            .replace("variable \"x\" {}\n", ""),
    );
    let b = ("jobs/b.hcl", job("b", 1));
    let one =
        ("lib/one.hcl", "include = [\"two.hcl\"]\nlocals {\n  y = upper(var.z)\n}\n".to_owned());
    let two = |value: &str| ("lib/two.hcl", format!("variable \"z\" {{ default = \"{value}\" }}"));
    world.commit("r", &[a.clone(), b.clone(), one.clone(), two("k")]).await;
    assert_eq!(command(&world, "a"), "run-K");
    world.commit("r", &[a.clone(), b.clone(), one.clone(), two("l")]).await;
    assert_eq!(
        (command(&world, "a"), world.version("a"), world.version("b")),
        ("run-L".into(), 1, 0)
    );
    world.commit("r", &[a.clone(), b.clone(), one.clone()]).await;
    assert_eq!(command(&world, "a"), "run-L");
    assert!(world.problems("r", "jobs/a.hcl").contains("there is no file lib/two.hcl"));
    world
        .commit(
            "r",
            &[a.clone(), b.clone(), one.clone(), two("m"), ("k.vars.hcl", "z = \"n\"".into())],
        )
        .await;
    assert_eq!(
        command(&world, "a"),
        "run-N",
        "a vars file above the paths that are followed counts"
    );
    let before = world.version("a");
    world.restart(&["r"]).await;
    world
        .commit("r", &[a, b, one, two("m"), ("k.vars.hcl", "z = \"n\"".into()), ("x", "y".into())])
        .await;
    assert_eq!(world.version("a"), before);
    world.close().await;
}

#[tokio::test]
async fn a_plan_of_a_working_tree_sees_what_lies_around_it() {
    let mut world = World::open(&["r"]).await;
    let a = (
        "jobs/a.hcl",
        templated("a", "include = [\"/lib.hcl\"]").replace("var.x", "var.x}${local.y"),
    );
    let rest = [
        ("lib.hcl", "locals {\n  y = \"-\"\n}".to_owned()),
        ("all.vars.hcl", "x = \"1\"".to_owned()),
    ];
    let committed: Vec<_> = [a.clone()].into_iter().chain(rest.clone()).collect();
    world.commit("r", &committed).await;
    assert_eq!(command(&world, "a"), "run-1-");
    let plan_without = async |files: &[(&str, String)], under: &str, gone: &[&str]| {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.clone().into_bytes()))
            .collect();
        let gone = gone.iter().map(|path| (*path).to_owned()).collect();
        let source = PlanSource::Files { files, under: under.to_owned(), gone };
        let request = PlanRequest { repo: None, source };
        let outcome = world.server().plan(request).await.expect("is planned");
        let kinds: Vec<_> =
            outcome.preview.jobs.iter().map(|job| (job.change, job.diff.kind)).collect();
        (format!("{kinds:?}"), outcome.problems)
    };
    let plan = async |files: &[(&str, String)], under: &str| plan_without(files, under, &[]).await;
    let (kinds, problems) = plan(std::slice::from_ref(&a), "jobs").await;
    assert!(
        problems.is_empty() && kinds.contains("None"),
        "what is not given is as committed: {kinds} {problems:?}"
    );
    let changed = [a.clone(), ("all.vars.hcl", "x = \"2\"".to_owned())];
    let (kinds, problems) = plan(&changed, "jobs").await;
    assert!(problems.is_empty() && kinds.contains("Edited"), "{kinds} {problems:?}");
    for (gone, code) in [("lib.hcl", "unknown-include"), ("/", "missing-variable")] {
        let (_, problems) = plan_without(std::slice::from_ref(&a), "jobs", &[gone]).await;
        assert!(problems.iter().any(|problem| problem.code == code), "{gone}: {problems:?}");
        let (kinds, problems) = plan_without(&changed, "jobs", &["other.hcl", "jobs/"]).await;
        assert!(problems.is_empty() && kinds.contains("Edited"), "{kinds} {problems:?}");
    }
    let (_, problems) = plan(std::slice::from_ref(&a), "").await;
    assert!(problems.iter().any(|problem| problem.code == "unknown-include"), "{problems:?}");
    assert!(
        problems.iter().any(|problem| problem.code == "missing-variable") || problems.len() == 1
    );
    world.close().await;
}

#[tokio::test]
async fn jobs_of_one_file_live_on_their_own() {
    let mut world = World::open(&["r"]).await;
    let both = |a: u32, b: u32| format!("{}{}", job("a", a), job("b", b));
    let rest = [("c.hcl", job("c", 1)), ("d.hcl", job("d", 1))];
    let with = |files: &[(&'static str, String)]| [files, rest.as_slice()].concat();
    world.commit("r", &with(&[("f.hcl", both(1, 1))])).await;
    assert_eq!(world.running(), ["a", "b", "c", "d"]);
    world.commit("r", &with(&[("f.hcl", both(1, 2))])).await;
    assert_eq!((world.version("a"), world.version("b")), (0, 1), "only what changed is new");
    // One of them moves into another file.
    world.commit("r", &with(&[("f.hcl", job("b", 2)), ("g.hcl", job("a", 1))])).await;
    assert_eq!((world.running().len(), world.version("a"), world.version("b")), (4, 0, 1));
    // What cannot be read keeps both.
    world.commit("r", &with(&[("f.hcl", both(1, 2))])).await;
    world.commit("r", &with(&[("f.hcl", format!("{}job {{", both(1, 2)))])).await;
    assert_eq!((world.running().len(), world.held().len()), (4, 0));
    // One is taken out: that is one of four jobs, and within the budget.
    world.commit("r", &with(&[("f.hcl", job("b", 2))])).await;
    assert_eq!(
        (world.running(), world.held().len()),
        (["b", "c", "d"].map(str::to_owned).to_vec(), 0)
    );
    // In a history of its own nothing stops.
    world.commit("r", &with(&[("f.hcl", both(1, 2))])).await;
    world.rewrite("r", &with(&[("f.hcl", job("b", 2))])).await;
    assert_eq!((world.running().len(), world.held()), (4, vec!["a".to_owned()]));
    world.rewrite("r", &rest).await;
    assert_eq!((world.running().len(), world.held()), (4, vec!["a".to_owned(), "b".to_owned()]));
    world.server().approve_removals(Some("r"), vec!["a".into()]).await.expect("is held");
    assert_eq!((world.running().len(), world.held()), (3, vec!["b".to_owned()]));
    world.close().await;
}
