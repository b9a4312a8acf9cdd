"""The drafts of other programs, replayed: what each would draft behind every token.

The policies are those of llama-cpp-python 0.3.36 and of the llama.cpp that it carries, with their
defaults; the code is our own. None of them looks at what an evaluation costs, so one replay tells
the widths of their evaluations, and every cost curve their time.

Knows token ids. Does not know costs, nor the drafters of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .run import Tally
from .trace import Turn


class Peer(Protocol):
    """A drafter of chains.

    Attributes:
        cuts: drafts are cut to the tokens that the answer may still have, as llama.cpp's server
            does.
    """

    cuts: bool

    def begin(self, prompt: Sequence[int]) -> None:
        """Begin an answer behind a prompt."""
        ...

    def draft(self, text: Sequence[int]) -> list[int]:
        """Draft what follows a text, whose last token is not evaluated yet."""
        ...

    def settle(self, accepted: int) -> None:
        """Record how many tokens of the last draft were accepted. Not called for empty drafts."""
        ...


class _Copying:
    """What the drafters that copy from the text share: where its n-grams are."""

    def __init__(self) -> None:
        self._text: Sequence[int] = ()
        self._behind: dict[tuple[int, ...], int] = {}  # n-gram -> index behind one of its places
        self._read = 0  # n-grams that end before this index are in it

    def begin(self, prompt: Sequence[int]) -> None:
        """Forget the last text, unless the prompt continues it: then its places stay the same."""
        if prompt[: len(self._text)] != self._text:
            self._behind, self._read = {}, 0
        self._text = prompt

    def settle(self, accepted: int) -> None:
        """Do nothing."""


class PromptLookup(_Copying):
    """`LlamaPromptLookupDecoding` of llama_cpp/llama_speculative.py.

    Looks for the text's last two tokens, and if they did not occur before, for its last one. The
    tokens behind the first occurrence are the draft, at every step.

    Args:
        most: tokens of a draft, `num_pred_tokens` there; its default is 10.
        longest: `max_ngram_size` there; its default is 2.
    """

    cuts = False

    def __init__(self, most: int = 10, longest: int = 2) -> None:
        super().__init__()
        self._most, self._longest = most, longest

    def draft(self, text: Sequence[int]) -> list[int]:
        """Return the tokens behind the first occurrence; see `Peer.draft`."""
        self._text = text
        for end in range(self._read, len(text)):
            for n in range(1, min(self._longest, end) + 1):
                self._behind.setdefault(tuple(text[end - n : end]), end)
        self._read = len(text)
        for n in range(self._longest, 0, -1):
            start = self._behind.get(tuple(text[-n:]))
            if start is not None:
                return list(text[start : start + self._most])
        return []


class NgramSimple(_Copying):
    """`ngram-simple` of llama.cpp, common/ngram-map.cpp (`common_ngram_simple_draft`).

    Looks for the text's last 12 tokens, latest occurrence first. The up to 48 tokens behind it are
    the draft, if there are at least 12. Texts of fewer than 62 tokens are not searched, nor is an
    occurrence at the very beginning of the text.

    Args:
        n: tokens that must match, `--spec-ngram-simple-size-n`.
        m: most tokens of a draft, `--spec-ngram-simple-size-m`.
    """

    cuts = True

    def __init__(self, n: int = 12, m: int = 48) -> None:
        super().__init__()
        self._n, self._m = n, m

    def draft(self, text: Sequence[int]) -> list[int]:
        """Return the tokens behind the latest occurrence; see `Peer.draft`."""
        self._text = text
        evaluated, n = len(text) - 1, self._n
        for end in range(max(self._read, n + 1), evaluated):
            self._behind[tuple(text[end - n : end])] = end
        self._read = max(self._read, evaluated)
        if evaluated <= n + self._m + 1:
            return []
        start = self._behind.get(tuple(text[-n:]), evaluated)
        copied = list(text[start : min(start + self._m, evaluated)])
        return copied if len(copied) >= n else []


class NgramMod:
    """`ngram-mod` of llama.cpp: common/ngram-mod.cpp, and its use in common/speculative.cpp.

    One table for all answers leads from the hash of 24 tokens to the token that followed them last;
    different n-grams with one hash share an entry. A draft is a walk through the table: the token
    found becomes part of the next n-gram, up to 64 times. It is dropped if the walk ends before 48
    tokens. Prompts are learned whole, answers in pieces of about 8 tokens. The table is emptied
    after five drafts in a row of which less than a quarter was accepted, and when a prompt finds
    it a quarter full.

    Args:
        n: tokens that must match, `--spec-ngram-mod-n-match`.
        least, most: tokens of a draft, `--spec-ngram-mod-n-min` and `--spec-ngram-mod-n-max`.
        size: entries of the table.
    """

    cuts = True

    def __init__(self, n: int = 24, least: int = 48, most: int = 64, size: int = 1 << 22) -> None:
        self._n, self._least, self._most, self._size = n, least, most, size
        # Horner's scheme modulo 2^64, as its C++ counts.
        powers = [pow(_FACTOR, i, 1 << 64) for i in reversed(range(n))]
        self._powers = np.asarray(powers, np.uint64)
        self._table: dict[int, int] = {}
        self._learned = 0  # index from which on n-grams of this text are not in the table
        self._drafted = 0  # tokens of the last draft
        self._bad = 0  # drafts in a row of which hardly anything was accepted

    def begin(self, prompt: Sequence[int]) -> None:
        """Learn a prompt, also one that was learned before."""
        self._learned = self._drafted = 0
        if len(prompt) < self._n:
            return
        self._learn(prompt)
        if len(self._table) > _FULL * self._size:
            self._table.clear()

    def draft(self, text: Sequence[int]) -> list[int]:
        """Return a walk through the table; see `Peer.draft`."""
        evaluated = len(text) - 1
        self._drafted = 0
        if evaluated < self._n:
            return []
        if self._learned + _PIECE < evaluated:
            self._learn(text[:evaluated])
        walk = list(text[-self._n :])
        for _ in range(self._most):
            token = self._table.get(self._places(walk[-self._n :])[0])
            if token is None:
                break
            walk.append(token)
        draft = walk[self._n :]
        if len(draft) < self._least:
            return []
        self._drafted = len(draft)
        return draft

    def settle(self, accepted: int) -> None:
        """Empty the table after five bad drafts in a row. A draft that was cut counts whole."""
        self._bad = self._bad + 1 if accepted < _GOOD * self._drafted else 0
        if self._bad == _BAD_IN_A_ROW:
            self._table.clear()
            self._bad = self._learned = 0

    def _learn(self, text: Sequence[int]) -> None:
        new = text[self._learned :]
        if len(new) > self._n:
            self._table.update(zip(self._places(new[:-1]), new[self._n :], strict=True))
        self._learned = len(text) - self._n

    def _places(self, tokens: Sequence[int]) -> list[int]:
        """Return the entry of each n-gram in a text."""
        windows = sliding_window_view(np.asarray(tokens, np.uint64), self._n)
        places: list[int] = ((windows @ self._powers) % np.uint64(self._size)).tolist()
        return places


def visit(peer: Peer, turns: Iterable[Turn], most_tokens: int | None) -> Tally:
    """Replay answers with a peer's drafts; return the counts of all, without costs.

    Args:
        peer: keeps what it learned for the next visit.
        turns: the answers.
        most_tokens: bound of an answer, by which some peers cut their drafts; None for no bound.
    """
    tally = Tally()
    for turn in turns:
        text, answer = turn.prompt.tolist(), turn.answer.tolist()
        peer.begin(text)
        tally.answers += 1
        text += answer[:1]  # the evaluation of the prompt emits it
        said = 1
        while said < len(answer):
            draft = peer.draft(text)
            if peer.cuts and most_tokens is not None:
                draft = draft[: max(most_tokens - said - 1, 0)]
            accepted = _accepted(draft, answer[said:])
            if draft:
                peer.settle(accepted)
            text += answer[said : said + accepted + 1]
            said += accepted + 1
            tally.count(len(draft), accepted, accepted + 1)
    return tally


def _accepted(draft: Sequence[int], future: Sequence[int]) -> int:
    # The last token of an answer is the target's own bonus, so a draft of it is not counted.
    pairs = enumerate(zip(draft, future, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), min(len(draft), len(future)))
    return min(same, len(future) - 1)


_FACTOR = 6364136223846793005
_FULL = 0.25
_GOOD = 0.25
_BAD_IN_A_ROW = 5
_PIECE = 32
