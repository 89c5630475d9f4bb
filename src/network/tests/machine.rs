//! Real namespaces, plugins and rules, in a network of the test's own. Skipped, with words, without root or the plugins;
//! with `CI=true` that is a failure.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use model::AllocId;
use network::{BridgeSettings, Mode, NetworkError, Networks, PortMapping, Request, Settings};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The first argument that makes this binary an agent which is killed while it makes a network.
const VICTIM: &str = "__victim";

type Case = (&'static str, fn(&Path));

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == network::NAMESPACE_ARG => return network::namespace_main(args),
        Some(first) if first == VICTIM => {
            let dir = PathBuf::from(args.next().expect("a directory"));
            let ensured = networks(&dir).ensure(&request(1, Mode::Bridge, 20_001));
            return ExitCode::from(u8::from(ensured.is_err()));
        }
        _ => {}
    }
    if let Some(missing) = missing() {
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("skipped: {missing}");
        return ExitCode::SUCCESS;
    }
    // Neither rules nor bridges of these tests are seen by anybody else.
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private");
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>).expect("sysfs");
    run("ip", &["link", "set", "lo", "up"]);
    run("ip", &["address", "add", "10.9.8.7/32", "dev", "lo"]);
    let filter: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let all: [Case; 7] = [
        ("a_network_of_loopback_alone", a_network_of_loopback_alone),
        ("groups_are_reached_by_mapped_ports_alone", groups_are_reached_by_mapped_ports_alone),
        ("what_was_flushed_is_put_back", what_was_flushed_is_put_back),
        ("after_a_boot_it_is_made_anew", after_a_boot_it_is_made_anew),
        (
            "an_agent_that_is_killed_leaves_nothing_unknown",
            an_agent_that_is_killed_leaves_nothing_unknown,
        ),
        ("a_configuration_by_name", a_configuration_by_name),
        ("what_cannot_be_made_is_undone", what_cannot_be_made_is_undone),
    ];
    for (name, test) in all {
        if filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str())) {
            let dir = tempfile::tempdir().expect("a directory");
            let before = machine(dir.path());
            test(dir.path());
            assert_eq!(machine(dir.path()), before, "{name} left something");
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("networks are made by root alone".into());
    }
    let plugins = ["bridge", "host-local", "firewall", "portmap", "ptp"];
    for plugin in plugins {
        if !Path::new("/usr/lib/cni").join(plugin).exists() {
            return Some(format!("the CNI plugin {plugin} is not in /usr/lib/cni"));
        }
    }
    for program in ["iptables", "ip", "nsenter", "busybox", "bash"] {
        if Command::new("which").arg(program).output().is_ok_and(|found| !found.status.success()) {
            return Some(format!("{program} is not installed"));
        }
    }
    None
}

fn networks(dir: &Path) -> Networks {
    let mut settings = Settings::new(&dir.join("data"), "test-node");
    settings.run_dir = dir.join("run");
    settings.cni_path = vec![dir.join("bin"), "/usr/lib/cni".into()];
    settings.cni_config_dir = dir.join("config");
    settings.bridge =
        BridgeSettings { name: "hd-test".into(), subnet: "172.31.250.0/24".into(), hairpin: false };
    Networks::new(settings)
}

fn alloc(number: u8) -> AllocId {
    AllocId::new(model::seeded_uuid(&[&[number]]))
}

fn request(number: u8, mode: Mode, host_port: u16) -> Request {
    let to = |host_ip: &str| PortMapping { host_ip: host_ip.into(), host_port, port: 80 };
    let ports = if host_port == 0 { Vec::new() } else { vec![to("127.0.0.1"), to("10.9.8.7")] };
    let args = BTreeMap::from([("NOMAD_GROUP_NAME".to_owned(), "web".to_owned())]);
    Request { alloc: alloc(number), mode, ports, args }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().expect("runs");
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything that a network could leave behind.
fn machine(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for table in ["filter", "nat"] {
        let rules = run("iptables", &["-t", table, "-S"]);
        // The plugins' own empty chains, and the jumps to them, stay once they are there.
        let stays = |line: &&str| {
            line.starts_with("-N CNI-") && !line.contains("CNI-DN")
                || line.starts_with("-N HERDER-ADMIN")
                || line.starts_with("-P ")
                || ["PREROUTING", "OUTPUT", "POSTROUTING", "FORWARD"].iter().any(|chain| {
                    line.starts_with(&format!("-A {chain} ")) && line.contains("-j CNI-")
                })
                || line.contains("-A CNI-FORWARD") && line.contains("-j HERDER-ADMIN")
                || line.starts_with("-A CNI-HOSTPORT-SETMARK")
                || line.starts_with("-A CNI-HOSTPORT-MASQ")
        };
        found.extend(rules.lines().filter(|line| !stays(line)).map(str::to_owned));
    }
    found.extend(
        run("ip", &["-o", "link"])
            .lines()
            .map(|line| line.split('@').next().unwrap_or_default().to_owned()),
    );
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let own = dir.display().to_string();
    found.extend(mounts.lines().filter(|line| line.contains(&own)).map(str::to_owned));
    let folders =
        ["run/netns/test-node", "run/ipam/hd-test", "run/ipam/ptp-net", "data/client/networks"];
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(dir.join(folder)) else { continue };
        let names = entries.flatten().map(|entry| entry.path().display().to_string());
        found.extend(
            names.filter(|name| !name.ends_with("/lock") && !name.contains("last_reserved_ip")),
        );
    }
    found
}

fn within(namespace: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", namespace.display()))
        .arg(program)
        .args(args)
        .stdin(Stdio::null());
    command
}

/// A web server in a namespace.
struct Web(Child);

impl Web {
    fn start(namespace: &Path, dir: &Path, page: &str) -> Self {
        let home = dir.join(format!("www-{page}"));
        std::fs::create_dir_all(&home).expect("a folder");
        std::fs::write(home.join("index.html"), page).expect("a page");
        let home = home.display().to_string();
        let mut command = within(namespace, "busybox", &["httpd", "-f", "-p", "80", "-h", &home]);
        let web = Self(command.process_group(0).spawn().expect("starts"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while ask_within(namespace, "127.0.0.1:80".parse().expect("an address")).is_none() {
            assert!(
                Instant::now() < deadline,
                "the server in {} does not answer",
                namespace.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        web
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a server says to the node; `None` if it cannot be reached.
fn ask(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.lines().last().map(str::to_owned)
}

/// The same from within a namespace.
fn ask_within(namespace: &Path, address: SocketAddr) -> Option<String> {
    let (ip, port) = (address.ip(), address.port());
    let script = format!(
        "exec 3<>/dev/tcp/{ip}/{port} || exit 1; printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3"
    );
    let mut command = within(namespace, "timeout", &["2", "bash", "-c", &script]);
    let output = command.stderr(Stdio::null()).output().expect("runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn a_network_of_loopback_alone(dir: &Path) {
    let networks = networks(dir);
    assert_eq!(networks.attributes()[network::ATTRIBUTE_BRIDGE], "hd-test");
    assert!(networks.attributes().contains_key("plugins.cni.version.portmap"));
    let made = networks.ensure(&request(1, Mode::None, 0)).expect("made");
    assert_eq!(made.address, "");
    let show = |args: &[&str]| {
        String::from_utf8(within(&made.namespace, "ip", args).output().expect("runs").stdout)
            .expect("text")
    };
    assert_eq!(show(&["route"]), "");
    let links = show(&["-o", "link"]);
    assert!(links.contains("lo: <LOOPBACK,UP"), "{links}");
    assert!(!links.contains("eth"), "{links}");
    assert_eq!(networks.ensure(&request(1, Mode::None, 0)).expect("again"), made);
    assert_eq!(networks.list().expect("listed"), [alloc(1)]);
    assert_eq!(networks.find(alloc(1)).expect("read"), Some(made));
    networks.release(alloc(1)).expect("released");
    networks.release(alloc(1)).expect("gone is fine");
    assert_eq!(networks.find(alloc(1)).expect("read"), None);
}

fn groups_are_reached_by_mapped_ports_alone(dir: &Path) {
    let networks = networks(dir);
    let one = networks.ensure(&request(1, Mode::Bridge, 20_001)).expect("made");
    let two = networks.ensure(&request(2, Mode::Bridge, 20_002)).expect("made");
    assert_ne!(one.address, two.address);
    let _webs = [Web::start(&one.namespace, dir, "one"), Web::start(&two.namespace, dir, "two")];
    let says = |page: &str| Some(page.to_owned());
    for address in ["127.0.0.1", "10.9.8.7"] {
        assert_eq!(ask(&format!("{address}:20001")), says("one"), "{address}");
        assert_eq!(ask(&format!("{address}:20002")), says("two"), "{address}");
    }
    // Checks of the node itself reach the address.
    assert_eq!(ask(&format!("{}:80", two.address)), says("two"));
    let mapped = "10.9.8.7:20002".parse().expect("an address");
    assert_eq!(ask_within(&one.namespace, mapped), says("two"), "from group to group");
    let direct = format!("{}:80", two.address).parse().expect("an address");
    assert_eq!(ask_within(&one.namespace, direct), None, "groups are apart");
    // Somebody outside with a route to the subnet.
    run("ip", &["netns", "add", "hd-outside"]);
    run(
        "ip",
        &["link", "add", "hd-out", "type", "veth", "peer", "name", "eth0", "netns", "hd-outside"],
    );
    run("ip", &["address", "add", "10.55.0.1/24", "dev", "hd-out"]);
    run("ip", &["link", "set", "hd-out", "up"]);
    for args in
        [&["address", "add", "10.55.0.2/24", "dev", "eth0"][..], &["link", "set", "eth0", "up"]]
    {
        run("ip", &[&["-n", "hd-outside"][..], args].concat());
    }
    run("ip", &["-n", "hd-outside", "route", "add", "default", "via", "10.55.0.1"]);
    let outside = Path::new("/run/netns/hd-outside");
    assert_eq!(ask_within(outside, mapped), says("two"), "a mapped port from outside");
    assert_eq!(ask_within(outside, direct), None, "a route from outside");
    run("ip", &["link", "delete", "hd-out"]);
    run("ip", &["netns", "delete", "hd-outside"]);
    networks.release(alloc(1)).expect("released");
    assert_eq!(ask("10.9.8.7:20002"), says("two"), "the other goes on");
    networks.release(alloc(2)).expect("released");
}

fn what_was_flushed_is_put_back(dir: &Path) {
    let networks = networks(dir);
    let made = networks.ensure(&request(1, Mode::Bridge, 20_001)).expect("made");
    let _web = Web::start(&made.namespace, dir, "page");
    assert_eq!(networks.repair().expect("looked"), [], "nothing is missing");
    for table in ["filter", "nat"] {
        run("iptables", &["-t", table, "-F"]);
    }
    assert_eq!(ask("10.9.8.7:20001"), None);
    assert_eq!(networks.repair().expect("repaired"), [alloc(1)]);
    assert_eq!(ask("10.9.8.7:20001").as_deref(), Some("page"));
    assert_eq!(networks.repair().expect("looked"), []);
    // The bridge goes with all that was connected to it.
    for port in std::fs::read_dir("/sys/class/net/hd-test/brif").expect("ports").flatten() {
        run("ip", &["link", "delete", &port.file_name().to_string_lossy()]);
    }
    run("ip", &["link", "delete", "hd-test"]);
    assert_eq!(networks.repair().expect("repaired"), [alloc(1)]);
    assert_eq!(
        networks.find(alloc(1)).expect("read"),
        Some(made),
        "in the same place, with the same address"
    );
    assert_eq!(ask("10.9.8.7:20001").as_deref(), Some("page"));
    networks.release(alloc(1)).expect("released");
}

fn after_a_boot_it_is_made_anew(dir: &Path) {
    let made = networks(dir).ensure(&request(1, Mode::Bridge, 20_001)).expect("made");
    let path = dir.join(format!("data/client/networks/{}.json", alloc(1)));
    let text = std::fs::read_to_string(&path).expect("a record");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot");
    std::fs::write(&path, text.replace(boot.trim(), "an-earlier-one")).expect("written");
    run("umount", &[&made.namespace.display().to_string()]);
    let networks = networks(dir);
    assert_eq!(networks.find(alloc(1)).expect("read"), None);
    let again = networks.ensure(&request(1, Mode::Bridge, 20_001)).expect("made");
    assert_eq!(again, made);
    let _web = Web::start(&again.namespace, dir, "page");
    assert_eq!(ask("10.9.8.7:20001").as_deref(), Some("page"));
    // A record that is lost does not keep it from being found and undone.
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(networks.list().expect("listed"), [alloc(1)]);
    networks.release(alloc(1)).expect("released");
}

fn an_agent_that_is_killed_leaves_nothing_unknown(dir: &Path) {
    let me = std::env::current_exe().expect("this binary");
    let mut cut = 0;
    for round in 0..24_u64 {
        let mut child =
            Command::new(&me).arg(VICTIM).arg(dir).stdin(Stdio::null()).spawn().expect("starts");
        std::thread::sleep(Duration::from_millis(round * 7 % 160));
        let ended = child.try_wait().expect("a child").is_some();
        child.kill().expect("killed");
        child.wait().expect("reaped");
        cut += u64::from(!ended);
        let networks = networks(dir);
        if round % 2 == 0 {
            let made = networks.ensure(&request(1, Mode::Bridge, 20_001)).expect("made after all");
            let _web = Web::start(&made.namespace, dir, "page");
            assert_eq!(ask("10.9.8.7:20001").as_deref(), Some("page"), "round {round}");
        }
        networks.release(alloc(1)).expect("released");
        assert_eq!(networks.list().expect("listed"), [], "round {round}");
    }
    assert!(cut > 0, "no agent was killed in time");
}

fn a_configuration_by_name(dir: &Path) {
    std::fs::create_dir(dir.join("config")).expect("a folder");
    let ipam = dir.join("run/ipam").display().to_string();
    let list = format!(
        r#"{{"name": "ptp-net", "cniVersion": "1.0.0", "plugins": [
            {{"type": "ptp", "ipam": {{"type": "host-local", "dataDir": "{ipam}", "subnet": "172.31.251.0/24", "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
            {{"type": "portmap", "snat": true, "capabilities": {{"portMappings": true}}}}]}}"#
    );
    std::fs::write(dir.join("config/ptp.conflist"), list).expect("written");
    let networks = networks(dir);
    assert!(networks.attributes().contains_key(&network::cni_attribute("ptp-net")));
    let mode = || Mode::Cni("ptp-net".into());
    let made = networks.ensure(&request(3, mode(), 20_003)).expect("made");
    assert!(made.address.starts_with("172.31.251."), "{made:?}");
    let _web = Web::start(&made.namespace, dir, "page");
    assert_eq!(ask("10.9.8.7:20003").as_deref(), Some("page"));
    // Undone as it was done, whatever the folder says now.
    std::fs::remove_dir_all(dir.join("config")).expect("removed");
    networks.release(alloc(3)).expect("released");
    let error = networks.ensure(&request(3, mode(), 0)).expect_err("no such configuration");
    assert!(error.to_string().contains("the CNI configuration ptp-net"), "{error}");
    networks.release(alloc(3)).expect("nothing to release");
    let _ = std::fs::remove_file(dir.join(format!("data/client/networks/{}.turn", alloc(3))));
}

fn what_cannot_be_made_is_undone(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir(dir.join("bin")).expect("a folder");
    let plugin = dir.join("bin/portmap");
    let script = "#!/bin/sh\ncat >/dev/null\n[ \"$CNI_COMMAND\" = ADD ] && { echo '{\"code\":9,\"msg\":\"no more ports\"}'; exit 1; }\nexit 0\n";
    std::fs::write(&plugin, script).expect("written");
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let networks = networks(dir);
    let error = networks.ensure(&request(1, Mode::Bridge, 20_001)).expect_err("refused");
    assert!(matches!(error, NetworkError::Plugin { .. }), "{error}");
    assert_eq!(error.to_string(), "the CNI plugin `portmap` failed to ADD: no more ports");
    assert_eq!(networks.list().expect("listed"), []);
    let _ = std::fs::remove_file(dir.join(format!("data/client/networks/{}.turn", alloc(1))));
}
