//! Who is believed where a branch is, while the leader cannot see that itself.

use std::collections::BTreeSet;

use anyhow::bail;
use model::NodeId;

/// Most nodes that a list may name.
const MOST: usize = 64;
/// Stands for every server.
const SERVERS: &str = "servers";

/// Those that may say where a repository's branch is. A node is named by its ID, which is its key; a name would be
/// whatever the node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeadsFrom {
    servers: bool,
    nodes: BTreeSet<NodeId>,
}

impl HeadsFrom {
    /// Reads a repository's list; servers, where there is none.
    pub(super) fn read(repo: &str, list: Option<&[String]>) -> anyhow::Result<Self> {
        let Some(list) = list else { return Ok(Self { servers: true, nodes: BTreeSet::new() }) };
        if list.len() > MOST {
            bail!("repo \"{repo}\": heads_from names more than {MOST}");
        }
        let mut read = Self { servers: false, nodes: BTreeSet::new() };
        for one in list {
            match (one.as_str(), one.parse()) {
                (SERVERS, _) => read.servers = true,
                (_, Ok(node)) => {
                    read.nodes.insert(node);
                }
                _ => bail!(
                    "repo \"{repo}\": heads_from has `{one}`; it takes \"{SERVERS}\" and whole IDs of nodes, as \
                     `herder node status -verbose` shows them"
                ),
            }
        }
        Ok(read)
    }

    /// Whether this node is one of them.
    pub(crate) fn allows(&self, is_server: bool, node: NodeId) -> bool {
        (self.servers && is_server) || self.nodes.contains(&node)
    }
}

#[cfg(test)]
mod tests {
    use model::seeded_uuid;

    use super::*;

    #[test]
    fn servers_are_believed_unless_the_list_says_otherwise() {
        let [one, other] = [b"a", b"b"].map(|seed| NodeId::new(seeded_uuid(&[seed])));
        let read = |list: &[String]| HeadsFrom::read("r", Some(list));
        let by_default = HeadsFrom::read("r", None).expect("a list");
        assert!(by_default.allows(true, one) && !by_default.allows(false, one));
        let nobody = read(&[]).expect("a list");
        assert!(!nobody.allows(true, one));
        let named = read(&[one.to_string()]).expect("a list");
        assert!(named.allows(false, one) && !named.allows(false, other));
        assert!(!named.allows(true, other), "servers are not named");
        let both = read(&["servers".to_owned(), one.to_string()]).expect("a list");
        assert!(both.allows(true, other) && both.allows(false, one) && !both.allows(false, other));
        for bad in ["workers", "", "node-1", "5f0c4b3e"] {
            assert!(read(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
    }
}
