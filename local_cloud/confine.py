"""Run a program as somebody other than root, and never beyond the life of the process that started it.

PostgreSQL refuses to run as root. Where the kernel allows it, a user namespace makes root look like somebody else and
files stay root's; elsewhere the program runs as `nobody`. This file is also the launcher itself: started as a script it
changes what it must in a fresh single-threaded process and becomes the program, because code between fork and exec
(`preexec_fn`) is unsafe in a process with threads, and the local cloud has many.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_INSIDE = 1000
"""The uid and gid that root has inside the namespace: any but 0."""


def modes() -> Sequence[str]:
    """How a program may be run from here, best first: `namespace` and `nobody` for root, `user` for anybody else."""
    return ("namespace", "nobody") if os.geteuid() == 0 else ("user",)


def owner(mode: str) -> int:
    """The uid that owns the files a program in `mode` writes, as seen from here."""
    return NOBODY if mode == "nobody" else os.geteuid()


def command(mode: str, *arguments: str | Path) -> list[str]:
    """The command that runs `arguments` in `mode`.

    The program gets SIGQUIT when the thread that started it ends, however it ends. Exit code 126 and one line on
    stderr say that the kernel refused the mode.
    """
    launcher = [sys.executable, "-I", "-S", __file__, mode, str(os.getpid())]
    return launcher + [str(argument) for argument in arguments]


def succeeds(mode: str, *arguments: str | Path) -> bool:
    """Whether `arguments`, run in `mode`, exit with 0."""
    return subprocess.run(command(mode, *arguments), capture_output=True, check=False).returncode == 0


def _libc_call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(ctypes.c_ulong(argument) for argument in arguments)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _enter_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _libc_call("unshare", _CLONE_NEWUSER)
    process = Path("/proc/self")
    (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(f"{_INSIDE} {uid} 1")
    (process / "gid_map").write_text(f"{_INSIDE} {gid} 1")


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def main(mode: str, parent: int, program: str, *arguments: str) -> None:
    try:
        if mode == "namespace":
            _enter_namespace()
        elif mode == "nobody":
            _become_nobody()
        # After the change of user, which would clear it (prctl(2)).
        if sys.platform == "linux":
            _libc_call("prctl", _PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
            if os.getppid() != parent:
                raise SystemExit("the process that asked for this is gone")
        os.execv(program, [program, *arguments])  # noqa: S606
    except OSError as refused:
        print(f"cannot run {program} in mode {mode}: {refused}", file=sys.stderr)
        raise SystemExit(126) from None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
