"""Arrays in the store that hold anything: a part is read with right bits, or left out and told."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aded_edge.store import Store
from aded_edge.store.part import DTYPES
from tests.store.samples import arrays_of, ledger, numbers

NAMES = st.sampled_from([*DTYPES, "other", ""])
TYPES = st.sampled_from(["<i8", "<f4", "<i4", "|O", "", "<f99999999"])
DATA = st.one_of(st.binary(max_size=64), st.text(max_size=8), st.none(), st.integers(-9, 9))


@settings(max_examples=150)
@given(NAMES, TYPES, DATA, st.booleans(), st.integers(-2, 2**40))
def test_anything_in_a_row_of_an_array(name, dtype, data, checked, tokens):
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "store.db") as store:
        model = store.model("f", "name")
        model.add(ledger(1))
        model.add(ledger(2))
        if data is None:
            data = b""
        crc = zlib.crc32(data) if checked and isinstance(data, bytes) else 5
        with store._file.writing() as conn:
            conn.execute("DELETE FROM arrays WHERE part = 1 AND name = ?", (name,))
            conn.execute(
                "INSERT INTO arrays (part, name, piece, dtype, crc32, data)"
                " VALUES (1, ?, 0, ?, ?, ?)",
                (name, dtype, crc, data),
            )
            conn.execute("UPDATE parts SET tokens = ? WHERE id = 1", (tokens,))
        parts, ids = model.load()
        assert ids[-1] == 2
        assert numbers(parts[-1:]) == [2]
        assert len(store.warnings) == 2 - len(parts)
        for part in parts:
            assert all(array.nbytes <= 100 for array in arrays_of(part).values())
