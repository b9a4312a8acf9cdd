"""Nobody else reads what is kept: modes of new and old files and folders under a lax umask."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aded_edge import private
from aded_edge.files import write_whole
from aded_edge.store import Conversation, Message, Store

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")


@pytest.fixture(autouse=True)
def lax():
    """A umask that lets everybody read and write new files."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The program's folder of data."""
    for kind in ("DATA", "CACHE", "CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    return tmp_path / "data" / "aded-edge"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def modes(folder):
    return {path.name: mode(path) for path in folder.iterdir()}


def fill(path):
    store = Store.open(path)
    store.conversations.add(Conversation(0, "u", "t", "m"), [Message("user", "secret")])
    return store


def test_a_new_store_is_private(own):
    with fill(own / "store.db"):
        names = ("store.db", "store.db-wal", "store.db-shm")
        assert modes(own) == dict.fromkeys(names, 0o600)
    assert {mode(own), mode(own.parent)} == {0o700}


def test_an_old_store_is_tightened(own):
    fill(own / "store.db").close()
    own.chmod(0o755)
    (own / "store.db").chmod(0o644)
    with fill(own / "store.db"):
        assert set(modes(own).values()) == {0o600}
    assert mode(own) == 0o700


def test_a_log_that_a_killed_process_left_is_tightened(own):
    code = (
        "import os, sys; from pathlib import Path; from tests.test_private import fill\n"
        "store = fill(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run(
        [sys.executable, "-c", code, str(own / "store.db")], env=environment, check=False
    )
    for path in own.iterdir():
        path.chmod(0o666)
    assert len(modes(own)) == 3
    with Store.open(own / "store.db") as store:
        assert set(modes(own).values()) == {0o600}
        assert store.conversations.count() == 1


def test_a_folder_that_the_user_made_stays_as_it_is(own, tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    fill(folder / "store.db").close()
    assert mode(folder) == 0o755
    assert mode(folder / "store.db") == 0o600


def test_a_read_only_file_stays_readable(own):
    fill(own / "store.db").close()
    (own / "store.db").chmod(0o444)
    with Store.open(own / "store.db") as store:
        assert store.conversations.count() == 1
    assert mode(own / "store.db") == 0o400


def test_at_no_moment_others_may_read(own, monkeypatch):
    seen = []
    real = os.open

    def looking(path, *arguments, **options):
        descriptor = real(path, *arguments, **options)
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", looking)
    fill(own / "store.db").close()
    write_whole(own / "kv" / "x.kv", [b"x"], keep_private=True)
    assert set(seen) == {0o600}
    assert mode(own / "kv") == 0o700


def test_an_export_is_private_unless_the_user_chose_otherwise(tmp_path):
    write_whole(tmp_path / "new.md", [b"x"])
    assert mode(tmp_path / "new.md") == 0o600
    (tmp_path / "new.md").chmod(0o644)
    write_whole(tmp_path / "new.md", [b"y"])
    assert mode(tmp_path / "new.md") == 0o644
    write_whole(tmp_path / "new.md", [b"z"], keep_private=True)
    assert mode(tmp_path / "new.md") == 0o600


def test_devices_and_files_of_others_keep_their_modes(tmp_path, monkeypatch):
    before = mode(Path("/dev/null"))
    private.tighten(Path("/dev/null"))
    assert mode(Path("/dev/null")) == before
    (tmp_path / "x").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    private.tighten(tmp_path / "x")
    assert mode(tmp_path / "x") == 0o666


def test_what_was_typed_is_private(own):
    (own / "typed.txt").parent.mkdir(parents=True)
    (own / "typed.txt").touch(0o644)
    private.make_file(own / "typed.txt")
    assert mode(own / "typed.txt") == 0o600


def test_a_trace_is_private(tmp_path):
    with private.open_new(tmp_path / "trace.npz") as file:
        file.write(b"x")
    assert mode(tmp_path / "trace.npz") == 0o600
