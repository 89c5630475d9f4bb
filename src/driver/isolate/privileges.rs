//! What a task may do: nothing that its user may not, beside the capabilities that it was given.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid};

/// Capabilities that a job file may ask for unless the node says otherwise: those that reach no further than the task.
///
/// Docker grants more, which is another thing there: here the task's root has the node's own files in it, and its user
/// is the node's user. With `dac_override` it would read the node's keys, with `setuid` it would be the node's root, with
/// `mknod` it would have its disks.
pub(crate) const ALLOWED_BY_DEFAULT: [&str; 3] = ["audit_write", "kill", "net_bind_service"];

/// Who a task is. Of the user's groups it has the first alone: the others are there for what that user does on the node,
/// such as reading its keys.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

impl User {
    /// Looks a user up, by name or number, on the node.
    pub(super) fn find(name: &str) -> Result<Self, crate::shim::Failure> {
        let user = crate::shim::user_of(name)?;
        Ok(Self { uid: user.uid, gid: user.gid })
    }
}

fn parse(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    full.parse().ok()
}

/// Whether the kernel knows a capability of this name; the prefix and case do not count.
pub(crate) fn is_capability(name: &str) -> bool {
    parse(name).is_some()
}

fn set_of(names: &[String]) -> CapsHashSet {
    names.iter().filter_map(|name| parse(name)).collect()
}

/// Becomes `user` with these capabilities and never more, whatever program runs.
pub(super) fn become_user(user: &User, capabilities: &[String]) -> io::Result<()> {
    let kept = set_of(capabilities);
    bound(&kept)?;
    let other = !user.uid.is_root();
    if other && !kept.is_empty() {
        // Else the kernel takes all of them away when the user changes.
        nix::sys::prctl::set_keepcaps(true)?;
    }
    // In this order: once the user is changed, the groups can no longer be.
    nix::unistd::setgroups(&[user.gid])?;
    nix::unistd::setresgid(user.gid, user.gid, user.gid)?;
    nix::unistd::setresuid(user.uid, user.uid, user.uid)?;
    hold(&kept)?;
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}

/// Keeps nothing: for a process that only waits.
pub(super) fn give_up_all() -> io::Result<()> {
    let none = CapsHashSet::new();
    bound(&none)?;
    hold(&none)?;
    // Its memory is a copy of the shim's: nobody is to look into it.
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}

/// Lowers what any program could ever get.
fn bound(kept: &CapsHashSet) -> io::Result<()> {
    for capability in caps::runtime::thread_all_supported() {
        if !kept.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn hold(kept: &CapsHashSet) -> io::Result<()> {
    // Permitted last: what is not permitted cannot be made effective.
    caps::set(None, CapSet::Effective, kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Inheritable, kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, kept).map_err(io::Error::other)?;
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    for capability in kept {
        caps::raise(None, CapSet::Ambient, *capability).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        for name in ["net_bind_service", "CAP_NET_BIND_SERVICE", "Net_Bind_Service"] {
            assert!(is_capability(name), "{name}");
        }
        assert!(!is_capability("everything") && !is_capability(""));
        assert!(ALLOWED_BY_DEFAULT.iter().all(|name| is_capability(name)));
        for reaches_further in ["net_raw", "dac_override", "setuid", "mknod", "chown", "sys_admin"]
        {
            assert!(!ALLOWED_BY_DEFAULT.contains(&reaches_further), "{reaches_further}");
        }
    }
}
