//! Differences that `evaluator` keeps in `fixtures/plans` against what they look like. Run with `UPDATE_GOLDEN=1` to write
//! the texts anew.

use std::path::Path;

use super::*;

fn plain(diff: &JobDiff, verbose: bool) -> String {
    let lines: Vec<_> = diff_lines(diff, verbose)
        .iter()
        .map(|line| console::strip_ansi_codes(line).into_owned())
        .collect();
    lines.join("\n") + "\n"
}

#[test]
fn differences_look_as_they_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/plans");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("is there") {
        let path = entry.expect("reads").path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).expect("reads");
        let diff: JobDiff = serde_json::from_str(&text).expect("is a difference");
        for (end, verbose) in [("txt", false), ("verbose.txt", true)] {
            let golden = path.with_extension(end);
            let shown = plain(&diff, verbose);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&golden, &shown).expect("writes");
            }
            let kept = std::fs::read_to_string(&golden).expect("is kept");
            assert!(shown == kept, "{}:\n{shown}\nis not\n{kept}", golden.display());
        }
    }
    assert!(seen >= 12, "{seen}");
}

#[test]
fn a_difference_reads_as_nomad_prints_it() {
    let field = |kind, name: &str, old: &str, new: &str| FieldDiff {
        kind,
        name: name.into(),
        old: old.into(),
        new: new.into(),
        annotations: Vec::new(),
    };
    let config = ObjectDiff {
        kind: DiffType::Edited,
        name: "Config".into(),
        fields: vec![
            field(DiffType::Edited, "image", "redis:2.8", "redis:7"),
            field(DiffType::None, "port_map[0][db]", "6379", "6379"),
        ],
        ..ObjectDiff::default()
    };
    let task = TaskDiff {
        kind: DiffType::Edited,
        name: "redis".into(),
        objects: vec![config],
        annotations: vec!["forces create/destroy update".into()],
        ..TaskDiff::default()
    };
    let group = TaskGroupDiff {
        kind: DiffType::Edited,
        name: "cache".into(),
        tasks: vec![task],
        updates: [("create/destroy update".to_owned(), 3)].into(),
        ..TaskGroupDiff::default()
    };
    let diff = JobDiff {
        kind: DiffType::Edited,
        id: "example".into(),
        task_groups: vec![group],
        ..JobDiff::default()
    };
    assert_eq!(
        plain(&diff, false),
        "\
+/- Job: \"example\"
+/- Task Group: \"cache\" (3 create/destroy update)
  +/- Task: \"redis\" (forces create/destroy update)
    +/- Config {
      +/- image:           \"redis:2.8\" => \"redis:7\"
          port_map[0][db]: \"6379\"
    }
"
    );
}

#[test]
fn a_value_cannot_move_the_cursor() {
    let field = FieldDiff {
        kind: DiffType::Added,
        name: "Env[A]".into(),
        new: "\u{1b}[2Jx\nb\u{7}".into(),
        ..FieldDiff::default()
    };
    let single = FieldDiff { new: "\u{1b}[2J".into(), ..field.clone() };
    let diff =
        JobDiff { kind: DiffType::Edited, fields: vec![field, single], ..JobDiff::default() };
    let bare = plain(&diff, true);
    assert!(!bare.contains(['\u{1b}', '\u{7}']), "{bare:?}");
}
