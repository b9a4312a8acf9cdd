"""`aded-edge models list`, `fetch` and `remove`, against a hub on this machine."""

import json
from pathlib import Path

import pytest
from click.exceptions import Abort

from aded_edge.cli.models import models as command
from aded_edge.models import cache
from tests.models.machine import FILES, REPO, weights


def listed(machine):
    return json.loads(machine.run("command('list', '--json')"))


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
    table = machine.run("command('list')")
    assert "own.gguf" in table
    assert f"hf:{REPO}:Q4_K_M" in table
    assert "3.0 MB" in table
    assert str(machine.home / "hub") in table


def test_an_empty_list_tells_how_to_begin(machine):
    assert listed(machine) == []
    assert "No models yet; 'aded-edge models fetch" in machine.run("command('list')")


def test_fetch_prints_the_path_and_nothing_else(machine):
    out = machine.run(f"command('fetch', 'hf:{REPO}:Q8_0')")
    assert Path(out).read_bytes() == FILES["tiny-Q8_0.gguf"]


def remove(machine, reference):
    return machine.run(f"command('remove', {reference!r}, '--yes')")


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
        line = machine.fails(f"command('remove', {str(path)!r}, '--yes')")
        assert line.startswith(f"ModelError: {path} is neither in {folder} nor in the hub's cache")
    assert other.exists()
    assert link.exists()
    assert text.exists()
    assert (folder / "one.gguf").exists()


def test_remove_wants_whole_names(machine, folder):
    (folder / "Qwen-0.5B.gguf").write_bytes(b"x")

    line = machine.fails("command('remove', 'qwen', '--yes')")

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
    line = machine.fails(f"command('remove', 'hf:{REPO}', '--yes')")
    assert line.startswith(f"ModelError: nothing of hf:{REPO} is cached in")


def test_remove_asks_and_takes_no_for_an_answer(folder, monkeypatch, capsys, tmp_path):
    path = folder / "one.gguf"
    path.write_bytes(b"x" * 20)
    monkeypatch.setattr(cache, "hub_cache", lambda: tmp_path / "no cache")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    answers = iter(["n", "y"])
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: next(answers))

    with pytest.raises(Abort):
        command.main(["remove", "one"], standalone_mode=False)
    assert path.exists()
    assert f"one.gguf, 20 bytes: {path}" in capsys.readouterr().err

    command.main(["remove", "one"], standalone_mode=False)
    assert not path.exists()
