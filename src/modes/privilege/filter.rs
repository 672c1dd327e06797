//! The system calls of a live mode that has started; all others fail with `EPERM`.
//!
//! They fail and do not kill: a C library that begins to use another call is a reason for a message,
//! and none to stop watching.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

/// What needs no look at its arguments. No program or thread is started, no identity changed, nobody
/// traced, nothing mounted or loaded.
const ALLOWED: &[c_long] = &[
    // Files: records, captured frames, configuration, procfs, state.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_mkdirat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
    // Sockets: captures, netlink, the runtimes.
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    // Waiting, time, signals.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Memory and threads that are there.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Who and where this is; ending by `abort`.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_prlimit64,
    libc::SYS_tgkill,
];

/// The same by the names that newer architectures have dropped.
#[cfg(target_arch = "x86_64")]
const ALSO_ALLOWED: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_unlink,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_getrlimit,
];
#[cfg(not(target_arch = "x86_64"))]
const ALSO_ALLOWED: &[c_long] = &[];

/// The kind of a socket, below its flags.
const SOCKET_TYPE: u64 = 0xf;

/// Confines every thread.
pub(super) fn apply() -> Result<(), String> {
    let program: BpfProgram = build().map_err(|error| error.to_string())?;
    apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

fn build() -> Result<BpfProgram, BackendError> {
    let is = |argument, operation, value: libc::c_int| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value as u64)
    };
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALSO_ALLOWED).map(|call| (*call, Vec::new())).collect();
    // No stream or raw socket of the internet: libpcap asks about interfaces by datagram sockets.
    let others = SeccompRule::new(vec![
        is(0, SeccompCmpOp::Ne, libc::AF_INET)?,
        is(0, SeccompCmpOp::Ne, libc::AF_INET6)?,
    ])?;
    let datagrams =
        SeccompRule::new(vec![is(1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), libc::SOCK_DGRAM)?])?;
    rules.insert(libc::SYS_socket, vec![others, datagrams]);
    // Nothing that is written becomes code.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let code = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        rules.insert(call, vec![SeccompRule::new(vec![is(2, code, 0)?])?]);
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_for_this_machine() {
        let program = build().unwrap();
        assert!(program.len() < 4_096, "the kernel's limit: {}", program.len());
    }

    #[test]
    fn starts_nothing_and_becomes_nobody() {
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_setuid,
            libc::SYS_capset,
            libc::SYS_bpf,
            libc::SYS_kill,
            libc::SYS_setns,
            libc::SYS_unshare,
        ] {
            assert!(!ALLOWED.contains(&call) && !ALSO_ALLOWED.contains(&call), "{call}");
        }
    }
}
