//! This agent among others: how it comes to belong to a cluster, and what goes on between agents.

mod admission;
mod alone;
mod autopilot;
mod desk;
mod gathering;
mod heartbeat;
mod joining;
mod limits;
mod messages;
mod own;
mod papers;
mod pieces;
mod proxy;
mod relay;
mod rights;
mod standing;
mod transport;
mod turns;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::middleware;
use consensus::{Consensus, FollowOptions, Following, Start};
use identity::{ClientTls, Clock, Credentials, Role, ServerTls};
use model::NodeId;
use rpc::{Admit, Client, ServerLimits};
use server::Server;
use state::Command;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Beginning, Settings};
pub(crate) use alone::Alone;
use desk::Desk;
use joining::Newcomer;
pub(crate) use own::Own;
pub(crate) use papers::ALONE;
use papers::{Membership, Papers, number_of};
use pieces::OpenBodies;
use proxy::Proxy;
pub(crate) use relay::Followed;
use relay::Relay;
use standing::{Memory, Standing};
use transport::OverRpc;
use turns::FleetTurns;

/// How long a certificate lives: so long is a node remembered that was removed.
pub(crate) const CERTIFICATE_LIFE: Duration = identity::DEFAULT_LIFETIME;
/// The same for certificates that somebody else signed, for as long as they liked.
pub(crate) const FOREIGN_CERTIFICATE_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// The attribute with the repositories that an agent follows: one that follows fewer must not lead.
pub(crate) const REPOS: &str = "herder.repos";
/// How long handing over may take when an agent stops.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How often a leader looks whether the log says who the cluster is.
const FOUNDING: Duration = Duration::from_millis(200);

/// What an agent of a cluster has before anything else of it runs.
pub(crate) struct Fleet {
    pub(crate) node: NodeId,
    /// Where the others reach it.
    pub(crate) address: SocketAddr,
    membership: Membership,
    papers: Papers,
    credentials: Credentials,
    client: Arc<Client>,
    clock: Clock,
    servers: watch::Sender<Vec<String>>,
    listener: TcpListener,
    founds: bool,
    /// Whether it belonged to the cluster before this start.
    returns: bool,
    addresses: Vec<IpAddr>,
}

/// Takes this agent's place in its cluster, founding or joining one where it has none. `None` for one that stays alone.
///
/// # Errors
/// When nothing says what to do, or joining does not work out; in words with what to do about it.
pub(crate) async fn enter(
    settings: &Settings,
    own: Option<&Own>,
    version: &str,
) -> anyhow::Result<Option<Fleet>> {
    let fleet = &settings.fleet;
    let papers = Papers::in_directory(&settings.data_dir);
    let clock = Clock::system();
    let known = papers.membership()?;
    let was_alone = known.is_none() && settings.data_dir.join("raft/log.redb").exists();
    if known.is_none() && fleet.beginning == Beginning::Alone {
        return Ok(None);
    }
    if let Some(known) = &known
        && known.own != own.is_some()
    {
        bail!(
            "{} belongs to a cluster whose certificates come from {}: they cannot be exchanged in place; begin with an \
             empty data directory, or with the `tls` block as it was",
            settings.data_dir.display(),
            if known.own { "an authority of your own" } else { "the cluster's own authority" }
        );
    }
    let listener = TcpListener::bind(fleet.rpc).await.with_context(|| {
        format!("agents cannot listen on {}; is another agent running? --rpc-port 0 takes any free port", fleet.rpc)
    })?;
    let address = SocketAddr::new(advertised(settings), listener.local_addr()?.port());
    let addresses = reached_at(settings, address.ip());
    let mut founds = false;
    let returns = known.is_some();
    let node = match (&known, was_alone, &fleet.beginning) {
        // Where all but the papers is gone, they still say which node this is.
        (Some(_), ..) => match papers.node()? {
            Some(node) => {
                node::adopt_node_id(&settings.data_dir, node).context("storing the node's ID")?
            }
            None => node::load_or_create_node_id(&settings.data_dir)?,
        },
        (None, true, _) => node::load_or_create_node_id(&settings.data_dir)?,
        (None, false, _) => {
            let node = match own {
                Some(own) => own.node()?,
                None => identity::node_of(&papers.key()?.fingerprint()),
            };
            node::adopt_node_id(&settings.data_dir, node).context("storing the node's ID")?
        }
    };
    if let Some(own) = own {
        own.check(node)?;
    }
    let newcomer =
        Newcomer { node, name: &settings.name, role: fleet.role, version, addresses: &addresses };
    let membership = match (known, &fleet.beginning) {
        (Some(membership), _) => membership,
        (None, Beginning::Join { .. }) if was_alone => bail!(
            "{} holds the data of an agent that was alone; an agent that joins begins with an empty data directory",
            settings.data_dir.display()
        ),
        (None, Beginning::Join { servers, token }) => match own {
            Some(own) => {
                let found = own::find_cluster(&own.credentials, servers, &clock).await?;
                let (cluster, servers) = (found.cluster, found.servers);
                let membership =
                    Membership { cluster, number: number_of(node), servers, own: true };
                papers.store_membership(&membership)?;
                membership
            }
            None => {
                joining::join(&papers, servers, &token.read()?, &newcomer, None, &clock).await?
            }
        },
        (None, Beginning::Found) => {
            founds = true;
            // An agent that was alone voted as number one.
            let number = if was_alone { ALONE } else { number_of(node) };
            match own {
                Some(own) => {
                    if own.peer.role != Role::Server {
                        bail!("tls: whoever founds a cluster is a server; cert_file is a worker's");
                    }
                    let cluster = identity::ClusterId::new(uuid::Uuid::new_v4());
                    let membership = Membership { cluster, number, servers: Vec::new(), own: true };
                    papers.store_membership(&membership)?;
                    membership
                }
                None => papers.found(node, &settings.name, addresses.clone(), number, &clock)?,
            }
        }
        (None, Beginning::Ask | Beginning::Alone) => bail!(
            "{} belongs to no cluster yet: start the first agent with --bootstrap, and all others with --join HOST \
             and the token that `herder token join` prints on the first",
            settings.data_dir.display()
        ),
    };
    let read = match own {
        Some(own) => Ok(own.credentials.clone()),
        None => papers.credentials(membership.cluster, &clock),
    };
    let credentials = match (read, &fleet.beginning) {
        // An agent that was off for longer than its certificate lives comes back with a token, as the node it was.
        (Err(error), Beginning::Join { servers, token }) => {
            tracing::warn!("{error:#}");
            let own = Some(membership.cluster);
            joining::join(&papers, servers, &token.read()?, &newcomer, own, &clock).await?;
            papers.store_membership(&membership)?;
            papers.credentials(membership.cluster, &clock)?
        }
        (credentials, _) => credentials?,
    };
    let client = Arc::new(Client::new(ClientTls::new(&credentials, clock.clone())?));
    let (servers, _) = watch::channel(membership.servers.clone());
    Ok(Some(Fleet {
        node,
        address,
        membership,
        papers,
        credentials,
        client,
        clock,
        servers,
        listener,
        founds,
        returns,
        addresses,
    }))
}

/// What a node is known by beside its addresses.
pub(crate) fn names_of(name: &str, server: bool) -> Vec<String> {
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        && ![".herder", ".nomad"].iter().any(|ours| name.to_ascii_lowercase().ends_with(ours));
    let mut names = if is_name { vec![name.to_owned()] } else { Vec::new() };
    names.push("localhost".to_owned());
    if server {
        names.push("server.global.herder".to_owned());
    }
    names
}

/// Where people reach this agent.
pub(crate) fn reached_at(settings: &Settings, advertised: IpAddr) -> Vec<IpAddr> {
    let mut addresses = vec![advertised];
    let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for address in std::iter::once(settings.bind).chain(local) {
        if !address.is_unspecified() && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The address that others are told.
pub(crate) fn advertised(settings: &Settings) -> IpAddr {
    let fleet = &settings.fleet;
    if let Some(address) = fleet.advertise {
        return address;
    }
    if !fleet.rpc.ip().is_unspecified() {
        return fleet.rpc.ip();
    }
    // Nothing is sent: the kernel only says which address it would send from.
    let reaches_out = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    reaches_out().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// What a data directory says of its agent's place, while no agent runs on it.
pub(crate) struct StandingOf {
    /// The cluster's ID.
    pub(crate) cluster: String,
    /// The agent's number among the servers.
    pub(crate) number: u64,
}

/// The place of the agent that a data directory belongs to; `None` for one that is, or was, alone.
///
/// # Errors
/// When its papers cannot be read.
pub(crate) fn standing_of(data_dir: &std::path::Path) -> anyhow::Result<Option<StandingOf>> {
    let known = Papers::in_directory(data_dir).membership()?;
    Ok(known.map(|known| StandingOf { cluster: known.cluster.to_string(), number: known.number }))
}

impl Fleet {
    /// What this agent shows of itself, renewed in place.
    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Opens this agent's part of the log: a vote, or a copy.
    ///
    /// # Errors
    /// When the data directory cannot be used.
    pub(crate) async fn open(&self, settings: &Settings) -> anyhow::Result<Consensus> {
        let number = self.membership.number;
        let transport = Arc::new(OverRpc(Arc::clone(&self.client)));
        let mut options =
            FollowOptions::new(&settings.data_dir, number, self.servers.subscribe(), transport);
        options.member.address = self.address.to_string();
        options.member.cluster = self.membership.cluster.to_string();
        let has_log = options.member.dir.join("log.redb").exists();
        // One that was interrupted while it founded is the only server that its own papers name: none.
        let founded = self.membership.own || self.papers.authority()?.is_some();
        let alone = self.membership.servers.is_empty() && founded;
        if !(has_log || self.founds || alone) {
            return Ok(Consensus::follow(options).await?);
        }
        let FollowOptions { mut member, following: Following { dir, servers } } = options;
        member.following = Some(Following { dir, servers });
        member.start = if self.founds || alone { Start::Bootstrap } else { Start::Join };
        Ok(Consensus::open(member).await?)
    }

    /// Lets the others in, and keeps this agent's standing.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub(crate) fn start(
        self,
        settings: &Settings,
        consensus: &Consensus,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Running> {
        let nodes = ClientTls::to_any_node(&self.credentials, self.clock.clone())?;
        let nodes = Arc::new(Client::new(nodes));
        let proxy = Proxy {
            own: self.node,
            consensus: consensus.clone(),
            client: Arc::clone(&nodes),
            credentials: self.credentials.clone(),
            servers: self.servers.subscribe(),
        };
        let open: Arc<OpenBodies> = Arc::default();
        tasks.spawn(Arc::clone(&open).sweep(stop.clone()));
        let desk = Arc::new(Desk {
            consensus: consensus.clone(),
            client: Arc::clone(&self.client),
            papers: self.papers.clone(),
            cluster: self.membership.cluster,
            own: self.membership.own,
            address: self.address,
            clock: self.clock.clone(),
            hosts: Arc::default(),
            gathering: Arc::default(),
            relay: Relay::new(consensus.clone(), nodes),
            proxy: proxy.clone(),
            open,
            server: OnceLock::new(),
            api: OnceLock::new(),
        });
        let state = consensus.clone();
        let admit: Admit = Arc::new(move |peer| match peer.node {
            Some(node) if state.state().is_removed(node) => {
                Err("this node was removed from the cluster".to_owned())
            }
            _ => Ok(()),
        });
        let tls = ServerTls::new(&self.credentials, self.clock.clone())?;
        let server = rpc::Server::new(tls, desk.clone(), admit, ServerLimits::default());
        let (listener, stopping) = (self.listener, stop.clone());
        tasks.spawn(async move { server.run(listener, stopping).await });
        // One that was here before, opened no log and holds what servers alone hold has had one. Who is new may have a
        // server's certificate of an authority of the operator's own.
        let has_log = settings.data_dir.join("raft/log.redb").exists();
        let was_server = self.credentials.peer().is_some_and(|peer| peer.role == Role::Server)
            || self.papers.authority()?.is_some();
        let memory = match self.returns && was_server && !has_log {
            true => Memory::Lost { caught_up: false },
            false => Memory::Whole,
        };
        let standing = Standing {
            consensus: consensus.clone(),
            client: Arc::clone(&self.client),
            papers: self.papers.clone(),
            credentials: self.credentials,
            membership: self.membership,
            servers: self.servers,
            clock: self.clock,
            name: settings.name.clone(),
            addresses: self.addresses,
            asked: false,
            memory,
        };
        tasks.spawn(standing.keep(stop.clone()));
        Ok(Running { desk, proxy })
    }
}

/// What goes on between this agent and the others.
pub(crate) struct Running {
    desk: Arc<Desk>,
    proxy: Proxy,
}

impl Running {
    /// This node's turns at looking at remotes; what it sees is told to the leader from now on.
    pub(crate) fn turns(
        &self,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Arc<dyn gitrepo::Turns> {
        let desk = &self.desk;
        let (consensus, hosts) = (desk.consensus.clone(), Arc::clone(&desk.hosts));
        let (turns, seen) = FleetTurns::new(self.proxy.own, consensus.clone(), hosts);
        tasks.spawn(turns::tell(seen, consensus, Arc::clone(&desk.client), stop.clone()));
        Arc::new(turns)
    }

    /// The repositories that this agent follows: it gives what it has of them, and takes what it lacks.
    pub(crate) fn follow(&self, followed: BTreeMap<String, Followed>) {
        self.desk.relay.follow(followed);
    }

    /// Now that the server's loops run: heartbeats go out and are heard, and who votes is looked after.
    pub(crate) fn serve(
        &self,
        server: &Server,
        settings: &Settings,
        contact: &Arc<node::Contact>,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let _ = self.desk.server.set(server.clone());
        let (consensus, client) = (&self.desk.consensus, &self.desk.client);
        tasks.spawn(heartbeat::beat(
            self.proxy.own,
            consensus.clone(),
            Arc::clone(client),
            server.clone(),
            Arc::clone(&self.desk.hosts),
            Arc::clone(contact),
            stop.clone(),
        ));
        tasks.spawn(found(
            consensus.clone(),
            self.desk.papers.clone(),
            self.desk.cluster,
            self.desk.own,
            stop.clone(),
        ));
        tasks.spawn(tell_who_leads(consensus.clone(), stop.clone()));
        let own = self.desk.address.to_string();
        tasks.spawn(autopilot::run(consensus.clone(), own, settings.fleet.voters, stop.clone()));
    }

    /// The API with what only other nodes can answer passed on to them.
    pub(crate) fn api(&self, api: axum::Router) -> axum::Router {
        let _ = self.desk.api.set(api.clone());
        let proxy = self.proxy.clone();
        api.layer(middleware::from_fn(move |request, next| proxy.clone().pass(request, next)))
    }
}

/// The names of what an agent follows, as an attribute.
pub(crate) fn repos(settings: &[crate::config::RepoSettings]) -> String {
    let mut names: Vec<&str> = settings.iter().map(|repo| repo.config.name.as_str()).collect();
    names.sort_unstable();
    names.join(",")
}

/// A leader that stops has another one lead first, so that nobody waits for an election.
pub(crate) async fn hand_over(consensus: &Consensus) {
    if !consensus.is_leader() {
        return;
    }
    let others = consensus.members().into_iter().filter(|member| member.voter && !member.leader);
    let Some(next) =
        others.filter(|member| member.last_contact.is_some()).max_by_key(|m| m.matched)
    else {
        return;
    };
    match tokio::time::timeout(HAND_OVER, consensus.transfer(next.node)).await {
        Ok(Ok(())) => tracing::info!("handed the lead over to the server at {}", next.address),
        Ok(Err(error)) => tracing::info!("the lead was not handed over: {error}"),
        Err(_) => tracing::info!("the lead was not handed over in time"),
    }
}

/// Says in the agent's log when this server comes to lead, and when it does no more.
async fn tell_who_leads(consensus: Consensus, stop: CancellationToken) {
    let mut leads = consensus.leadership();
    let mut known = false;
    loop {
        let now = *leads.borrow_and_update();
        match (std::mem::replace(&mut known, now), now) {
            (false, true) => tracing::info!("this server leads now"),
            (true, false) => tracing::info!("this server leads no more"),
            _ => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = leads.changed() => if changed.is_err() { return },
        }
    }
}

/// Writes into the log who the cluster is, once.
async fn found(
    consensus: Consensus,
    papers: Papers,
    cluster: identity::ClusterId,
    own: bool,
    stop: CancellationToken,
) {
    while consensus.state().cluster().is_none() {
        if consensus.is_leader()
            && let Ok(ca_certificate) = papers.authority_certificate()
            && (own || ca_certificate.is_some())
        {
            // Without one of its own, a cluster makes no tokens.
            let ca_certificate = ca_certificate.filter(|_| !own).unwrap_or_default();
            let id = cluster.to_string();
            let command = Command::FoundCluster { id, ca_certificate, at: crate::clock::now() };
            if let Err(error) = consensus.propose(command).await {
                tracing::debug!("the cluster is not written down yet: {error}");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FOUNDING) => {}
        }
    }
}
