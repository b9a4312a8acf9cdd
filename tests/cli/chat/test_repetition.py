"""Answers that go round in a circle are noticed, and no others."""

import random

import pytest

from aded_edge.cli.chat.repetition import PIECES, Repetition


def noticed_after(pieces):
    watch = Repetition()
    return [n for n, piece in enumerate(pieces, 1) if watch.notices(piece)]


@pytest.mark.parametrize("circle", ["a", "ab", "and so on, and ", "x" * 7 + "\n"])
def test_a_circle_is_noticed_once(circle):
    (place,) = noticed_after(list(circle) * 2000)[:2]
    assert PIECES <= place < PIECES + 50


def test_a_circle_that_begins_late_is_noticed():
    words = [f"{n} " for n in range(1000)]
    (place,) = noticed_after(words + ["again ", "and "] * 400)
    assert 1000 + PIECES <= place < 1000 + PIECES + 50


def test_lists_and_ordinary_text_are_no_circle():
    assert noticed_after(f"{n}. item\n" for n in range(2000)) == []
    rng = random.Random(0)
    assert noticed_after(rng.choice(["the ", "fox ", "ran "]) for _ in range(3000)) == []
    assert noticed_after(list("ab") * (PIECES // 2 - 10)) == []
