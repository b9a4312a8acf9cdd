"""Bold text, italics and code inside a line.

A mark is taken for one only where it is surely meant: it is not glued to a letter or digit
(`2**3**4`, `2*3*4`, `__init__`), and the marks of both ends are equal. The marks of bold text,
italics and code are not drawn. `_` is, because names begin and end with it; what is between two of
them is italic. `~`, tags, the parts of links and all other marks are text.

Knows marks. Does not know lines, blocks or the width of a window.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from rich.text import Text

_RUN = re.compile(r"`+|\*+")
_MOST = 3
"""Stars of the longest run that is a mark: bold italics."""

_QUOTES = "\"'“‘«„_~"
_BEFORE = "([{—–…"
"""What may stand in front of an opening mark, besides spaces and wide characters."""

_AFTER = ")]}.,;:!?—–…-<\"'”’»_~"
"""What may follow a closing mark, besides spaces and wide characters."""

_UNDERSCORED = r"(?<![^\s(\"'“‘«])_(?=[^\W_])[^_*`]+(?<=[^\W_])_(?![^\s)\"'”’».,;:!?…])"
_LINK = r"https?://[^\s<>`|]*[^\s<>`|.,;:!?)]"

_NEVER_INSIDE = "/\\*"
"""What a mark is not followed by when it opens, nor preceded by when it closes: `**/*.py`."""


@dataclass
class _Token:
    text: str
    code: bool = False
    turn: int = 0  # 1: a mark that opens, -1: that closes, 0: text


def inline(source: str) -> tuple[Text, bool]:
    """Draws a line.

    Returns:
        The text, and whether it stays as it is, whatever follows in the same line.
    """
    tokens, settled = _tokens(source)
    drawn = Text()
    bold = italic = 0
    for token in tokens:
        if token.turn == 0:
            style = f"{'bold ' * bool(bold)}{'italic' * bool(italic)}".strip()
            drawn.append(token.text, "markdown.code" if token.code else style)
            continue
        if len(token.text) > 1:
            bold += token.turn
        if len(token.text) != _MOST - 1:
            italic += token.turn
    drawn.highlight_regex(_UNDERSCORED, "italic")
    drawn.highlight_regex(_LINK, "underline")
    return drawn, settled


def _tokens(source: str) -> tuple[list[_Token], bool]:
    tokens: list[_Token] = []
    opened: list[int] = []  # places in `tokens` of marks that may open
    settled, place = not source.endswith(("*", "`")), 0
    for run in _RUN.finditer(source):
        if run.start() < place:  # inside code
            continue
        tokens.append(_Token(source[place : run.start()]))
        place, mark = run.end(), run.group()
        tokens.append(_Token(mark))
        if mark[0] == "`":
            end = re.compile(rf"(?<!`){mark}(?!`)").search(source, place)
            if end is None or not source[place : end.start()].strip():
                settled = False
            else:
                tokens[-1] = _Token(_code(source[place : end.start()]), code=True)
                place = end.end()
            continue
        same = [at for at in opened if tokens[at].text == mark]
        if same and _closes(source, run):
            if len(mark) != 1 or _are_words(tokens[same[-1] + 1 : -1]):
                tokens[same[-1]].turn, tokens[-1].turn = 1, -1
            opened = [at for at in opened if at < same[-1]]
        elif len(mark) <= _MOST and _opens(source, run):
            opened.append(len(tokens) - 1)
    tokens.append(_Token(source[place:]))
    return tokens, settled and not opened


def _opens(source: str, run: re.Match[str]) -> bool:
    before = source[: run.start()].rstrip(_QUOTES)[-1:]
    after = source[run.end() : run.end() + 1]
    outside = not before or before.isspace() or before in _BEFORE or _is_wide(before, run)
    return outside and _is_inside(after)


def _closes(source: str, run: re.Match[str]) -> bool:
    before, after = source[run.start() - 1 : run.start()], source[run.end() : run.end() + 1]
    outside = not after or after.isspace() or after in _AFTER or _is_wide(after, run)
    return outside and _is_inside(before)


def _are_words(tokens: list[_Token]) -> bool:
    """Whether what single stars enclose is emphasis, and no product or pattern."""
    texts = [token.text for token in tokens if not token.turn and not token.code]
    return "*" not in "".join(texts) and any(map(str.isalpha, "".join(t.text for t in tokens)))


def _is_inside(character: str) -> bool:
    return bool(character) and not character.isspace() and character not in _NEVER_INSIDE


def _is_wide(character: str, run: re.Match[str]) -> bool:
    """Whether its script has no spaces between words, as Chinese: bold marks are glued to words."""
    return len(run.group()) > 1 and unicodedata.east_asian_width(character) in "WF"


def _code(text: str) -> str:
    """The code without the space that separates it from its marks."""
    return text[1:-1] if text[0] == text[-1] == " " else text
