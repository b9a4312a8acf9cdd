"""Texts that are tokenized and written piece by piece, each of them once."""

import contextlib
from pathlib import Path

from aded_edge.teach.learn import TextLearner
from aded_edge.teach.lessons import Lessons
from tests.teach.taught import held, n_tokens


def test_a_piece_is_made_anew_without_what_another_process_learned(load_tiny, tmp_path):
    store = tmp_path / "store.db"
    llama = load_tiny(drafting="off")
    with (
        contextlib.closing(Lessons(store, "f", "tiny")) as one,
        contextlib.closing(Lessons(store, "f", "tiny")) as other,
    ):
        slow, quick = TextLearner(llama, one), TextLearner(llama, other)
        for name in ("a", "b", "c"):
            slow.read(Path(name), name.encode() * 9, name * 9)
        quick.read(Path("b"), b"b" * 9, "b" * 9)
        quick.save()
        slow.save()
        assert {path.name for path in slow.learned} == {"a", "c"}
        assert {path.name for path in slow.known} == {"b"}
        assert slow.tokens == 2 * n_tokens(9 * "a")
    log, _, noted = held(store)
    assert len(noted) == 3
    assert len(log) == 3 * n_tokens(9 * "a")
