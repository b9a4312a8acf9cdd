"""A result of a quarter that nobody measured."""

from aded_edge.bench.quarter.run import EMPTY, KEPT, OTHER

SECONDS = {EMPTY: (4.0, 2.0), KEPT: (2.0, 0.5), OTHER: (4.0, 2.0)}
"""Store -> seconds of an answer, and to its first piece."""


def row(day, store, turn=0, task=None, **changes):
    answer, first = SECONDS[store]
    return {
        "day": day,
        "session": f"{day}.1",
        "kind": "chat",
        "turn": turn,
        "store": store,
        "task": task,
        "prompt_tokens": 100,
        "tokens": 10,
        "steps": 8,
        "accepted": 1,
        "answer": answer,
        "first": first,
        "plain": 3.0,
        "same": True,
        **changes,
    }


def result(days=(1, 8, 15, 22, 29, 36), unsure=()):
    rows = [
        row(day, store, task="dinner" if day in (1, 15) else None)
        for day in days
        for store in (KEPT, EMPTY, OTHER)
    ]
    conditions = {"model": "m.gguf", "llama_cpp_python": "0.3.36", "time": "2026-01-01"}
    settings = {"max_tokens": 9, "threads": 1, "n_ctx": 512, "temperature": 0.0}
    return {
        "conditions": conditions,
        "settings": settings,
        "rows": rows,
        "unsure": [*unsure],
    }
