"""Words that are searched for."""

from __future__ import annotations

from aded_edge.store import terms


def test_words_that_say_nothing_are_no_terms() -> None:
    assert terms("What would you do with the Zebra and the zebra in 1984?") == ["zebra", "1984"]
