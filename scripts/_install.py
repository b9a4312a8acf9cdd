"""Fill .venv with the packages of requirements.lock: the slow half of `_setup.sh`.

usage: _install.py ROOT VENV RECIPE

Knows pip, and what a killed install leaves behind. Imports only the standard library, because
nothing else is installed yet. The stamp in .venv holds the recipe of the last finished install and
its version of Python; while an install runs, its first line is "unfinished". A .venv with such a
stamp is made anew, because pip takes a half-copied package for an installed one. llama.cpp is
compiled again only if that was interrupted, because pip keeps its wheel.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
HEARTBEAT = 300  # ticks of 0.1 s between two lines about a step where no line can be rewritten
STAGE = re.compile(r"^\s*((?:Downloading|Installing|Building wheel for) .*|\[ *\d+/\d+\].*)", re.M)
STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
PARENT = os.getppid()


class InstallError(Exception):
    """A step failed; the message says which, and why."""


def say(line: str, end: str = "\n") -> None:
    """Print a line on stderr, on a terminal over one that has no end yet."""
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{start}aded-edge: {line}", end=end, file=sys.stderr, flush=True)


def lock_of(root: Path) -> int:
    """Take the repository's lock until we end; its file descriptor. Signals then wait for `run`."""
    lock = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another script that is setting up .venv")
        fcntl.flock(lock, fcntl.LOCK_EX)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    return lock


def run(what: str, command: list[str], log: Path, lock: int) -> None:
    """Run one step, with its output in the log. None of its processes outlives it."""
    say(f"{what} …")
    stage, begun, ticks, terminal = what, time.monotonic(), 0, sys.stderr.isatty()
    with log.open("ab") as writer, log.open(errors="replace") as reader:
        start = reader.seek(0, os.SEEK_END)
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that `stop` reaches all its processes
            pass_fds=[lock],  # if we are killed, other scripts wait until they have ended
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS),
        )
        try:
            while child.poll() is None:
                time.sleep(0.1)
                ticks += 1
                if signal.sigpending() & STOPS or os.getppid() != PARENT:
                    raise KeyboardInterrupt  # Ctrl-C, or the script was killed
                stage = stage_in(reader.read(), stage)
                if terminal or ticks % HEARTBEAT == 0:
                    minutes, seconds = divmod(int(time.monotonic() - begun), 60)
                    line = f"{minutes}:{seconds:02} {stage}"[: shutil.get_terminal_size()[0] - 12]
                    say(line, end="" if terminal else "\n")
        finally:
            stop(child)
        reader.seek(start)
        if child.returncode != 0:
            raise InstallError(f"{what} failed: {reason(reader.read())}; see {log}")


def stage_in(output: str, before: str) -> str:
    """Return the last line of pip or ninja that says what it is doing; `before` if none does."""
    return re.sub(r"^Downloading \S+/", "Downloading ", [before, *STAGE.findall(output)][-1])


def stop(child: subprocess.Popen[bytes]) -> None:
    """End what is left of a step; pip gets time to remove its build."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5.0)
        os.killpg(child.pid, signal.SIGKILL)  # a shell's background jobs ignore SIGINT
    child.wait()


def reason(output: str) -> str:
    """Return why pip failed, in its own words."""
    lines = output.strip().splitlines() or ["no reason given"]
    errors = re.findall(r"^ERROR: (.+)", output, re.M) or lines
    # After a crash of pip, the traceback ends with the reason.
    error = lines[-1] if errors[-1] == "Exception:" else errors[-1]
    # Without a network, only a warning names the cause.
    causes = re.findall(r"connection broken by '\w+\(.*?: (.+?)[\"']?\)': /", output)
    return f"{error} ({causes[-1]})" if causes else error


def install(root: Path, venv: Path, recipe: str) -> None:
    """Make the environment what the recipe says, whatever state it is in."""
    lock, stamp = lock_of(root), venv / "aded-edge.stamp"
    old, version = stamp.read_text() if stamp.exists() else "", version_line(venv)
    if old == f"{recipe}\n{version}\n":
        return  # another script did it while we waited
    fresh = not version or (old and not same_but_files(old, f"{recipe}\n{version}\n"))
    if fresh and venv.is_symlink():
        venv.unlink()  # what it leads to is the user's
    if fresh and venv.exists():
        say(f"removing the old {venv.name}")
        (venv / "bin/python").unlink(missing_ok=True)  # first: half of a .venv must not be usable
        shutil.rmtree(venv)
    venv.mkdir(exist_ok=True)
    stamp.write_text(f"unfinished\n{recipe}\n")
    for what, command in steps(root, str(venv), bool(fresh), bool(old)):
        run(what, command, venv / "setup.log", lock)
    stamp.write_text(f"{recipe}\n{version_line(venv)}\n")
    say("ready")


def steps(root: Path, venv: str, fresh: bool, ours: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield the steps into a `fresh` venv, or one that was `ours` before, with their commands."""
    if fresh:
        if importlib.util.find_spec("ensurepip") is None:
            raise InstallError(
                f"{sys.executable} cannot make virtual environments: install the rest of it "
                f"(Debian, Ubuntu: sudo apt install python3.{sys.version_info.minor}-venv)"
            )
        yield f"making {Path(venv).name}", [sys.executable, "-m", "venv", venv]
    # -I: a PYTHONPATH of the user's must not make pip believe that a package is installed.
    pip = [f"{venv}/bin/python", "-I", "-m", "pip", "--no-input", "--disable-pip-version-check"]
    lock = str(root / "requirements.lock")
    llama = [*own_cache(pip), "install", "-v", "--no-deps", "-c", lock, "llama-cpp-python"]
    llama += [] if ours else ["--force-reinstall"]  # its CMAKE_ARGS are not known
    included = [f'-include "{header}"' for header in headers()]
    os.environ["CXXFLAGS"] = " ".join([*included, os.environ.get("CXXFLAGS", "")]).strip()
    yield "installing llama-cpp-python (compiling takes 5 min on 2 cores)", [*pip, *llama]
    yield "installing packages", [*pip, "install", "-r", lock]
    edit = ["install", "--no-deps", "--no-build-isolation", "--editable", str(root)]
    yield "installing aded-edge", [*pip, *edit]


def headers() -> list[Path]:
    """Return the headers to include before every C++ file of llama.cpp, by its CMAKE_ARGS."""
    vulkan = "GGML_VULKAN" in os.environ.get("CMAKE_ARGS", "")
    names = ["amx_tile_config.h", *(["vulkan_layer_settings.h"] if vulkan else [])]
    return [SCRIPTS / name for name in names]


def own_cache(pip: list[str]) -> list[str]:
    """Return pip's option for a cache that belongs to our flags.

    pip keeps a compiled wheel by its source only. In the common cache, one with flags would be
    taken for one without them, here and in the user's other projects.
    """
    flags = os.environ.get("CMAKE_ARGS", "").encode()
    key = hashlib.sha256(flags + b"".join(map(Path.read_bytes, headers()))).hexdigest()[:12]
    done = subprocess.run([*pip, "cache", "dir"], capture_output=True, text=True)
    # Without a path, the user has switched the cache off.
    return ["--cache-dir", f"{done.stdout.strip()}/aded-edge-{key}"] if done.stdout else []


def version_line(venv: Path) -> str:
    """Return the stamp's line on Python; empty if .venv has no Python that can run aded-edge."""
    test = "import sys; v = sys.version_info; v < (3, 10) or print('python %d.%d' % v[:2])"
    if not (venv / "bin/python").exists():
        return ""
    command = [f"{venv}/bin/python", "-ISc", test]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def same_but_files(old: str, new: str) -> bool:
    """Whether two stamps differ at most in the checksums of files: then .venv is kept."""
    changed = set(old.splitlines()) ^ set(new.splitlines())
    return all(line.startswith("files ") for line in changed)


if __name__ == "__main__":
    try:
        install(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    except (InstallError, OSError) as error:
        say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        say("stopped; run it again to go on")
        sys.exit(130)
