"""The proof of exactness: what is tried, what counts as proved, and what `exact` makes of it."""

import itertools
import logging

import llama_cpp
import numpy as np
import pytest
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from aded_edge import ConfigError, Llama
from aded_edge.decode.cost_curve import WIDTHS, CostCurve
from aded_edge.llamacpp.fingerprint import cost_key
from aded_edge.llamacpp.target import LlamaTarget
from aded_edge.runtime import exactness
from aded_edge.runtime.exactness import load_or_prove, proof_conditions, prove, proved
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
    monkeypatch.setattr(exactness, "HISTORIES", (40, 248, 504))
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
        self.n_vocab, self.max_nodes = target.n_vocab, target.max_nodes
        self._base, self._advanced = 0, 0
        self.truncate = target.truncate
        self.rewind = target.rewind
        self.mark, self.bring_back = target.mark, target.bring_back

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


@pytest.mark.parametrize("text", ['{"40": 7}', '{"40": {"2": 0.0}, "300": {"2": 0.0}}'])
def test_an_impossible_proof_and_one_of_other_histories_are_made_anew(
    load_tiny, few, tmp_path, text
):
    store = tmp_path / "store.db"
    with load_tiny(store=store) as llama:
        key = cost_key(proof_conditions(llama))
        with Store.open(store) as opened, opened._file.writing() as conn:
            conn.execute("INSERT INTO proofs VALUES (?, ?, '', '', '')", (key, text))
        load_or_prove(llama, llama._target, CHEAP, llama._persistence)
    with Store.open(store) as opened:
        proof = opened.load_proof(key)
    assert sorted(proof) == [40, 248, 300, 504, 600]  # n_ctx is 1024
    assert sorted(proof[40]) == [2, 4, 8]


def test_another_method_has_another_key(load_tiny, monkeypatch):
    llama = load_tiny()
    keys = {cost_key(proof_conditions(llama))}
    for name, other in (("METHOD", 1), ("HISTORIES", (40, 300)), ("ROWS", 8), ("KEPT", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(exactness, name, other)
            keys.add(cost_key(proof_conditions(llama)))
    assert len(keys) == 5


def test_a_proof_that_was_cut_short_is_kept_and_used(load_tiny, tmp_path, monkeypatch):
    """On a busy machine every history takes an hour: later ones have only the first widths."""
    hours = itertools.count(0, 3600)
    monkeypatch.setattr(exactness.time, "monotonic", lambda: next(hours))
    with load_tiny(store=tmp_path / "store.db", n_ctx=512) as llama:
        tried = OneByOne(llama._target)
        widths = load_or_prove(llama, tried, CHEAP, llama._persistence)
        assert widths == (2, 4, 8)
        monkeypatch.setattr(exactness, "prove", None)
        llama.wait_for_store()
        proof = llama._persistence.load_proof(cost_key(proof_conditions(llama)))
        assert set(proof[40]) > {2, 4, 8} == set(proof[248]) == set(proof[300])
        assert load_or_prove(llama, tried, CHEAP, llama._persistence) == widths


@pytest.mark.parametrize("border", [256, 512])
@pytest.mark.parametrize("width", WIDTHS[1:])
def test_every_width_has_compared_rows_on_both_sides_of_a_border(width, border):
    ends = []
    for length in exactness.HISTORIES:
        begin = length
        for right in exactness._right_rows(width, exactness._rows([width])):
            ends.append((begin, begin + right))
            begin += right
    assert any(begin < border < end for begin, end in ends)


@pytest.mark.parametrize("plain", [0.0001, 0.001, 0.01, 0.05, 0.2])
def test_a_proof_is_planned_for_the_time_it_may_take(plain):
    """Every evaluation counts, also those that give the truth; the first widths are always in."""
    curve = CostCurve({1: plain, 2: 1.3 * plain, 8: 2 * plain, 64: 8 * plain})
    lengths = exactness._lengths(4096)
    widths = exactness._affordable(curve, 65, lengths)
    spent = 1500 * 8 / 64
    for _ in lengths:
        rows = exactness._rows(widths)
        spent += rows  # one by one
        for width in widths:
            right = exactness._right_rows(width, rows)
            spent += curve.ratio(width) * len(right[:-1]) + 1
    assert {2, 4, 8} <= set(widths)
    assert spent * plain <= exactness.PROOF_SECONDS or widths == [2, 4, 8]
    assert exactness._seconds(curve, widths, lengths) == pytest.approx(spent * plain)


def test_no_more_is_evaluated_when_no_width_is_left(load_tiny, few):
    def alter(rows, place):
        seen.append(place)
        rows[:, 0] += len(rows) > 1

    seen = []
    llama = load_tiny(n_ctx=512)
    proof = prove(llama, OneByOne(llama._target, alter=alter), CHEAP)
    assert max(seen) < 100
    assert proof[40].keys() == {2, 4, 8}
    assert (proof[248], proof[300]) == ({}, {})
    assert proved(proof) == ()


@pytest.mark.parametrize(("n_batch", "tried"), [(16, {2, 4, 8, 16}), (5, {2, 4}), (1, set())])
def test_no_wider_than_a_batch_may_be(load_tiny, monkeypatch, n_batch, tried):
    monkeypatch.setattr(exactness, "THEN", (16, 32))
    llama = load_tiny(exact=True, n_batch=n_batch, n_ctx=256)
    proof = prove(llama, LlamaTarget(llama), CHEAP)
    assert proof[40].keys() == tried
    if not tried:
        take(llama, ASKED, 4)
        assert "no batch width gives the bits" in llama.stats.plain_because


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
    monkeypatch.setattr("aded_edge.runtime.building.load_or_prove", lambda *_: (3, 8))
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
    monkeypatch.setattr("aded_edge.runtime.building.load_or_prove", lambda *_: ())
    llama = load_tiny(exact=True)
    assert take(llama, ASKED, 30) == tiny_truth(ASKED, 30)
    assert "no batch width gives the bits" in llama.stats.plain_because
    assert llama.stats.drafted == 0
    assert llama.costs == {}


def test_exact_goes_with_off_and_not_with_paper(tiny_path, load_tiny):
    assert load_tiny(exact=True, drafting="off").exact
    with pytest.raises(ConfigError, match='drafting="paper" cannot be exact'):
        Llama(tiny_path, exact=True, drafting="paper")


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_exact_does_not_go_with_a_draft_model(tiny_path, drafting):
    drafts = LlamaPromptLookupDecoding()
    with pytest.raises(ConfigError, match="a draft_model cannot be exact"):
        Llama(tiny_path, exact=True, drafting=drafting, draft_model=drafts)


def test_a_copy_is_exact_too(load_tiny, few):
    assert load_tiny(exact=True).__getstate__()["exact"] is True
