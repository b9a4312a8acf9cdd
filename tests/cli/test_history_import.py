"""`history export` and `history import`, as they are typed, on two stores."""

import itertools
import json

import pytest
from click.testing import CliRunner

from aded_edge.cli.history import history
from aded_edge.store import Conversation, Message, Store


def run(*arguments, fails=False):
    result = CliRunner().invoke(history, [str(argument) for argument in arguments])
    assert bool(result.exit_code) == fails, result.output
    return result.output if not fails else str(result.exception)


def say(path, uid, *texts):
    with Store.open(path) as store:
        for text in texts:
            about = store.conversations.by_uid(uid) or Conversation(0, uid, text, "m")
            store.conversations.add(about, [Message("user", text), Message("assistant", "ok")])


def questions(path):
    with Store.open(path) as store:
        found = sorted(store.conversations.recent(-1), key=lambda one: one.id)
        return [[m.content for m in store.conversations.messages(c)][::2] for c in found]


@pytest.mark.parametrize("suffix", ["md", "json"])
@pytest.mark.parametrize("order", list(itertools.permutations(["1", "2"])))
def test_the_longer_one_is_taken_in(tmp_path, suffix, order):
    here, there = tmp_path / "here.db", tmp_path / "there.db"
    for number, text in (("1", "one"), ("2", "two")):
        say(here, "a" * 32, text)
        run("export", "--out", tmp_path / f"{number}.{suffix}", "--store", here)
    for number in order:
        run("import", tmp_path / f"{number}.{suffix}", "--store", there)
    assert questions(there) == [["one", "two"]]
    both = [tmp_path / f"{number}.{suffix}" for number in order]
    assert "2 were already in the store" in run("import", *both, "--store", there)
    say(here, "a" * 32, "three")
    say(there, "a" * 32, "other")
    run("export", "--out", tmp_path / f"3.{suffix}", "--store", here)
    told = run("import", tmp_path / f"3.{suffix}", "--store", there)
    assert "differs from the one in the store" in told
    assert questions(there) == [["one", "two", "other"], ["one", "two", "three"]]


def test_one_damaged_file_of_two_leaves_the_store_unchanged(tmp_path):
    say(tmp_path / "here.db", "a" * 32, "one")
    run("export", "--out", tmp_path / "1.json", "--store", tmp_path / "here.db")
    data = json.loads((tmp_path / "1.json").read_text())
    data["conversations"][0]["messages"][0]["role"] = "system"
    (tmp_path / "2.json").write_text(json.dumps(data))
    there = tmp_path / "there.db"
    told = run("import", tmp_path / "1.json", tmp_path / "2.json", "--store", there, fails=True)
    assert "2.json is no conversation" in told
    assert not there.exists()


def test_one_uid_twice_in_a_file_loses_nothing(tmp_path):
    say(tmp_path / "here.db", "a" * 32, "one")
    run("export", "--out", tmp_path / "1.json", "--store", tmp_path / "here.db")
    data = json.loads((tmp_path / "1.json").read_text())
    other = json.loads(json.dumps(data["conversations"][0]))
    other["messages"][0]["content"] = "two"
    data["conversations"].append(other)
    (tmp_path / "1.json").write_text(json.dumps(data))
    run("import", tmp_path / "1.json", "--store", tmp_path / "there.db")
    assert questions(tmp_path / "there.db") == [["one"], ["two"]]
