//! What the stage does with directories of its own.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use model::{AllocId, seeded_uuid};

use super::*;

struct World {
    data: tempfile::TempDir,
    work: Work,
}

fn world(templates: Vec<Template>) -> World {
    let data = tempfile::tempdir().expect("a directory");
    let dirs = Dirs::new(data.path(), false);
    let alloc =
        Allocation { id: AllocId::new(seeded_uuid(&[b"templates"])), ..Allocation::default() };
    dirs.make(alloc.id, "web", crate::dirs::Room::default()).expect("directories");
    let node = Node {
        attributes: [("cpu.arch".to_owned(), "amd64".to_owned())].into(),
        meta: [("rack".to_owned(), "r1".to_owned())].into(),
        name: "node-1".to_owned(),
        ..Node::default()
    };
    let work = Work {
        dirs,
        node: Arc::new(node),
        now: Timestamp::from_secs(0),
        alloc: Arc::new(alloc),
        task: Task { name: "web".to_owned(), templates, ..Task::default() },
        env: [("COLOR".to_owned(), "blue".to_owned()), ("TOKEN".to_owned(), "hunter2".to_owned())]
            .into(),
        keeps: false,
    };
    World { data, work }
}

impl World {
    fn path(&self, path: &str) -> std::path::PathBuf {
        self.data.path().join("alloc").join(self.work.alloc.id.to_string()).join("web").join(path)
    }

    fn run(&self) -> Result<BTreeMap<String, String>, Unprepared> {
        self.work.run(&vec![None; self.work.task.templates.len()])
    }
}

fn template(destination: &str, data: &str) -> Template {
    Template { destination: destination.to_owned(), data: data.to_owned(), ..Template::default() }
}

#[test]
fn files_and_variables_come_of_templates() {
    let text = r#"{{ env "COLOR" }} {{ env "attr.cpu.arch" }} {{ env "meta.rack" }} {{ env "node.unique.name" }}"#;
    let env = Template {
        envvars: true,
        perms: "0600".to_owned(),
        ..template("secrets/env", "export A=\"{{ env \"COLOR\" }}\" # b\n")
    };
    let from_file = Template {
        source: "local/in.tpl".to_owned(),
        data: String::new(),
        ..template("local/out", "")
    };
    let world = world(vec![template("local/a", text), env, from_file]);
    std::fs::write(world.path("local/in.tpl"), "{{ file \"local/b\" }}!").expect("written");
    std::fs::write(world.path("local/b"), "read").expect("written");
    let variables = world.run().expect("renders");
    assert_eq!(variables, [("A".to_owned(), "blue".to_owned())].into());
    let read = |path| std::fs::read_to_string(world.path(path)).expect("is there");
    assert_eq!(read("local/a"), "blue amd64 r1 node-1");
    assert_eq!(read("local/out"), "read!");
    let mode = |path| world.path(path).metadata().expect("is there").permissions().mode() & 0o7777;
    assert_eq!((mode("local/a"), mode("secrets/env")), (0o644, 0o600));
}

#[test]
fn nothing_is_written_when_one_fails_and_no_secret_is_told() {
    let broken = template("local/b", "x\n {{ env \"TOKEN\" | parseInt }}");
    let world = world(vec![template("local/a", "a"), broken]);
    let error = world.run().expect_err("fails");
    assert_eq!(error.kind, "Template failed to render");
    assert_eq!(
        error.message,
        "template 2 (`local/b`): line 2, column 19: the text is no whole number"
    );
    assert!(!world.path("local/a").exists());
}

#[test]
fn links_and_ways_out_are_refused() {
    for destination in ["../../x", "../other/x", "local/out/x"] {
        let world = world(vec![template(destination, "a")]);
        symlink("/tmp", world.path("local/out")).expect("a link");
        let error = world.run().expect_err(destination);
        assert!(error.message.contains(destination), "{}", error.message);
    }
    for source in ["local/shadow", "../../../../../../etc/shadow", "local/fifo"] {
        let world = world(vec![Template { source: source.to_owned(), ..template("local/a", "") }]);
        symlink("/etc/shadow", world.path("local/shadow")).expect("a link");
        nix::unistd::mkfifo(&world.path("local/fifo"), nix::sys::stat::Mode::S_IRWXU)
            .expect("a pipe");
        assert!(world.run().is_err(), "{source}");
        assert!(!world.path("local/a").exists());
    }
    let world = world(vec![template("local/a", "{{ file \"local/shadow\" }}")]);
    symlink("/etc/shadow", world.path("local/shadow")).expect("a link");
    assert!(world.run().expect_err("refused").message.contains("symbolic link"));
}

#[test]
fn one_place_is_written_once() {
    let world = world(vec![template("local/a", "1"), template("local/./a", "2")]);
    assert!(world.run().expect_err("refused").message.contains("same destination"));
}

#[test]
fn what_a_task_made_of_its_file_stays_over_restarts() {
    let mut world = world(vec![template("local/a", "new")]);
    std::fs::write(world.path("local/a"), "own").expect("written");
    world.work.keeps = true;
    world.run().expect("renders");
    assert_eq!(std::fs::read_to_string(world.path("local/a")).expect("is there"), "own");
    world.work.keeps = false;
    world.run().expect("renders");
    assert_eq!(std::fs::read_to_string(world.path("local/a")).expect("is there"), "new");
}

#[test]
fn only_what_changed_is_written_again() {
    let once = Template { once: true, ..template("local/once", "{{ env \"COLOR\" }}") };
    let mut world =
        world(vec![template("local/a", "{{ env \"COLOR\" }}"), template("local/b", "b"), once]);
    world.run().expect("renders");
    let again = |world: &World| world.work.run_again(&[None, None, None]).expect("renders");
    assert_eq!(again(&world), Vec::<usize>::new());
    world.work.env.insert("COLOR".to_owned(), "red".to_owned());
    assert_eq!(again(&world), [0]);
    assert_eq!(again(&world), Vec::<usize>::new());
    let read = |path| std::fs::read_to_string(world.path(path)).expect("is there");
    assert_eq!((read("local/a"), read("local/once")), ("red".to_owned(), "blue".to_owned()));
}
