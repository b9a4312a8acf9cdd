"""Trace files that hold anything: a trace is read, or the file is refused."""

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aded_edge.bench.replay.trace import Trace
from aded_edge.errors import BenchError
from tests.bench.replay.traces import trace

FUZZ = settings(max_examples=150)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("trace") / "trace.npz"


@pytest.fixture(scope="module")
def whole(path):
    trace(2, 20).save(path)
    return path.read_bytes()


def load(path):
    try:
        return Trace.load(path)
    except BenchError:
        return None


@FUZZ
@given(st.data())
def test_bytes_that_were_cut_or_changed(path, whole, data):
    changed = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)):
        if place < len(changed):
            changed[place] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    load(path)


NUMBERS = st.one_of(st.integers(-3, 70), st.just(1 << 62), st.none(), st.floats(), st.text())


@FUZZ
@given(st.lists(st.lists(NUMBERS, min_size=4, max_size=6), max_size=3))
def test_any_lengths_of_the_answers(path, whole, turns):
    path.write_bytes(whole)
    with np.load(path) as file:
        parts = dict(file)
    about = json.loads(str(parts.pop("about"))) | {"turns": turns}
    np.savez(path, about=np.asarray(json.dumps(about)), **parts)
    read = load(path)
    assert read is None or all(len(turn.answer) == len(turn.top_tokens) for turn in read.turns)


@pytest.mark.parametrize("count", [-1, 0, 10**9, 10**18, 1 << 62])
@pytest.mark.parametrize("name", ["about", "prompts", "answers", "top_tokens", "top_probs"])
def test_a_size_that_is_claimed_reserves_no_memory(path, whole, name, count):
    path.write_bytes(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == f"{name}.npy":
                head = io.BytesIO()
                claim = {"descr": "<i4", "fortran_order": False, "shape": (count,)}
                np.lib.format.write_array_header_1_0(head, claim)
                content = head.getvalue() + content[128:]
            new.writestr(member, content)
    tracemalloc.start()
    try:
        assert load(path) is None
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
