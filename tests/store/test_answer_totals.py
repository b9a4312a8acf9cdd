"""Figures of answers, by day and by conversation."""

from __future__ import annotations

from aded_edge.store import Conversation, Store
from tests.store.test_conversations import turn


def test_figures_by_day_and_conversation(store: Store) -> None:
    stats = {"steps": 10, "accepted": 5, "seconds": 0.5, "seconds_plain": 1.0}
    fresh = Conversation(0, "u1", "tides", "a model")
    kept = store.conversations.add(fresh, turn("one", "1", tokens=16, stats=stats))
    store.conversations.add(kept, turn("two", "2", tokens=16, stats=stats))
    (day,), (one,) = store.conversations.by_day(), store.conversations.by_conversation()
    assert (day.answers, day.tokens, day.mat, day.speedup) == (2, 32, 1.5, 2.0)
    assert day.tokens_per_second == 30.0
    assert (one.label, one.title, one.answers) == (str(kept.id), "tides", 2)
