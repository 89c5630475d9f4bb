use model::Dependency;
use state::renamed_path;

use super::remove::EMPTY_TREE;
use super::*;

fn job(id: &str) -> Job {
    Job { id: id.into(), ..Job::default() }
}

fn parsed(blob: &str, id: &str) -> ReadFile {
    several(blob, &[id])
}

fn several(blob: &str, ids: &[&str]) -> ReadFile {
    let jobs = ids.iter().map(|id| job(id)).collect();
    ReadFile::Parsed {
        blob: blob.into(),
        jobs,
        problems: Vec::new(),
        reading: FileReading::default(),
    }
}

fn broken(blob: &str) -> ReadFile {
    let problem = Diagnostic::file_error("syntax", "x", "bad", "");
    ReadFile::Parsed {
        blob: blob.into(),
        jobs: Vec::new(),
        problems: vec![problem],
        reading: FileReading::default(),
    }
}

fn record(files: &[(&str, &str, &str)]) -> RepoRecord {
    let files = files
        .iter()
        .map(|(path, blob, job)| {
            let file = FileRecord {
                blob: (*blob).into(),
                jobs: job.split_whitespace().map(Into::into).collect(),
                ..FileRecord::default()
            };
            ((*path).to_owned(), file)
        })
        .collect();
    RepoRecord { head: Some("old".into()), files, ..RepoRecord::default() }
}

fn head(ancestry: Ancestry) -> Head {
    Head {
        repo: "r".into(),
        branch: "main".into(),
        commit: CommitInfo {
            id: "new".into(),
            parents: Vec::new(),
            author: "A <a@example.org>".into(),
            subject: "s".into(),
            committed_at: Timestamp::ZERO,
            tree: "t".into(),
        },
        seen_at: Timestamp::ZERO,
        ancestry,
        inputs: String::new(),
    }
}

fn plan(record: &RepoRecord, head: &Head, reading: &[(&str, ReadFile)]) -> TakeRevision {
    let reading = reading.iter().map(|(path, file)| ((*path).to_owned(), file.clone())).collect();
    plan_revision(
        Some(record),
        &Others::default(),
        head,
        &reading,
        Budget::default(),
        Timestamp::ZERO,
    )
}

fn kind(taken: &TakeRevision, path: &str) -> &'static str {
    match taken.files.get(path) {
        None => "nothing",
        Some(FileOutcome::Job { .. }) => "job",
        Some(FileOutcome::Jobs { .. }) => "jobs",
        Some(FileOutcome::Broken { .. }) => "broken",
        Some(FileOutcome::Removed) => "removed",
        Some(FileOutcome::RemovalHeld) => "held",
        Some(FileOutcome::Forgotten) => "forgotten",
    }
}

#[test]
fn a_removed_file_stops_its_job_only_when_history_goes_on() {
    let record = record(&[("a", "1", "a"), ("b", "2", "b"), ("c", "3", "c")]);
    let reading = [("a", ReadFile::Same), ("b", ReadFile::Same)];
    let taken = plan(&record, &head(Ancestry::Descendant), &reading);
    assert_eq!(kind(&taken, "c"), "removed");
    let taken = plan(&record, &head(Ancestry::Rewritten), &reading);
    assert_eq!(kind(&taken, "c"), "held");
    assert_eq!(taken.notes.len(), 1);
}

#[test]
fn the_only_job_can_be_removed_but_an_empty_repository_stops_nothing() {
    let one = record(&[("a", "1", "a")]);
    assert_eq!(kind(&plan(&one, &head(Ancestry::Descendant), &[]), "a"), "removed");
    let mut empty = head(Ancestry::Descendant);
    empty.commit.tree = EMPTY_TREE.into();
    assert_eq!(kind(&plan(&one, &empty, &[]), "a"), "held");
    let two = record(&[("a", "1", "a"), ("b", "1", "b")]);
    assert_eq!(kind(&plan(&two, &head(Ancestry::Descendant), &[]), "a"), "held");
}

#[test]
fn more_removals_than_the_budget_are_held() {
    let record = record(&[("a", "1", "a"), ("b", "2", "b"), ("c", "3", "c"), ("d", "4", "d")]);
    let taken = plan(&record, &head(Ancestry::Descendant), &[("a", ReadFile::Same)]);
    assert_eq!(kind(&taken, "d"), "held");
    let taken =
        plan(&record, &head(Ancestry::Descendant), &[("a", ReadFile::Same), ("b", ReadFile::Same)]);
    assert_eq!(kind(&taken, "d"), "removed");
}

#[test]
fn what_is_held_stays_held_until_it_comes_back() {
    let mut record = record(&[("a", "1", "a"), ("b", "2", "b")]);
    record.files.get_mut("b").expect("b").removal_held = true;
    let taken = plan(&record, &head(Ancestry::Descendant), &[("a", ReadFile::Same)]);
    assert_eq!(kind(&taken, "b"), "nothing");
    let taken = plan(
        &record,
        &head(Ancestry::Descendant),
        &[("a", ReadFile::Same), ("b", parsed("2", "b"))],
    );
    assert_eq!(kind(&taken, "b"), "job");
}

#[test]
fn a_moved_file_is_no_removal() {
    let record = record(&[("a", "1", "a"), ("b", "2", "b")]);
    let taken = plan(
        &record,
        &head(Ancestry::Rewritten),
        &[("c", parsed("1", "a")), ("b", ReadFile::Same)],
    );
    assert_eq!((kind(&taken, "a"), kind(&taken, "c")), ("forgotten", "job"));
}

#[test]
fn two_files_for_one_job_keep_the_first_owner() {
    let record = record(&[("b", "2", "x")]);
    let taken = plan(
        &record,
        &head(Ancestry::Descendant),
        &[("a", parsed("1", "x")), ("b", ReadFile::Same)],
    );
    assert_eq!((kind(&taken, "a"), kind(&taken, "b")), ("broken", "nothing"));
    let fresh = RepoRecord::default();
    let reading = [("a", parsed("1", "x")), ("b", parsed("2", "x"))];
    let taken = plan(&fresh, &head(Ancestry::First), &reading);
    assert_eq!((kind(&taken, "a"), kind(&taken, "b")), ("job", "broken"));
}

#[test]
fn a_broken_file_never_removes_its_job_nor_lends_it_to_another() {
    let record = record(&[("a", "1", "x")]);
    let taken =
        plan(&record, &head(Ancestry::Descendant), &[("a", broken("9")), ("b", parsed("2", "x"))]);
    assert_eq!((kind(&taken, "a"), kind(&taken, "b")), ("broken", "broken"));
}

#[test]
fn a_file_that_stays_broken_is_no_news() {
    let mut record = record(&[("a", "9", "x")]);
    let file = record.files.get_mut("a").expect("a");
    file.broken = true;
    file.problems = vec![Diagnostic::file_error("syntax", "x", "bad", "")];
    assert_eq!(
        kind(&plan(&record, &head(Ancestry::Descendant), &[("a", broken("9"))]), "a"),
        "nothing"
    );
    assert_eq!(
        kind(&plan(&record, &head(Ancestry::Descendant), &[("a", broken("8"))]), "a"),
        "broken"
    );
}

#[test]
fn a_job_that_its_file_declares_no_more_is_a_removal_like_any_other() {
    let record = record(&[("a", "1", "x"), ("b", "2", "b"), ("c", "3", "c")]);
    let renamed = renamed_path("a", &"x".into());
    let reading = [("a", parsed("9", "y")), ("b", ReadFile::Same), ("c", ReadFile::Same)];
    let taken = plan(&record, &head(Ancestry::Descendant), &reading);
    assert_eq!((kind(&taken, "a"), kind(&taken, &renamed)), ("job", "removed"));
    let taken = plan(&record, &head(Ancestry::Rewritten), &reading);
    assert_eq!((kind(&taken, "a"), kind(&taken, &renamed)), ("job", "held"));
    assert!(taken.notes[0].contains("`x`"), "{:?}", taken.notes);
    let all = [("a", parsed("9", "y")), ("b", parsed("8", "z")), ("c", ReadFile::Same)];
    let taken = plan(&record, &head(Ancestry::Descendant), &all);
    assert_eq!(kind(&taken, &renamed), "held", "two of three are more than the budget");
    // It only moved.
    let moved = [("a", parsed("9", "y")), ("b", ReadFile::Same), ("d", parsed("1", "x"))];
    let taken = plan(&record, &head(Ancestry::Descendant), &moved);
    assert_eq!(kind(&taken, &renamed), "nothing");
}

#[test]
fn a_held_job_stays_held_when_its_file_comes_back_as_another() {
    let mut record = record(&[("a", "1", "x"), ("b", "2", "b")]);
    record.files.get_mut("a").expect("a").removal_held = true;
    let reading = [("a", parsed("9", "y")), ("b", ReadFile::Same)];
    let taken = plan(&record, &head(Ancestry::Descendant), &reading);
    assert_eq!(kind(&taken, &renamed_path("a", &"x".into())), "held");
}

#[test]
fn a_file_that_was_moved_and_broken_stops_nothing() {
    let record = record(&[("a", "1", "a"), ("b", "2", "b"), ("c", "3", "c")]);
    let same = [("a", ReadFile::Same), ("b", ReadFile::Same)];
    let moved = [same.as_slice(), &[("d", broken("9"))]].concat();
    let taken = plan(&record, &head(Ancestry::Descendant), &moved);
    assert_eq!((kind(&taken, "c"), kind(&taken, "d")), ("held", "broken"));
    // One that was broken before has nothing to do with it.
    let mut known = record;
    let file = FileRecord { blob: "9".into(), broken: true, ..FileRecord::default() };
    known.files.insert("d".into(), file);
    let taken = plan(&known, &head(Ancestry::Descendant), &moved);
    assert_eq!(kind(&taken, "c"), "removed");
}

#[test]
fn what_is_not_looked_at_any_more_is_held() {
    let record = record(&[("a", "1", "a"), ("b", "2", "b"), ("c", "3", "c"), ("d", "4", "")]);
    let reading = [
        ("a", ReadFile::Same),
        ("b", ReadFile::Same),
        ("c", ReadFile::Outside),
        ("d", ReadFile::Outside),
    ];
    let taken = plan(&record, &head(Ancestry::Descendant), &reading);
    assert_eq!((kind(&taken, "c"), kind(&taken, "d")), ("held", "forgotten"));
    assert!(taken.notes[0].contains("`c` keeps running"), "{:?}", taken.notes);
    let moved = [("a", ReadFile::Same), ("b", parsed("3", "c")), ("c", ReadFile::Outside)];
    let taken = plan(&record, &head(Ancestry::Descendant), &moved);
    assert_eq!(kind(&taken, "c"), "forgotten");
}

#[test]
fn a_job_of_another_repository_is_left_alone() {
    let mut state = State::default();
    let file = FileOutcome::Job {
        blob: "1".into(),
        submission: JobSubmission { job: Arc::new(job("x")) },
        problems: Vec::new(),
    };
    let taken = TakeRevision {
        repo: "other".into(),
        commit: "c".into(),
        files: [("o".to_owned(), file)].into(),
        ..TakeRevision::default()
    };
    state.apply(1, &state::Command::TakeRevision(Box::new(taken)));
    let reading = [("a".to_owned(), parsed("2", "x"))].into();
    let plan = |followed: &[&str]| {
        let followed = followed.iter().map(|name| (*name).to_owned()).collect();
        let others = Others::of(&state, "r", &followed);
        let (head, budget) = (head(Ancestry::First), Budget::default());
        plan_revision(None, &others, &head, &reading, budget, Timestamp::ZERO)
    };
    let taken = plan(&["r", "other"]);
    let Some(FileOutcome::Broken { problems, .. }) = taken.files.get("a") else {
        panic!("{taken:?}")
    };
    assert_eq!(problems[0].code, DECLARED_ELSEWHERE);
    assert!(problems[0].message.contains("o of repository `other`"), "{problems:?}");
    let taken = plan(&["r"]);
    assert_eq!(kind(&taken, "a"), "job", "nobody follows the other one any more");
    assert_eq!(state.apply(2, &state::Command::TakeRevision(Box::new(taken))).rejection, None);
}

#[test]
fn a_file_that_was_read_with_other_values_is_news() {
    let record = record(&[("a", "1", "a")]);
    let head = head(Ancestry::Descendant);
    assert_eq!(kind(&plan(&record, &head, &[("a", parsed("1", "a"))]), "a"), "nothing");
    let reading = FileReading {
        inputs: "other".into(),
        reads: ["lib".to_owned()].into(),
        ..FileReading::default()
    };
    let ReadFile::Parsed { blob, jobs, problems, .. } = parsed("1", "a") else { panic!("parsed") };
    let file = ReadFile::Parsed { blob, jobs, problems, reading: reading.clone() };
    let taken = plan(&record, &head, &[("a", file.clone())]);
    assert_eq!((kind(&taken, "a"), taken.readings.get("a")), ("job", Some(&reading)));
    let mut state = State::default();
    state.apply(
        1,
        &state::Command::TakeRevision(Box::new(TakeRevision { expected_head: None, ..taken })),
    );
    let known = RepoRecord::clone(state.repo("r").expect("is known"));
    assert_eq!(kind(&plan(&known, &head, &[("a", file)]), "a"), "nothing");
}

#[test]
fn each_job_of_a_file_is_a_removal_of_its_own() {
    let record = record(&[("a", "1", "x y z"), ("b", "2", "b"), ("c", "3", "c")]);
    let at = |job: &str| renamed_path("a", &job.into());
    let same = [("b", ReadFile::Same), ("c", ReadFile::Same)];
    let with = |file| [same.as_slice(), &[("a", file)]].concat();
    let taken = plan(&record, &head(Ancestry::Descendant), &with(several("9", &["x", "z"])));
    assert_eq!((kind(&taken, "a"), kind(&taken, &at("y"))), ("jobs", "removed"));
    let taken = plan(&record, &head(Ancestry::Rewritten), &with(parsed("9", "x")));
    let kinds = [kind(&taken, "a"), kind(&taken, &at("y")), kind(&taken, &at("z"))];
    assert_eq!(kinds, ["job", "held", "held"]);
    assert!(taken.notes[0].contains("`y`, `z`"), "{:?}", taken.notes);
    // The whole file is gone: three of five jobs are more than the budget.
    let taken = plan(&record, &head(Ancestry::Descendant), &same);
    let kinds = [kind(&taken, "a"), kind(&taken, &at("x")), kind(&taken, &at("z"))];
    assert_eq!(kinds, ["forgotten", "held", "held"]);
    // One of them moved.
    let moved = [same.as_slice(), &[("d", several("9", &["y", "x"]))]].concat();
    let taken = plan(&record, &head(Ancestry::Descendant), &moved);
    let kinds = [kind(&taken, "a"), kind(&taken, &at("x")), kind(&taken, &at("z"))];
    assert_eq!(kinds, ["forgotten", "nothing", "removed"]);
    // What cannot be read keeps all.
    let taken = plan(&record, &head(Ancestry::Descendant), &with(broken("9")));
    assert_eq!((kind(&taken, "a"), taken.files.len()), ("broken", 1));
    let outside = plan(&record, &head(Ancestry::Descendant), &with(ReadFile::Outside));
    assert_eq!((kind(&outside, "a"), kind(&outside, &at("y"))), ("forgotten", "held"));
}

#[test]
fn one_job_that_is_declared_twice_spoils_the_file_but_no_other() {
    let record = record(&[("b", "2", "y")]);
    let reading =
        [("a", several("1", &["x", "x"])), ("b", ReadFile::Same), ("c", several("3", &["z", "y"]))];
    let taken = plan(&record, &head(Ancestry::Descendant), &reading);
    assert_eq!(
        (kind(&taken, "a"), kind(&taken, "b"), kind(&taken, "c")),
        ("broken", "nothing", "broken")
    );
}

fn edge(job: &str, on: &str) -> Dependency {
    let path = format!("{job}.hcl");
    Dependency { job: job.into(), on: on.into(), path, line: 2, column: 5, span: None }
}

fn after(blob: &str, id: &str, on: &[&str]) -> ReadFile {
    let dependencies = on.iter().map(|on| edge(id, on)).collect();
    let reading = FileReading { dependencies, ..FileReading::default() };
    let ReadFile::Parsed { blob, jobs, problems, .. } = parsed(blob, id) else { unreachable!() };
    ReadFile::Parsed { blob, jobs, problems, reading }
}

fn problem(taken: &TakeRevision, path: &str) -> String {
    match taken.files.get(path) {
        Some(FileOutcome::Broken { problems, .. }) => problems[0].to_string(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn files_that_make_a_circle_keep_what_they_said() {
    let mut record = record(&[("a.hcl", "1", "a"), ("b.hcl", "2", "b")]);
    record.files.get_mut("a.hcl").expect("is there").dependencies = vec![edge("a", "b")];
    let head = head(Ancestry::Descendant);
    let taken =
        plan(&record, &head, &[("a.hcl", ReadFile::Same), ("b.hcl", after("3", "b", &["a"]))]);
    assert_eq!((kind(&taken, "a.hcl"), kind(&taken, "b.hcl")), ("nothing", "broken"));
    assert_eq!(problem(&taken, "b.hcl"), "b.hcl:2:5: job `b` would wait for itself: b -> a -> b");
    // Both change: both are at fault, and a third one is not held up.
    let reading = [
        ("a.hcl", after("3", "a", &["b", "c"])),
        ("b.hcl", after("3", "b", &["c"])),
        ("c.hcl", after("3", "c", &["b"])),
        ("d.hcl", after("3", "d", &["a"])),
    ];
    let taken = plan(&record, &head, &reading);
    let kinds = ["a.hcl", "b.hcl", "c.hcl", "d.hcl"].map(|path| kind(&taken, path));
    assert_eq!(kinds, ["job", "broken", "broken", "job"]);
    assert_eq!(taken.readings["d.hcl"].dependencies, [edge("d", "a")]);
}

#[test]
fn a_name_that_is_gone_is_told_where_it_stands() {
    let mut record = record(&[("db.hcl", "1", "db"), ("web.hcl", "2", "web"), ("x", "3", "x")]);
    record.files.get_mut("web.hcl").expect("is there").dependencies = vec![edge("web", "db")];
    let head = head(Ancestry::Descendant);
    let reading = [("web.hcl", ReadFile::Same), ("x", ReadFile::Same)];
    let taken = plan(&record, &head, &reading);
    assert_eq!((kind(&taken, "db.hcl"), kind(&taken, "web.hcl")), ("removed", "broken"));
    assert_eq!(
        problem(&taken, "web.hcl"),
        "web.hcl:2:5: job `web` starts after `db`, but no file of this repository declares `db`"
    );
    // It is read again with each revision, and nothing is said twice.
    let mut state = State::default();
    let mut first = taken;
    first.expected_head = None;
    state.apply(1, &state::Command::TakeRevision(Box::new(first)));
    let mut known = state.repo("r").expect("is known").as_ref().clone();
    known.files.get_mut("web.hcl").expect("is there").dependencies = vec![edge("web", "db")];
    let again = plan(&known, &head, &[("web.hcl", after("2", "web", &["db"]))]);
    assert_eq!(kind(&again, "web.hcl"), "nothing");
}
