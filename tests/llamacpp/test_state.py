"""A history and its KV cache in a file: the same logits afterwards, or nothing is loaded."""

import itertools
import os

import pytest

from aded_edge import StoreError
from aded_edge.llamacpp import state
from tests.gguf_files import write_tiny

PROMPT = [1, 70, 80, 90, 71]


def answer(llama, prompt, n=8):
    return list(itertools.islice(llama.generate(prompt, temp=0.0), n))


@pytest.fixture
def llama(load_tiny):
    return load_tiny(drafting="off", n_ctx=128)


@pytest.fixture
def saved(llama, tmp_path):
    llama.eval(PROMPT)
    state.save(llama, tmp_path / "kv")
    return tmp_path / "kv"


def test_a_loaded_state_is_the_history_and_gives_the_same_answer(llama, saved, tiny_truth):
    llama.reset()
    llama._ctx.kv_cache_clear()
    assert state.load(llama, saved) == len(PROMPT)
    assert llama.input_ids[: llama.n_tokens].tolist() == PROMPT
    assert answer(llama, PROMPT) == tiny_truth(PROMPT, 8)


def test_the_size_is_about_that_of_the_file(llama, saved):
    assert state.size(llama) <= saved.stat().st_size < state.size(llama) + 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"type_k": 1},
        {"type_v": 1},
        {"rope_freq_base": 5000.0},
        {"rope_freq_scale": 0.5},
        {"yarn_ext_factor": 1.0},
        {"flash_attn": True},
        {"swa_full": False},
        {"kv_overrides": {"llama.attention.layer_norm_rms_epsilon": 1e-2}},
    ],
)
def test_the_state_of_other_settings_is_not_loaded(load_tiny, saved, changes):
    other = load_tiny(drafting="off", n_ctx=128, **changes)
    assert state.load(other, saved) == 0
    assert other.n_tokens == 0


def test_the_state_of_other_weights_under_the_same_header_is_not_loaded(
    load_tiny, tiny_settings, tmp_path
):
    """A file that was fetched again, in every way in which it can take the place of the first."""
    path, kv = tmp_path / "model.gguf", tmp_path / "kv"
    write_tiny(path)
    settings = {"drafting": "off", "n_ctx": 128, "model_path": str(path)}
    with load_tiny(**settings) as llama:
        llama.eval(PROMPT)
        state.save(llama, kv)
        write_tiny(tmp_path / "new.gguf", seed=1)
        assert (tmp_path / "new.gguf").stat().st_size == path.stat().st_size
        kept = path.stat()
        (tmp_path / "new.gguf").rename(path)
        os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        # This process goes on with the old file, and knows its own states.
        state.save(llama, kv)
        llama.reset()
        assert state.load(llama, kv) == len(PROMPT)
    with load_tiny(**settings) as llama:
        assert state.load(llama, kv) == 0
        assert llama.n_tokens == 0


def test_a_state_of_an_older_version_is_not_loaded(llama, saved):
    saved.write_bytes(saved.read_bytes().replace(b"aded-edge KV 2", b"aded-edge KV 1"))
    llama.reset()
    assert state.load(llama, saved) == 0


@pytest.mark.parametrize("bytes_left", [0, 10, 60, -1])
def test_a_file_that_is_cut_short_is_not_loaded(llama, saved, bytes_left):
    saved.write_bytes(saved.read_bytes()[:bytes_left])
    llama.reset()
    assert state.load(llama, saved) == 0


def test_a_history_that_does_not_fit_is_not_loaded(load_tiny, saved):
    assert state.load(load_tiny(drafting="off", n_ctx=len(PROMPT) - 1), saved) == 0


def test_a_file_that_cannot_be_read_or_written_is_an_error(llama, tmp_path):
    with pytest.raises(StoreError, match="cannot read"):
        state.load(llama, tmp_path / "missing")
    with pytest.raises(StoreError, match="cannot write"):
        state.save(llama, tmp_path)
