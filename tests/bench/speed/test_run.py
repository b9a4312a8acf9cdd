"""The speed benchmark on the real model, small: its figures must be those of its answers."""

import json

import pytest

from aded_edge.bench.dialogs import Dialog
from aded_edge.bench.speed import run as speed
from aded_edge.bench.speed.decoders import PLAIN, LocalDecoder, RunSettings
from aded_edge.bench.speed.plain import PlainDecoder


def test_decoders_take_turns_in_another_order_each_time(small, few, monkeypatch):
    order = []
    for kind in (PlainDecoder, LocalDecoder):
        monkeypatch.setattr(
            kind,
            "answer",
            lambda self, turn, answer=kind.answer: (order.append(self), answer(self, turn))[1],
        )
    dialogs = [Dialog(str(n), "qa", (f"Say {n}.",)) for n in range(8)]
    settings = {**vars(small), "decoders": (PLAIN, "off"), "max_tokens": 2, "visits": 1}
    speed.run(RunSettings(**settings), dialogs)
    first = order[::2]
    assert len(order) == 16
    assert len(set(map(id, first))) == 2


def test_turns_that_are_too_long_are_left_out_and_counted(small, few):
    dialogs = [Dialog("1", "qa", ("Hello.", "word " * 600, "Never."))]
    counts = []
    settings = {**vars(small), "decoders": (PLAIN,), "max_tokens": 4}
    result = speed.run(RunSettings(**settings), dialogs, counts.append)
    assert result["turns_left_out"] == 2
    assert len(result["answers"]) == 2  # visits
    assert sum(counts) == 2 * 3


def test_a_run_that_is_cut_short_leaves_what_it_had(small, few):
    kept = []

    def keep(result):
        kept.append(json.loads(json.dumps(result)))
        raise KeyboardInterrupt

    dialogs = [Dialog(str(n), "qa", (f"Say {n}.",)) for n in range(3)]
    settings = {**vars(small), "decoders": (PLAIN,), "max_tokens": 2}
    with pytest.raises(KeyboardInterrupt):
        speed.run(RunSettings(**settings), dialogs, keep=keep)
    (result,) = kept
    assert not result["finished"]
    assert len(result["answers"]) == 1
    assert result["summary"][0]["decoder"] == PLAIN


def test_all_decoders_continue_from_the_same_history(small, few, monkeypatch):
    """The dialog goes on with the answer of llama_cpp, and so does every decoder's history."""
    turns = []
    answer = LocalDecoder.answer
    monkeypatch.setattr(
        LocalDecoder, "answer", lambda self, turn: (turns.append(turn), answer(self, turn))[1]
    )
    settings = RunSettings(**{**vars(small), "decoders": (PLAIN, "off"), "visits": 1})
    result = speed.run(settings, [Dialog("1", "qa", ("Name three colours.", "And three more."))])
    said = [a["text"] for a in result["answers"] if a["decoder"] == PLAIN]
    first, second = turns
    assert first.known == []
    assert second.messages[1] == {"role": "assistant", "content": said[0]}
    assert second.known[: len(first.prompt)] == first.prompt
    assert len(second.known) == len(first.prompt) + small.max_tokens - 1
    assert all(a["differs"] is None for a in result["answers"])  # "off" decodes plainly
    assert [a["prompt_tokens"] for a in result["answers"][::2]] == [
        len(first.prompt),
        len(second.prompt),
    ]


def test_an_agent_run_is_asked_with_its_earlier_messages(small, few):
    before = ({"role": "user", "content": "List files."}, {"role": "assistant", "content": "ls"})
    dialog = Dialog("1", "agent", ("word " * 400,), before)
    settings = {**vars(small), "decoders": (PLAIN,), "visits": 1, "long_tokens": 300}
    result = speed.run(RunSettings(**settings), [dialog])
    assert result["turns_left_out"] == 0
    (answer,) = result["answers"]
    assert 290 <= answer["prompt_tokens"] <= 300


def test_every_run_starts_with_an_empty_store(small, few, monkeypatch):
    folders = []
    init = LocalDecoder.__init__

    def watched(self, name, settings, folder):
        folders.append((folder, (folder / "auto.db").exists()))
        init(self, name, settings, folder)

    monkeypatch.setattr(LocalDecoder, "__init__", watched)
    settings = {**vars(small), "decoders": (PLAIN, "auto"), "runs": 2, "max_tokens": 4}
    result = speed.run(RunSettings(**settings), [Dialog("1", "qa", ("Hello.",))])
    assert [there for _, there in folders] == [False, True, False, True]
    assert folders[0][0] != folders[2][0]
    assert not any(folder.exists() for folder, _ in folders)
    auto = [row for row in result["summary"] if row["decoder"] == "auto"]
    assert all(len(row["runs"]["answer"]) == 2 for row in auto)
