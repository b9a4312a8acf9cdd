"""What is kept may be forged: it is left out or bounded, and answers stay those of the model."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from aded_edge.draft.calibration import CELLS
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.runtime.persistence import part_from_learned
from aded_edge.store import Store
from tests.runtime.helpers import ASKED, take

LARGEST = float(np.finfo(np.float32).max)

FORGED = {
    "tokens beyond the vocabulary": lambda part: replace(
        part, successors=np.full_like(part.successors, 2**31 - 1)
    ),
    "negative tokens": lambda part: replace(part, successors=np.full_like(part.successors, -7)),
    "a log beyond the vocabulary": lambda part: replace(part, tokens=part.tokens + 2**20),
    "weights without a total": lambda part: replace(
        part, weights=np.full_like(part.weights, LARGEST), totals=np.zeros_like(part.totals)
    ),
    "the largest weights": lambda part: replace(
        part,
        weights=np.full_like(part.weights, LARGEST),
        totals=np.full_like(part.totals, LARGEST),
    ),
    "the largest counts": lambda part: replace(
        part,
        trials=np.full(CELLS, LARGEST, np.float32),
        accepted=np.full(CELLS, LARGEST, np.float32),
    ),
    "accepted without trials": lambda part: replace(
        part,
        trials=np.zeros(CELLS, np.float32),
        accepted=np.full(CELLS, LARGEST, np.float32),
    ),
    "the oldest and the youngest": lambda part: replace(
        part, stamps=np.resize(np.asarray([-(2**31), 2**31 - 1], np.int32), len(part.stamps))
    ),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_answers_stay_and_what_is_learned_is_kept(forge, load_tiny, tiny_truth, tmp_path, caplog):
    path = tmp_path / "store.db"
    text = [*ASKED, *tiny_truth(ASKED, 40)]
    drafter = AdaptiveDrafter()
    drafter.read(np.asarray(text, np.int32))
    fingerprint = model_fingerprint(load_tiny())
    with Store.open(path) as store:
        for _ in range(3):
            store.model(fingerprint, "tiny").add(forge(part_from_learned(drafter.everything())))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            llama = load_tiny(eager=True, store=path)
            assert take(llama, ASKED, 40) == text[len(ASKED) :]
            assert np.isfinite(llama._loop.drafter.calibration.counts).all()
            assert np.isfinite(llama._loop.drafter.matrix.export().totals).all()
            llama.close()
    assert not [line for line in caplog.messages if "going on without" in line]
    with Store.open(path) as store:
        assert len(store.model(fingerprint, "tiny").load()[0]) == 5
        assert not store.warnings
