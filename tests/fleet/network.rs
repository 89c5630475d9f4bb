//! Networks that tests make for themselves: a switch and machines on it, each in a namespace of its own.
//!
//! The switch has a namespace too, so that the rules of this machine's firewall do not concern what goes over it. This
//! machine has a leg in the network, by which tests talk to agents.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Where the machines' addresses begin.
const FIRST: u8 = 11;

/// One network. It and all its namespaces are gone when this is.
pub(crate) struct Network {
    /// Names its links and namespaces, and no others on this machine.
    name: String,
    subnet: [u8; 3],
    machines: u8,
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {words}", arguments.join(" ")))
}

fn ip(line: &str) -> Result<(), String> {
    run("ip", &line.split(' ').collect::<Vec<_>>())
}

/// Whether networks can be made here; says why not, once for each test.
pub(crate) fn available() -> bool {
    static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
    let why_not = WHY_NOT.get_or_init(|| {
        let network = Network::new().and_then(|mut network| {
            let machine = network.add()?;
            machine.firewall(
                "-A INPUT -s 192.0.2.1 -m statistic --mode random --probability 0.5 -j DROP",
            )
        });
        network.err()
    });
    let Some(why_not) = why_not else { return true };
    assert!(std::env::var_os("CI").is_none(), "no network namespaces: {why_not}");
    eprintln!("skipped: no network namespaces: {why_not}");
    false
}

impl Network {
    pub(crate) fn new() -> Result<Self, String> {
        // The link on this machine is the claim on a subnet: of two that try, one gets it.
        let begin = std::process::id();
        let mut last = String::new();
        for step in 0..200 {
            let number = (begin + step * 7) % 500;
            let name = format!("hf{number}");
            last = match ip(&format!("link add {name} type veth peer name {name}p")) {
                Ok(()) => {
                    let half = 18 + u8::try_from(number / 250).expect("0 or 1");
                    let third = u8::try_from(number % 250).expect("below 250");
                    let network = Self { name, subnet: [198, half, third], machines: 0 };
                    network.lay()?;
                    return Ok(network);
                }
                Err(error) if error.contains("File exists") => error,
                Err(error) => return Err(error),
            };
        }
        Err(last)
    }

    /// The switch, and this machine's leg.
    fn lay(&self) -> Result<(), String> {
        let (name, switch) = (&self.name, self.switch());
        ip(&format!("netns add {switch}"))?;
        ip(&format!("link set {name}p netns {switch}"))?;
        ip(&format!("addr add {}/24 dev {name}", self.address(1)))?;
        ip(&format!("link set {name} up"))?;
        ip(&format!("-n {switch} link add sw type bridge forward_delay 0"))?;
        ip(&format!("-n {switch} link set {name}p master sw"))?;
        ip(&format!("-n {switch} link set {name}p up"))?;
        ip(&format!("-n {switch} link set sw up"))
    }

    fn switch(&self) -> String {
        format!("{}-sw", self.name)
    }

    /// This machine's own address there.
    pub(crate) fn here(&self) -> Ipv4Addr {
        self.address(1)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, last)
    }

    /// The address that the next machine will have.
    pub(crate) fn next_address(&self) -> Ipv4Addr {
        self.address(FIRST + self.machines)
    }

    /// One more machine on the switch.
    pub(crate) fn add(&mut self) -> Result<Machine, String> {
        let number = self.machines;
        self.machines += 1;
        let (switch, port) = (self.switch(), format!("port{number}"));
        let machine = Machine {
            namespace: format!("{}-{number}", self.name),
            address: self.address(FIRST + number),
            switch: switch.clone(),
            port: port.clone(),
        };
        let namespace = &machine.namespace;
        ip(&format!("netns add {namespace}"))?;
        ip(&format!("-n {switch} link add {port} type veth peer name eth0 netns {namespace}"))?;
        ip(&format!("-n {switch} link set {port} master sw"))?;
        ip(&format!("-n {switch} link set {port} up"))?;
        ip(&format!("-n {namespace} addr add {}/24 dev eth0", machine.address))?;
        ip(&format!("-n {namespace} link set eth0 up"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        Ok(machine)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for number in 0..self.machines {
            let _ = ip(&format!("netns del {}-{number}", self.name));
        }
        let _ = ip(&format!("netns del {}", self.switch()));
        // The claim goes last.
        let _ = ip(&format!("link del {}", self.name));
    }
}

/// One machine: a namespace with an address.
#[derive(Clone)]
pub(crate) struct Machine {
    namespace: String,
    pub(crate) address: Ipv4Addr,
    switch: String,
    port: String,
}

impl Machine {
    /// A program that will run on this machine. Not by `ip netns exec`, which hides the control groups too.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program.as_ref());
        command
    }

    /// Pulls the cable, or puts it back.
    pub(crate) fn link(&self, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        ip(&format!("-n {} link set {} {state}", self.switch, self.port)).expect("the cable");
    }

    fn firewall(&self, rule: &str) -> Result<(), String> {
        let words = format!("netns exec {} iptables -w {rule}", self.namespace);
        ip(&words)
    }

    /// Hears nothing from others any more, and nothing of it reaches them. Tests still reach it.
    pub(crate) fn cut_from(&self, others: &[Machine]) {
        self.deaf_to(others);
        self.unheard_by(others);
    }

    /// Hears nothing from others any more.
    pub(crate) fn deaf_to(&self, others: &[Machine]) {
        for other in others.iter().filter(|other| other.address != self.address) {
            self.firewall(&format!("-A INPUT -s {} -j DROP", other.address)).expect("a rule");
        }
    }

    /// Nothing of it reaches others any more.
    pub(crate) fn unheard_by(&self, others: &[Machine]) {
        for other in others.iter().filter(|other| other.address != self.address) {
            self.firewall(&format!("-A OUTPUT -d {} -j DROP", other.address)).expect("a rule");
        }
    }

    /// Is refused at one port of this address.
    pub(crate) fn refused_at(&self, address: Ipv4Addr, port: u16) {
        let rule = format!(
            "-A OUTPUT -p tcp -d {address} --dport {port} -j REJECT --reject-with tcp-reset"
        );
        self.firewall(&rule).expect("a rule");
    }

    /// Loses this part of what comes from others.
    pub(crate) fn lossy(&self, others: &[Machine], probability: f32) {
        for other in others.iter().filter(|other| other.address != self.address) {
            let rule = format!(
                "-A INPUT -s {} -m statistic --mode random --probability {probability} -j DROP",
                other.address
            );
            self.firewall(&rule).expect("a rule");
        }
    }

    /// Takes all of that back.
    pub(crate) fn heal(&self) {
        self.firewall("-F").expect("rules go");
    }
}
