"""Transcripts: what any assistant said becomes a trace without probabilities."""

import json

import numpy as np
import pytest

from aded_edge.bench.dialogs import ALL_CATEGORIES
from aded_edge.bench.replay.curves import Curve
from aded_edge.bench.replay.run import Replay
from aded_edge.bench.replay.transcript import read_transcript
from aded_edge.errors import BenchError
from tests.bench.replay.drafters import fresh

RUN = [
    {"role": "system", "content": "Answer in one line."},
    {"role": "user", "content": "Count."},
    {"role": "assistant", "content": "one two three four five six seven eight nine ten"},
    {"role": "tool", "content": "Again."},
    {"role": "assistant", "content": "one two three four five six seven eight nine ten"},
]


@pytest.fixture
def file(tmp_path):
    def file(*runs):
        path = tmp_path / "runs.jsonl"
        rows = [{"id": f"run {n}", "messages": run} for n, run in enumerate(runs)]
        path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
        return path

    return file


def test_each_message_of_the_assistant_is_an_answer(file, model_path, plain):
    trace = read_transcript(file(RUN, RUN), model_path)
    assert [(t.dialog, t.category, t.turn) for t in trace.turns] == [
        ("run 0", "agent", 2),
        ("run 0", "agent", 4),
        ("run 1", "agent", 2),
        ("run 1", "agent", 4),
    ]
    first, second = trace.turns[:2]
    assert plain.detokenize(first.answer.tolist()).decode() == RUN[2]["content"]
    known = first.prompt.tolist() + first.answer.tolist()
    assert second.prompt.tolist()[: len(known)] == known, "the conversation goes on"
    asked = plain.detokenize(second.prompt.tolist(), special=True).decode()
    assert asked.count("<|im_start|>") == 5
    assert "Again." in asked
    assert trace.cost is None
    assert first.top_tokens.shape == first.top_probs.shape == (len(first.answer), 0)


def test_it_is_replayed_and_nothing_is_learned_of_candidates(file, model_path):
    trace = read_transcript(file(RUN, RUN), model_path)
    drafter = fresh()
    tally = Replay(drafter, Curve({1: 1.0, 16: 1.2})).visit(trace.turns)[ALL_CATEGORIES]
    assert tally.tokens == sum(len(turn.answer) - 1 for turn in trace.turns)
    assert tally.accepted > 0
    rows = drafter.matrix.export()
    assert np.all(np.diff(rows.offsets) > 0), "no context without a token that followed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "contains no dialogs"),
        ("{}\n", "line 1 is not an agent run"),
        ('{"messages": 3}\n', "line 1 is not an agent run"),
        ('{"messages": [3]}\n', "line 1 is not an agent run"),
        ('{"messages": [{"role": "user", "content": 3}]}\n', "line 1 is not an agent run"),
        ('{"question_id": 1, "turns": ["Why?"]}\n', "line 1 is not an agent run"),
        ("[]\n", "line 1 is not an agent run"),
        ('{"messages": [{"role": "user", "content": "Why?"}]}\n', "no message of an assistant"),
    ],
)
def test_what_is_no_transcript_is_told(tmp_path, model_path, text, said):
    path = tmp_path / "runs.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError) as caught:
        read_transcript(path, model_path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
