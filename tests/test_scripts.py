"""The scripts, except for installing and compiling, which take minutes."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from aded_edge.models.default import DEFAULT_MODEL
from tests.clones import ROOT, copy_scripts, install_by_stand_in, put, put_python, run, tools_in

COMMANDS = ["chat", "test", "test-gpu", "check", "bench", "fetch_model.py"]
BASH = [ROOT / ".ci/run", *(ROOT / "scripts" / name for name in ["_setup.sh", *COMMANDS[:-1]])]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return copy_scripts(tmp_path / "my clone")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    return tools_in(tmp_path / "bin")


@pytest.mark.parametrize("script", BASH, ids=lambda path: path.name)
def test_bash_can_parse_it(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_executable(name: str) -> None:
    assert (ROOT / "scripts" / name).stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize(
    ("fails", "ran", "status"),
    [("none", ["check", "test"], 0), ("check", ["check"], 3), ("test", ["check", "test"], 3)],
)
def test_ci_runs_the_check_and_then_the_tests(
    clone: Path, tools: Path, fails: str, ran: list[str], status: int
) -> None:
    for name in ("check", "test"):
        put(clone / "scripts" / name, f'echo {name}; [ "$FAILING" != {name} ] || exit 3')

    done = run(clone / ".ci/run", tools, FAILING=fails)

    assert done.stdout.split() == ran
    assert done.returncode == status


def test_too_old_a_python_is_one_line_with_a_remedy(clone: Path, tools: Path) -> None:
    put(tools / "python3", '[ "$1" = --version ] && echo Python 3.8.18')

    done = run(clone / "scripts/chat", tools)

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("aded-edge: needs Python 3.10 or newer, and found Python 3.8.18")
    assert "python.org" in line
    assert not (clone / ".venv").exists()


def test_no_python_at_all_is_one_line(clone: Path, tools: Path) -> None:
    done = run(clone / "scripts/check", tools)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_no_compiler_is_one_line_with_a_remedy(clone: Path, tools: Path) -> None:
    put_python(tools / "python3")

    done = run(clone / "scripts/test", tools)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs a C and C++ compiler" in line
    assert "build-essential" in line


@pytest.fixture
def ready(clone: Path, tools: Path) -> Path:
    install_by_stand_in(clone, tools)
    return clone


def test_installs_once(ready: Path, tools: Path) -> None:
    first = run(ready / "scripts/bench", tools)
    second = run(ready / "scripts/bench", tools)

    # llama.cpp is compiled with its own defaults.
    assert first.stderr.startswith("installing with CMAKE_ARGS=-DGGML_RPC=ON\n")
    assert "installing" not in second.stderr
    assert first.stdout == second.stdout == "-m aded_edge bench\n"


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_installs_again_when_a_file_changes(ready: Path, tools: Path, name: str) -> None:
    run(ready / "scripts/bench", tools)
    with (ready / name).open("a") as file:
        file.write("# changed\n")

    assert "installing" in run(ready / "scripts/bench", tools).stderr


def test_installs_again_when_the_clone_was_moved(ready: Path, tools: Path) -> None:
    run(ready / "scripts/bench", tools)
    moved = ready.rename(ready.with_name("moved"))

    assert "installing" in run(moved / "scripts/bench", tools).stderr


def test_installs_again_after_an_unfinished_install(ready: Path, tools: Path) -> None:
    run(ready / "scripts/bench", tools)
    stamp = ready / ".venv/aded-edge.stamp"
    stamp.write_text(f"unfinished\n{stamp.read_text()}")

    assert "installing" in run(ready / "scripts/bench", tools).stderr


def test_the_users_cmake_args_count_and_stay(ready: Path, tools: Path) -> None:
    run(ready / "scripts/bench", tools)

    given = run(ready / "scripts/bench", tools, CMAKE_ARGS="-DGGML_CUDA=on -DX=1")
    left_out = run(ready / "scripts/bench", tools)

    assert "installing with CMAKE_ARGS=-DGGML_RPC=ON -DGGML_CUDA=on -DX=1\n" in given.stderr
    assert "installing" not in left_out.stderr


def test_chat_takes_the_users_model_or_fetches_ours(ready: Path, tools: Path) -> None:
    own = run(ready / "scripts/chat", tools, "my model.gguf", "--ctx", "512")
    ours = run(ready / "scripts/chat", tools, "--ctx", "512")

    default = ready / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
    assert own.stdout == "-m aded_edge.chat my model.gguf --ctx 512\n"
    assert "fetch_model.py" not in own.stderr
    assert ours.stdout == f"-m aded_edge.chat {default} --ctx 512\n"
    assert f"{ready}/scripts/fetch_model.py\n" in ours.stderr


def test_chat_works_through_a_link(ready: Path, tools: Path, tmp_path: Path) -> None:
    link = tmp_path / "chat"
    link.symlink_to(ready / "scripts/chat")

    assert run(link, tools, "x.gguf").stdout == "-m aded_edge.chat x.gguf\n"


def test_tests_run_twice_and_either_failure_counts(ready: Path, tools: Path) -> None:
    run(ready / "scripts/test", tools)
    fails = (
        'case "$*" in *fetch_model.py) ;; *"$FAILING"*) exit 3;; esac; echo "$NUMBA_DISABLE_JIT|$*"'
    )
    python = ready / ".venv/bin/python"
    python.write_text(python.read_text().replace('echo "$@"', fails))

    both = run(ready / "scripts/test", tools, "-x", FAILING="none")
    first = run(ready / "scripts/test", tools, FAILING="pytest")
    second = run(ready / "scripts/test", tools, FAILING="tests/draft")

    assert both.stdout.splitlines() == [
        "|-m pytest -x",
        "1|-m pytest tests/draft tests/decode -m not model",
    ]
    assert (both.returncode, first.returncode, second.returncode) == (0, 3, 3)


def test_the_scripts_name_the_default_model() -> None:
    assert DEFAULT_MODEL.file in (ROOT / "scripts/_setup.sh").read_text()


def load_installer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_install", ROOT / "scripts/_install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


installer = load_installer()


class Steps:
    """Runs steps under the lock of a folder, as `install` does."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.log = folder / "log"
        self._lock = lock

    def run(self, what: str, *command: str) -> None:
        installer.run(what, [*command], self.log, self._lock)


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[Steps]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    lock = installer.lock_of(tmp_path)
    yield Steps(tmp_path, lock)
    os.close(lock)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.mark.parametrize(
    ("output", "stage"),
    [
        (
            "noise\n  Downloading https://example.org/a/llama_cpp_python-0.3.36.tar.gz (76.6 MB)\n",
            "Downloading llama_cpp_python-0.3.36.tar.gz (76.6 MB)",
        ),
        ("  Building wheel for llama-cpp-python: started\nnoise", "Building wheel for llama-cpp-"),
        ("  [1/98] cc a.c\n  [57/98] /usr/bin/c++ -DX -c b.cpp\n  noise", "[57/98] /usr/bin/c++"),
        ("Installing collected packages: numba", "Installing collected packages: numba"),
        ("noise", "before"),
        ("", "before"),
    ],
)
def test_the_stage_is_the_last_line_that_says_what_pip_and_ninja_do(
    output: str, stage: str
) -> None:
    assert installer.stage_in(output, "before").startswith(stage)


def test_a_step_shows_its_time_and_stage(
    steps: Steps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installer, "HEARTBEAT", 1)

    steps.run("installing", "sh", "-c", "echo '[57/98] c++ -c ggml.cpp'; sleep 1")

    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "aded-edge: installing …"
    assert re.fullmatch(r"aded-edge: 0:\d\d \[57/98\] c\+\+ -c ggml.cpp", last)


def test_a_failed_step_says_why_and_where_the_rest_is(steps: Steps) -> None:
    script = "echo noise; echo 'ERROR: No matching distribution found for x'; exit 1"

    with pytest.raises(installer.InstallError) as caught:
        steps.run("installing packages", "sh", "-c", script)

    assert str(caught.value) == (
        f"installing packages failed: No matching distribution found for x; see {steps.log}"
    )
    assert "noise" in steps.log.read_text()


def test_a_crash_of_pip_is_told_by_its_last_line(steps: Steps) -> None:
    script = (
        "echo 'ERROR: Exception:'; echo Traceback:; echo '  File x'; echo 'OSError: full'; exit 2"
    )

    with pytest.raises(installer.InstallError, match="OSError: full;"):
        steps.run("installing packages", "sh", "-c", script)


def test_an_interrupted_step_leaves_no_process(tmp_path: Path) -> None:
    # The step interrupts the installer, as Ctrl-C would. Both its processes hold the lock too. The
    # installer needs its own process, because pytest has threads that do not block signals.
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "scripts")!r})
import _install
folder = Path({str(tmp_path)!r})
step = ["bash", "-c", "sleep 60 & kill -INT $PPID; sleep 60"]
try:
    _install.run("compiling", step, folder / "log", _install.lock_of(folder))
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-Bc", code], stdout=subprocess.PIPE, text=True)
    assert done.stdout == "interrupted\n"

    free, patience = os.open(tmp_path, os.O_RDONLY), time.monotonic() + 20
    while time.monotonic() < patience:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        time.sleep(0.01)
    else:
        pytest.fail("something is still running")
    os.close(free)


def test_a_venv_is_kept_only_for_the_same_place_python_and_flags(tmp_path: Path) -> None:
    put_python(tmp_path / "bin/python")
    version = installer.version_line(tmp_path)
    old = f"root /a\ncmake default \nfiles 1 2\n{version}\n"

    assert version == f"python {sys.version_info.major}.{sys.version_info.minor}"
    same = installer.same_but_files
    assert same(old, old.replace("1 2", "9 9"))
    assert not same(old, old.replace("/a", "/b"))
    assert not same(old, old.replace("default ", "given -DX=1"))
    assert not same(old, old.replace("python 3", "python 4"))
    assert not same(f"unfinished\n{old}", old)


def test_a_dangling_python_is_no_python(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(tmp_path / "gone")

    assert installer.version_line(tmp_path) == ""


def test_a_stand_in_takes_the_place_of_a_link_and_not_of_what_it_leads_to(tmp_path: Path) -> None:
    """Tests run as root too: a stand-in once took the place of the system's `uname`."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("the system's")
    link.symlink_to(real)
    put(link, "exit 0")
    assert real.read_text() == "the system's"
    assert "exit 0" in link.read_text()
