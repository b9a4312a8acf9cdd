from __future__ import annotations

import math

import numpy as np
import pytest

from aded_edge.store import Store

PROOF = {40: {2: 0.0, 4: 0.53}, 300: {2: 0.0}, 508: {}}


def test_a_proof_comes_back(store: Store) -> None:
    store.save_proof("key", {40: {np.int64(2): np.float32(0.5)}}, {})
    store.save_proof("key", PROOF, {"threads": 2, "libraries": [("a.so", 1, 2)]})
    assert store.load_proof("key") == PROOF
    assert store.load_proof("other") is None


def test_a_smaller_proof_takes_nothing_away_from_a_larger_one(store: Store) -> None:
    store.save_proof("key", {40: {2: 0.0, 4: 0.0, 16: 0.5}, 300: {2: 0.0, 4: 0.0}}, {})
    store.save_proof("key", {40: {2: 0.0, 4: 0.1, 8: 0.0}, 300: {2: 0.0, 16: 0.2}}, {})
    assert store.load_proof("key") == {
        40: {2: 0.0, 4: 0.1, 8: 0.0, 16: 0.5},
        300: {2: 0.0, 4: 0.0, 16: 0.2},
    }


def test_a_proof_of_other_histories_is_replaced(store: Store) -> None:
    store.save_proof("key", {40: {2: 0.0, 4: 0.0}}, {})
    store.save_proof("key", {40: {2: 0.0}, 300: {2: 0.0}}, {})
    assert store.load_proof("key") == {40: {2: 0.0}, 300: {2: 0.0}}


@pytest.mark.parametrize(
    "proof", [{}, {0: {2: 0.0}}, {40: {1: 0.0}}, {40: {2: -0.5}}, {40: {2: math.nan}}]
)
def test_impossible_proofs_are_refused(store: Store, proof: dict[int, dict[int, float]]) -> None:
    with pytest.raises(ValueError, match="proof"):
        store.save_proof("key", proof, {})
    assert store.load_proof("key") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "7", "{}", '{"40": 7}', '{"a": {}}', '{"40": {"2": null}}']
)
def test_a_damaged_proof_is_passed_over(store: Store, text: str) -> None:
    store.save_proof("key", PROOF, {})
    with store._file.writing() as conn:
        conn.execute("UPDATE proofs SET proof = ?", (text,))
    assert store.load_proof("key") is None
    (warning,) = store.warnings
    assert "'key' is damaged" in warning
