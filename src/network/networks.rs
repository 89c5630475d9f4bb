//! Makes, finds again, repairs and removes the networks of a node's allocations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use model::AllocId;
use nix::fcntl::FlockArg;

use crate::cni::{self, Call, Chain, Command, Runtime};
use crate::keep::Turn;
use crate::record::{self, Added, Record, Records};
use crate::{Mode, NetworkError, PortMapping, Request, Settings};
use crate::{bridge, fingerprint, interface, iptables, namespace};

/// How often a plugin is asked to undo what it did before the error counts.
const ATTEMPTS: u32 = 3;

/// The wait between two such attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the bridge is waited for while another agent removes it.
const BRIDGE_WAIT: Duration = Duration::from_secs(60);

/// A network that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The file that stands for the namespace.
    pub namespace: PathBuf,
    /// Its address; empty without one.
    pub address: String,
}

/// The networks of a node. Every method blocks.
#[derive(Debug)]
pub struct Networks {
    settings: Settings,
    records: Records,
    answers: Mutex<fingerprint::Answers>,
}

impl Networks {
    /// With these settings. Looks at nothing yet.
    pub fn new(settings: Settings) -> Self {
        let records = Records::new(settings.records.clone());
        Self { settings, records, answers: Mutex::default() }
    }

    /// What this node offers, as attributes of the node.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let Ok(mut answers) = self.answers.lock() else { return BTreeMap::new() };
        fingerprint::attributes(&self.settings, &mut answers)
    }

    /// Makes the network, or finds the one that is there. What an attempt that was cut short left is undone first.
    ///
    /// # Errors
    /// When it cannot be made; what was done of it is undone.
    pub fn ensure(&self, request: &Request) -> Result<Attached, NetworkError> {
        self.records.prepare()?;
        let mut turn = Turn::take(self.records.turn(request.alloc))?;
        let before = self.records.load(request.alloc)?;
        if let Some(record) = &before
            && is_whole(record)
        {
            return Ok(attached(record));
        }
        // The same address again, where somebody may still know it.
        let address = before.as_ref().map(|record| attached(record).address).unwrap_or_default();
        self.undo(&mut turn, request.alloc, before)?;
        let again = !address.is_empty();
        let made = self.make_or_undo(&mut turn, request, address);
        if made.is_err() && again {
            // Somebody else has got the address meanwhile; better another one than none.
            return self.make_or_undo(&mut turn, request, String::new());
        }
        made
    }

    fn make_or_undo(
        &self,
        turn: &mut Turn,
        request: &Request,
        address: String,
    ) -> Result<Attached, NetworkError> {
        let made = self.make(turn, request, address);
        if made.is_err() {
            let left = self.records.load(request.alloc)?;
            if let Err(error) = self.undo(turn, request.alloc, left) {
                tracing::warn!(alloc = %request.alloc, %error, "a network that was not made is not undone yet");
            }
        }
        made
    }

    fn make(
        &self,
        turn: &mut Turn,
        request: &Request,
        address: String,
    ) -> Result<Attached, NetworkError> {
        let alloc = request.alloc;
        let chain = match &request.mode {
            Mode::None => None,
            Mode::Bridge => Some(bridge::chain(&self.settings.bridge, &self.settings.run_dir)),
            Mode::Cni(name) => Some(cni::load(&self.settings.cni_config_dir, name)?),
        };
        let args = cni::arguments(&request.args)?;
        let ips = if address.is_empty() { Vec::new() } else { vec![address] };
        let added = chain.map(|chain| Added {
            chain,
            runtime: Runtime { ports: request.ports.clone(), ips },
            args,
            path: self.settings.cni_path.clone(),
            result: None,
        });
        let namespace = self.namespace(alloc);
        let mut record = Record { alloc, boot: record::boot(), namespace, added, made: false };
        self.records.save(&record)?;
        namespace::make(turn, &self.settings.program, &record.namespace)?;
        self.add(turn, &mut record, &request.mode)?;
        record.made = true;
        self.records.save(&record)?;
        Ok(attached(&record))
    }

    /// Calls the plugins in order. What each answered is written before the next is called, because undoing goes by it.
    fn add(&self, turn: &mut Turn, record: &mut Record, mode: &Mode) -> Result<(), NetworkError> {
        let (on_bridge, container) = (*mode == Mode::Bridge, self.container(record.alloc));
        let _users = on_bridge.then(|| self.use_bridge()).transpose()?;
        if on_bridge {
            bridge::ensure_rules(&self.settings.bridge)?;
        }
        for at in 0..record.added.as_ref().map_or(0, |added| added.chain.plugins.len()) {
            let Some(added) = &mut record.added else { break };
            let answer = call(turn, Command::Add, added, at, &container, &record.namespace)?;
            if answer.is_object() {
                added.result = Some(answer);
            }
            self.records.save(record)?;
        }
        if on_bridge {
            bridge::part(&self.settings.bridge)?;
        }
        Ok(())
    }

    fn use_bridge(&self) -> Result<nix::fcntl::Flock<std::fs::File>, NetworkError> {
        let Settings { run_dir, bridge, .. } = &self.settings;
        bridge::lock(run_dir, bridge, FlockArg::LockSharedNonblock, BRIDGE_WAIT)
    }

    /// The network of an allocation, if it is there and whole.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn find(&self, alloc: AllocId) -> Result<Option<Attached>, NetworkError> {
        let record = self.records.load(alloc)?;
        Ok(record.filter(is_whole).as_ref().map(attached))
    }

    /// Whether there is something to release, at the price of a look at the disk.
    pub fn is_known(&self, alloc: AllocId) -> bool {
        self.records.has(alloc) || self.namespace(alloc).exists()
    }

    /// Removes the network with all that belongs to it; what is gone already is fine.
    ///
    /// # Errors
    /// When a plugin cannot undo what it did. The record stays, so that the next attempt knows what is left.
    pub fn release(&self, alloc: AllocId) -> Result<(), NetworkError> {
        if !self.is_known(alloc) {
            return Ok(());
        }
        self.records.prepare()?;
        let mut turn = Turn::take(self.records.turn(alloc))?;
        let record = self.records.load(alloc)?;
        self.undo(&mut turn, alloc, record)?;
        turn.end();
        Ok(())
    }

    fn undo(
        &self,
        turn: &mut Turn,
        alloc: AllocId,
        record: Option<Record>,
    ) -> Result<(), NetworkError> {
        let path = self.namespace(alloc);
        let record = match record {
            Some(record) => record,
            None if !path.exists() => return Ok(()),
            // Its record is lost. Most likely it was on the bridge, and undoing what was never done harms nothing.
            None => Record {
                alloc,
                boot: String::new(),
                namespace: path,
                added: self.stray(alloc),
                made: false,
            },
        };
        if let Some(added) = &record.added {
            let _users = self.use_bridge()?;
            delete(turn, added, &self.container(alloc), &record.namespace)?;
        }
        namespace::remove(&record.namespace)?;
        self.records.remove(alloc)?;
        let on_bridge = record.added.as_ref().is_some_and(|added| self.is_ours(&added.chain));
        if on_bridge
            && let Err(error) =
                bridge::remove_if_unused(&self.settings.run_dir, &self.settings.bridge)
        {
            tracing::warn!(%error, "the bridge that nobody uses is still there");
        }
        Ok(())
    }

    fn is_ours(&self, chain: &Chain) -> bool {
        *chain == bridge::chain(&self.settings.bridge, &self.settings.run_dir)
    }

    fn stray(&self, alloc: AllocId) -> Option<Added> {
        let chain = bridge::chain(&self.settings.bridge, &self.settings.run_dir);
        let path = self.settings.cni_path.clone();
        let there = (0..chain.plugins.len())
            .all(|at| path.iter().any(|dir| dir.join(chain.kind(at)).exists()));
        let args = cni::arguments(&BTreeMap::new()).unwrap_or_default();
        let result =
            bridge::lease_of(&self.settings.run_dir, &self.settings.bridge, &self.container(alloc));
        // `portmap` undoes all of a container's ports, and none when it is told of none.
        let any = PortMapping { host_ip: String::new(), host_port: 1, port: 1 };
        let runtime = Runtime { ports: vec![any], ips: Vec::new() };
        there.then_some(Added { chain, runtime, args, path, result })
    }

    /// Everything on this machine that is ours: allocations with a record or a namespace.
    ///
    /// # Errors
    /// When it cannot be read whole.
    pub fn list(&self) -> Result<Vec<AllocId>, NetworkError> {
        let mut all = self.records.all()?;
        all.extend(record::names(&self.namespaces(), None)?);
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Puts back what somebody took from the networks on the bridge: rules that were flushed, interfaces that are gone.
    /// Cheap while nothing is missing. Returns whose networks were repaired.
    ///
    /// # Errors
    /// When the rules cannot be read, or one cannot be put back.
    pub fn repair(&self) -> Result<Vec<AllocId>, NetworkError> {
        let mut on_bridge = Vec::new();
        for alloc in self.records.all()? {
            if let Some(record) = self.records.load(alloc)?
                && is_whole(&record)
                && record.added.as_ref().is_some_and(|added| self.is_ours(&added.chain))
            {
                on_bridge.push(record);
            }
        }
        if on_bridge.is_empty() {
            return Ok(Vec::new());
        }
        {
            let _users = self.use_bridge()?;
            bridge::ensure_rules(&self.settings.bridge)?;
            bridge::part(&self.settings.bridge)?;
        }
        let (filter, nat) = (iptables::all("filter")?, iptables::all("nat")?);
        let mut repaired = Vec::new();
        for record in on_bridge {
            if has_rules(&record, &filter, &nat) && has_interfaces(&record) {
                continue;
            }
            let mut turn = Turn::take(self.records.turn(record.alloc))?;
            // It may have been removed, or made anew, while the turn was waited for.
            if self.records.load(record.alloc)?.as_ref() != Some(&record) {
                continue;
            }
            self.put_back(&mut turn, record.clone())?;
            repaired.push(record.alloc);
        }
        Ok(repaired)
    }

    fn put_back(&self, turn: &mut Turn, mut record: Record) -> Result<(), NetworkError> {
        let (whole, container) = (has_interfaces(&record), self.container(record.alloc));
        let address = attached(&record).address;
        let Some(added) = &mut record.added else { return Ok(()) };
        if whole {
            // Only rules are missing: the plugins behind the first add what is not there.
            let _users = self.use_bridge()?;
            for at in 1..added.chain.plugins.len() {
                call(turn, Command::Add, added, at, &container, &record.namespace)?;
            }
            return Ok(());
        }
        {
            let _users = self.use_bridge()?;
            delete(turn, added, &container, &record.namespace)?;
        }
        added.result = None;
        // The tasks know the address that they had.
        added.runtime.ips = vec![address];
        record.made = false;
        self.records.save(&record)?;
        self.add(turn, &mut record, &Mode::Bridge)?;
        record.made = true;
        self.records.save(&record)
    }

    /// What plugins know the allocation by. Two agents may share a bridge, and two small clusters may give an allocation
    /// the same id.
    fn container(&self, alloc: AllocId) -> String {
        let instance = self.settings.instance.chars().filter(char::is_ascii_alphanumeric);
        format!("{alloc}-{}", instance.take(8).collect::<String>())
    }

    fn namespaces(&self) -> PathBuf {
        self.settings.run_dir.join("netns").join(&self.settings.instance)
    }

    fn namespace(&self, alloc: AllocId) -> PathBuf {
        self.namespaces().join(alloc.to_string())
    }
}

fn attached(record: &Record) -> Attached {
    let result = record.added.as_ref().and_then(|added| added.result.as_ref());
    let address = result.and_then(cni::address_of).unwrap_or_default();
    Attached { namespace: record.namespace.clone(), address }
}

/// Whether all was done, in this boot, and the namespace is there.
fn is_whole(record: &Record) -> bool {
    record.made && record.boot == record::boot() && namespace::is_there(&record.namespace)
}

fn call(
    turn: &mut Turn,
    command: Command,
    added: &Added,
    at: usize,
    container: &str,
    namespace: &Path,
) -> Result<serde_json::Value, NetworkError> {
    let input = added.chain.input(at, &added.runtime, added.result.as_ref());
    let about = Call { container, namespace, args: &added.args, path: &added.path };
    cni::call(turn, command, added.chain.kind(at), &about, &input)
}

/// Calls the plugins in the opposite order to undo what they did, or may have done.
fn delete(
    turn: &mut Turn,
    added: &Added,
    container: &str,
    namespace: &Path,
) -> Result<(), NetworkError> {
    // Plugins are told of a namespace that is gone by its having no path.
    let namespace = if namespace::is_there(namespace) { namespace } else { Path::new("") };
    for at in (0..added.chain.plugins.len()).rev() {
        let mut attempt = 1;
        while let Err(error) = call(turn, Command::Del, added, at, container, namespace) {
            if attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Whether the firewall knows the network, by its rules as `iptables -S` writes them.
fn has_rules(record: &Record, filter: &str, nat: &str) -> bool {
    let has = |rules: &str, words: &[&str]| {
        rules.lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    let Some(added) = &record.added else { return true };
    let source = format!("-s {}/32", attached(record).address);
    let forwarded =
        has(filter, &["-A CNI-FORWARD", &source]) && has(filter, &["-A FORWARD", "-j CNI-FORWARD"]);
    let id = record.alloc.to_string();
    let mapped = added.runtime.ports.is_empty()
        || (has(nat, &["-A CNI-HOSTPORT-DNAT", &id])
            && has(nat, &["-A PREROUTING", "-j CNI-HOSTPORT-DNAT"]));
    forwarded && mapped
}

fn has_interfaces(record: &Record) -> bool {
    let result = record.added.as_ref().and_then(|added| added.result.as_ref());
    let names = result.map(cni::interfaces_of).unwrap_or_default();
    names.iter().all(|name| interface::sysfs(name).exists())
}

/// How a group's port becomes one of the network.
impl From<&model::PortAssignment> for PortMapping {
    fn from(port: &model::PortAssignment) -> Self {
        let inner = if port.to == 0 { port.value } else { port.to };
        Self { host_ip: port.host_ip.to_string(), host_port: port.value, port: inner }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_rules_are_seen() {
        let alloc = AllocId::new(model::seeded_uuid(&[b"rules"]));
        let chain = bridge::chain(&crate::BridgeSettings::default(), Path::new("/run/herder"));
        let ports = vec![PortMapping { host_ip: String::new(), host_port: 20_000, port: 80 }];
        let result = Some(
            json!({"ips": [{"address": "172.26.64.2/20"}], "interfaces": [{"name": "no-such"}]}),
        );
        let runtime = Runtime { ports, ips: Vec::new() };
        let added = Added { chain, runtime, args: String::new(), path: Vec::new(), result };
        let record = Record {
            alloc,
            boot: String::new(),
            namespace: "/n".into(),
            added: Some(added),
            made: true,
        };
        let filter =
            "-A FORWARD -m comment -j CNI-FORWARD\n-A CNI-FORWARD -s 172.26.64.2/32 -j ACCEPT\n";
        let nat = format!(
            "-A PREROUTING -m addrtype -j CNI-HOSTPORT-DNAT\n-A CNI-HOSTPORT-DNAT --comment \"id: {alloc}\" -j X\n"
        );
        assert!(has_rules(&record, filter, &nat));
        assert!(!has_rules(&record, "", &nat) && !has_rules(&record, filter, ""));
        assert!(!has_rules(&record, &filter.replace(".2/32", ".22/32"), &nat));
        assert!(!has_interfaces(&record));
    }
}
