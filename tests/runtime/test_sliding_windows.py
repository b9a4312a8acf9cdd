"""Models with a sliding window: what is no longer in memory is read again, never left out.

Tiny gemma3, whose every other layer sees WINDOW tokens. With swa_full=False the cache of these
layers has 256 cells, so prompts here are longer.
"""

import functools
import itertools

import llama_cpp
import numpy as np
import pytest

from tests.architectures import write_architecture
from tests.conftest import Truth
from tests.runtime.forced import Forced
from tests.runtime.helpers import history, logits, take

DICE = np.random.default_rng(3)
LONG = [1, *DICE.integers(3, 259, 699).tolist()]
"""A prompt beyond the window and the cache of the layers that have one."""

CLOSE = 1e-3
"""Largest difference of a logit that may come from the width of batches; logits are about 10."""


@pytest.fixture(scope="module")
def window_settings(tiny_settings, architecture_path):
    return {**tiny_settings, "model_path": str(architecture_path("gemma3")), "n_ubatch": 64}


@pytest.fixture(scope="module")
def window_plain(window_settings):
    """llama_cpp's own Llama, with the whole cache; `Truth` never lets it reuse a prefix."""
    plain = llama_cpp.Llama(**window_settings)
    yield plain
    plain.close()


@pytest.fixture(scope="module")
def window_truth(window_plain):
    return Truth(window_plain)


@pytest.fixture(params=[True, False], ids=["swa_full", "part"])
def load_window(request, loader, window_settings):
    with loader() as load:
        yield functools.partial(load, **window_settings, swa_full=request.param)


def fresh_logits(plain, tokens):
    plain.reset()
    plain._ctx.kv_cache_clear()
    plain.eval(tokens)
    return logits(plain)


def assert_same_memory(llama, plain):
    """The next token has the logits of a model that reads the history anew."""
    known = history(llama)
    llama._settle()
    llama.n_tokens -= 1
    llama.eval(known[-1:])
    assert np.abs(logits(llama) - fresh_logits(plain, known)).max() < CLOSE


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_prefixes_of_any_length_are_reused_or_read_again(
    load_window, window_truth, window_plain, drafting
):
    llama = load_window(eager=drafting == "auto", drafting=drafting)
    prompts = [LONG, LONG[:690], [*LONG[:600], 70, 80], LONG[:40], LONG, [*LONG[:300], 9], LONG]
    for prompt in prompts:
        assert take(llama, prompt, 40) == window_truth(prompt, 40)
        assert_same_memory(llama, window_plain)


@pytest.mark.parametrize("n_ubatch", [4, 64])
@pytest.mark.parametrize("right", [0, 1, 3, 15])
def test_drafts_are_rejected_anywhere_around_the_window(
    load_window, window_truth, window_plain, right, n_ubatch
):
    llama = load_window(eager=True, n_ubatch=n_ubatch)
    for length in (20, 30, 31, 32, 33, 250, 500):
        prompt = LONG[:length]
        expected = window_truth(prompt, 40)
        llama._loop.drafter = Forced([*prompt, *expected], right, 15)
        assert take(llama, prompt, 40) == expected
        assert llama.stats.drafted > 0
        assert_same_memory(llama, window_plain)


@pytest.mark.parametrize("right", [0, 1])
def test_a_draft_of_several_pieces_overwrites_nothing_that_is_seen(
    loader, window_settings, tmp_path, right
):
    """The cache of 256 cells is exactly the window and one piece of four rows."""
    path, prompt = tmp_path / "wide.gguf", LONG[:500]
    write_architecture(path, "gemma3", keys={"sliding_window": 252})
    plain = llama_cpp.Llama(**{**window_settings, "model_path": str(path)})
    expected = Truth(plain)(prompt, 40)
    with loader() as load:
        changes = {"model_path": str(path), "n_ubatch": 4, "swa_full": False}
        llama = load(eager=True, **{**window_settings, **changes})
        llama._loop.drafter = Forced([*prompt, *expected], right, 15)
        assert take(llama, prompt, 40) == expected
        known = history(llama)
        assert llama.stats.drafted > 0
        last = llama._target.logits().copy()
        assert np.abs(last - fresh_logits(plain, known)).max() < CLOSE
    plain.close()


def test_trees_branch_beyond_the_window(load_window, window_truth, window_plain):
    llama = load_window(drafting="paper")
    for prompt in (LONG, LONG[:400], LONG):
        assert take(llama, prompt, 40) == window_truth(prompt, 40)
        assert_same_memory(llama, window_plain)


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_a_saved_state_holds_the_window_alone(
    load_window, window_truth, window_plain, drafting, tmp_path
):
    """llama.cpp saves the cells that the last token sees, also where the cache is whole."""
    llama = load_window(eager=drafting == "auto", drafting=drafting)
    take(llama, LONG, 5)
    llama.save_kv(tmp_path / "kv")
    for prompt in (LONG, LONG[:600], [*LONG[:500], 9]):
        assert llama.load_kv(tmp_path / "kv") > len(LONG)
        assert take(llama, prompt, 20) == window_truth(prompt, 20)
        assert_same_memory(llama, window_plain)


def test_a_copied_state_goes_on(load_window, window_truth, window_plain):
    llama = load_window(eager=True)
    take(llama, LONG, 5)
    state = llama.save_state()
    take(llama, [1, 50, 60], 30)
    for prompt in (LONG, LONG[:350]):
        llama.load_state(state)
        assert take(llama, prompt, 20) == window_truth(prompt, 20)
        assert_same_memory(llama, window_plain)


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_a_history_that_its_owner_cuts_is_read_again(load_window, window_plain, drafting):
    llama = load_window(eager=drafting == "auto", drafting=drafting)
    take(llama, LONG, 5)
    for length in (650, 400, 100):
        llama.n_tokens = length
        llama.eval([77])
        assert history(llama) == [*LONG[:length], 77]
        assert np.abs(logits(llama) - fresh_logits(window_plain, history(llama))).max() < CLOSE
        llama.eval(LONG[length + 1 :])


def test_tokens_evaluated_between_two_of_a_stream_do_no_harm(load_window, window_truth):
    """The loop takes them back, more of them than the cache of the window holds."""
    llama = load_window(eager=True)
    expected = window_truth(LONG, 40)
    stream = llama.generate(LONG, temp=0.0)
    taken = list(itertools.islice(stream, 10))
    llama.eval(LONG[:250])
    taken += itertools.islice(stream, 30)
    stream.close()
    assert taken == expected


def test_two_streams_in_turn_say_their_own(load_window, window_truth):
    llama = load_window(eager=True)
    other = LONG[:350]
    streams = [llama.generate(prompt, temp=0.0) for prompt in (LONG, other)]
    said = [[], []]
    for _ in range(15):
        for stream, tokens in zip(streams, said, strict=True):
            tokens.append(next(stream))
    for stream in streams:
        stream.close()
    assert said == [window_truth(LONG, 15), window_truth(other, 15)]


@pytest.mark.parametrize("flash_attn", [False, True])
def test_a_window_with_sixteen_bits_and_flash_attention(load_window, window_settings, flash_attn):
    """As users have it; answers may differ at near ties, so logits are compared."""
    changes = {"type_k": None, "type_v": None, "flash_attn": flash_attn}
    llama = load_window(eager=True, **changes)
    plain = llama_cpp.Llama(**{**window_settings, **changes})
    for prompt in (LONG, LONG[:400], LONG[:64]):
        take(llama, prompt, 30)
        known = history(llama)
        llama.n_tokens -= 1
        llama.eval(known[-1:])
        assert np.abs(logits(llama) - fresh_logits(plain, known)).max() < 0.1
    plain.close()
