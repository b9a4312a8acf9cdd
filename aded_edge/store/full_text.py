"""Queries for SQLite's full-text search (FTS5), and excerpts of what they found.

Knows FTS5's query syntax, beginnings and forms of words, and which words of a question carry
meaning. Does not know what is searched. A phrase is one or more tokens with spaces between.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby, islice

from .stop_words import parts_between, stop_words
from .tokens import located, phrases, tokens, unspaced

STEM = 5
"""Two words count as forms of one word if they agree in this many first letters."""

EXCERPT = 160
"""Length of an excerpt, in characters."""

_SHORT = 3
"""A shorter word matches only as a whole, unless it may be unfinished: it begins too many."""

_MOST_HITS = 50
"""The most places of a text that an excerpt is chosen from."""

# Letters that are searched for together in scripts without spaces. The letters of an alphabet say
# less than those of Han, kana and Hangul.
_GRAM = 2
_ALPHABETIC = re.compile("[\u0e00-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer
_ALPHABETIC_GRAM = 3
# English endings, and what is left of the word. As its beginning is searched for, this may be cut
# short, and the forms of other languages that only add an ending are found as well.
_ENDINGS = (
    (re.compile("(.{2,})ies$"), r"\1"),
    (re.compile("(.*(?:ch|sh|x|z|ss))es$"), r"\1"),
    (re.compile("(.{3,}[^su])s$"), r"\1"),
    (re.compile("(.{2,})([^aeiouls])\\2(?:ing|ed|er)$"), r"\1\2"),
    (re.compile("(.{4,})(?:ness|ment|ation|ion|ly)$"), r"\1"),
    (re.compile("([a-z]*[aeiouy][a-z]+)(?:ing|(?<!e)ed)$"), r"\1"),
)


def all_of(words: Sequence[str]) -> str:
    """A query for texts that contain every phrase, also as the beginning or another form.

    The last one may be unfinished, however short. "" without words.
    """
    return " AND ".join(_forms(word, word == words[-1] or len(word) >= _SHORT) for word in words)


def any_of(words: Iterable[str]) -> str:
    """A query for texts that contain at least one of the phrases; "" without words."""
    return " OR ".join(_forms(word, len(word) >= _SHORT) for word in words)


def terms(text: str) -> list[str]:
    """The distinct phrases of a text that carry meaning, in its order.

    They are words without the stop words of the text's language, pairs of letters in scripts
    without spaces, and words with symbols ("c + +"). Stop words alone are none: they are small
    talk ("how are you").
    """
    stops = stop_words(tokens(text))
    found: dict[str, None] = {}
    for phrase in phrases(text):
        for is_unspaced, run in groupby(phrase.split(), unspaced):
            pieces = list(run)
            found |= dict.fromkeys(_grams(pieces) if is_unspaced else _telling(pieces, stops))
    return list(found)


def shared(words: Iterable[str], text: str) -> int:
    """Count the phrases of `terms` that a text contains (words: the same first STEM letters)."""
    there = tokens(text)
    stems, joined = {token[:STEM] for token in there}, f" {' '.join(there)} "
    return sum(f" {word} " in joined if " " in word else word[:STEM] in stems for word in words)


def words_in(found: Sequence[str]) -> int:
    """About how many words these phrases of `terms` stand for: overlapping pairs share letters."""
    pairs = sum(unspaced(phrase[0]) for phrase in found)
    return len(found) - pairs + (pairs + 1) // 2


def excerpt(text: str, words: Sequence[str]) -> str:
    """The part of a text that holds the most of the phrases, in one line."""
    if len(text) > EXCERPT:
        start, end = _best(text, words), len(text)
        text = _cut(text, max(min(start - EXCERPT // 4, end - EXCERPT), 0))
    return " ".join(text.split())


def _best(text: str, words: Sequence[str]) -> int:
    # The place of the first of the words that stand closest together.
    found = located(text)
    joined = " ".join(token for token, _ in found)
    begins = list(accumulate((len(token) + 1 for token, _ in found), initial=0))
    pattern = "|".join(re.escape(_stem(word)) for word in words) or "$"
    hits = [
        (found[bisect(begins, hit.start()) - 1][1], hit[0])
        for hit in islice(re.finditer(rf"(?<!\S)(?:{pattern})", joined), _MOST_HITS)
        if hit[0]
    ]
    held = [
        len({word for at, word in hits[i:] if at < place + EXCERPT * 3 // 4})
        for i, (place, _) in enumerate(hits)
    ]
    if not hits:  # punctuation, which was searched for as it is
        return max(text.find(words[0]) if words else 0, 0)
    return hits[held.index(max(held))][0]


def _cut(text: str, start: int) -> str:
    end = min(start + EXCERPT, len(text))
    while start and start > end - EXCERPT - 20 and not text[start - 1].isspace():
        start -= 1
    while end < len(text) and end < start + EXCERPT + 40 and not text[end].isspace():
        end += 1
    return ("… " if start else "") + text[start:end] + (" …" if end < len(text) else "")


def _telling(run: Sequence[str], stops: frozenset[str]) -> list[str]:
    symbols = [token for token in run if len(token) == 1 and not token.isalnum()]
    words = [token for token in run if len(token) > 1 and token not in stops]
    if len(symbols) == len(run):
        return [symbol for symbol in symbols if not symbol.isascii()]
    return [" ".join(run), *words] if symbols else words


def _grams(run: Sequence[str]) -> list[str]:
    found: list[str] = []
    for part in parts_between(" ".join(run)):
        letters = part.split()
        size = _ALPHABETIC_GRAM if _ALPHABETIC.match(letters[0]) else _GRAM
        size = min(size, len(letters))
        found += [" ".join(letters[i : i + size]) for i in range(len(letters) - size + 1)]
    return found


def _forms(phrase: str, begun: bool) -> str:
    if not begun:
        return f'"{phrase}"'
    stem = _stem(phrase)
    forms = [f'"{phrase}"', f'"{stem}" *']
    if stem.endswith("y") and len(stem) > _SHORT:
        forms.append(f'"{stem[:-1]}i" *')
    elif stem.endswith("i") and len(stem) > _SHORT and stem != phrase:
        forms.append(f'"{stem[:-1]}y" *')
    return f"({' OR '.join(forms)})"


def _stem(phrase: str) -> str:
    before, space, word = phrase.rpartition(" ")
    if not word.isascii() or not word.isalpha():
        return phrase
    for ending, rest in _ENDINGS:
        if ending.fullmatch(word):
            shorter = ending.sub(rest, word)
            return before + space + shorter + ("i" if word.endswith("ies") else "")
    return phrase
