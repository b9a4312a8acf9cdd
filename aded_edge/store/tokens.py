"""Tokens: the words of a text in the one form in which they are indexed and searched.

Knows Unicode: normal forms, case, marks, and scripts that are written without spaces. Does not
know SQL, nor which words carry meaning.

A change of what `tokens` returns needs a migration step that fills the indexes anew.
"""

from __future__ import annotations

import re
import unicodedata

SYMBOLS = "#$%&+<=>@|~"
"""The ASCII characters that are tokens of their own; all other ASCII punctuation separates."""

# Latin letters and digits, after folding.
_LATIN = "a-z0-9\u00df-\u024f\u0250-\u02af\ua720-\ua7ff\uab30-\uab6f"
# Second and third letters of a Hangul syllable.
_HANGUL_FOLLOWING = "\u1160-\u11ff\ud7b0-\ud7ff"
# Scripts that are written without spaces, or whose words stand inside of longer ones: Thai, Lao,
# Burmese, Hangul, Khmer, Tai, Balinese, Javanese, kana, bopomofo, Han, Yi, Tangut.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f"
    "\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3041-\u30fa\u30fc-\u318f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua9df\ua9e0-\ua9ff\uaa60-\uaadf\ud7b0-\ud7ff"
    "\U00017000-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
# Marks that people leave out: accents, the points of Hebrew, the vowel signs of Arabic and Syriac.
_OPTIONAL_MARK = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u0711\u0730-\u074a\u08ca-\u08ff\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
# Fillers and selectors without a shape of their own, and the Arabic stroke that only lengthens.
_INVISIBLE = re.compile(
    "[\u034f\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0000-\U000e0fff]"
)
# Letters that NFKD and case folding leave apart although people type one for the other.
_SAME = str.maketrans({
    "ı": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "æ": "ae", "œ": "oe", "\u0345": "ι",
    "ى": "ي", "ی": "ي", "ک": "ك", "ة": "ه",
})  # fmt: skip

_LONG = 40
"""A longer run without spaces is taken for several words, or for a script without spaces."""

_TOKEN = re.compile(rf"[{_LATIN}]+|[{_UNSPACED}\u3099\u309a]+|[^\s{_LATIN}{_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_FOLLOWS = re.compile(f"[{_HANGUL_FOLLOWING}]")


class _Folding(dict[int, str]):
    """What a character becomes, found out when it is first met: for str.translate."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _folded(chr(code))
        return folded


_FOLDING = _Folding()


def fold(text: str) -> str:
    """The text in one form: decomposed (NFKD), without case, optional marks and punctuation.

    Spaces surround each symbol and precede each letter of scripts without spaces.
    """
    return unicodedata.normalize("NFKD", text).translate(_FOLDING)


def tokens(text: str) -> list[str]:
    """The tokens of a text: words, symbols, and single letters of scripts without spaces."""
    return _TOKEN.findall(fold(text))


def indexed(text: str) -> str:
    """The tokens of a text, separated by spaces."""
    return " ".join(tokens(text))


def phrases(text: str) -> list[str]:
    """The distinct words of a text as they were typed, each as its tokens with spaces between."""
    typed = dict.fromkeys(indexed(word) for word in text.split())
    typed.pop("", None)
    return list(typed)


def unspaced(token: str) -> bool:
    """Whether a token is a letter of a script that is written without spaces."""
    return _IS_UNSPACED.match(token) is not None


def located(text: str) -> list[tuple[str, int]]:
    """The tokens of a text, each with the place in the text of its word.

    In a long run without spaces it is the place of the token itself.
    """
    found: list[tuple[str, int]] = []
    for word in re.finditer(r"\S+", text):
        if len(word[0]) <= _LONG:
            found += [(token, word.start()) for token in tokens(word[0])]
            continue
        # Folded one by one, so that it is known what each character became.
        folded = [fold(character) for character in word[0]]
        places = [word.start() + i for i, piece in enumerate(folded) for _ in piece]
        found += [(m[0], places[m.start()]) for m in _TOKEN.finditer("".join(folded))]
    return found


def _folded(character: str) -> str:  # noqa: PLR0911  (one rule after the other)
    category = unicodedata.category(character)
    if _INVISIBLE.match(character) or category == "Cf":
        return ""
    if character != "\u0345" and _OPTIONAL_MARK.match(character):
        return ""
    if (digit := unicodedata.decimal(character, None)) is not None:
        return str(digit)
    # A character that this Python does not know is most likely a new emoji.
    symbol = category in {"Sm", "Sc", "So", "Co", "Cn"} or "\U0001f3fb" <= character <= "\U0001f3ff"
    if character in SYMBOLS or symbol:
        return f" {character} "
    if category[0] in "PSZC":
        return " "
    if unspaced(character):
        return character if category[0] == "M" or _FOLLOWS.match(character) else f" {character}"
    same = character.casefold().translate(_SAME)
    return same if same.isascii() else _OPTIONAL_MARK.sub("", unicodedata.normalize("NFKD", same))
