"""The proof of exactness: what is tried, what counts as proved, and what `exact` makes of it."""

import logging

import llama_cpp
import numpy as np
import pytest

from aded_edge import ConfigError, Llama
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.llamacpp.fingerprint import bit_conditions, cost_key
from aded_edge.runtime import exactness
from aded_edge.runtime.exactness import load_or_prove, prove, proved
from aded_edge.store import Store
from tests.runtime.helpers import ASKED, STORY, take

NONE = np.empty(0, np.int32)
CHEAP = CostCurve({1: 0.001, 2: 0.001, 4: 0.001, 8: 0.001, 16: 0.001}, 64)


@pytest.fixture
def few(monkeypatch):
    """Only the first widths are tried."""
    monkeypatch.setattr(exactness, "PROOF_SECONDS", 0.0)


def test_the_real_model_gives_the_bits_that_other_tests_demand(load, monkeypatch):
    """In every build: one thread and flash attention, widths up to 16."""
    monkeypatch.setattr(exactness, "THEN", (16,))
    monkeypatch.setattr(exactness, "HISTORIES", (40, 250, 508))
    llama = load()
    assert proved(prove(llama, llama._target, CHEAP)) == (2, 4, 8, 16)
    assert llama.n_tokens == 0


@pytest.mark.parametrize(
    ("proof", "widths"),
    [
        ({40: {2: 0.0, 4: 0.0, 8: 0.5}, 300: {2: 0.0, 4: 0.1}}, (2,)),
        ({40: {2: 0.5, 4: 0.0}, 300: {4: 0.0}}, (4,)),
        ({40: {2: 0.0}, 300: {}}, ()),
        ({40: {8: 0.0, 4: 0.0}}, (4, 8)),
    ],
)
def test_a_width_counts_only_if_it_was_equal_everywhere(proof, widths):
    assert proved(proof) == widths


class OneByOne:
    """A target that gives the bits of width 1 at every width, in every build.

    Args:
        target: evaluates single tokens.
        alter: (rows, history length) -> None, may change the logits of an evaluation.
        written: tokens -> tokens, those whose KV cells are written; their logits are not given.
    """

    def __init__(self, target, alter=lambda rows, at: None, written=lambda tokens: tokens):
        self._target, self._alter, self._written = target, alter, written
        self.n_vocab, self._base, self._advanced = target.n_vocab, 0, 0
        self.truncate = target.truncate
        self.rewind = target.rewind

    def evaluate(self, root, tokens, parents):
        self._base, self._advanced = len(self._target.history), 0
        chain = [root, *tokens.tolist()]
        rows = self._singly(chain)
        if self._written(chain) != chain:
            self._target.rewind(self._base)
            self._singly(self._written(chain))
        self._alter(rows, self._base)
        return rows

    def advance(self, row):
        self._advanced = row + 1

    def settle(self):
        self._target.rewind(self._base + self._advanced)

    def _singly(self, tokens):
        rows = []
        for token in tokens:
            rows.append(self._target.evaluate(token, NONE, NONE)[0].copy())
            self._target.advance(0)
            self._target.settle()
        return np.asarray(rows)


@pytest.fixture
def prove_with(load_tiny, few, monkeypatch):
    """(arguments of OneByOne) -> the proof at histories of 40 and 300 tokens."""

    def prove_with(**arguments):
        monkeypatch.setattr(exactness, "HISTORIES", (40, 300))
        llama = load_tiny(n_ctx=512)
        return prove(llama, OneByOne(llama._target, **arguments), CHEAP, whole=True)

    return prove_with


def test_what_gives_the_bits_of_width_1_is_proved(prove_with):
    assert prove_with() == {length: {2: 0.0, 4: 0.0, 8: 0.0} for length in (40, 300)}


@pytest.mark.parametrize("at", [40, 60, 300, 310])
def test_a_single_bit_in_a_single_row_is_seen(prove_with, at):
    def alter(rows, place):
        if len(rows) == 4 and place >= at and place < at + 4:
            rows[-1, 7] = np.nextafter(rows[-1, 7], np.float32(np.inf))

    # In the draft whose rest is wrong the last row is not looked at.
    found = prove_with(alter=alter)
    assert found[40][4] > 0.0 if at < 300 else found[300][4] > 0.0
    assert {2: 0.0, 8: 0.0}.items() <= found[40].items() & found[300].items()


def test_cells_that_a_wide_batch_wrote_are_read_again(prove_with):
    """A width that writes a wrong KV cell, and gives the right logits itself, is not exact."""

    def written(tokens):
        return [5, *tokens[1:]] if len(tokens) == 8 else tokens

    found = prove_with(written=written)
    assert found[40][8] > 0.0
    assert found[40][2] == found[40][4] == 0.0


@pytest.mark.parametrize("n_ctx", [4, 16, 64, 130])
def test_a_small_context_is_enough(load_tiny, few, n_ctx):
    llama = load_tiny(n_ctx=n_ctx)
    proof = prove(llama, llama._target, CHEAP)
    assert all(length < n_ctx for length in proof)
    assert llama.n_tokens == 0


def test_a_proof_is_kept_and_depends_on_the_settings(load_tiny, few, tmp_path, caplog):
    caplog.set_level(logging.INFO, "aded_edge")
    store = tmp_path / "store.db"
    for settings in ({}, {}, {"n_ctx": 256}, {}):
        with load_tiny(store=store, exact=True, **settings):
            pass
    assert caplog.text.count("trying which batch widths") == 2


def test_an_impossible_proof_is_made_anew(load_tiny, few, tmp_path):
    store = tmp_path / "store.db"
    with load_tiny(store=store) as llama:
        key = cost_key(bit_conditions(llama))
        with Store.open(store) as opened, opened._file.writing() as conn:
            conn.execute("INSERT INTO proofs VALUES (?, '{\"40\": 7}', '', '', '')", (key,))
        load_or_prove(llama, llama._target, CHEAP, llama._persistence)
    with Store.open(store) as opened:
        assert opened.load_proof(key)


def test_a_proof_that_was_cut_short_is_used_and_not_kept(load_tiny, few, tmp_path, monkeypatch):
    proof = {40: {2: 0.0, 16: 0.0}, 300: {2: 0.0}}
    monkeypatch.setattr(exactness, "prove", lambda *_: proof)
    with load_tiny(store=tmp_path / "store.db") as llama:
        assert load_or_prove(llama, llama._target, CHEAP, llama._persistence) == (2,)
        llama.wait_for_store()
        assert llama._persistence.load_proof(cost_key(bit_conditions(llama))) is None


def widths_of(llama):
    """The widths of all evaluations from now on."""
    seen, real = [], llama._target.submit

    def submit(root, tokens, parents):
        seen.append(len(tokens) + 1)
        assert parents.tolist() == list(range(-1, len(tokens) - 1))
        real(root, tokens, parents)

    llama._target.submit = submit
    return seen


def test_only_proved_widths_are_evaluated(load, truth, monkeypatch):
    monkeypatch.setattr("aded_edge.runtime.llama.load_or_prove", lambda *_: (3, 8))
    llama = load(exact=True)
    budget = llama._loop.budget
    budget.observe = lambda *_: None
    budget.curve.ratios[1:] = 1.01  # every draft pays
    budget.most_nodes, budget.worth = budget._useful()
    seen = widths_of(llama)
    for _ in range(2):
        assert take(llama, STORY, 100) == truth(STORY, 100)
    assert {3, 8} < set(seen) <= {1, 3, 8}


@pytest.mark.parametrize("sampling", [{"temp": 0.0}, {"temp": 0.9}])
@pytest.mark.parametrize("flash_attn", [True, False])
def test_exact_answers_are_those_of_llama_cpp(
    load, model_path, settings, few, flash_attn, sampling, tmp_path
):
    """In any build; prefixes are reused from turn to turn in both."""
    settings = {**settings, "flash_attn": flash_attn}
    plain = llama_cpp.Llama(str(model_path), **settings)
    llama = load(exact=True, **settings)
    answers = []
    for model in (plain, llama):
        model.set_seed(7)
        told, prompt = [], STORY
        for _ in range(3):
            told += take(model, prompt, 40, **sampling)
            prompt += model.detokenize(told[-40:]).decode("utf-8", "replace")
            prompt += (
                "<|im_end|>\n<|im_start|>user\nTell it again.<|im_end|>\n<|im_start|>assistant\n"
            )
        answers.append(told)
    plain.close()
    assert answers[0] == answers[1]


def test_where_nothing_is_proved_it_decodes_plainly_and_says_so(load_tiny, tiny_truth, monkeypatch):
    monkeypatch.setattr("aded_edge.runtime.llama.load_or_prove", lambda *_: ())
    llama = load_tiny(exact=True)
    assert take(llama, ASKED, 30) == tiny_truth(ASKED, 30)
    assert "no batch width gives the bits" in llama.stats.plain_because
    assert llama.stats.drafted == 0
    assert llama.costs == {}


def test_exact_goes_with_off_and_not_with_paper(tiny_path, load_tiny):
    assert load_tiny(exact=True, drafting="off").exact
    with pytest.raises(ConfigError, match='drafting="paper" cannot be exact'):
        Llama(tiny_path, exact=True, drafting="paper")


def test_a_copy_is_exact_too(load_tiny, few):
    assert load_tiny(exact=True).__getstate__()["exact"] is True
