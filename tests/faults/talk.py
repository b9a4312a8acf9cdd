"""A chat: turns, edits, saved KV and matrix, written by an `Assistant` on a tiny model.

Before each operation the child notes what will happen, and after it what the conversation is. So
the harness knows what must be on the disk: the state that was returned last, or, where the child
was killed in the middle of an operation, the state before it or behind it.

Knows what each operation does to a conversation. Does not know when a child is killed.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aded_edge.assistant import Assistant
from aded_edge.errors import ConfigError
from aded_edge.runtime import costs
from aded_edge.store import Store
from tests.faults.children import Entry, Journal, Violation, entries
from tests.faults.scenes import Scene, expect, store_in

Said = list[list[str]]
"""The messages of a conversation: role and content of each."""

ANY = ["assistant", "*"]
"""An answer that nobody has seen yet."""

OPERATIONS = {
    "ask": 6,
    "stop": 1,
    "regenerate": 2,
    "edit": 2,
    "undo": 2,
    "system": 1,
    "new": 2,
    "resume": 2,
    "remember": 1,
}
"""How often each comes, relative to the others."""

_KV_TOKENS = 4
"""Tokens that are generated from a loaded KV and from a new one, and must be the same."""


def open_assistant(model: Path, folder: Path, **changes: Any) -> Assistant:
    """An assistant on the tiny model whose store and KV states are in a folder."""
    costs.MEASURE_SECONDS = 0.05
    options: dict[str, Any] = {
        "store": store_in(folder),
        "kv_folder": folder / "kv",
        "sampling": {"temperature": 0.0, "max_tokens": 12},
        "overflow": "drop",
        "n_ctx": 512,
        "n_threads": 1,
        "n_gpu_layers": 0,
        # With a KV in float32 the order of its cells hardly counts.
        "type_k": 0,
        "type_v": 0,
        "flash_attn": False,
    }
    return Assistant(model, **{**options, **changes})


class Talking(Scene):
    """One assistant after the other talks in the same store.

    Args:
        model: the tiny model's file.
        alone: one child at a time, which continues the conversations of those before it. Else
            several children talk at once, also in the same conversation.
    """

    name = "chatting"

    def __init__(self, model: Path, alone: bool = True) -> None:
        self._model = model
        self._alone = alone

    def write(self, journal: Journal, folder: Path, seed: int, until: float) -> None:
        """Do one operation after the other."""
        earlier = [j for j in map(entries, sorted(folder.glob("*.journal"))) if self._alone]
        with open_assistant(self._model, folder) as assistant:
            talk = _Talk(assistant, journal, seed, conversations(earlier))
            journal(ready=True)
            while time.monotonic() < until:
                talk.step()
        talk.note(closed=True)

    def check(self, folder: Path, journals: Sequence[list[Entry]]) -> None:
        """Every conversation is as it was returned last, or one operation further."""
        if not store_in(folder).exists():
            return
        talking = Counter(uid for one in journals for uid in taken_up([one]))
        with Store.open(store_in(folder)) as store:
            for uid, allowed in states(journals).items():
                kept = store.conversations.by_uid(uid)
                messages = [] if kept is None else store.conversations.messages(kept)
                found = [[message.role, message.content] for message in messages]
                if talking[uid] > 1 and not self._alone:
                    check_together(uid, found, journals)
                    continue
                expect(
                    any(_fits(found, each) for each in allowed),
                    f"{self.name}: {uid} is {found} instead of one of {allowed}",
                )
        # What is undone is unlearned, so what was learned is counted by the scene that only learns.


class _Talk:
    """What a child does with its assistant."""

    def __init__(
        self, assistant: Assistant, journal: Journal, seed: int, known: Sequence[int]
    ) -> None:
        self._assistant = assistant
        self._journal = journal
        self._rng = random.Random(seed)
        self._count = itertools.count()
        self._seed = seed
        self._known = list(known)

    def step(self) -> None:
        """One operation, noted before and afterwards."""
        assistant, rng = self._assistant, self._rng
        (name,) = rng.choices(list(OPERATIONS), list(OPERATIONS.values()))
        text = f"question {self._seed}.{next(self._count)}"
        said = self.said()
        turn = [["user", text], ANY]
        does: dict[str, tuple[Callable[[], object], Said]] = {
            "ask": (lambda: list(assistant.ask(text)), said + turn),
            "stop": (lambda: self._stop(text), said + turn),
            "regenerate": (lambda: list(assistant.regenerate()), [*said[:-1], ANY]),
            "edit": (lambda: list(assistant.edit(text)), said[:-2] + turn),
            "undo": (assistant.undo, said[:-2]),
            "system": (lambda: assistant.set_system(text), said),
            "new": (assistant.new, said),
            "resume": (self._resume, said),
            "remember": (lambda: assistant.remember(f"memory {text}"), said),
        }
        do, after = does[name]
        uid = assistant.conversation.uid
        self._journal(begin=name, uid=uid, before=said, after=after)
        try:
            do()
        except ConfigError:  # nothing was asked yet, or there is no conversation yet
            self._journal(end=name)
            return
        self.note(end=name)

    def said(self) -> Said:
        """The messages of the running conversation."""
        return [[message.role, message.content] for message in self._assistant.messages]

    def note(self, **entry: object) -> None:
        """Note the state of the conversation, if the program says that it is written."""
        assistant = self._assistant
        about = assistant.conversation
        if not assistant.kept:
            self._journal(held=about.uid, **entry)
            return
        if about.id and about.id not in self._known:
            self._known.append(about.id)
        self._journal(uid=about.uid, number=about.id, said=self.said(), **entry)

    def _stop(self, text: str) -> None:
        stream = self._assistant.ask(text)
        for _ in itertools.islice(stream, self._rng.randrange(1, 6)):
            pass
        stream.close()

    def _resume(self) -> None:
        self._assistant.resume(self._rng.choice(self._known) if self._known else None)
        llama = self._assistant.llama
        history = llama.input_ids[: llama.n_tokens].tolist()
        if not history:
            return
        loaded = list(itertools.islice(llama.generate(history, temp=0.0), _KV_TOKENS))
        llama.reset()
        fresh = list(itertools.islice(llama.generate(history, temp=0.0), _KV_TOKENS))
        if loaded != fresh:
            raise Violation(f"a loaded KV says {loaded}, a new one {fresh}")
        self._journal(kv=len(history))


def conversations(journals: Sequence[list[Entry]]) -> list[int]:
    """The numbers of all conversations that have been on the disk."""
    found = {entry.get("number", 0) for one in journals for entry in one}
    return sorted(found - {0})


def taken_up(journals: Sequence[list[Entry]]) -> set[str]:
    """The uids of all conversations in which children talked."""
    return {entry["uid"] for one in journals for entry in one if "uid" in entry}


def check_together(uid: str, found: Said, journals: Sequence[list[Entry]]) -> None:
    """Check a conversation in which several children talked at the same time.

    Raises:
        Violation: a question is there that nobody asked or read, or one is not there that a child
            knew last and that no child took back.
    """
    known, back, last = set[str](), set[str](), set[str]()
    for one in journals:
        now = set[str]()
        for entry in one:
            if entry.get("uid") != uid:
                continue
            if "begin" in entry:
                after = _questions(entry["after"])
                known |= after
                back |= _questions(entry["before"]) - after
            else:
                now = _questions(entry["said"])
                known |= now
        last |= now
    asked = _questions(found)
    expect(asked <= known, f"together: {uid}: never asked {sorted(asked - known)}")
    lost = last - back - asked
    expect(not lost, f"together: {uid}: lost {sorted(lost)}")


def _questions(said: Said) -> set[str]:
    return {content for role, content in said if role == "user"}


def states(journals: Sequence[list[Entry]]) -> dict[str, list[Said]]:
    """uid -> the states that a conversation may have now; journals in the order of their starts."""
    allowed: dict[str, list[Said]] = {}
    held: set[str] = set()  # conversations whose last state is not written yet
    for one in journals:
        begun: Entry = {}
        for entry in one:
            if "begin" in entry:
                begun = entry
                earlier = allowed[entry["uid"]] if entry["uid"] in held else []
                allowed[entry["uid"]] = [*earlier, entry["before"], entry["after"]]
            elif "held" in entry:
                held.add(entry["held"])
            elif "end" in entry or "said" in entry:
                if begun and begun["uid"] not in held:  # left, or nothing happened to it
                    allowed[begun["uid"]] = [begun["before"]]
                if "said" in entry:
                    allowed[entry["uid"]] = [entry["said"]]
                    held.discard(entry["uid"])
                begun = {}
    return allowed


def _fits(found: Said, allowed: Said) -> bool:
    return len(found) == len(allowed) and all(
        have == want or (want == ANY and have[0] == ANY[0])
        for have, want in zip(found, allowed, strict=True)
    )
