"""`stats`: figures, bars and a picture of what is in the store."""

import json

import pytest

from aded_edge.cli.stats import stats
from aded_edge.errors import BenchError, StoreError
from aded_edge.store import Conversation, Message, Store


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store.db"
    figures = {"steps": 10, "accepted": 10, "seconds": 1.0, "seconds_plain": 2.0}
    with Store.open(path) as store:
        said = [Message("user", "q"), Message("assistant", "a", tokens=21, stats=figures)]
        store.conversations.add(Conversation(0, "u", "tides", "m"), said)
        store.model("f", "a model")
    return path


def test_figures_are_printed(store, capsys):
    stats.callback(store, 30, False, None)
    text = capsys.readouterr().out
    assert "2.00" in text
    assert "█" in text
    assert "tides" in text


def test_figures_for_programs(store, capsys):
    stats.callback(store, 30, True, None)
    data = json.loads(capsys.readouterr().out)
    assert data["days"][0]["speedup"] == 2.0
    assert data["conversations"][0]["tokens_per_second"] == 20.0


def test_a_picture(store, tmp_path):
    stats.callback(store, 30, True, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_store_has_no_picture(tmp_path):
    Store.open(tmp_path / "empty.db").close()
    with pytest.raises(BenchError, match="nothing to draw"):
        stats.callback(tmp_path / "empty.db", 30, True, tmp_path / "x.png")
    with pytest.raises(StoreError, match="does not exist yet"):
        stats.callback(tmp_path / "none.db", 30, True, None)
