"""What writes to a store: each scene is written by children and checked after they are gone.

A child writes `begin` to its journal before it does something, and `done` when the program has
returned. So what a scene may find on the disk is: everything that is done, nothing twice, and of
what was only begun all or nothing.

Knows the store and what is built on it. Does not know when a child is killed. `talk.py` has the
scene of a chat, `papers.py` those of imports and notes.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from sqlite_utils import Database

from aded_edge.arrays import Int32Array
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.draft.spans import SEPARATOR
from aded_edge.errors import StoreError
from aded_edge.llamacpp.fingerprint import model_fingerprint, model_name
from aded_edge.runtime import persistence
from aded_edge.store import Conversation, Message, Part, Store
from aded_edge.store.migrations import MIGRATIONS, NAMES
from aded_edge.store.part import DTYPES
from aded_edge.teach import lessons
from aded_edge.teach.learn import TextLearner
from tests.faults.children import Entry, Journal, Violation
from tests.store.samples import ledger, numbers

PER_CHILD = 10_000
"""A child with seed s writes things with the numbers s * PER_CHILD and upwards."""


class Scene:
    """One kind of work on a store.

    Attributes:
        name: of the scene.
        writers: children that work at the same time.
        fresh: each round begins in a folder of its own; the kill may come from the first moment.
    """

    name = ""
    writers = 1
    fresh = False

    def prepare(self, folder: Path, seed: int) -> None:
        """Make what the children find, before they start."""

    def write(self, journal: Journal, folder: Path, seed: int, until: float) -> None:
        """Work until this time (of the monotonic clock), in a child."""
        raise NotImplementedError

    def check(self, folder: Path, journals: Sequence[list[Entry]]) -> None:
        """Compare the store with all journals.

        Raises:
            Violation: something was lost, doubled or halved.
            StoreError: the store cannot be used.
        """
        raise NotImplementedError


def store_in(folder: Path) -> Path:
    """The store of a folder."""
    return folder / "store.db"


def expect(holds: bool, text: str) -> None:
    """Raise Violation with a text unless something holds."""
    if not holds:
        raise Violation(text)


def steps(seed: int, until: float) -> Iterator[int]:
    """The numbers of a child, until its time is over."""
    for number in itertools.count(seed * PER_CHILD):
        if time.monotonic() >= until:
            return
        yield number


def done(journals: Iterable[list[Entry]], what: str = "done") -> set[int]:
    """All numbers that were noted under a name."""
    return {number for entries in journals for entry in entries for number in entry.get(what, ())}


def check_numbers(name: str, found: Iterable[int], journals: Sequence[list[Entry]]) -> None:
    """Every number that is done was found, none twice, and none that was never begun.

    Raises:
        Violation: one is missing, doubled or unknown.
    """
    counted = Counter(found)
    returned, begun = done(journals), done(journals, "begin")
    lost = sorted(returned - counted.keys())
    doubled = sorted(number for number, count in counted.items() if count > 1)
    unknown = sorted(counted.keys() - begun)
    expect(not lost, f"{name}: lost {lost[:9]} ({len(lost)} of {len(returned)})")
    expect(not doubled, f"{name}: doubled {doubled[:9]} ({len(doubled)})")
    expect(not unknown, f"{name}: never begun {unknown[:9]} ({len(unknown)})")


def check_sound(path: Path) -> None:
    """Check the file itself: SQLite's own checks, the full-text indexes, and every array.

    Raises:
        Violation: one of the checks fails.
        StoreError: the store cannot be used.
    """
    if not path.exists():
        return
    with Store.open(path) as store:
        with store._file.reading() as conn:
            (said,) = conn.execute("PRAGMA integrity_check").fetchone()
            expect(said == "ok", f"{path}: {said}")
            expect(not conn.execute("PRAGMA foreign_key_check").fetchall(), f"{path}: orphans")
            models = conn.execute("SELECT fingerprint, name FROM models").fetchall()
            indexes = conn.execute(
                "SELECT name FROM sqlite_master WHERE sql LIKE '%USING fts5%'"
            ).fetchall()
        for (index,) in indexes:
            with store._file.writing() as conn:
                conn.execute(f"INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)")
        for fingerprint, name in models:
            store.model(fingerprint, name).load()
        for kept in store.conversations.recent(10**6):
            said = [message.role for message in store.conversations.messages(kept)]
            expect(said == ["user", "assistant"] * (len(said) // 2), f"{path}: half a turn")
        expect(not store.warnings, f"{path}: {store.warnings}")


class Folding(Scene):
    """Parts are appended and folded by `Persistence`, as during a chat."""

    name = "learning and folding"
    writers = 2
    fingerprint = "ledger"
    length = 6

    def tokens(self, number: int) -> Int32Array:
        """The text with this number; no two texts share a token."""
        return np.arange(self.length, dtype=np.int32) + np.int32(number * self.length)

    def write(self, journal: Journal, folder: Path, seed: int, until: float) -> None:
        """Learn text after text; every fifth part or so, all are folded."""
        persistence.MOST_PARTS = 5
        kept = persistence.Persistence(store_in(folder))
        drafter = AdaptiveDrafter()
        kept.load(self.fingerprint, "a ledger", drafter)
        for number in steps(seed, until):
            journal(begin=[number])
            drafter.read(self.tokens(number))
            kept.save(drafter)
            kept.wait()
            if not kept._unsaved:  # else a lock was in the way, and it is written later
                journal(done=[number])
        kept.close()

    def check(self, folder: Path, journals: Sequence[list[Entry]]) -> None:
        """Every text is in the token log once, and adds to the matrix once."""
        if not store_in(folder).exists():
            return
        with Store.open(store_in(folder)) as store:
            parts, _ = store.model(self.fingerprint, "").load()
        texts = [text for part in parts for text in split(part.tokens)]
        # A part begins with the two tokens before it, as a text of their own.
        found = [int(text[0]) // self.length for text in texts if len(text) > 2]
        check_numbers(self.name, found, journals)
        for text in texts:
            if len(text) > 2:
                whole = np.array_equal(text, self.tokens(int(text[0]) // self.length))
                expect(whole, f"{self.name}: a text was changed: {text}")
        keys = np.concatenate([np.zeros(0, np.int64), *(part.contexts for part in parts)])
        totals = np.concatenate([np.zeros(0, np.float32), *(part.totals for part in parts)])
        at, places = np.unique(keys, return_inverse=True)
        sums = np.bincount(places, totals, len(at))
        for number in found:
            first = number * self.length
            place = np.searchsorted(at, (first << 31) | (first + 1))
            weight = float(sums[place]) if place < len(at) else 0.0
            expect(weight == 1.0, f"{self.name}: text {number} counts {weight} times")


class Teaching(Scene):
    """Texts are taught by `aded-edge learn`; each counts once, also where two processes read it."""

    name = "teaching"
    writers = 2

    def __init__(self, model: Path) -> None:
        self._model = model

    def write(self, journal: Journal, folder: Path, seed: int, until: float) -> None:
        """Teach texts of one's own, and some that others teach too."""
        lessons.MOST_PARTS = 4
        llama = lessons.load_for_teaching(self._model, n_ctx=64)
        about = model_fingerprint(llama), model_name(llama)
        with closing(lessons.Lessons(store_in(folder), *about)) as opened:
            learner = TextLearner(llama, opened)
            for number in steps(seed, until):
                both = [number, number % 40]
                journal(begin=both)
                for each in both:
                    text = f"lesson {each} ends here."
                    learner.read(Path(f"/lessons/{each}"), text.encode(), text)
                learner.save()
                journal(done=both)

    def check(self, folder: Path, journals: Sequence[list[Entry]]) -> None:
        """The texts that are noted as known are those in the token log, each once."""
        if not store_in(folder).exists():
            return
        with Store.open(store_in(folder)) as store:
            with store._file.reading() as conn:
                rows = conn.execute("SELECT path FROM learned_texts").fetchall()
                models = conn.execute("SELECT fingerprint FROM models").fetchall()
            parts = [part for (model,) in models for part in store.model(model, "").load()[0]]
        known = [int(path.rpartition("/")[2]) for (path,) in rows]
        check_numbers(self.name, known, journals)
        said = [_spoken(text) for part in parts for text in split(part.tokens)]
        found = [int(text.split()[1]) for text in said if text.startswith("lesson ")]
        check_numbers(self.name, found, journals)
        expect(set(found) == set(known), f"{self.name}: {set(found) ^ set(known)} half known")


class Creating(Scene):
    """Four processes create one store at the same moment, and write to it."""

    name = "creating"
    writers = 4
    fresh = True

    def write(self, journal: Journal, folder: Path, seed: int, until: float) -> None:
        """Open the store, which may not exist yet, and add a part and a turn at a time."""
        with Store.open(folder / "new folder" / "store.db", busy_timeout=60) as store:
            model = store.model("fingerprint", "a model")
            for number in steps(seed, until):
                journal(begin=[number])
                model.add(ledger(number, 300))
                store.conversations.add(*_turn(number))
                journal(done=[number])

    def check(self, folder: Path, journals: Sequence[list[Entry]]) -> None:
        """Every part and every turn is there once."""
        path = folder / "new folder" / "store.db"
        if not path.exists():
            expect(not done(journals), f"{self.name}: the file is gone")
            return
        check_sound(path)
        with Store.open(path) as store:
            check_numbers(self.name, numbers(store.model("fingerprint", "").load()[0]), journals)
            kept = store.conversations.recent(10**6)
        check_numbers(self.name, [int(c.title) for c in kept], journals)


class Migrating(Scene):
    """Three processes open a store of an older version at the same moment."""

    name = "migrating"
    writers = 3
    fresh = True

    def prepare(self, folder: Path, seed: int) -> None:
        """Make a store of an older version with rows in it."""
        path = store_in(folder)
        version = 1 + seed % (len(NAMES) - 1)
        database = Database(path)
        MIGRATIONS.apply(database, stop_before=NAMES[version])
        database.close()
        with closing(sqlite3.connect(path)) as conn, conn:
            conn.execute("PRAGMA journal_mode = WAL")
            _insert_part(conn, ledger(7, 300))
            conn.execute(
                "INSERT INTO cost_curves (key, curve, conditions) VALUES ('k', ?, '{}')",
                ('{"1": 0.5}',),
            )
            if version >= 3:
                conn.execute("INSERT INTO conversations (uid, title, model) VALUES ('u', '7', 'm')")
                rows = [("user", "an old question"), ("assistant", "an old answer")]
                conn.executemany(
                    "INSERT INTO messages (conversation, role, content) VALUES (1, ?, ?)", rows
                )
                conn.execute("INSERT INTO memories (text) VALUES ('an old memory')")

    def write(self, journal: Journal, folder: Path, seed: int, until: float) -> None:
        """Open the store, which migrates it, and add parts."""
        with Store.open(store_in(folder), busy_timeout=60) as store:
            for number in steps(seed, until):
                journal(begin=[number])
                store.model("fingerprint", "a model").add(ledger(number))
                journal(done=[number])

    def check(self, folder: Path, journals: Sequence[list[Entry]]) -> None:
        """The old rows and the new ones are there, and the schema is that of a new store."""
        path, new = store_in(folder), folder / "new.db"
        check_sound(path)
        with Store.open(path) as store:
            found = numbers(store.model("fingerprint", "").load()[0])
            expect(7 in found, f"{self.name}: the old part is gone")
            check_numbers(self.name, [n for n in found if n != 7], journals)
            expect(store.load_costs("k") == {1: 0.5}, f"{self.name}: the old cost curve is gone")
            for kept in store.conversations.recent():
                texts = [message.content for message in store.conversations.messages(kept)]
                expect(texts == ["an old question", "an old answer"], f"{self.name}: {texts}")
                hits = store.conversations.search("old question")
                expect(len(hits) == 1, f"{self.name}: the old question is not found any more")
                expect(len(store.memories.all()) == 1, f"{self.name}: the old memory is gone")
        Store.open(new).close()
        expect(_schema(path) == _schema(new), f"{self.name}: not the schema of a new store")


def split(tokens: Int32Array) -> list[Int32Array]:
    """The texts of a token log, without the separators."""
    at = np.flatnonzero(tokens == SEPARATOR)
    return [piece[piece != SEPARATOR] for piece in np.split(tokens, at) if len(piece) > 1]


def usable(path: Path) -> bool:
    """Whether a store can be opened."""
    try:
        Store.open(path).close()
    except StoreError:
        return False
    return True


def _spoken(tokens: Int32Array) -> str:
    # The tiny model's token 3 + b is the byte b; its tokenizer writes a space as U+2581.
    text = bytes((tokens[(tokens >= 3) & (tokens < 259)] - 3).tolist())
    return text.decode("utf-8", "replace").replace("\u2581", " ").strip()


def _turn(number: int) -> tuple[Conversation, list[Message]]:
    about = Conversation(0, f"{number:032x}", str(number), "a model")
    return about, [Message("user", f"question {number}"), Message("assistant", "yes")]


def _insert_part(conn: sqlite3.Connection, part: Part) -> None:
    # As the first version did it.
    conn.execute("INSERT INTO models (fingerprint, name) VALUES ('fingerprint', 'a model')")
    conn.execute(
        "INSERT INTO parts (model, contexts, successors, tokens, bytes) VALUES (1, 1, 300, 1, ?)",
        (part.nbytes,),
    )
    for name, dtype in DTYPES.items():
        stored = np.dtype(dtype).newbyteorder("<").str
        data = getattr(part, name).astype(stored).tobytes()
        conn.execute(
            "INSERT INTO arrays (part, name, piece, dtype, crc32, data) VALUES (1, ?, 0, ?, ?, ?)",
            (name, stored, zlib.crc32(data), data),
        )


def _schema(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
