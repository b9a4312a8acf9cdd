"""Prompts: messages as tokens by the model's own chat template, and the prefix two prompts share.

Knows chat templates and tokenizers. Does not know conversations or what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from aded_edge.arrays import Int32Array


class Prompter:
    """Turns messages into prompt tokens, by the model's own chat template.

    A model without a chat template gets the messages' texts, separated by empty lines.

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
        text, add_bos = self.rendered(messages)
        special = bool(self._format)
        return list(self._llama.tokenize(text.encode(), add_bos=add_bos, special=special))

    def rendered(self, messages: list[dict[str, str]]) -> tuple[str, bool]:
        """Text of the whole conversation, and whether a token for its beginning comes before it."""
        if not self._format:
            return "\n\n".join(message["content"] for message in messages) + "\n\n", True
        format_: Any = self._format
        result = format_(messages=messages)
        return str(result.prompt), not result.added_special

    def opens_thought(self) -> bool:
        """Whether the template ends a prompt with <think>, so that answers begin in reasoning."""
        if not self._format:
            return False
        format_: Any = self._format
        try:
            prompt = format_(messages=[{"role": "user", "content": "?"}]).prompt
        except Exception:  # a template may do anything; the first answer reports it
            return False
        return str(prompt).rstrip().endswith("<think>")

    def text(self, tokens: list[int]) -> str:
        """The text of generated tokens."""
        return str(self._llama.detokenize(tokens).decode("utf-8", "replace"))

    def _text(self, token: int) -> str:
        return self._llama._model.token_get_text(token) if token != -1 else ""


def common_prefix(first: Sequence[int] | Int32Array, second: Sequence[int] | Int32Array) -> int:
    """Length of the longest common prefix of two token sequences."""
    length = min(len(first), len(second))
    differs = np.flatnonzero(
        np.asarray(first[:length], np.int32) != np.asarray(second[:length], np.int32)
    )
    return int(differs[0]) if differs.size else length
