"""Fills .venv with what requirements.lock says: the slow half of `_setup.sh`.

usage: _install.py ROOT RECIPE

Knows pip, its output, and what a killed install may leave behind. Does not know what the package
does, and imports nothing but the standard library, because nothing else is there yet.

The stamp in .venv holds the recipe (root, CMAKE_ARGS, checksums of the files) and the version of
Python that a finished install was made from. While an install runs its first line is UNFINISHED:
a .venv found like that is not trusted, since pip takes a half-copied package for an installed one,
and made anew. llama.cpp is then compiled again only if it was not finished: pip keeps its wheel.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

UNFINISHED = "unfinished"
HEARTBEAT = 30.0
"""Seconds between two signs of life where no line can be rewritten."""
CORE_MINUTES = 10
"""What compiling llama.cpp takes, roughly."""
HEADER = Path(__file__).with_name("amx_tile_config.h")
"""Mends what compilers make of llama.cpp on CPUs with AMX; included before its C++ files."""


class InstallError(Exception):
    """A step failed; the message says which, and why."""


class Progress:
    """What pip is doing, read from its output: one line that changes, or a line now and then."""

    def __init__(self, what: str) -> None:
        self._terminal = sys.stderr.isatty()
        self._started = self._spoke = time.monotonic()
        self._what = what
        self._count = self._cause = ""
        self.error = "no reason given"
        self._crashed = False
        if not self._terminal:
            say(f"{what} …")

    def read(self, line: str) -> None:
        """Takes one line of pip's, CMake's or ninja's output."""
        if found := re.match(r"\s*Downloading (?:\S*/)?([^\s/]+)(?: (\(.+\)))?", line):
            self._stage(" ".join(["downloading", *filter(None, found.groups())]))
        elif (
            re.match(r"\s*Building wheel for llama.cpp.python \(", line) and "finished" not in line
        ):
            minutes = max(1, round(CORE_MINUTES / (os.cpu_count() or 1)))
            self._announce(f"compiling llama.cpp: about {minutes} min on {os.cpu_count()} cores")
        elif re.match(r"\s*Installing collected packages", line):
            self._stage("installing")
        elif found := re.match(r"\s*\[\s*(\d+/\d+|\d+%)\]", line):
            self._count = f" [{found.group(1)}]"
        elif found := re.search(r"connection broken by '\w+\(.*?: (.+?)[\"']?\)': /", line):
            self._cause = f" ({found.group(1)})"  # which pip's last word does not mention
        elif found := re.match(r"ERROR: (.+)|.*(No module named .+)", line):
            self.error = (found.group(1) or found.group(2)) + self._cause
            self._crashed = self.error == "Exception:"
        elif self._crashed and line.strip():
            self.error = line.strip()  # a traceback follows, and ends with the reason

    def tick(self) -> None:
        """Shows where things stand; called about once a second."""
        now = time.monotonic()
        took = int(now - self._started)
        line = f"aded-edge: {self._what}{self._count} {took // 60}:{took % 60:02}"
        if self._terminal:
            width = shutil.get_terminal_size().columns
            print(f"\r\x1b[K{line[: width - 1]}", end="", file=sys.stderr, flush=True)
        elif now - self._spoke >= HEARTBEAT:
            self._spoke = now
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves no half-written line on the terminal."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _stage(self, what: str) -> None:
        self._what, self._count = what, ""

    def _announce(self, what: str) -> None:
        self._stage(what)
        self.close()
        say(what)


class Runner:
    """Runs the steps of an install, with their output in a log."""

    def __init__(self, log: Path, lock: int) -> None:
        self._log = log
        self._lock = lock
        self._parent = os.getppid()

    def run(self, what: str, command: Sequence[str | Path]) -> None:
        """Runs one command to its end, and nothing of it outlives us.

        Raises:
            InstallError: it failed.
        """
        # In a session of its own, so that a compiler's whole family can be stopped. It holds the
        # lock too: should we be killed outright, nobody else starts before pip is gone.
        with (
            self._log.open("ab") as log,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self._lock],
            ) as child,
        ):
            progress = Progress(what)
            try:
                self._follow(child, progress, log.fileno())
            except BaseException:
                stop(child)
                raise
        if child.returncode != 0:
            raise InstallError(f"{what} failed: {progress.error}; see {self._log}")

    def _follow(self, child: subprocess.Popen[bytes], progress: Progress, log: int) -> None:
        """Shows and keeps the child's output until it ends."""
        assert child.stdout is not None
        pipe, rest = child.stdout.fileno(), b""
        with selectors.DefaultSelector() as ready, contextlib.closing(progress):
            ready.register(pipe, selectors.EVENT_READ)
            while True:
                if ready.select(timeout=1.0):
                    chunk = os.read(pipe, 1 << 16)
                    if not chunk:
                        return
                    os.write(log, chunk)
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        progress.read(line.decode(errors="replace"))
                progress.tick()
                if os.getppid() != self._parent:
                    raise KeyboardInterrupt  # the script was killed, and nobody waits for us


def stop(child: subprocess.Popen[bytes]) -> None:
    """Ends a step and all that it started: kindly first, since pip then removes its build."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # one Ctrl-C is enough
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5.0)
        os.killpg(child.pid, signal.SIGKILL)  # a background job need not have heard the first
    signal.signal(signal.SIGINT, before)


def say(line: str) -> None:
    """One line on stderr."""
    print(f"aded-edge: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone_in(root: Path) -> Iterator[int]:
    """Holds the repository's lock, and gives its file descriptor."""
    lock = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another script that is setting up .venv")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def install(root: Path, recipe: str) -> None:
    """Makes .venv what the recipe says, whatever state it is in.

    Raises:
        InstallError: a step failed.
        OSError: .venv cannot be written.
    """
    with alone_in(root) as lock:
        venv = root / ".venv"
        stamp = venv / "aded-edge.stamp"
        old = stamp.read_text() if stamp.exists() else ""
        if old == f"{recipe}\n{version_line(venv)}\n":
            return  # another script did it while we waited
        fresh = not version_line(venv) or (old and not same_but_files(old, recipe, venv))
        if fresh:
            discard(venv)
            venv.mkdir()
        # Now, and not after a step: from here on a killed install must be told from a finished one.
        write(stamp, f"{UNFINISHED}\n{recipe}\n")
        runner = Runner(venv / "setup.log", lock)
        if fresh:
            make_venv(runner, venv)
        fill(runner, venv, root, force=not old)
        write(stamp, f"{recipe}\n{version_line(venv)}\n")
    say("ready")


def version_line(venv: Path) -> str:
    """The stamp's line on Python, or nothing where there is no Python that can be used."""
    test = "import sys; v = sys.version_info; v < (3, 10) or print('python %d.%d' % v[:2])"
    try:
        done = subprocess.run([venv / "bin/python", "-ISc", test], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def same_but_files(old: str, recipe: str, venv: Path) -> bool:
    """Whether the old install only needs other packages: same place, Python and flags."""
    lines = [*recipe.splitlines(), version_line(venv)]
    return [line for line in old.splitlines() if not line.startswith("files ")] == [
        line for line in lines if not line.startswith("files ")
    ]


def discard(venv: Path) -> None:
    """Removes a .venv; killed on the way, it leaves none that looks usable."""
    dying = venv.with_name(".venv.discarded")
    shutil.rmtree(dying, ignore_errors=True)
    if venv.exists() or venv.is_symlink():
        say("removing the old .venv")
        venv.rename(dying)
        shutil.rmtree(dying, ignore_errors=True)


def make_venv(runner: Runner, venv: Path) -> None:
    """An empty .venv with pip."""
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise InstallError(
            f"{sys.executable} cannot make virtual environments: install the rest of it "
            f"(Debian, Ubuntu: sudo apt install python{version}-venv)"
        )
    runner.run("making .venv", [sys.executable, "-m", "venv", venv])


def fill(runner: Runner, venv: Path, root: Path, force: bool) -> None:
    """Installs the locked packages and then ours.

    Args:
        force: put in our llama-cpp-python even if it has one, compiled who knows how.
    """
    # -I: a PYTHONPATH of the user's must not make pip believe that something is there already.
    pip: list[str | Path] = [
        venv / "bin/python",
        "-I",
        "-m",
        "pip",
        "--no-input",
        "--disable-pip-version-check",
    ]
    lock = root / "requirements.lock"
    llama = re.search(r"^llama-cpp-python==\S+", lock.read_text(), flags=re.MULTILINE)
    if llama is None:
        raise InstallError(f"{lock} does not name llama-cpp-python")
    options = ["--force-reinstall"] if force else []
    flags = f'-include "{HEADER.resolve()}"'
    os.environ["CXXFLAGS"] = f"{flags} {os.environ.get('CXXFLAGS', '')}".strip()
    runner.run(
        "fetching llama-cpp-python",
        [*pip, *own_cache(pip), "install", "-v", "--no-deps", *options, llama.group()],
    )
    runner.run("installing packages", [*pip, "install", "-r", lock])
    runner.run(
        "installing aded-edge",
        [*pip, "install", "--no-deps", "--no-build-isolation", "--editable", root],
    )


def own_cache(pip: Sequence[str | Path]) -> list[str]:
    """Where the wheel of a llama.cpp with flags is kept.

    pip keeps a compiled wheel by its source alone. In the common cache one with flags would be
    taken for one without, here and in the user's other projects.
    """
    made_by = os.environ.get("CMAKE_ARGS", "").encode() + HEADER.read_bytes()
    done = subprocess.run([*pip, "cache", "dir"], capture_output=True, text=True)
    if done.returncode != 0:  # no cache at all
        return []
    key = hashlib.sha256(made_by).hexdigest()[:12]
    return ["--cache-dir", str(Path(done.stdout.strip()) / f"aded-edge-{key}")]


def write(path: Path, text: str) -> None:
    """All of the text or nothing of it."""
    whole = path.with_name(f"{path.name}.new")
    whole.write_text(text)
    whole.replace(path)


def main(arguments: Sequence[str]) -> int:
    """Installs; an error or an interruption is one line."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    root, recipe = arguments
    try:
        install(Path(root), recipe)
    except (InstallError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped; run it again to go on")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
