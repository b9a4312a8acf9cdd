"""Dialogs in the format of Spec-Bench: one JSON object a line with question_id, category, turns.

Knows files and chat templates. Does not know what is measured on them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import llama_cpp
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from ..errors import BenchError


@dataclass(frozen=True)
class Dialog:
    """One dialog: what the user says, turn by turn."""

    id: str
    category: str
    turns: tuple[str, ...]


def load_dialogs(path: Path, limit: int | None = None) -> list[Dialog]:
    """Reads dialogs; with a limit, takes them from all categories in turn.

    Raises:
        BenchError: the file is missing, empty, or has a line that is no dialog.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read prompts from {path}: {error}") from error
    dialogs = [_parse(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not dialogs:
        raise BenchError(f"{path} holds no dialogs; one JSON object a line is needed")
    categories: dict[str, list[Dialog]] = {}
    for dialog in dialogs:
        categories.setdefault(dialog.category, []).append(dialog)
    mixed = [d for d in chain.from_iterable(zip_longest(*categories.values())) if d is not None]
    return mixed[:limit]


def _parse(path: Path, number: int, line: str) -> Dialog:
    try:
        row = json.loads(line)
        turns = tuple(row["turns"])
        if not turns or not all(isinstance(turn, str) for turn in turns):
            raise ValueError("turns must be a list of strings")
        return Dialog(str(row.get("question_id", number)), str(row.get("category", "all")), turns)
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{path}, line {number} is no dialog ({error}); needed are question_id, category "
            "and turns"
        ) from error


class Prompter:
    """Turns messages into the model's prompt tokens, by its own chat template.

    Args:
        llama: any instance of the model.
    """

    def __init__(self, llama: llama_cpp.Llama) -> None:
        self._llama: Any = llama
        template = llama.metadata.get("tokenizer.chat_template")
        self._format = template and Jinja2ChatFormatter(
            template=template,
            eos_token=self._text(llama.token_eos()),
            bos_token=self._text(llama.token_bos()),
        )

    def tokens(self, messages: list[dict[str, str]]) -> list[int]:
        """Tokens of the whole conversation, up to where the answer begins."""
        if not self._format:
            text = "\n\n".join(message["content"] for message in messages) + "\n\n"
            return list(self._llama.tokenize(text.encode(), add_bos=True, special=False))
        format_: Any = self._format
        result = format_(messages=messages)
        return list(
            self._llama.tokenize(
                result.prompt.encode(), add_bos=not result.added_special, special=True
            )
        )

    def text(self, tokens: list[int]) -> str:
        """The text of generated tokens."""
        return str(self._llama.detokenize(tokens).decode("utf-8", "replace"))

    def _text(self, token: int) -> str:
        return self._llama._model.token_get_text(token) if token != -1 else ""
