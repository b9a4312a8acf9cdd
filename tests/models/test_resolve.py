"""A path, a name or `hf:owner/repo` becomes a file: which one, and when the hub is asked."""

import importlib
from pathlib import Path

import pytest

from aded_edge import models
from aded_edge.errors import ModelError
from aded_edge.models.default import DEFAULT_MODEL
from aded_edge.models.names import Reference
from tests.models.machine import FILES, REPO, weights


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


@pytest.mark.parametrize("name", [DEFAULT_MODEL.file, "smollm2-135m", "path"])
def test_the_default_model_is_fetched_when_it_is_missing(folder, monkeypatch, name):
    fetched = []

    def fetch_default_model():
        fetched.append(name)
        return folder / DEFAULT_MODEL.file

    # By its full name, because the function hides the module as an attribute.
    module = importlib.import_module("aded_edge.models.resolve")
    monkeypatch.setattr(module, "fetch_default_model", fetch_default_model)
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
