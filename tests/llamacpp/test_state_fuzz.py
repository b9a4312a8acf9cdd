"""A KV file that holds anything: its own tokens are loaded, or none, and the model goes on."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aded_edge.errors import EvaluationError
from aded_edge.llamacpp.state import _HEAD_BYTES

PROMPT = [1, 70, 80, 90, 71]

FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([1 << 31, (1 << 31) - 1, 1 << 40, 1 << 61, (1 << 63) - 1, -1 << 63]),
)


@pytest.fixture(scope="module")
def llama(loader, tiny_settings):
    with loader() as load:
        yield load(**{**tiny_settings, "drafting": "off", "n_ctx": 64})


@pytest.fixture(scope="module")
def file(llama, tmp_path_factory):
    path = tmp_path_factory.mktemp("kv") / "kv"
    llama.reset()
    llama.eval(PROMPT)
    llama.save_kv(path)
    return path


@pytest.fixture(scope="module")
def whole(file):
    return file.read_bytes()


def load(llama, file, data):
    """Load these bytes, and go on: the history is the file's own tokens, or empty."""
    file.write_bytes(data)
    count = llama.load_kv(file)
    assert count in (0, len(PROMPT))
    assert llama.n_tokens == count
    llama.eval([71])  # the context can be used
    return count


def test_the_whole_file_is_loaded(llama, file, whole):
    assert load(llama, file, whole) == len(PROMPT)
    assert llama.input_ids[: len(PROMPT)].tolist() == PROMPT


@FUZZ
@given(st.data())
def test_a_file_that_was_cut_is_not_loaded(llama, file, whole, data):
    assert load(llama, file, whole[: data.draw(st.integers(0, len(whole) - 1))]) == 0


@FUZZ
@given(st.data())
def test_a_file_that_goes_on_is_not_loaded(llama, file, whole, data):
    assert load(llama, file, whole + data.draw(st.binary(min_size=1, max_size=99))) == 0


@FUZZ
@given(SIZES, SIZES)
def test_sizes_that_are_not_those_of_the_file_are_refused(llama, file, whole, count, length):
    sizes = np.asarray([count, length], "<i8").tobytes()
    changed = whole[:_HEAD_BYTES] + sizes + whole[_HEAD_BYTES + len(sizes) :]
    assert load(llama, file, changed) == 0 or changed == whole


@FUZZ
@given(st.data())
def test_bits_that_flipped_crash_nothing(llama, file, whole, data):
    """A flip in the numbers of the cache is not noticed; one in its description is refused.

    Or llama.cpp refuses to go on after it, which is an ordinary error.
    """
    # Every second one lies among the first bytes, where the sizes and the cells are described.
    most = data.draw(st.sampled_from([600, len(whole) - 1]))
    changed = bytearray(whole)
    for bit in data.draw(st.lists(st.integers(0, 8 * most), min_size=1, max_size=4)):
        changed[bit // 8] ^= 1 << bit % 8
    with suppress(EvaluationError):
        load(llama, file, bytes(changed))
