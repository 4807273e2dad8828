"""From a fresh clone to a running testnet, or to a full test run, with nothing but Python >= 3.11.

    python3 tools/bootstrap.py testnet up [options]     any `headrace` command
    python3 tools/bootstrap.py test [pytest options]    every check of the repository

It makes `.venv` in the checkout once, installs exactly the versions of `constraints.txt`, and hands over.

This file alone runs before anything is installed, on whatever Python the machine has: standard library only,
and no syntax newer than Python 3.6, so that an old Python gets a sentence instead of a syntax error.

Invariant: `.venv/headrace.stamp` holds a fingerprint only once the whole installation has succeeded. Until
then it says `unfinished`, and such an environment is made again from the start. One without a stamp is not
ours and is left alone.
"""

import contextlib
import hashlib
import os
import platform
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "headrace.stamp"
LOG = VENV / "install.log"
INPUTS = ("constraints.txt", "pyproject.toml")
"""The environment is made anew when one of these changes."""

UNFINISHED = "unfinished\n"
HEARTBEAT_S = 15
"""Seconds between progress lines where no terminal shows a moving one."""

OFFLINE_SIGNS = (
    "Temporary failure in name resolution",
    "Network is unreachable",
    "NewConnectionError",
    "NameResolutionError",
    "Connection refused",
    "ConnectTimeout",
    "ProxyError",
)
"""What pip prints, in one of its versions, when it cannot reach an index."""
BUILD_SIGNS = ("Failed building wheel", "Failed to build", "error: command", "metadata-generation-failed")
NOTHING_FITS_SIGNS = ("No matching distribution", "Could not find a version", "conflicting dependencies")
"""The last is what pip says of a single pin of which it found no file at all."""

USAGE = """usage: python3 tools/bootstrap.py testnet up [options]     start a local testnet
       python3 tools/bootstrap.py test [pytest options]    run every check of the repository
       python3 tools/bootstrap.py COMMAND [options]        any other `headrace` command"""


class BootstrapError(Exception):
    """The environment could not be made; the message says why and what to do."""


def main(arguments: "list[str]") -> None:
    """Make the environment if it is missing or stale, then become the command asked for."""
    if sys.version_info < (3, 11):  # noqa: UP036  -- this file is what tells the user of an old Python so
        raise BootstrapError(
            f"Headrace needs Python 3.11 or newer; {sys.executable} is Python {platform.python_version()}.\n"
            "Install a newer one (such as `apt install python3.11 python3.11-venv`) and call it by name:\n"
            "    python3.11 tools/bootstrap.py ..."
        )
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    with only_one_at_a_time():
        ensure_environment()
    if arguments[0] == "test":
        os.chdir(ROOT)
        become(str(ROOT / "tools" / "check.py"), arguments[1:])
    else:
        become(str(VENV / "bin" / "headrace"), arguments)


def become(script: str, arguments: "list[str]") -> None:
    """Replace this process by a script of the environment: signals and exit status are then its own."""
    python = str(VENV / "bin" / "python")
    sys.stdout.flush()
    os.execv(python, [python, script, *arguments])


def ensure_environment() -> None:
    """Bring `.venv` to the state that the fingerprint names, doing nothing when it is there already."""
    wanted = fingerprint()
    found = STAMP.read_text() if STAMP.exists() else None
    if found == wanted:
        return
    if found is None and VENV.exists() and any(VENV.iterdir()):
        raise BootstrapError(
            f"{VENV} exists and was not made by this script, so it is left alone.\n"
            "Move it away or delete it, then run this command again."
        )
    explain_what_comes(found)
    started = time.monotonic()
    make_venv()
    install("setuptools, which builds the package", ["setuptools"])
    # First and alone: where torch was met through another package, the resolver would take a larger build.
    install("torch, for the work itself (the largest part)", ["torch"])
    install("Headrace and its libraries", ["--no-build-isolation", "--editable", ".[work,test]"])
    remove_stale_stubs()
    STAMP.write_text(wanted)
    say(f"Ready after {time.monotonic() - started:.0f} s.\n")


def explain_what_comes(found: "str | None") -> None:
    """Say, before minutes pass, what is about to happen and why."""
    if found is None:
        say(f"First run: making {VENV} with the pinned libraries. This is done once.")
    elif found == UNFINISHED:
        say(f"The last installation was interrupted: making {VENV} again.")
    else:
        say(f"The pins or the Python changed: making {VENV} again.")


def fingerprint() -> str:
    """Digest of everything the environment follows from."""
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    digest.update(f"{platform.python_version()} {platform.machine()} ".encode())
    digest.update(str(ROOT).encode())  # a checkout that was moved has an environment full of dead paths
    return digest.hexdigest() + "\n"


def make_venv() -> None:
    """Create an empty virtual environment, marked unfinished before anything else is in it."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        raise BootstrapError(
            f"{sys.executable} lacks the module {error.name!r} and cannot make a virtual environment.\n"
            f"On Debian and Ubuntu: `apt install python3.{sys.version_info[1]}-venv`; then run this again."
        ) from error
    if VENV.exists():
        # The stamp goes last: whatever interrupts this, the folder is still known as ours and unfinished.
        STAMP.write_text(UNFINISHED)
        for entry in VENV.iterdir():
            if entry != STAMP:
                shutil.rmtree(str(entry)) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    VENV.mkdir(exist_ok=True)
    STAMP.write_text(UNFINISHED)
    run_shown("a virtual environment", [sys.executable, "-m", "venv", str(VENV)])


def install(what: str, requirements: "list[str]") -> None:
    """Install requirements with pip, every version held by the constraints.

    Raises:
        BootstrapError: pip failed; its last lines, and what usually helps.
    """
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-input", "--progress-bar", "off", "--constraint", "constraints.txt", *requirements]
    run_shown(what, command)


def remove_stale_stubs() -> None:
    """Let type checkers see trio's own types.

    libp2p needs trio-typing at run time, and that brings stubs of a trio from years ago, which would win over
    the types inside trio itself.
    """
    for stubs in VENV.glob("lib/python*/site-packages/trio-stubs"):
        shutil.rmtree(stubs)


def run_shown(what: str, command: "list[str]") -> None:
    """Run a command with its output in the log and its progress on the screen.

    Raises:
        BootstrapError: it could not be started or did not succeed.
    """
    started = time.monotonic()
    lines: queue.Queue[str | None] = queue.Queue()
    with LOG.open("a", encoding="utf-8") as log:
        log.write("$ " + " ".join(command) + "\n")
        process = subprocess.Popen(
            command, cwd=str(ROOT), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        reader = threading.Thread(target=read_lines, args=(process, lines), daemon=True)
        reader.start()
        try:
            output = follow(what, lines, log, started)
            status = process.wait()
        except BaseException:
            # Ctrl-C above all: no pip may go on writing into an environment that nobody waits for.
            process.terminate()
            process.wait()
            raise
    if status != 0:
        raise BootstrapError(failure(what, output))
    show(f"  {what:<52}{time.monotonic() - started:4.0f} s", final=True)


def read_lines(process: "subprocess.Popen[bytes]", lines: "queue.Queue[str | None]") -> None:
    """Pass a process's output on line by line, and None at its end."""
    assert process.stdout is not None
    for raw in process.stdout:
        lines.put(raw.decode("utf-8", "replace").rstrip())
    lines.put(None)


def follow(what: str, lines: "queue.Queue[str | None]", log: TextIO, started: float) -> "list[str]":
    """Show that a command is alive until it ends, and return what it printed."""
    output: list[str] = []
    doing = ""
    spoke = started
    while True:
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=1.0)
            if line is None:
                return output
            log.write(line + "\n")
            output.append(line)
            if line.startswith(("Collecting ", "  Downloading ", "Installing ")):
                doing = " ".join(line.split()[:2])
        now = time.monotonic()
        progress = f"  {what:<52}{now - started:4.0f} s  {doing}"
        if sys.stdout.isatty():
            show(progress, final=False)
        elif now - spoke >= HEARTBEAT_S:
            spoke = now
            say(progress)


def failure(what: str, output: "list[str]") -> str:
    """What went wrong, in pip's words, and what to do about it."""
    text = "\n".join(output)
    # pip complains of every local folder that it was told of and does not find: never the reason.
    last = "\n".join([line for line in output if not line.startswith("WARNING: Location")][-15:])
    machine = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if any(sign in text for sign in OFFLINE_SIGNS):
        advice = "The package index could not be reached: check network and proxy, then run this again."
    elif "No space left on device" in text:
        advice = "The disk is full: the environment needs about 2 GB, with a CUDA build of torch about 8 GB."
    elif any(sign in text for sign in BUILD_SIGNS):
        advice = (
            f"A library has no ready-made file for {machine} and could not be compiled.\n"
            "There are files for Python 3.11:\n    python3.11 tools/bootstrap.py ...\n"
            "Or install what compiling needs, on Debian and Ubuntu:\n"
            "    apt install build-essential python3-dev libgmp-dev libleveldb-dev"
        )
    elif any(sign in text for sign in NOTHING_FITS_SIGNS):
        advice = (
            f"No file of a pinned version was found for {machine}. Check network and proxy; if the\n"
            "package index can be reached, it has none: the pins are tested on Python 3.11, Linux, x86_64."
        )
    else:
        advice = "The lines above are pip's own; run this again once their cause is gone."
    return f"Could not install {what}. The last lines of {LOG}:\n\n{last}\n\n{advice}"


@contextlib.contextmanager
def only_one_at_a_time() -> "Iterator[None]":
    """Hold the checkout, so that two commands started at once do not both write the environment."""
    import fcntl

    holder = os.open(str(ROOT), os.O_RDONLY)
    try:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another run of this script is making the environment: waiting for it.")
            fcntl.flock(holder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(holder)


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def show(text: str, *, final: bool) -> None:
    """Print a progress line in place on a terminal; elsewhere only the final one."""
    if not sys.stdout.isatty():
        if final:
            say(text)
        return
    width = shutil.get_terminal_size().columns - 1
    print("\r\x1b[K" + text[:width], end="\n" if final else "", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BootstrapError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Run the same command again: it starts over where that is needed.")
    except OSError as error:
        sys.exit(f"\n{error}\nThe checkout must be writable, with about 2 GB free.")
