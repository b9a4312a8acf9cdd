"""Texts that count once: recorded together with their part, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aded_edge.store import LearnedText, ModelParts, Store
from tests.store.samples import ledger, numbers


def text(name: str) -> LearnedText:
    return LearnedText(name * 64, f"/folder/{name}.md", 7)


def test_a_text_is_known_once_its_part_is_kept(model: ModelParts, path: Path) -> None:
    assert model.known(["a" * 64]) == set()
    assert model.add(ledger(1), [text("a"), text("b")]) is not None
    assert model.known(digest * 64 for digest in "abc") == {"a" * 64, "b" * 64}
    with Store.open(path) as other:
        assert other.model("fingerprint", "renamed").known(["b" * 64]) == {"b" * 64}


def test_another_model_has_not_learned_it(store: Store, model: ModelParts) -> None:
    model.add(ledger(1), [text("a")])
    other = store.model("other", "another")
    assert other.known(["a" * 64]) == set()
    assert other.add(ledger(2), [text("a")]) is not None


def test_a_part_with_a_known_text_is_refused_whole(model: ModelParts) -> None:
    model.add(ledger(1), [text("a")])
    assert model.add(ledger(2), [text("b"), text("a")]) is None
    assert numbers(model.load()[0]) == [1]
    assert model.known(["b" * 64]) == set()


def test_texts_outlive_the_parts_they_were_in(model: ModelParts) -> None:
    part = model.add(ledger(1), [text("a")])
    assert part is not None
    model.replace([part], ledger(1))
    assert model.known(["a" * 64]) == {"a" * 64}


KILLED = """
import os, signal, sys
from pathlib import Path
from aded_edge.store import LearnedText, Store, parts
from {samples} import ledger
store = Store.open(Path(sys.argv[1]))
real = parts.ModelParts._insert
def insert(self, *arguments):
    part = real(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)
parts.ModelParts._insert = insert
store.model("fingerprint", "a model").add(ledger(2), [LearnedText("b" * 64, "b.md", 7)])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_process_killed_between_a_part_and_its_texts_leaves_neither(
    model: ModelParts, path: Path
) -> None:
    from tests.store import samples

    model.add(ledger(1), [text("a")])
    root = Path(str(samples.__file__)).parents[samples.__name__.count(".")]
    result = subprocess.run(
        [sys.executable, "-c", KILLED.format(samples=samples.__name__), str(path)],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
    )
    assert result.returncode == -signal.SIGKILL
    assert numbers(model.load()[0]) == [1]
    assert model.known(["a" * 64, "b" * 64]) == {"a" * 64}
    assert model.add(ledger(2), [text("b")]) is not None
