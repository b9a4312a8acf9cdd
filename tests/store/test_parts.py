from __future__ import annotations

import re
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aded_edge.store import ModelParts, Part, Store
from tests.store.bench_store import learned as random_learned
from tests.store.samples import assert_same, joined, ledger, numbers, part_rows


@st.composite
def any_parts(draw: Any) -> Part:
    """Any valid `Part`, small."""
    weights = st.floats(0, 2.0**100, width=32)
    counts = draw(st.lists(st.integers(0, 4), max_size=6))
    n, m, c = len(counts), sum(counts), draw(st.integers(0, 3))
    keys = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n, unique=True))
    offsets = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    tokens = st.integers(-1, 2**31 - 1)
    return Part(
        contexts=np.asarray(keys, np.int64),
        totals=draw(hnp.arrays(np.float32, n, elements=weights)),
        stamps=draw(hnp.arrays(np.int32, n)),
        offsets=offsets.astype(np.int64),
        successors=draw(hnp.arrays(np.int32, m, elements=tokens)),
        weights=draw(hnp.arrays(np.float32, m, elements=weights)),
        tokens=draw(hnp.arrays(np.int32, st.integers(0, 9), elements=tokens)),
        trials=draw(hnp.arrays(np.float32, c, elements=weights)),
        accepted=draw(hnp.arrays(np.float32, c, elements=weights)),
    )


@settings(max_examples=40)
@given(st.lists(any_parts(), max_size=4))
def test_what_was_added_comes_back_bit_for_bit(added: list[Part]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with Store.open(path) as store:
            ids = [store.model("f", "name").add(part) for part in added]
        with Store.open(path) as store:
            loaded, loaded_ids = store.model("f", "name").load()
        assert loaded_ids == ids
        for found, expected in zip(loaded, added, strict=True):
            assert_same(found, expected)


def test_arrays_are_the_callers_own(model: ModelParts) -> None:
    model.add(ledger(1, 5))
    (part,), _ = model.load()
    part.weights[:] = 0
    assert part.weights.flags.aligned
    assert model.load()[0][0].weights[0] == 1


def test_long_arrays_are_stored_in_pieces(
    model: ModelParts, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aded_edge.store.parts.PIECE_BYTES", 1001)  # no multiple of an element
    expected = random_learned(700, 6, 3000, seed=1)
    model.replace([], expected)
    with store._file.reading() as conn:
        (longest,) = conn.execute("SELECT max(length(data)) FROM arrays").fetchone()
    assert longest <= 1001
    assert_same(model.load()[0][0], expected)


def test_models_are_apart(store: Store) -> None:
    one, other = store.model("one", "same name"), store.model("other", "same name")
    mine = one.add(ledger(1))
    other.add(ledger(2))
    assert numbers(one.load()[0]) == [1]
    assert not other.replace([mine], ledger(3))
    assert numbers(store.model("one", "renamed").load()[0]) == [1]
    assert store.model("unheard of", "x").load() == ([], [])


def test_rows_describe_their_parts(model: ModelParts, path: Path) -> None:
    assert part_rows(path) == []
    id = model.add(ledger(1, 5))
    (part,) = part_rows(path)
    assert (part.id, part.contexts, part.successors, part.tokens) == (id, 1, 5, 1)
    assert part.nbytes == ledger(1, 5).nbytes
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", part.created)


def test_a_sum_takes_the_place_of_its_parts(model: ModelParts) -> None:
    for number in range(3):
        model.add(ledger(number))
    parts, ids = model.load()
    model.add(ledger(3))  # as another process could in the meantime
    assert model.replace(ids, joined(parts))
    parts, ids = model.load()
    assert [list(part.tokens) for part in parts] == [[0, 1, 2], [3]]
    model.add(ledger(4))
    assert model.replace(ids, joined(parts))
    assert numbers(model.load()[0]) == [0, 1, 2, 3, 4]


def test_only_the_first_of_two_replaces_counts(model: ModelParts, path: Path) -> None:
    for number in range(3):
        model.add(ledger(number))
    parts, ids = model.load()
    assert model.replace(ids[1:], joined(parts[1:]))
    before = part_rows(path)
    assert not model.replace(ids, joined(parts))
    assert not model.replace([*model.load()[1], 10_000], joined(parts))
    assert part_rows(path) == before
    assert numbers(model.load()[0]) == [0, 1, 2]


def test_ids_never_come_back(model: ModelParts) -> None:
    first = model.add(ledger(1))
    assert model.replace([first], Part.empty())
    (last,) = model.load()[1]
    assert model.replace([last], Part.empty())
    assert model.load()[1][0] > last > first


def test_threads_take_turns(store: Store) -> None:
    def add(start: int) -> None:
        for number in range(start, start + 20):
            store.model("f", "name").add(ledger(number))

    threads = [threading.Thread(target=add, args=(100 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = numbers(store.model("f", "name").load()[0])
    assert sorted(found) == [100 * i + j for i in range(4) for j in range(20)]


def test_file_stops_growing(model: ModelParts, path: Path) -> None:
    sizes = []
    snapshot = random_learned(3000, 6, 5000, seed=0)
    model.replace([], snapshot)
    for _ in range(6):
        for seed in range(8):
            model.add(random_learned(200, 6, 100, seed))
        assert model.replace(model.load()[1], snapshot)
        sizes.append(path.stat().st_size)
        assert path.with_name(path.name + "-wal").stat().st_size == 0
    assert sizes[-1] <= 1.1 * sizes[1]


def test_flipped_bytes_cost_one_part(path: Path) -> None:
    with Store.open(path) as store:
        for number in range(3):
            store.model("f", "name").add(ledger(number, 50))
    content = bytearray(path.read_bytes())
    at = content.index(ledger(1, 50).successors.tobytes())
    content[at + 17] ^= 4
    path.write_bytes(content)
    with Store.open(path) as store:
        loaded, ids = store.model("f", "name").load()
        assert numbers(loaded) == [0, 2]
        assert len(ids) == 2  # without the damaged part, so that it is not replaced
        store.model("f", "name").load()
        (warning,) = store.warnings  # added once
        assert str(path) in warning
        assert "wrong checksum of successors" in warning
        assert store.model("f", "name").replace(ids, joined(loaded))
        assert numbers(store.model("f", "name").load()[0]) == [0, 2]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE arrays SET data = substr(data, 2) WHERE name = 'tokens'", "wrong checksum"),
        ("UPDATE arrays SET data = 7 WHERE name = 'tokens'", "wrong checksum"),
        ("UPDATE arrays SET dtype = '<f8' WHERE name = 'tokens'", "unknown array 'tokens'"),
        ("UPDATE arrays SET name = 'tokenz' WHERE name = 'tokens'", "unknown array 'tokenz'"),
        ("DELETE FROM arrays WHERE name = 'weights'", "weights missing"),
        ("UPDATE arrays SET data = x'', crc32 = 0 WHERE name = 'tokens'", "0 tokens instead of 1"),
        ("UPDATE arrays SET data = x'', crc32 = 0 WHERE name = 'weights'", "weights must have"),
        ("DELETE FROM arrays", "missing"),
    ],
)
def test_damaged_rows_cost_one_part(
    model: ModelParts, store: Store, statement: str, reason: str
) -> None:
    model.add(ledger(1))
    with store._file.writing() as conn:
        conn.execute(statement)
    model.add(ledger(2))
    assert numbers(model.load()[0]) == [2]
    (warning,) = store.warnings
    assert reason in warning
    assert "was ignored; the others are in use" in warning
