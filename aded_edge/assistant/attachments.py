"""Files that the user attached to the running conversation.

A small file is given whole with the next question, and stays with that question: it is found again
in what the model was given. A large one is cut into passages, and each question is given those
that match it. Neither is kept as a file when the conversation ends.

Knows texts and their sizes. Does not know how passages are found, nor how the model is asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from aded_edge.errors import ConfigError
from aded_edge.store import HEADER, Message, Notes, Store

from .documents import name_of, put, read_text
from .recall import Recalled, Size

WHOLE = 3
"""Files are given whole while they take at most a third of the context together."""

_HEAD = re.compile(r"File (.+) \((\d+) characters\):\n")

_OLD_HEAD = re.compile(r"File (.+):\n")
"""Earlier versions did not give the length, so where the file ends has to be guessed."""


class Attached(NamedTuple):
    """A file that is given whole.

    Attributes:
        name: its name, without folders.
        text: its text when it was attached.
    """

    name: str
    text: str

    def __str__(self) -> str:
        return f"File {self.name} ({len(self.text)} characters):\n{self.text}\n"

    def as_source(self) -> Recalled:
        """The file as a text that an answer may have drawn on."""
        return Recalled("file", self.text, f"{self.name}:1", "", 0)


class Attachments:
    """The files attached to one conversation.

    Args:
        n_ctx: size of the model's context in tokens.
        size: counts the tokens of a text.

    Attributes:
        whole: the files that are given whole with the next question.
    """

    def __init__(self, n_ctx: int, size: Size) -> None:
        self.whole: list[Attached] = []
        self._n_ctx = n_ctx
        self._size = size
        self._passages: Store | None = None
        self._large: set[Path] = set()
        self._paths: dict[str, Path] = {}

    @property
    def notes(self) -> list[Notes]:
        """The passages of the large files, to be searched; empty if there are none."""
        return [self._passages.notes] if self._passages is not None else []

    @property
    def names(self) -> list[str]:
        """The names of all attached files."""
        return [*(file.name for file in self.whole), *sorted(file.name for file in self._large)]

    def add(self, path: str | os.PathLike[str]) -> str:
        """Attach a file; one that is attached already is read again.

        Returns:
            A line for the user that says how the model is given it.

        Raises:
            ConfigError: the file cannot be read, is empty, or is no text.
        """
        file = Path(os.path.expanduser(path))
        text = read_text(file)
        if not text.strip():
            raise ConfigError(f"{file} is empty; there is nothing to attach")
        name = self._name(file)
        others = [other for other in self.whole if other.name != name]
        tokens = self._size(text)
        if tokens + sum(self._size(other.text) for other in others) <= self._n_ctx // WHOLE:
            self._drop_large(file)
            self.whole = [*others, Attached(name, text)]
            return f"{name}: {tokens} tokens, given whole with the next question"
        if self._passages is None:
            self._passages = Store.in_memory()
        try:
            count = put(self._passages.notes, file, text.encode(), text)
        except OSError as error:
            raise ConfigError(f"{file} cannot be read ({error.strerror}); check it") from error
        self.whole = others
        self._large.add(file)
        return (
            f"{name}: {tokens} tokens in {count} passages; each question is given the "
            "passages that match it"
        )

    def give_back(self, files: Iterable[Attached]) -> None:
        """Attach the files of a question that was taken back to the next question."""
        back = [file for file in files if file not in self.whole]
        self.whole = [*back, *self.whole]

    def were_given(self, files: Sequence[Attached]) -> None:
        """Remove whole files, after they were given with a question that was answered."""
        self.whole = [file for file in self.whole if file not in files]

    def clear(self) -> None:
        """Remove all files, when another conversation begins."""
        self.whole = []
        self._large = set()
        self._paths = {}
        if self._passages is not None:
            self._passages.close()
            self._passages = None

    def _name(self, file: Path) -> str:
        """What the model is told; the whole path if another file has the same name."""
        path = file.absolute()
        short = " ".join(name_of(Path(file.name)).rpartition("/")[2].split())
        name = short if self._paths.get(short, path) == path else " ".join(name_of(path).split())
        self._paths[name] = path
        return name

    def _drop_large(self, file: Path) -> None:
        if self._passages is not None and file in self._large:
            self._large.discard(file)
            self._passages.notes.remove([name_of(file)])


def in_front_of(question: str, files: Iterable[Attached]) -> str:
    """The question with whole files in front of it."""
    return "\n".join([*map(str, files), question])


def attached_to(question: Message) -> list[Attached]:
    """The whole files that were given with a question, also in an earlier process."""
    rest, files = question.given or "", []
    while found := _HEAD.match(rest):
        end = found.end() + int(found[2])
        files.append(Attached(found[1], rest[found.end() : end]))
        rest = rest[end + 2 :]
    if not files and (found := _OLD_HEAD.match(rest)):
        text = rest[found.end() :].removesuffix(question.content)
        text = text.rpartition(f"\n{HEADER}\n")[0] or text
        files.append(Attached(found[1], text.removesuffix("\n").removesuffix("\n")))
    return files
