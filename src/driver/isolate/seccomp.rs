//! What a task may ask of the kernel.
//!
//! Two filters, of which the stricter answer holds. The first lets through what the kernel had when this was written and
//! answers "no such call" to anything newer, to other calling conventions (x32) and to `clone3`, whose flags a filter
//! cannot see: the C library then uses `clone`. The second refuses what reaches beyond the task: mounts, namespaces, the
//! kernel's own modules, keys, clocks and memory, other processes' memory.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// The last call that is known: `mseal`, of Linux 6.10. Numbers up to it mean the same on all machines that are
/// supported, as far as they exist there.
const LAST_KNOWN: i64 = 462;

/// Calls that no task has a use for within its own walls.
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
];

/// Flags of `clone` that make namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Filters that are ready to be put on.
pub(super) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Compiles the filters.
    pub(super) fn new() -> io::Result<Self> {
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
        let known = (0..=LAST_KNOWN).filter(|call| *call != libc::SYS_clone3);
        let known: BTreeMap<i64, Vec<SeccompRule>> = known.map(|call| (call, Vec::new())).collect();
        let no_such_call = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let filter = SeccompFilter::new(known, no_such_call, SeccompAction::Allow, arch);
        let first = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
        let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
            REFUSED.iter().map(|call| (*call, Vec::new())).collect();
        let mut clone = Vec::new();
        for flag in NAMESPACES {
            let flag = u64::from(flag.unsigned_abs());
            clone.push(when(0, SeccompCmpOp::MaskedEq(flag), flag)?);
        }
        refused.insert(libc::SYS_clone, clone);
        // Puts letters into the terminal that the agent's owner may sit at.
        refused.insert(libc::SYS_ioctl, vec![when(1, SeccompCmpOp::Eq, libc::TIOCSTI)?]);
        let no = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = SeccompFilter::new(refused, SeccompAction::Allow, no, arch);
        let second = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
        Ok(Self(vec![first, second]))
    }

    /// Puts them on, for this thread and all that comes of it. Needs `no_new_privs`.
    pub(super) fn put_on(&self) -> io::Result<()> {
        self.0
            .iter()
            .try_for_each(|filter| seccompiler::apply_filter(filter).map_err(io::Error::other))
    }
}

fn when(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    // The kernel looks at 32 bits of these arguments.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_fit_into_the_kernel() {
        let filters = Filters::new().expect("they compile");
        // BPF_MAXINSNS.
        assert!(filters.0.iter().all(|filter| filter.len() < 4096));
    }
}
