//! Ways out of a task, each of which is closed.

use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use super::*;

/// Says `escaped` for each command that works, so that a test sees which.
fn none_of(commands: &[&str]) -> String {
    let lines = commands.iter().enumerate();
    lines
        .map(|(n, command)| format!("( {command} ) >/dev/null 2>&1 && echo escaped {n}; "))
        .collect()
}

pub(crate) async fn no_path_leads_out() {
    let place = Place::new();
    let outside = tempfile::tempdir().expect("a directory");
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    fs::write(outside.path().join("file"), "x").expect("writes");
    let path = outside.path().display();
    let script = none_of(&[
        &format!("cat {path}/file"),
        &format!("cat /../..{path}/file"),
        &format!("cat /proc/1/root{path}/file"),
        &format!("cat /proc/self/root{path}/file"),
        &format!("ls /proc/1/cwd{path}"),
        &format!("ln -s {path} /local/out && cat /local/out/file"),
        "cat /etc/shadow",
        "ls $(dirname $HERDER_SHIM)",
        "ls $HERDER_SHIM/shim.json",
        "ls /root",
        "ls /var/lib/docker",
        "mknod /local/disk b 8 0",
        "chroot /local true",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "touch /sys/kernel/x",
        "touch /etc/x",
        "cat /dev/mem",
        "cat /dev/sda || cat /dev/vda",
        "touch /alloc/logs/web.stdout.9",
        "rm /alloc/logs/web.stdout.0",
    ]);
    let (out, _) = place.script(&script).await;
    assert_eq!(out, "");
    assert!(place.script("exit 0").await.1.is_success(), "its state is still there");
}

pub(crate) async fn no_privilege_is_left() {
    let place = Place::new();
    let script =
        "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; id -u; id -g; ulimit -c; umask";
    let (out, _) = place.script(script).await;
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "65534",
    ] {
        assert!(out.lines().any(|said| said == line), "{line} in\n{out}");
    }
    // What is given is given to a user that is not root, and nothing else is.
    let spec = place.spec_of(json!({
        "command": "/bin/sh", "args": ["-c", "grep CapEff /proc/self/status"],
        "cap_add": ["net_bind_service"],
    }));
    let (out, _) = place.to_end(&spec).await;
    assert_eq!(out, "CapEff:\t0000000000000400\n");
}

pub(crate) async fn the_kernel_refuses() {
    let place = Place::new();
    let script = none_of(&[
        "unshare -U true",
        "unshare -r true",
        "unshare -m true",
        "unshare -n true",
        "nsenter -t 1 -m true",
        "mount -t tmpfs x /tmp",
        "umount /proc",
        "mount -o remount,rw /usr",
        "hostname evil",
        "dmesg",
        "ip link add dummy9 type dummy",
        "date -s 2000-01-01",
        "sysctl -w kernel.panic=1",
    ]);
    let (out, _) = place.script(&script).await;
    assert_eq!(out, "");
    // Also as root, where the node's owner allows that: a capability less than everything is nothing.
    let options = IsolationOptions { denied_users: Vec::new(), ..place.options() };
    let driver = Exec::new(options);
    let mut spec = place.spec(&format!("id -u; {script}"));
    spec.user = "root".to_owned();
    let handle = driver.start(&spec).await.expect("starts");
    driver.wait(&handle).await.expect("ends");
    assert_eq!(place.logs(LogStream::Stdout).await, "0\n");
}

pub(crate) async fn no_other_process_is_seen() {
    let place = Place::new();
    let me = std::process::id();
    let script = format!(
        "ls /proc | grep -c '^[0-9]'; kill -0 {me} 2>/dev/null && echo escaped; \
         kill -9 -1 2>/dev/null; kill -9 1 2>/dev/null; echo alive; cat /proc/1/environ 2>/dev/null; \
         ls /proc/1/fd 2>/dev/null; cat /proc/1/comm"
    );
    let (out, status) = place.script(&script).await;
    let mut lines = out.lines();
    let seen: u32 = lines.next().and_then(|line| line.parse().ok()).expect("a number");
    // The holder, the shell, and the three of the pipe.
    assert!(seen <= 5, "{out}");
    assert_eq!(lines.collect::<Vec<_>>(), ["alive", "herder-hold"], "{status}");
    // Shared memory and queues are its own.
    let (out, _) = place.script("ipcmk -M 1000 >/dev/null; ipcs -m | grep -c 0x").await;
    assert_eq!(out, "1\n");
    let host = std::process::Command::new("ipcs").arg("-m").output().expect("ipcs runs");
    assert!(!String::from_utf8_lossy(&host.stdout).contains("nobody"));
}

pub(crate) async fn planted_links() {
    let outside = tempfile::tempdir().expect("a directory");
    for place_of in ["alloc", "dev", "proc", "usr", "data"] {
        let place = Place::new();
        // As an earlier run of the task could have left it.
        symlink(outside.path(), place.path().join("web").join(place_of)).expect("a link");
        let mut spec = place.spec("exit 0");
        spec.volumes = vec![driver::Volume {
            source: "/srv".into(),
            target: "/data".into(),
            read_only: true,
            propagation: driver::Propagation::Private,
        }];
        let error = place.driver().start(&spec).await.expect_err("refused");
        let told = error.to_string();
        assert!(told.contains("symlink") || told.contains("not a directory"), "{place_of}: {told}");
        assert!(place.cgroups().is_empty(), "{:?}", place.cgroups());
    }
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 0, "nothing was made there");
    // Logs are written to files, and to no other place that a task names.
    let place = Place::new();
    symlink(outside.path().join("victim"), place.path().join("alloc/logs/web.stdout.0"))
        .expect("a link");
    place.driver().start(&place.spec("echo secret")).await.map(|_| ()).unwrap_or_default();
    assert!(!outside.path().join("victim").exists());
}

pub(crate) async fn secrets_of_others() {
    let place = Place::new();
    let secrets = place.path().join("web/secrets");
    fs::write(secrets.join("key"), "canary").expect("writes");
    fs::set_permissions(secrets.join("key"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let (out, _) = place.script("cat /secrets/key").await;
    assert_eq!(out, "canary", "its own");
    // Another task of the same machine, as the same user.
    let other = Place::new();
    let key = secrets.join("key");
    let script = none_of(&[
        &format!("cat {}", key.display()),
        &format!("cat /../../..{}", key.display()),
        "for p in /proc/[0-9]*; do grep -q canary $p/environ && exit 0; done; exit 1",
    ]);
    let (out, _) = other.script(&script).await;
    assert_eq!(out, "");
    // Nor one that runs as somebody else on the node itself.
    let user = std::process::Command::new("setpriv")
        .args(["--reuid=daemon", "--clear-groups", "cat"])
        .arg(&key)
        .output()
        .expect("setpriv runs");
    assert!(!user.status.success());
}

pub(crate) async fn setuid_gives_nothing() {
    let place = Place::new();
    let shell = place.path().join("web/local/sh");
    fs::copy("/bin/sh", &shell).expect("a copy");
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o6755)).expect("a mode");
    let (out, _) = place
        .script("/local/sh -p -c 'id -u'; /usr/bin/su -c true 2>/dev/null && echo escaped")
        .await;
    assert_eq!(out, "65534\n");
}

/// A task that writes a record of a run that never was, and processes that call themselves its helpers.
pub(crate) async fn forged_records() {
    let place = Place::new();
    let victim = std::process::Command::new("sleep").arg("1000").spawn();
    let mut victim = victim.expect("a process of the node");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot");
    let alloc = AllocId::new(model::seeded_uuid(&[b"forged"]));
    let record = json!({
        "task_id": format!("{alloc}/web"), "driver": "exec", "boot_id": boot.trim(),
        "started_at": 1, "user": "root", "cwd": "/",
        "shim": {"pid": 4_194_303, "ticks": 1}, "task": {"pid": 4_194_303, "ticks": 1},
        "isolated": {
            "holder": {"pid": 0, "ticks": 0}, "own_processes": false, "capabilities": [],
            "cgroup": {"version": "V2", "dirs": {"unified": place.path().join("web/local/x")}},
        },
    });
    let local = place.path().join("web/local/x");
    fs::create_dir(&local).expect("makes");
    fs::write(local.join("shim.json"), record.to_string()).expect("writes");
    fs::write(local.join("cgroup.procs"), victim.id().to_string()).expect("writes");
    let here = local.display();
    let states = place.path().join("states");
    let script = format!(
        "HERDER_SHIM={here} setsid sleep 1000 & \
         ln -s /bin/sleep /local/s; sh -c 'exec /local/s 1000' {SHIM_ARG} run {}/{alloc}/web & \
         echo ready; wait",
        states.display()
    );
    let driver = place.driver();
    let handle = driver.start(&place.spec(&script)).await.expect("starts");
    place.said("ready").await;
    // On the node itself, as another user and in other surroundings.
    let liar = std::process::Command::new("setpriv")
        .args(["--reuid=daemon", "--clear-groups", "sh", "-c", "sleep 1000; :", SHIM_ARG, "run"])
        .arg(states.join(alloc.to_string()).join("web"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A group, so that what it starts ends with it.
        .process_group(0)
        .spawn()
        .expect("setpriv runs");
    let ours = driver.list_ours().await.expect("lists");
    assert_eq!(
        ours.iter().map(|ours| ours.handle.clone()).collect::<Vec<_>>(),
        std::slice::from_ref(&handle)
    );
    for ours in ours {
        driver.destroy(&ours.handle).await.expect("removes");
    }
    assert_eq!(victim.try_wait().expect("a child"), None, "a process of the node is let alone");
    let group = nix::unistd::Pid::from_raw(i32::try_from(liar.id()).expect("a pid"));
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).expect("killed");
    for mut child in [victim, liar] {
        child.kill().expect("killed");
        child.wait().expect("collected");
    }
}

pub(crate) async fn refused_in_words() {
    let place = Place::new();
    for (user, words) in [
        ("root", "user `root` is not allowed on this node"),
        ("0", "user `0` is not allowed on this node"),
        ("no-such-user", "user `no-such-user` does not exist on this node"),
    ] {
        let mut spec = place.spec("exit 0");
        spec.user = user.to_owned();
        let error = place.driver().start(&spec).await.expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_recoverable(), "{error}");
    }
    for (config, words) in [
        (json!({"command": "x", "pid_mode": "host"}), "`pid_mode`: \"host\" is not allowed"),
        (json!({"command": "x", "cap_add": ["sys_admin"]}), "sys_admin is not allowed"),
        (json!({"command": "x", "privileged": true}), "`privileged` is not known"),
    ] {
        let error = place.driver().start(&place.spec_of(config)).await.expect_err("refused");
        assert!(error.to_string().contains(words), "{error}");
    }
    for target in ["../x", "/data/../../x"] {
        let mut spec = place.spec("exit 0");
        spec.volumes = vec![driver::Volume {
            source: "/srv".into(),
            target: target.to_owned(),
            read_only: true,
            propagation: driver::Propagation::Private,
        }];
        let error = place.driver().start(&spec).await.expect_err("refused");
        assert!(error.to_string().contains("leads up"), "{error}");
    }
}
