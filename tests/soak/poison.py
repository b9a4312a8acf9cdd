"""A store that was poisoned on purpose: wrong continuations of what will be asked.

Knows what a drafter keeps, and how it comes into the store. Does not know how drafts are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from aded_edge import Llama
from aded_edge.arrays import Int32Array
from aded_edge.draft.calibration import CELLS, MOST_EXPECTED
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.spans import LENGTHS
from aded_edge.llamacpp.fingerprint import model_fingerprint, model_name
from aded_edge.runtime.persistence import part_from_learned
from aded_edge.store import Store
from tests.soak.budget import ModelledBudget
from tests.soak.runs import SETTINGS, question

WRONG = 8
"""Wrong tokens in a row after each context."""

OFTEN = 8
"""How often each wrong continuation was learned."""

WINDOW = 128
"""Tokens of a window in which the cost must be level in the end."""

MOST_COST = 1.03
"""Cost of a token after the poisoning, relative to plain decoding."""

LEVEL = 1.006
"""A window whose tokens cost at most this is level."""


def poisoned(
    model: Path, answers: int, tokens: int, seed: int, store: Path, trusted: bool
) -> dict[str, Any]:
    """Answer questions plainly, poison a store with them, and answer them again from that store.

    Args:
        model: a GGUF file.
        answers: number of questions.
        tokens: tokens of each answer.
        seed: of the answers.
        store: a new file.
        trusted: calibration and cost curve are forged, too: every estimate of every kind came
            true, in numbers that no use of the program reaches, and no width costs anything.

    Returns:
        Figures ready for JSON: cost of a token relative to 1.0, of the first window and of the
        worst one, and the number of tokens from which on every window is level.
    """
    settings = {**SETTINGS, "seed": seed}
    with Llama(str(model), drafting="off", store=None, **settings) as llama:
        prompts = [llama.tokenize(question(n).encode()) for n in range(answers)]
        truth = [_answer(llama, prompt, tokens, seed + n) for n, prompt in enumerate(prompts)]
        identity = model_fingerprint(llama), model_name(llama)
        _poison(store, identity, prompts, truth, llama.n_vocab(), trusted)
    budget = ModelledBudget(forged=trusted)
    with Llama(str(model), store=store, **settings) as llama:
        assert llama._loop is not None
        known = len(llama._loop.drafter.matrix)  # type: ignore[attr-defined]
        assert known > answers, "the poison did not reach the drafter"
        llama._loop.budget = budget
        same = sum(
            _answer(llama, prompt, tokens, seed + n) == answer
            for n, (prompt, answer) in enumerate(zip(prompts, truth, strict=True))
        )
    return {"answers": answers, "same_answers": same, **_costs(budget.history)}


def _answer(llama: Llama, prompt: list[int], tokens: int, seed: int) -> list[int]:
    # From the whole distribution: what a model repeats, drafts would win, and hide what they lose.
    llama.set_seed(seed)
    stream = llama.generate(prompt, temp=1.0, top_k=0, top_p=1.0, min_p=0.0)
    return list(islice(stream, tokens))


def _poison(
    store: Path,
    identity: tuple[str, str],
    prompts: Sequence[list[int]],
    truth: Sequence[list[int]],
    n_vocab: int,
    trusted: bool,
) -> None:
    drafter = AdaptiveDrafter()
    for prompt, answer in zip(prompts, truth, strict=True):
        text = np.asarray([*prompt, *answer], np.int32)
        for _ in range(OFTEN):
            for place in range(len(prompt), len(text)):
                # A longer context would hold right continuations for the spans.
                context = text[max(place - LENGTHS[0], 0) : place]
                piece = np.concatenate((context, _wrong(text, place, n_vocab)))
                drafter.read(piece, len(context))
    learned = drafter.everything()
    if trusted:
        full = np.full(CELLS, MOST_EXPECTED, np.float32)
        learned = learned._replace(expected=full, accepted=full)
    with Store.open(store) as opened:
        opened.model(*identity).add(part_from_learned(learned))


def _wrong(text: Int32Array, place: int, n_vocab: int) -> Int32Array:
    """WRONG tokens that do not come at this place."""
    first = (int(text[place]) + 1 + place % 7) % n_vocab
    return (first + 11 * np.arange(WRONG, dtype=np.int32)) % n_vocab  # type: ignore[no-any-return]


def _costs(history: Sequence[tuple[float, int]]) -> dict[str, Any]:
    costs = np.repeat(
        [cost / emitted for cost, emitted in history], [emitted for _, emitted in history]
    )
    starts = range(0, len(costs) - WINDOW + 1, WINDOW)
    windows = [float(costs[at : at + WINDOW].mean()) for at in starts]
    loud = [n for n, cost in enumerate(windows) if cost > LEVEL]  # probes cost less than that
    drafts = sum(cost > 1.0 for cost, _ in history)
    return {
        "tokens": len(costs),
        "drafts": drafts,
        "cost": round(float(costs.mean()), 4),
        "windows": [round(cost, 4) for cost in windows],
        "worst_window": round(max(windows), 4),
        "last_window": round(windows[-1], 4),
        "level_after": WINDOW * (loud[-1] + 1) if loud else 0,
    }
