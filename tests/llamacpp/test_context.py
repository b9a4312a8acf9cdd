"""Opening a context again, and what a loaded model is asked."""

import numpy as np
import pytest

from aded_edge import ModelError
from aded_edge.llamacpp import system
from aded_edge.llamacpp.context import ends_answer, last_logits, reopen, set_threads
from tests.conftest import ROUNDING


@pytest.fixture
def llama(load_tiny):
    return load_tiny(drafting="off", n_ctx=256)


def logits_behind(llama, tokens):
    llama.reset()
    llama.eval(tokens)
    return last_logits(llama).copy()


def test_a_context_that_was_opened_again_gives_the_same_logits(llama):
    before = logits_behind(llama, [1, 70, 80])
    reopen(llama, n_seq_max=4, kv_unified=True, n_ctx=512)
    assert llama._ctx.n_ctx() == 512
    np.testing.assert_allclose(logits_behind(llama, [1, 70, 80]), before, atol=ROUNDING)


def test_a_context_that_cannot_be_opened_names_its_size_and_the_remedy(llama, monkeypatch):
    def refuse(**_):
        raise ValueError("Failed to create llama_context")

    monkeypatch.setattr("llama_cpp._internals.LlamaContext", refuse)
    with pytest.raises(ModelError, match="512 tokens and 4 sequences .*; ask for less"):
        reopen(llama, n_seq_max=4, kv_unified=True, n_ctx=512, remedy="ask for less")


def test_the_last_logits_are_those_of_the_last_row(llama):
    one = logits_behind(llama, [1, 70])
    both = logits_behind(llama, [1, 70, 80])
    assert both.shape == (llama.n_vocab(),)
    assert not np.allclose(one, both, atol=0.1)


def test_only_the_end_token_ends_an_answer(llama):
    assert ends_answer(llama, llama.token_eos())
    assert not ends_answer(llama, 70)


def test_another_number_of_threads_changes_nothing_but_time(llama):
    before = logits_behind(llama, [1, 70, 80])
    set_threads(llama, 2)
    np.testing.assert_allclose(logits_behind(llama, [1, 70, 80]), before, atol=ROUNDING)


def test_the_log_of_loading_is_captured_and_not_printed(load_tiny, capfd):
    with system.captured_log() as lines:
        load_tiny(drafting="off", n_ctx=64, verbose=True)
        assert lines == []  # filled in at the end
    assert any("model buffer size" in line for line in lines)
    assert "model buffer size" not in capfd.readouterr().err


def test_the_build_and_the_machine_have_names():
    assert "CPU : " in system.build_info()
    assert system.binding_version().count(".") == 2
    assert system.cpu_name()
