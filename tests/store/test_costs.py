from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aded_edge.store import Store

widths = st.integers(1, 512)
seconds = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)


@settings(max_examples=25)
@given(st.dictionaries(widths, seconds), st.text().filter(lambda key: max(key or " ") < "\ud800"))
def test_curves_come_back_exactly(curve: dict[int, float], key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with Store.open(path) as store:
            store.save_costs(key, curve, {})
        with Store.open(path) as store:
            assert store.load_costs(key) == curve
            assert store.load_costs(key + "x") is None


def test_a_later_curve_takes_the_place_of_an_earlier_one(store: Store) -> None:
    store.save_costs("key", {1: 0.1, 2: 0.2}, {"threads": 2})
    store.save_costs("key", {1: 0.3}, {"threads": 4})
    assert store.load_costs("key") == {1: 0.3}


def test_people_can_read_it(store: Store) -> None:
    conditions = {"model": Path("/m.gguf"), "threads": 2, "load": np.float32(0.5)}
    store.save_costs("key", {np.int64(2): np.float32(0.5), 1: 0.25}, conditions)
    with store._file.reading() as conn:
        curve, noted, created = conn.execute(
            "SELECT curve, conditions, created FROM cost_curves"
        ).fetchone()
    assert curve == '{"1": 0.25, "2": 0.5}'
    assert json.loads(noted) == {"model": "/m.gguf", "threads": 2, "load": "0.5"}
    assert created.endswith("Z")


@pytest.mark.parametrize("curve", [{0: 0.1}, {1: 0.0}, {1: -1.0}, {1: math.nan}, {1: math.inf}])
def test_impossible_curves_are_refused(store: Store, curve: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="no cost: width"):
        store.save_costs("key", curve, {})
    assert store.load_costs("key") is None


@pytest.mark.parametrize(
    "text", ["{", "[1]", "7", "null", '{"a": 1}', '{"1": "x"}', '{"1": null}', '{"0": 1}', ""]
)
def test_a_damaged_curve_is_passed_over(store: Store, text: str) -> None:
    store.save_costs("key", {1: 0.1}, {})
    with store._file.writing() as conn:
        conn.execute("UPDATE cost_curves SET curve = ?", (text,))
    assert store.load_costs("key") is None
    (warning,) = store.warnings
    assert "'key' is damaged" in warning
    store.save_costs("key", {1: 0.2}, {})
    assert store.load_costs("key") == {1: 0.2}


def test_broken_conditions_do_not_matter(store: Store) -> None:
    store.save_costs("key", {1: 0.1}, {"a": 1})
    with store._file.writing() as conn:
        conn.execute("UPDATE cost_curves SET conditions = '{broken'")
    assert store.load_costs("key") == {1: 0.1}
    assert store.warnings == ()
