"""A model is found by its path, its name, or its repo on a hub.

The hub runs on this machine, and the code in processes of its own, since huggingface_hub reads
its settings when it is imported. Nothing leaves the machine.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.exceptions import Abort

from aded_edge.cli import models as models_report
from aded_edge.errors import ModelError
from aded_edge.models import resolve as models
from aded_edge.models.default import DEFAULT_MODEL
from aded_edge.models.resolve import Reference, Weights, matching, whole_models
from tests.models.hub import Hub

REPO = "someone/Tiny-GGUF"

CODE = f"""
import sys, types
from pathlib import Path

# The package without its __init__, which loads all of it: that would take most of the time here.
package = sys.modules["aded_edge"] = types.ModuleType("aded_edge")
package.__path__ = [{str(Path(models.__file__).parent)!r}]
from aded_edge import models, models_report
from aded_edge.errors import AdedError

folder = Path(sys.argv[1])
models.default_model_path = lambda: folder / models.DEFAULT_MODEL.file
models._PAUSE = 0.01
try:
    exec(sys.argv[2])
except AdedError as error:
    public = [kind.__name__ for kind in type(error).__mro__ if not kind.__name__.startswith("_")]
    sys.exit(f"{{public[0]}}: {{error}}")
"""


def weights(seed, size=3_000_000):
    """Bytes that are no one else's."""
    return b"GGUF" + hashlib.shake_128(str(seed).encode()).digest(size)


FILES = {
    "README.md": b"# Tiny",
    "mmproj-tiny-F16.gguf": b"GGUF eyes",
    "tiny-Q4_0.gguf": weights("q4_0", 1000),
    "tiny-Q4_K_M.gguf": weights("q4_k_m"),
    "tiny-Q8_0.gguf": weights("q8_0", 5000),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The models folder, here and in `Machine`."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(models, "default_model_path", lambda: folder / DEFAULT_MODEL.file)
    return folder


class Machine:
    """Where a user types: processes that know a hub and keep a cache."""

    def __init__(self, url, home, folder):
        self.home = home
        self._folder = folder
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def start(self, code, **env):
        """`code` in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", CODE, str(self._folder), code],
            env={**self._env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code, **env):
        """What it prints."""
        process = self.start(code, **env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out.strip()

    def resolve(self, reference, **env):
        return Path(self.run(f"print(models.resolve({reference!r}))", **env))

    def fails(self, code, **env):
        """The one line that tells why."""
        process = self.start(code, **env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert out == ""
        assert len(err.strip().splitlines()) == 1, err
        return err.strip()

    def fails_to_resolve(self, reference, **env):
        return self.fails(f"models.resolve({reference!r})", **env)

    def partials(self):
        """What broken downloads left."""
        return list((self.home / "hub").rglob("*.incomplete"))

    def left_in_cache(self):
        """All files but locks, and huggingface_hub's own notes."""
        files = [path for path in (self.home / "hub").rglob("*") if path.is_file()]
        return [path for path in files if path.suffix not in (".lock", ".TAG")]


@pytest.fixture
def hub():
    with Hub().running() as hub:
        hub.repos[REPO] = dict(FILES)
        yield hub


@pytest.fixture
def machine(hub, folder, tmp_path):
    return Machine(hub.url, tmp_path / "home", folder)


def wait_for(true, seconds=30):
    """Whether it becomes true."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# --- which of a repo's files ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "file"),
    [
        (None, "tiny-Q4_K_M.gguf"),
        ("Q8_0", "tiny-Q8_0.gguf"),
        ("q4_0", "tiny-Q4_0.gguf"),
        ("tiny-Q8_0.gguf", "tiny-Q8_0.gguf"),
    ],
)
def test_fetches_the_file_that_is_meant_and_no_other(hub, machine, what, file):
    path = machine.resolve(str(Reference(REPO, what)))

    assert path.name == file
    assert path.read_bytes() == FILES[file]
    assert hub.sent == [(file, 0, len(FILES[file]))]


@pytest.mark.parametrize(
    ("names", "what", "meant"),
    [
        (["a-Q4_K_M.gguf", "a-Q4_0.gguf"], None, ["a-Q4_K_M.gguf"]),
        (["a-Q4_0.gguf", "a-Q2_K.gguf"], None, ["a-Q4_0.gguf"]),
        (["a-Q8_0.gguf", "a-F16.gguf"], None, ["a-Q8_0.gguf"]),  # the smallest: sizes go up
        (["a-Q4_K_M.gguf"], "Q4_K", []),
        (["a-IQ4_0.gguf", "a-Q4_0_8_8.gguf"], "Q4_0", []),
        (["a.q4_k_m.gguf"], "Q4_K_M", ["a.q4_k_m.gguf"]),
        (["phi_Q4_K_M.gguf"], "q4_k_m", ["phi_Q4_K_M.gguf"]),
        (["a-UD-Q4_K_XL.gguf"], "UD-Q4_K_XL", ["a-UD-Q4_K_XL.gguf"]),
        (["Q8_0/a-Q8_0.gguf", "b-Q8_0.gguf"], "a-q8_0.gguf", ["Q8_0/a-Q8_0.gguf"]),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0", ["a-Q8_0.gguf", "b-Q8_0.gguf"]),
        (["a-Q8_0.gguf", "b-Q8_0.gguf", "a.gguf"], "a.gguf", ["a.gguf"]),
        (["x.gguf"], "a+b(", []),
    ],
)
def test_what_a_quantisation_means(names, what, meant):
    there = whole_models({name: size for size, name in enumerate(names)})
    assert [model.name for model in matching(there, what)] == meant


def test_a_split_model_is_one_and_only_if_it_is_whole():
    sizes = {
        "a-00001-of-00002.gguf": 3,
        "a-00002-of-00002.gguf": 4,
        "b-00001-of-00002.gguf": 5,
        "c.GGUF": 1,
        "mmproj-a.gguf": 1,
        "imatrix.gguf": 1,
        "notes.txt": 1,
    }
    assert whole_models(sizes) == [
        Weights(("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"), 7),
        Weights(("c.GGUF",), 1),
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("a/Qwen2.5-0.5B-IQ2_XXS-00001-of-00003.gguf", "IQ2_XXS"),
        ("gemma-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("llama-bf16.gguf", "bf16"),
        ("gpt-oss-MXFP4.gguf", "MXFP4"),
        ("Q8-model.gguf", "Q8"),
        ("plain.gguf", None),
    ],
)
def test_the_quantisation_that_a_name_tells(name, told):
    assert models.quantisation(name) == told


def test_all_parts_are_fetched_and_lie_side_by_side(hub, machine):
    parts = {f"big/big-Q4_K_M-0000{n}-of-00003.gguf": weights(n, 2000) for n in (1, 2, 3)}
    hub.repos[REPO] = parts

    path = machine.resolve(f"hf:{REPO}")

    assert path.name == "big-Q4_K_M-00001-of-00003.gguf"
    assert [part.read_bytes() for part in sorted(path.parent.iterdir())] == list(parts.values())
    assert machine.resolve(f"hf:{REPO}:big-Q4_K_M-00002-of-00003.gguf") == path


def test_what_is_cached_is_not_asked_for_again(hub, machine):
    path = machine.resolve(f"hf:{REPO}:q8_0")
    default = machine.resolve(f"hf:{REPO}")
    hub.asked.clear()

    assert machine.resolve(f"hf:{REPO}:Q8_0") == path
    assert machine.resolve(f"hf:{REPO}") == default
    assert hub.asked == []


def test_a_choice_that_is_not_the_preferred_one_is_looked_up_but_not_fetched_anew(hub, machine):
    del hub.repos[REPO]["tiny-Q4_K_M.gguf"]
    path = machine.resolve(f"hf:{REPO}")
    assert path.name == "tiny-Q4_0.gguf"
    hub.repos[REPO]["tiny-Q4_0.gguf"] = weights("newer", 2000)
    hub.sent.clear()

    assert machine.resolve(f"hf:{REPO}") == path
    assert hub.sent == []
    assert ("GET", f"/api/models/{REPO}") in hub.asked


def test_fetch_asks_for_the_newest_and_resolve_does_not(hub, machine):
    reference = f"hf:{REPO}:Q8_0"
    old = machine.resolve(reference)
    hub.repos[REPO]["tiny-Q8_0.gguf"] = newer = weights("newer", 4000)

    assert machine.resolve(reference) == old
    fetched = Path(machine.run(f"print(models.fetch({reference!r}))"))
    assert fetched.read_bytes() == newer
    assert machine.resolve(reference) == fetched


def test_what_main_was_last_comes_before_what_was_fetched_last(hub, machine):
    reference = f"hf:{REPO}:Q8_0"
    first = machine.resolve(reference)
    hub.repos[REPO]["tiny-Q8_0.gguf"] = weights("a mistake", 4000)
    mistake = Path(machine.run(f"print(models.fetch({reference!r}))"))
    hub.repos[REPO]["tiny-Q8_0.gguf"] = FILES["tiny-Q8_0.gguf"]
    assert machine.run(f"print(models.fetch({reference!r}))") == str(first)
    assert mistake.parent.stat().st_mtime > first.parent.stat().st_mtime

    assert machine.resolve(reference) == first


def test_other_tools_find_it_and_we_find_theirs(hub, machine):
    theirs = "import huggingface_hub as h; print(h.hf_hub_download({!r}, {!r}))"
    ours = machine.resolve(f"hf:{REPO}:Q4_0")
    hub.sent.clear()
    assert machine.run(theirs.format(REPO, "tiny-Q4_0.gguf")) == str(ours)
    assert hub.sent == []

    path = machine.run(theirs.format(REPO, "tiny-Q8_0.gguf"))
    hub.asked.clear()
    assert machine.resolve(f"hf:{REPO}:Q8_0") == Path(path)
    assert hub.asked == []


# --- downloads that break -------------------------------------------------------------------


def test_a_download_that_breaks_goes_on_where_it_was(hub, machine):
    size = len(FILES["tiny-Q4_K_M.gguf"])
    hub.break_at = [2_500_000, 2_900_000]

    path = machine.resolve(f"hf:{REPO}")

    assert path.read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    starts = [start for _, start, _ in hub.sent]
    assert len(starts) == 3
    assert starts[0] == 0
    assert 0 < starts[1] < starts[2] < size


def test_a_killed_download_is_gone_on_with_by_the_next_run(hub, machine):
    hub.hold_at = 2_500_000
    process = machine.start(f"models.resolve('hf:{REPO}')")
    assert hub.held.wait(30)
    assert wait_for(lambda: any(path.stat().st_size for path in machine.partials()))
    process.kill()
    process.communicate(timeout=30)
    hub.go_on.set()
    hub.hold_at = None

    path = machine.resolve(f"hf:{REPO}")

    assert path.read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert [file for file, _, _ in hub.sent] == ["tiny-Q4_K_M.gguf"] * 2
    assert hub.sent[1][1] > 0
    assert machine.partials() == []


def test_a_download_that_stays_broken_is_one_line_and_keeps_what_came(hub, machine):
    hub.break_at = [2_500_000] + [0] * 10

    line = machine.fails_to_resolve(f"hf:{REPO}")

    assert "stopped sending" in line
    assert "the same command goes on from there" in line
    hub.break_at = []
    hub.sent.clear()
    assert machine.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert hub.sent[0][1] > 0


def test_a_hub_that_always_begins_at_the_first_byte_is_put_up_with(hub, machine):
    hub.ranges = False
    hub.break_at = [2_500_000]

    assert machine.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert [start for _, start, _ in hub.sent] == [0, 0]


def test_more_than_the_whole_is_no_beginning(hub, machine):
    hub.break_at = [2_500_000] + [0] * 10
    machine.fails_to_resolve(f"hf:{REPO}")
    (partial,) = machine.partials()
    partial.write_bytes(bytes(len(FILES["tiny-Q4_K_M.gguf"]) + 1))
    hub.break_at = []

    assert machine.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]


def test_what_arrives_damaged_is_not_kept(hub, machine):
    hub.break_at = [2_500_000] + [0] * 10
    machine.fails_to_resolve(f"hf:{REPO}")
    (partial,) = machine.partials()
    partial.write_bytes(bytes(partial.stat().st_size))
    hub.break_at = []

    assert "arrived damaged" in machine.fails_to_resolve(f"hf:{REPO}")
    assert machine.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]


def test_two_at_once_download_once(hub, machine):
    hub.hold_at = 2_500_000
    first = machine.start(f"print(models.resolve('hf:{REPO}'))")
    assert hub.held.wait(30)
    second = machine.start(f"print(models.resolve('hf:{REPO}'))")
    assert wait_for(lambda: sum(verb == "HEAD" for verb, _ in hub.asked) == 2)
    hub.go_on.set()

    paths = [process.communicate(timeout=60)[0] for process in (first, second)]

    assert paths[0] == paths[1] != ""
    assert len(hub.sent) == 1


def test_no_room_is_told_before_anything_is_fetched(hub, machine):
    hub.claimed["tiny-Q4_K_M.gguf"] = 10**17

    line = machine.fails_to_resolve(f"hf:{REPO}")

    assert line.startswith("ModelFetchError: someone/Tiny-GGUF/tiny-Q4_K_M.gguf needs 100000 TB")
    assert "HF_HOME" in line
    assert hub.sent == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_disk_that_fills_up_is_one_line(machine):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)); "

    line = machine.fails(f"{limit} models.resolve('hf:{REPO}')")

    assert "cannot write" in line
    assert "File too large; free some room or set HF_HOME" in line


# --- without the hub ------------------------------------------------------------------------


def test_what_is_cached_is_used_when_the_hub_is_gone(hub, machine):
    there = machine.resolve(f"hf:{REPO}:Q8_0")
    hub.stop()

    assert machine.resolve(f"hf:{REPO}:Q8_0") == there
    assert machine.resolve(f"hf:{REPO}") == there  # whatever is cached
    assert Path(machine.run(f"print(models.fetch('hf:{REPO}:Q8_0'))")) == there
    assert "cannot reach" in machine.fails_to_resolve(f"hf:{REPO}:Q4_0")


def test_what_is_cached_is_used_when_the_user_wants_no_network(hub, machine):
    there = machine.resolve(f"hf:{REPO}:Q8_0")
    hub.asked.clear()

    assert machine.resolve(f"hf:{REPO}", HF_HUB_OFFLINE="1") == there
    line = machine.fails_to_resolve(f"hf:{REPO}:Q4_0", HF_HUB_OFFLINE="1")
    assert line == (
        f"ModelFetchError: HF_HUB_OFFLINE is set, so {REPO} is not fetched; unset it, or take "
        "what 'aded-edge models list' shows"
    )
    assert hub.asked == []


def test_that_an_older_file_is_used_is_said(hub, machine):
    machine.resolve(f"hf:{REPO}:Q8_0")
    hub.stop()

    process = machine.start(f"models.fetch('hf:{REPO}:Q8_0')")
    _, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "cannot reach" in err
    assert err.strip().endswith("using tiny-Q8_0.gguf, which is cached")


def test_half_of_a_split_model_is_no_model(hub, machine):
    hub.repos[REPO] = {f"big-Q4_K_M-0000{n}-of-00002.gguf": weights(n, 2000) for n in (1, 2)}
    first = machine.resolve(f"hf:{REPO}")
    (first.parent / "big-Q4_K_M-00002-of-00002.gguf").unlink()
    hub.stop()

    assert "cannot reach" in machine.fails_to_resolve(f"hf:{REPO}")


def test_nothing_is_fetched_against_the_users_will(hub, machine):
    line = machine.fails(f"models.resolve('hf:{REPO}:Q8_0', fetch=False)")

    assert line.startswith(f"ModelError: hf:{REPO}:Q8_0 is not on this machine; run")
    assert hub.asked == []
    there = machine.resolve(f"hf:{REPO}:Q8_0")
    assert machine.run(f"print(models.resolve('hf:{REPO}', fetch=False))") == str(there)


# --- what the hub refuses -------------------------------------------------------------------


def test_a_gated_repo_tells_how_to_get_in(hub, machine):
    hub.gated.add(REPO)

    line = machine.fails_to_resolve(f"hf:{REPO}")

    assert line == (
        f"ModelFetchError: {REPO} is gated; accept its terms on {hub.url}/{REPO}, then run "
        "'hf auth login' or set HF_TOKEN"
    )


def test_a_token_opens_a_gated_repo(hub, machine):
    hub.gated.add(REPO)
    path = machine.resolve(f"hf:{REPO}", HF_TOKEN=hub.token)
    assert path.read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert hub.tokens_at_store == {None}
    # Opened once, it is used without a token, and without asking.
    assert machine.resolve(f"hf:{REPO}") == path


def test_a_repo_that_is_not_there(hub, machine):
    line = machine.fails_to_resolve("hf:someone/Nothing")
    assert line.startswith(f"ModelFetchError: {hub.url} has no repo someone/Nothing, or keeps it")


def test_a_repo_without_models(hub, machine):
    hub.repos[REPO] = {"README.md": b"", "mmproj.gguf": b"GGUF", "model.safetensors": b"x"}
    line = machine.fails_to_resolve(f"hf:{REPO}")
    assert line.startswith(f"ModelFetchError: {REPO} has no GGUF files; choose")


@pytest.mark.parametrize("what", ["Q9_9", "other.gguf", "mmproj-tiny-F16.gguf"])
def test_a_file_that_is_not_there_names_what_is(machine, what):
    line = machine.fails_to_resolve(f"hf:{REPO}:{what}")
    assert line == f"ModelFetchError: {REPO} has no {what}; it has Q4_0, Q4_K_M, Q8_0"


def test_a_quantisation_of_several_models_names_them(hub, machine):
    hub.repos[REPO] = {"a-Q4_K_M.gguf": b"GGUFa", "b-Q4_K_M.gguf": b"GGUFb"}
    line = machine.fails_to_resolve(f"hf:{REPO}")
    assert line == (
        f"ModelError: hf:{REPO} means several files: a-Q4_K_M.gguf, b-Q4_K_M.gguf; name one as "
        f"hf:{REPO}:FILE"
    )


@pytest.mark.parametrize("reference", ["hf:", "hf:tiny", "hf:a/b/c", "hf:a/b:", "hf:a b/c"])
def test_a_reference_that_is_none_tells_how_they_look(folder, reference):
    with pytest.raises(ModelError, match="names no repo on a hub; write hf:owner/repo, ") as caught:
        models.resolve(reference)
    assert repr(reference) in str(caught.value)


def test_a_name_that_no_repo_can_have(hub, machine):
    assert "cannot be a repo's name" in machine.fails_to_resolve("hf:some--one/x")
    assert hub.asked == []


# --- paths and names ------------------------------------------------------------------------


def test_a_path_passes_through_and_wins(folder, tmp_path, monkeypatch):
    path = tmp_path / "elsewhere.bin"
    path.write_bytes(b"x")
    assert models.resolve(path) == path
    assert models.resolve(str(path)) == path

    monkeypatch.chdir(tmp_path)
    (folder / "here.gguf").write_bytes(b"in the folder")
    (tmp_path / "here.gguf").write_bytes(b"in the way")
    assert models.resolve("here.gguf").read_bytes() == b"in the way"


def test_a_folder_in_the_way_is_no_model(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    (folder / "tiny.gguf").write_bytes(b"x")
    assert models.resolve("tiny") == folder / "tiny.gguf"
    with pytest.raises(ModelError, match="models is a folder; give the path of a GGUF file"):
        models.resolve(folder)


def test_a_path_that_is_not_there_tells_what_can_be_given(folder):
    with pytest.raises(ModelError, match=r"/nowhere/x.gguf does not exist; give .*hf:owner/repo"):
        models.resolve("/nowhere/x.gguf")
    with pytest.raises(ModelError, match="'' does not exist"):
        models.resolve("")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Qwen-0.5B-Q4_0.gguf", "Qwen-0.5B-Q4_0.gguf"),
        ("Qwen-0.5B-Q4_0", "Qwen-0.5B-Q4_0.gguf"),
        ("qwen-0.5b-q4_0", "Qwen-0.5B-Q4_0.gguf"),
        ("qwen-1", "Qwen-1.5B.gguf"),
        ("tiny", "tiny.gguf"),  # itself, though tiny-2 begins so too
        ("tiny-", "tiny-2.gguf"),
        ("big", "big-00001-of-00002.gguf"),
        ("smol", "smollm3.gguf"),  # what is there comes before the default model, which is not
    ],
)
def test_names_in_the_models_folder(folder, name, file):
    for there in (
        "Qwen-0.5B-Q4_0.gguf",
        "Qwen-1.5B.gguf",
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
        "smollm3.gguf",
        "tiny.gguf",
        "tiny-2.gguf",
        "qwen-1-notes.txt",
        ".tiny-3.gguf",
    ):
        (folder / there).write_bytes(b"x")

    assert models.resolve(name, fetch=False) == folder / file


def test_a_name_that_means_several_models_names_them(folder):
    for there in ("Qwen-0.5B.gguf", "Qwen-1.5B.gguf"):
        (folder / there).write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        models.resolve("qwen")
    assert str(caught.value) == (
        "'qwen' means several models: Qwen-0.5B.gguf, Qwen-1.5B.gguf; write more of it"
    )


def test_an_unknown_name_tells_the_nearest(folder):
    (folder / "Qwen-0.5B.gguf").write_bytes(b"x")
    with pytest.raises(ModelError, match="did you mean Qwen-0.5B.gguf\\? .*'aded-edge models"):
        models.resolve("qwne-0.5b.gguf")
    with pytest.raises(ModelError) as caught:
        models.resolve("zzz")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", [DEFAULT_MODEL.file, "smollm2-135m", "path"])
def test_the_default_model_is_fetched_when_it_is_missing(folder, monkeypatch, name):
    fetched = []

    def fetch_default_model():
        fetched.append(name)
        return folder / DEFAULT_MODEL.file

    monkeypatch.setattr(models, "fetch_default_model", fetch_default_model)
    reference = folder / DEFAULT_MODEL.file if name == "path" else name

    assert models.resolve(reference) == folder / DEFAULT_MODEL.file
    assert fetched == [name]
    with pytest.raises(ModelError):
        models.resolve(reference, fetch=False)
    (folder / DEFAULT_MODEL.file).write_bytes(b"x")
    assert models.resolve(reference) == folder / DEFAULT_MODEL.file
    assert fetched == [name]


def test_without_a_hub_huggingface_hub_is_not_imported(machine, folder):
    (folder / "tiny.gguf").write_bytes(b"x")
    loaded = "print([n for n in sys.modules if n.startswith(('huggingface_hub', 'httpx'))])"
    assert machine.run(f"models.resolve('tiny'); {loaded}") == "[]"


# --- list, fetch, remove --------------------------------------------------------------------


def listed(machine):
    return json.loads(machine.run("models_report.show(as_json=True)"))


def test_list_names_what_resolve_takes(hub, machine, folder):
    hub.repos["other/Two"] = {"a-Q8_0.gguf": b"GGUFa", "b-Q8_0.gguf": b"GGUFbb", "c.gguf": b"GGUF"}
    (folder / "own.gguf").write_bytes(b"GGUF own")
    (folder / ".own.gguf.partial.gguf").write_bytes(b"GGUF hidden")
    for reference in (f"hf:{REPO}", "hf:other/Two:a-Q8_0.gguf", "hf:other/Two:b-Q8_0.gguf"):
        machine.resolve(reference)

    there = listed(machine)

    assert {model["name"]: model["bytes"] for model in there} == {
        "own.gguf": 8,
        f"hf:{REPO}:Q4_K_M": len(FILES["tiny-Q4_K_M.gguf"]),
        "hf:other/Two:a-Q8_0.gguf": 5,
        "hf:other/Two:b-Q8_0.gguf": 6,
    }
    assert [model["repo"] for model in there] == [None, "other/Two", "other/Two", REPO]
    for model in there:
        assert machine.resolve(model["name"], HF_HUB_OFFLINE="1") == Path(model["path"])
    table = machine.run("models_report.show(as_json=False)")
    assert "own.gguf" in table
    assert f"hf:{REPO}:Q4_K_M" in table
    assert "3.0 MB" in table
    assert str(machine.home / "hub") in table


def test_an_empty_list_tells_how_to_begin(machine):
    assert listed(machine) == []
    assert "No models yet; 'aded-edge models fetch" in machine.run(
        "models_report.show(as_json=False)"
    )


def test_fetch_prints_the_path_and_nothing_else(machine):
    out = machine.run(f"models_report.fetch('hf:{REPO}:Q8_0')")
    assert Path(out).read_bytes() == FILES["tiny-Q8_0.gguf"]


def remove(machine, reference):
    return machine.run(f"models_report.remove({reference!r}, yes=True)")


def test_remove_takes_one_quantisation_and_leaves_the_other(machine):
    gone, kept = (machine.resolve(f"hf:{REPO}:{what}") for what in ("Q8_0", "Q4_0"))
    size = len(FILES["tiny-Q8_0.gguf"])
    blob = gone.resolve()

    assert remove(machine, f"hf:{REPO}:Q8_0") == f"removed hf:{REPO}:Q8_0: 5.0 kB freed"
    assert size == 5004
    assert not gone.exists()
    assert not blob.exists()
    assert kept.read_bytes() == FILES["tiny-Q4_0.gguf"]


def test_remove_of_a_repo_takes_all_of_it_and_older_revisions(hub, machine):
    machine.resolve(f"hf:{REPO}:Q8_0")
    hub.repos[REPO]["tiny-Q8_0.gguf"] = weights("newer", 4000)
    machine.run(f"models.fetch('hf:{REPO}:Q8_0')")
    machine.resolve(f"hf:{REPO}:Q4_0")
    assert [model["bytes"] for model in listed(machine)] == [1004, 5004 + 4004]

    lines = remove(machine, f"hf:{REPO}").splitlines()

    assert lines == [
        f"removed hf:{REPO}:Q4_0: 1.0 kB freed",
        f"removed hf:{REPO}:Q8_0: 9.0 kB freed",
    ]
    assert machine.left_in_cache() == []


def test_remove_keeps_what_another_revision_shares(hub, machine):
    hub.repos[REPO] = {"a.gguf": b"GGUF same", "b.gguf": b"GGUF same"}
    a, b = (machine.resolve(f"hf:{REPO}:{name}") for name in ("a.gguf", "b.gguf"))
    assert a.resolve() == b.resolve()

    assert remove(machine, f"hf:{REPO}:a.gguf").endswith("0 bytes freed")
    assert b.read_bytes() == b"GGUF same"
    assert remove(machine, f"hf:{REPO}:b.gguf").endswith("9 bytes freed")


def test_remove_leaves_what_is_no_model_to_other_tools(hub, machine):
    machine.run(f"import huggingface_hub as h; h.hf_hub_download('{REPO}', 'README.md')")
    machine.resolve(f"hf:{REPO}:Q8_0")

    remove(machine, f"hf:{REPO}")

    assert {path.name for path in machine.left_in_cache() if path.is_symlink()} == {"README.md"}


def test_remove_takes_what_a_broken_download_left(hub, machine):
    hub.break_at = [2_500_000] + [0] * 10
    machine.fails_to_resolve(f"hf:{REPO}")

    assert remove(machine, f"hf:{REPO}").endswith("MB freed")
    assert machine.left_in_cache() == []


def test_remove_takes_all_parts_whichever_is_named(hub, machine, folder):
    parts = [f"big-0000{n}-of-00002.gguf" for n in (1, 2)]
    hub.repos[REPO] = {part: weights(part, 2000) for part in parts}
    for part in parts:
        (folder / part).write_bytes(b"x" * 100)
    machine.resolve(f"hf:{REPO}")

    assert remove(machine, f"hf:{REPO}:{parts[1]}").endswith("4.0 kB freed")
    assert machine.left_in_cache() == []
    assert remove(machine, str(folder / parts[1])).endswith("200 bytes freed")
    assert list(folder.iterdir()) == []


def test_remove_takes_names_and_paths_in_the_two_places(machine, folder):
    (folder / "one.gguf").write_bytes(b"x" * 1500)
    (folder / "two.gguf").write_bytes(b"x" * 20)
    cached = machine.resolve(f"hf:{REPO}:Q8_0")

    assert remove(machine, "one") == "removed one.gguf: 1.5 kB freed"
    assert remove(machine, str(folder / "two.gguf")) == "removed two.gguf: 20 bytes freed"
    assert remove(machine, str(cached)) == f"removed hf:{REPO}:Q8_0: 5.0 kB freed"
    assert list(folder.iterdir()) == []
    assert machine.left_in_cache() == []


def test_remove_refuses_what_lies_elsewhere(machine, folder, tmp_path):
    (folder / "one.gguf").write_bytes(b"x")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"x")
    link = tmp_path / "link.gguf"
    link.symlink_to(folder / "one.gguf")
    text = folder / "README.md"
    text.write_text("no model")

    for path in (other, link, text, folder, folder / ".." / "other.gguf", tmp_path / "none.gguf"):
        line = machine.fails(f"models_report.remove({str(path)!r}, yes=True)")
        assert line.startswith(f"ModelError: {path} is neither in {folder} nor in the hub's cache")
    assert other.exists()
    assert link.exists()
    assert text.exists()
    assert (folder / "one.gguf").exists()


def test_remove_wants_whole_names(machine, folder):
    (folder / "Qwen-0.5B.gguf").write_bytes(b"x")

    line = machine.fails("models_report.remove('qwen', yes=True)")

    assert line.startswith("ModelError: no model 'qwen' in")
    assert "did you mean Qwen-0.5B.gguf?" in line
    assert (folder / "Qwen-0.5B.gguf").exists()


def test_remove_of_a_link_in_the_folder_spares_what_it_leads_to(machine, folder, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"x" * 50)
    (folder / "link.gguf").symlink_to(other)

    assert remove(machine, "link") == "removed link.gguf: 0 bytes freed"
    assert other.exists()
    assert list(folder.iterdir()) == []


def test_remove_of_what_is_not_cached(machine):
    line = machine.fails(f"models_report.remove('hf:{REPO}', yes=True)")
    assert line.startswith(f"ModelError: nothing of hf:{REPO} is cached in")


def test_remove_asks_and_takes_no_for_an_answer(folder, monkeypatch, capsys, tmp_path):
    path = folder / "one.gguf"
    path.write_bytes(b"x" * 20)
    monkeypatch.setattr(models, "hub_cache", lambda: tmp_path / "no cache")
    answers = iter(["n", "y"])
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: next(answers))

    with pytest.raises(Abort):
        models_report.remove("one", yes=False)
    assert path.exists()
    assert f"one.gguf, 20 bytes: {path}" in capsys.readouterr().err

    models_report.remove("one", yes=False)
    assert not path.exists()
