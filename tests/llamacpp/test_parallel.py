"""Several texts in one batch, compared with each text evaluated alone."""

import llama_cpp
import numpy as np
import pytest

from aded_edge import Llama
from aded_edge.errors import EvaluationError
from aded_edge.llamacpp.parallel import ParallelTarget


@pytest.fixture
def parallel(load_tiny):
    def parallel(sequences, **changes):
        return ParallelTarget(load_tiny(drafting="off", **changes), sequences)

    return parallel


def text(*tokens):
    return np.asarray(tokens, np.int32)


def alone(plain, tokens):
    """Logits behind a text that is evaluated alone."""
    plain.reset()
    plain.eval(list(tokens))
    pointer = llama_cpp.llama_get_logits_ith(plain.ctx, -1)
    return np.ctypeslib.as_array(pointer, shape=(plain.n_vocab(),)).copy()


def assert_alike(found, expected):
    # Batches of other widths round differently; another history changes logits by whole units.
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_every_text_has_the_logits_that_it_has_alone(parallel, tiny_plain):
    target = parallel(3)
    texts = [text(5, 6, 7), text(9), text(200, 6, 7, 8)]
    for behind in ([], [30], [30, 32]):
        texts_now = [text(*t, *behind) for t in texts]
        fresh = [text(*behind[-1:]) for _ in texts] if behind else texts
        logits = target.evaluate([0, 1, 2], fresh)
        for row, whole in zip(logits, texts_now, strict=True):
            assert_alike(row, alone(tiny_plain, whole))
    assert target.lengths.tolist() == [5, 3, 6]


@pytest.mark.parametrize(
    ("n_ctx", "sequences", "room"), [(1024, 2, 512), (1024, 3, 512), (64, 5, 256)]
)
def test_the_texts_share_the_context(parallel, n_ctx, sequences, room, capfd):
    target = parallel(sequences, n_ctx=n_ctx)
    assert target.room == room
    target.evaluate([sequences - 1], [np.full(room, 9, np.int32)])
    with pytest.raises(EvaluationError):
        target.evaluate([sequences - 1], [text(9)])
    assert "round" not in capfd.readouterr().err


def test_texts_come_and_go_while_others_go_on(parallel, tiny_plain):
    target = parallel(2)
    target.evaluate([0, 1], [text(5, 6), text(7, 8, 9)])
    target.cut(0, 0)
    # A new text of three tokens and one more token of another; rows come in the order of the call.
    logits = target.evaluate([1, 0], [text(10), text(40, 41, 42)])
    assert_alike(logits[0], alone(tiny_plain, [7, 8, 9, 10]))
    assert_alike(logits[1], alone(tiny_plain, [40, 41, 42]))
    assert_alike(target.evaluate([0], [text(43)])[0], alone(tiny_plain, [40, 41, 42, 43]))
    target.cut(0, 2)
    assert_alike(target.evaluate([0], [text(50)])[0], alone(tiny_plain, [40, 41, 50]))


def test_more_tokens_than_a_batch_holds(parallel, tiny_plain):
    target = parallel(3, n_batch=16, n_ubatch=16)
    texts = [
        np.arange(3 + s, 3 + s + length, dtype=np.int32) for s, length in enumerate((5, 40, 9))
    ]
    logits = target.evaluate([0, 1, 2], texts)
    for row, whole in zip(logits, texts, strict=True):
        assert_alike(row, alone(tiny_plain, whole))


def test_a_context_that_is_full_is_an_error_and_changes_nothing(parallel, tiny_plain):
    target = parallel(2, n_ctx=512)
    target.evaluate([0, 1], [text(5, 6), text(7)])
    with pytest.raises(EvaluationError, match="--ctx"):
        target.evaluate([0, 1], [text(8), np.full(300, 9, np.int32)])
    assert target.lengths.tolist() == [2, 1]
    logits = target.evaluate([0, 1], [text(8), text(9)])
    assert_alike(logits[0], alone(tiny_plain, [5, 6, 8]))
    assert_alike(logits[1], alone(tiny_plain, [7, 9]))


def test_the_end_of_an_answer_is_the_model_s_own(model_path):
    with Llama(model_path, n_ctx=64, drafting="off", verbose=False) as llama:
        target = ParallelTarget(llama, 2)
        assert target.ends(llama.token_eos())
        assert not target.ends(llama.tokenize(b"Hello", add_bos=False)[0])


@pytest.mark.parametrize("kind", ["qwen35", "mamba"])
def test_a_recurrent_text_is_cut_back_to_nothing(loader, architecture_path, kind):
    with loader() as load:
        llama = load(model_path=str(architecture_path(kind)), drafting="off")
        target = ParallelTarget(llama, 2)
        first = target.evaluate([0, 1], [text(1, 70, 80), text(1, 99)]).copy()
        assert target.cut(0, 3) == 3
        assert target.cut(0, 2) == 0
        assert target.lengths.tolist() == [0, 2]
        again = target.evaluate([0], [text(1, 70, 80)])
        np.testing.assert_allclose(again[0], first[0], atol=1e-3)
