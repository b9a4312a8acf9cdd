"""The speed benchmark on the real model, small: its figures must be those of its answers."""

import json

import pytest

from aded_edge.bench.dialogs import Dialog
from aded_edge.bench.speed import run as speed
from aded_edge.bench.speed.decoders import PLAIN, LocalDecoder, RunSettings


def test_decoders_take_turns_in_another_order_each_time(small, few, monkeypatch):
    order = []
    answer = LocalDecoder.answer
    monkeypatch.setattr(
        LocalDecoder, "answer", lambda self, *args: (order.append(self), answer(self, *args))[1]
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
