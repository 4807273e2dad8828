"""Becomes another program that dies with the process that started it.

    python leash.py PARENT_PID PROGRAM ARGUMENT ...

A supervisor that is killed cannot tell its children. On Linux the kernel does it for us: prctl(2)
PR_SET_PDEATHSIG, which survives exec. It is set here, in a process of one thread just before it becomes the
program, because between fork and exec of a supervisor with threads hardly anything is safe. The signal
follows the *thread* that forked, which is why `supervisor.py` starts its children from its main thread.

Elsewhere a killed supervisor leaves its children behind, and they must be ended by hand.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Tie this process to its parent and become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the supervisor ended before its child started")  # and its death sent no signal
    # A shell starts background jobs with SIGINT ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
