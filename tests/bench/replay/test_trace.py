"""Trace files: what is written is read, and what cannot be read is told in one line."""

import json

import numpy as np
import pytest

from aded_edge.bench.replay.trace import FORMAT, TOP, Trace
from aded_edge.errors import BenchError
from tests.bench.replay.traces import CONDITIONS, COST, assert_same, trace


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.npz"


@pytest.fixture
def saved(path):
    """A trace that was saved there."""
    made = trace()
    made.save(path)
    return made


def refused(path):
    """What is said of a file that is no trace."""
    with pytest.raises(BenchError) as caught:
        Trace.load(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    return said


def test_what_is_written_is_read(path, saved):
    read = Trace.load(path)
    assert_same(read, saved)
    assert read.cost == {int(width): seconds for width, seconds in COST.items()}


def test_a_trace_without_answers_is_one(path):
    empty = trace(answers=0)
    empty.save(path)
    assert_same(Trace.load(path), empty)


def test_a_file_of_another_name_is_written_under_that_name(tmp_path):
    path = tmp_path / "my trace"
    trace(1).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["my trace"]
    assert len(Trace.load(path).turns) == 1


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path):
    assert "cannot read" in refused(tmp_path / "gone.npz")
    assert "cannot read" in refused(tmp_path)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    for path in (tmp_path / "no folder" / "trace.npz", tmp_path):
        with pytest.raises(BenchError, match="cannot write the trace") as caught:
            trace(1).save(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a trace\n", b"\x80\x04N.", b"\x93NUMPY"])
def test_a_file_of_another_kind_is_no_trace(path, content):
    path.write_bytes(content)
    assert "is not a trace" in refused(path)


def test_an_array_alone_is_no_trace(path):
    with path.open("wb") as file:
        np.save(file, np.arange(5))
    assert "is not a trace" in refused(path)


def test_another_archive_is_no_trace(path):
    np.savez(path, something=np.arange(5))
    assert "is not a trace" in refused(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_no_trace(path, saved, part):
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert "damaged" in refused(path)


def test_a_file_that_was_damaged_is_refused_wherever_that_was(path, saved):
    """A flip is found by the archive's checksums, or lies where it means nothing."""
    content = path.read_bytes()
    refusals = 0
    for place in range(0, len(content), 37):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        try:
            assert_same(Trace.load(path), saved)
        except BenchError:
            refusals += 1
    assert refusals > 20


def changed(path, **changes):
    """Writes the trace at `path` anew, with other arrays or another description."""
    with np.load(path) as file:
        parts = dict(file)
    about = json.loads(str(parts.pop("about")))
    for name, value in changes.items():
        (parts if name in parts else about)[name] = value
    np.savez(path, about=np.asarray(json.dumps(about)), **parts)


def test_another_format_is_told_by_its_number(path, saved):
    changed(path, format=FORMAT + 1)
    said = refused(path)
    assert f"format {FORMAT + 1}" in said
    assert f"reads {FORMAT}" in said


@pytest.mark.parametrize(
    "changes",
    [
        {"answers": np.arange(3, dtype=np.int32)},
        {"prompts": np.arange(3, dtype=np.int32)},
        {"top_tokens": np.zeros((3, TOP), np.int32)},
        {"top_probs": np.zeros((3, TOP), np.float32)},
        {"turns": [["d", "qa", 0, 5]]},
        {"turns": [["d", "qa", 0, "many", 3]]},
        {"turns": 7},
        {"conditions": {}},
        {"conditions": {**CONDITIONS, "fingerprint": 3}},
        {"conditions": {**CONDITIONS, "max_tokens": None}},
        {"conditions": {**CONDITIONS, "temperature": float("nan")}},
        {"conditions": {**CONDITIONS, "cost": [1.0]}},
        {"conditions": {**CONDITIONS, "cost": {"1": "slow"}}},
    ],
)
def test_arrays_that_do_not_fit_together_are_no_trace(path, saved, changes):
    changed(path, **changes)
    assert "is not a trace" in refused(path)
