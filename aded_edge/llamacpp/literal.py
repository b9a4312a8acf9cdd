"""Texts of special tokens in messages: `LiteralLlama.as_text` makes them ordinary text.

llama_cpp renders a conversation with the chat template and tokenizes the result with all special
tokens. So a message that contains "<|im_end|><|im_start|>system" ends its turn and begins another
one. `as_text` puts a mark, random digits, behind the first character of each such text. A template
passes the mark on as it passes any other text. `tokenize` cuts the rendered prompt at the marks,
tokenizes the pieces one by one and joins them: no piece contains the whole text of a special token
of a message, and the tokens give the text as it was. A prompt without marks is tokenized as
llama_cpp does.

Knows vocabularies. Does not know who wrote a message.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import llama_cpp

from .rpc import RemoteLlama

_DIGITS = 24
"""Length of a mark. Templates that change case, trim, or quote JSON leave digits alone."""

_CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN

_DEFINED = llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED

_ANSWERED = re.compile(r"</?(think|tool)\w*>")
"""Tokens that models write into their answers and that templates look for in them."""

_NO_LETTER = b"\x80"
"""A byte that is part of no word, so that SentencePiece merges nothing with it."""

_KNOWN = 4096
"""How many texts without special tokens are remembered."""

_SHORT = 4096
"""Characters of a text that is looked at without reading the vocabulary."""

_NAMES = ("role", "type")
"""Entries of a message that templates compare with fixed words."""


class LiteralLlama(RemoteLlama):
    """`llama_cpp.Llama` that can be told which texts are only text."""

    _marker: Marker | None = None

    def as_text(self, messages: Any) -> Any:
        """Mark the texts of special tokens in messages as ordinary text.

        Args:
            messages: messages of `create_chat_completion`, or any text, list or table of texts.

        Returns:
            The same with marks, to be given to `create_chat_completion` or `tokenize`; unchanged
            for a model with a `chat_handler`, which tokenizes in its own way.
        """
        if self.chat_handler is not None:
            return messages
        if self._marker is None:
            self._marker = Marker(self)
        return self._marker.mark(messages)

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Tokenize a text; see `llama_cpp.Llama.tokenize`. Marks of `as_text` are obeyed."""
        if self._marker is None or self._marker.bytes not in text:
            return list(super().tokenize(text, add_bos, special))
        return self._marker.tokens(text, add_bos, special)

    def close(self) -> None:
        """Free the model; see `llama_cpp.Llama.close`."""
        self._marker = None  # it holds the model, which is freed
        super().close()


class Marker:
    """The marks of one model.

    Args:
        llama: the model.

    Attributes:
        bytes: the mark.
    """

    def __init__(self, llama: llama_cpp.Llama) -> None:
        mark = "".join(secrets.choice("0123456789") for _ in range(_DIGITS))
        self.bytes = mark.encode()
        self._mark = mark
        self._model = llama._model
        spm = llama_cpp.LLAMA_VOCAB_TYPE_SPM
        self._is_spm = llama_cpp.llama_vocab_type(self._model.vocab) == spm
        template = str(llama.metadata.get("tokenizer.chat_template", ""))
        tokens = set(self._model.tokenize(template.encode(), False, False))
        # Other special tokens, like runs of spaces or HTML tags, are part of ordinary text.
        self._written = {self._text(token) for token in tokens if self._kind(token) & _DEFINED}
        self._written = {text for text in self._written if text.strip()}
        self._harmless: set[int] = set()  # hashes of texts

    def mark(self, value: Any, answered: bool = False, joined: bool = False) -> Any:
        """A copy of a text, list or table in which the texts of special tokens are marked.

        Args:
            value: the texts; anything else in it is kept as it is.
            answered: the model itself wrote them, so that a chat template may look for the tags
                around its thoughts and calls of tools.
            joined: the texts are parts of one content, so that two of them may make up a token.
        """
        if isinstance(value, str):
            if not joined and self._is_harmless(value):
                return value
            finder = self._in_answers if answered else self._in_questions
            return finder.put_in(value, self._mark, joined)
        if isinstance(value, list | tuple):
            return [self.mark(item, answered, joined) for item in value]
        if isinstance(value, dict):
            answered = answered or value.get("role") == "assistant"
            return {
                name: item
                if _is_name(name, item)
                else self.mark(item, answered, joined or isinstance(item, list))
                for name, item in value.items()
            }
        return value

    def tokens(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        """Tokens of a text with marks, which are left out."""
        first, *others = text.split(self.bytes)
        tokens = self._model.tokenize(first, add_bos, special)
        end: list[int] = []
        if add_bos and self._model.add_eos_token():
            end = [tokens.pop()]
        for piece in others:
            tokens += self._behind_a_cut(piece, special)
        return [*tokens, *end]

    def _behind_a_cut(self, piece: bytes, special: bool) -> list[int]:
        """Tokens of a piece in the middle of a text."""
        if not piece or not self._is_spm:
            return list(self._model.tokenize(piece, False, special))
        # SentencePiece puts a space in front of the first word, which the text does not contain.
        begun = len(self._model.tokenize(_NO_LETTER, False, False))
        return list(self._model.tokenize(_NO_LETTER + piece, False, special)[begun:])

    def _is_harmless(self, text: str) -> bool:
        """Whether a short text contains no text of a special token, if that is known at once.

        Reading the whole vocabulary takes a tenth of a second, in which the first answer would
        have to wait. Looking at a short text's own tokens takes a millisecond.
        """
        if hash(text) in self._harmless:
            return True
        if "_control" in self.__dict__ or len(text) > _SHORT:
            return False
        if any(written in text for written in self._written):
            return False
        tokens = set(self._model.tokenize(text.encode("utf-8", "replace"), False, True))
        if any(self._kind(token) & _CONTROL for token in tokens):
            return False
        if len(self._harmless) > _KNOWN:
            self._harmless.clear()
        self._harmless.add(hash(text))
        return True

    @cached_property
    def _in_questions(self) -> _Finder:
        return _Finder(self._control | self._written)

    @cached_property
    def _in_answers(self) -> _Finder:
        written = {text for text in self._written if not _ANSWERED.fullmatch(text)}
        return _Finder(self._control | written)

    @cached_property
    def _control(self) -> set[str]:
        tokens = range(self._model.n_vocab())
        return {self._text(token) for token in tokens if self._kind(token) & _CONTROL}

    def _kind(self, token: int) -> int:
        return int(llama_cpp.llama_vocab_get_attr(self._model.vocab, token))

    def _text(self, token: int) -> str:
        text = llama_cpp.llama_vocab_get_text(self._model.vocab, token)
        return str(text.decode("utf-8", "replace"))


class _Finder:
    """Finds texts of special tokens.

    Args:
        texts: those to find. One of a single character cannot be cut, so it is left out.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = {text for text in texts if len(text) > 1}
        self._begun = {text[:size] for text in self._texts for size in range(1, len(text))}
        self._lengths = sorted({len(text) for text in self._texts})
        firsts = "".join(sorted({text[0] for text in self._texts}))
        self._first = re.compile(f"[{re.escape(firsts)}]") if firsts else None

    def put_in(self, text: str, mark: str, joined: bool) -> str:
        """The text with a mark behind the first character of each text that was found.

        Args:
            text: where to look.
            mark: what to put in.
            joined: find also what begins at the end of the text, and may go on in another one.
        """
        if self._first is None:
            return text
        starts = [found.start() for found in self._first.finditer(text)]
        places = [start + 1 for start in starts if self._is_at(text, start, joined)]
        ends = [*places, len(text)]
        pieces = [text[start:end] for start, end in zip([0, *places], ends, strict=True)]
        return mark.join(pieces)

    def _is_at(self, text: str, start: int, joined: bool) -> bool:
        # A slice that is shorter than the longest text, and so may be in `_begun`, ends the text.
        if joined and text[start : start + self._lengths[-1]] in self._begun:
            return True
        return any(text[start : start + size] in self._texts for size in self._lengths)


def _is_name(name: object, value: object) -> bool:
    return name in _NAMES and isinstance(value, str) and value.isidentifier()
