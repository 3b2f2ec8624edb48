"""Takes from this process, for good, the right to open, write, connect, start or signal anything."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

MEMORY = ("mmap", "munmap", "mremap", "mprotect", "madvise", "brk")
THREADS = ("futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "membarrier", "exit", "exit_group")
SIGNALS = ("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall")
CLOCKS = ("clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday")
SELF = ("getpid", "gettid", "getrandom", "getrusage", "sysinfo", "uname", "getcpu")
ALLOWED = ("read", "readv", "write", "writev", *MEMORY, *THREADS, *SIGNALS, *CLOCKS, *SELF)
"""All system calls that are left, apart from new threads and this process's own `tgkill`, of which abort() is made.

Reading and writing go to what is open already: the sockets to the parent, and /dev/null.
"""

RESTRICTIONS = ("resource limits", "Landlock", "seccomp")

_A_THREAD = 0x00010F00
"""CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND and CLONE_THREAD (`linux/sched.h`): set together only by a thread."""

_F_SETSIG = 10


def end_with(fd: int) -> None:
    """Let the kernel kill this process when the other end of the socket `fd`, on which nothing is sent, is closed.

    Unlike PR_SET_PDEATHSIG it does not look at the thread that started this process, and unlike a thread of our own it
    needs no lock of Python, which an endless loop may hold. On Linux only.
    """
    if sys.platform == "linux":
        import fcntl
        import select

        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([fd], [], [], 0)[0]:  # it was closed before
            os._exit(1)


def confine(memory: int) -> list[str]:
    """Restrict this process, which must have one thread. Returns the names of the restrictions that are not to be had.

    memory: bytes of data that the process may hold. What the process has open stays usable.
    """
    missing, ready = [], []
    for name, prepared in zip(RESTRICTIONS, (_limits, _landlock, _seccomp), strict=True):
        try:
            ready.append((name, prepared(memory)))  # all that has to be imported or looked up, before the first is on
        except (ImportError, OSError, ValueError):
            missing.append(name)
    for name, restrict in ready:
        try:
            restrict()
        except (OSError, ValueError):
            missing.append(name)
    return missing


def _limits(memory: int) -> Callable[[], None]:
    import resource

    def limit() -> None:
        with contextlib.suppress(OSError):  # where memory runs out, this process is to end, not its parent
            Path("/proc/self/oom_score_adj").write_text("1000")
        for kind, most in limits:
            resource.setrlimit(kind, (most, most))

    highest = max(map(int, os.listdir("/dev/fd")))
    limits = (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, highest + 1),
        (resource.RLIMIT_DATA, memory),
    )
    return limit


def _landlock(_: int) -> Callable[[], None]:
    """No right to any file or port, and no signal or abstract socket beyond this process."""
    from landlockpy import RestrictFlag, Ruleset, Scope

    def restrict() -> None:
        with rules:
            rules.restrict(RestrictFlag.TSYNC)

    rules = Ruleset(scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET)
    if rules.abi_version < 8 and len(os.listdir("/proc/self/task")) > 1:
        raise OSError(errno.EBUSY, "another thread would be left out")
    return restrict


def _seccomp(_: int) -> Callable[[], object]:
    """Every call that is not in ALLOWED fails with EPERM, also for a library that only tries."""
    from seccompy import Action, ArgCmp, CmpOp, Filter, FilterFlag, supported

    if not supported():  # which also finds the C library, while files can be opened
        raise OSError(errno.ENOSYS, "the kernel has no filters")
    rules = Filter(int(Action.ERRNO) | errno.EPERM, flags=FilterFlag.TSYNC)
    for name in ALLOWED:
        rules.allow(name)
    rules.allow("clone", args=[ArgCmp(0, CmpOp.MASKED_EQ, _A_THREAD, _A_THREAD)])
    rules.errno("clone3", errno.ENOSYS)  # its flags lie in memory; the C library then calls clone
    rules.allow("tgkill", args={0: os.getpid()})
    rules.allow("prlimit64", args={0: 0, 2: 0})  # reading a limit
    return rules.load
