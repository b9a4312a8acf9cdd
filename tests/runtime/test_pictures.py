"""A picture's places in a history: neither learned, nor drafted across, nor matched as a prefix.

A chat handler as llama_cpp's are: it evaluates text by `eval` and a picture as vectors, with the
positions of M-RoPE, raises `n_tokens`, and asks for a completion of `input_ids`.
"""

import ctypes
import functools
import itertools

import llama_cpp
import numpy as np
import pytest

from aded_edge import PromptError
from aded_edge.llamacpp.context import is_recurrent
from tests.conftest import Truth
from tests.runtime.helpers import history, said, take

SIDE = 5
"""A picture has SIDE * SIDE vectors, and takes SIDE positions."""

BEFORE, AFTER = [1, 70, 80, 90], [60, 61, 62, 63, 70, 60, 61]


def vectors(seed, width=64):
    return np.random.default_rng(seed).standard_normal((SIDE * SIDE, width), np.float32)


def evaluate_picture(llama, seed):
    """Evaluate a picture behind the history, as mtmd's helper does."""
    embeddings, count = vectors(seed), SIDE * SIDE
    place = np.arange(count)
    positions = np.zeros((4, count), np.int32) + llama.n_tokens
    positions[1] += (place // SIDE).astype(np.int32)
    positions[2] += (place % SIDE).astype(np.int32)
    positions[3] = 0
    ids = np.zeros(1, np.int32)
    pointers = np.full(count, ids.ctypes.data, np.uintp)
    ones, none = np.ones(count, np.int32), np.zeros(count, np.int8)
    batch = llama_cpp.llama_batch()
    batch.n_tokens = count
    for name, array, kind in (
        ("embd", embeddings, ctypes.c_float),
        ("pos", positions, ctypes.c_int32),
        ("n_seq_id", ones, ctypes.c_int32),
        ("seq_id", pointers, ctypes.POINTER(ctypes.c_int32)),
        ("logits", none, ctypes.c_int8),
    ):
        setattr(batch, name, ctypes.cast(array.ctypes.data, ctypes.POINTER(kind)))
    assert llama_cpp.llama_decode(llama.ctx, batch) == 0
    llama.n_tokens += SIDE


def show(llama, seed, after=AFTER, n=40):
    """Ask about a picture; returns the tokens of the answer."""
    llama.reset()
    llama._ctx.kv_cache_clear()
    llama.eval(BEFORE)
    evaluate_picture(llama, seed)
    llama.eval(after)
    prompt = llama.input_ids[: llama.n_tokens].tolist()
    return take(llama, prompt, n)


@pytest.fixture(scope="module", params=["qwen2vl", "qwen35"])
def picture_settings(request, tiny_settings, architecture_path):
    return {**tiny_settings, "model_path": str(architecture_path(request.param))}


@pytest.fixture(scope="module")
def picture_plain(picture_settings):
    plain = llama_cpp.Llama(**picture_settings)
    yield plain
    plain.close()


@pytest.fixture
def load_picture(loader, picture_settings):
    with loader() as load:
        yield functools.partial(load, **picture_settings)


@pytest.mark.parametrize("drafting", ["auto", "paper", "off"])
def test_answers_about_pictures_are_plain_decodings(load_picture, picture_plain, drafting):
    llama = load_picture(eager=drafting == "auto", drafting=drafting)
    answers = [show(picture_plain, seed) for seed in range(3)]
    assert answers[0] != answers[1], "the pictures count"
    for seed in (0, 1, 2, 0, 1, 2):
        assert show(llama, seed) == answers[seed]
    if llama.stats.plain_because is None:
        assert llama.stats.mat > 1


def test_text_is_ordinary(load_picture, picture_plain):
    llama, truth = load_picture(eager=True), Truth(picture_plain)
    for prompt in (BEFORE, AFTER, [*BEFORE, *AFTER], BEFORE):
        assert take(llama, prompt, 60) == truth(prompt, 60)


def test_a_picture_is_no_prefix_of_a_text(load_picture, picture_plain):
    """Whatever text stood at its places before, an equal prompt must be read."""
    text = [*BEFORE, 99, 98, 97, 96, 95, *AFTER]
    llama, truth = load_picture(eager=True), Truth(picture_plain)
    take(llama, text, 5)
    show(llama, 0)
    assert take(llama, text, 30) == truth(text, 30)


def test_a_picture_is_no_prefix_of_another(load_picture, picture_plain):
    llama = load_picture(eager=True)
    for seed in (0, 1):
        expected = show(picture_plain, seed, [*AFTER, 50])
        assert show(llama, seed, [*AFTER, 50]) == expected


def test_nothing_is_learned_across_a_picture(load_picture):
    llama = load_picture(eager=True)
    take(llama, [1, *range(100, 140)], 5)  # this stood at the picture's places
    show(llama, 0)
    llama._loop.drafter.keep_news = True
    show(llama, 1)
    learned = llama._loop.drafter.everything()
    text = learned.tokens.tolist()
    places = [n for n, token in enumerate(text) if token < 0]
    parts = [text[a + 1 : b] for a, b in itertools.pairwise([-1, *places, len(text)])]
    assert not any(BEFORE[-1] in part and AFTER[0] in part and len(part) > 60 for part in parts)
    assert history(llama)[len(BEFORE) : len(BEFORE) + SIDE] == [-1] * SIDE
    assert not any(
        part[n : n + 2] == [BEFORE[-1], AFTER[0]] for part in parts for n in range(len(part))
    )


def test_the_answer_is_learned_behind_the_picture(load_picture):
    """The second time the same picture is asked about, its answer is drafted."""
    llama = load_picture(eager=True)
    first = show(llama, 0, n=60)
    assert show(llama, 0, n=60) == first
    assert llama.stats.mat > 3


def test_a_picture_that_left_the_memory_is_told(load_picture):
    llama = load_picture(eager=True)
    show(llama, 0)
    prompt = history(llama)
    take(llama, [1, 50, 60], 3)
    with pytest.raises(PromptError, match="a picture or sound that is no longer in memory"):
        take(llama, prompt, 3)
    assert len(take(llama, BEFORE, 3)) == 3


@pytest.mark.parametrize("unusual", [{}, {"logit_bias": {5: 0.5}}])
def test_completions_behind_a_picture(load_picture, unusual):
    """As a handler asks for them: with `input_ids` as the prompt."""
    llama = load_picture(eager=True)

    def completed():
        llama.reset()
        llama._ctx.kv_cache_clear()
        llama.eval(BEFORE)
        evaluate_picture(llama, 3)
        llama.eval(AFTER)
        prompt = llama.input_ids[: llama.n_tokens].tolist()
        return said(llama.create_completion(prompt, max_tokens=30, temperature=0.0, **unusual))

    assert completed() == completed()


def test_a_state_keeps_the_picture(load_picture, picture_plain, tmp_path):
    llama = load_picture(eager=True)
    expected = show(picture_plain, 0, n=30)
    show(llama, 0, n=1)
    llama.save_kv(tmp_path / "kv")
    take(llama, [1, 50, 60], 3)
    tokens = llama.load_kv(tmp_path / "kv")
    assert tokens == len(BEFORE) + SIDE + len(AFTER)
    if is_recurrent(llama):  # its last token cannot be read again without what is before it
        with pytest.raises(PromptError, match="no longer in memory"):
            take(llama, history(llama), 30)
    else:
        assert take(llama, history(llama), 30) == expected
