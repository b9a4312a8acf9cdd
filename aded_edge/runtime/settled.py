"""llama_cpp's own methods that use the KV cache, which must find it settled.

A consumer may call them between two tokens of a stream, while the cache still holds cells of a
draft. So each settles the target first, and runs when no other thread evaluates.

Knows the target and llama_cpp's methods. Does not know drafting, learning or the store.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import llama_cpp

from aded_edge.arrays import Int32Array
from aded_edge.errors import EvaluationError, ModelError, WorkerError
from aded_edge.llamacpp.context import NO_TOKEN
from aded_edge.llamacpp.literal import LiteralLlama
from aded_edge.llamacpp.purpose import sized_embeddings, why_no_answer
from aded_edge.llamacpp.target import LAST_ROW, LlamaTarget
from aded_edge.llamacpp.window import holds_window

from .access import Access, alone, reading
from .closed import CLOSED, Freed
from .prefill import restore


class SettledLlama(LiteralLlama):
    """A `llama_cpp.Llama` whose methods may be called in the middle of a stream.

    Its constructor is that of `llama_cpp.Llama`; whoever derives from it calls `_prepare` before.
    """

    def _prepare(self) -> None:
        """Set what the methods need, also after a constructor that failed half-way."""
        self._access = Access(self._suspended, self._resume)
        self._tokenizing = threading.Lock()
        self._target: LlamaTarget | None = None
        self._encoded: list[int] = []  # the prompt that an encoder read last

    def _suspended(self) -> tuple[Int32Array, Any, list[int]]:
        """What a stream needs to go on after another one: its history and its sampler."""
        self._settle()
        return self._input_ids.copy(), self._sampler, self._encoded

    def _resume(self, saved: tuple[Int32Array, Any, list[int]]) -> None:
        history, self._sampler, self._encoded = saved
        restore(self, self._target, history, self._encoded)

    def _settle(self, *, back: bool = False) -> None:
        """Settle the target; with `back`, a recurrent memory holds the history afterwards."""
        if self._target is not None:
            self._target.settle()
            if back:
                self._target.bring_back()

    @alone
    def eval(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after the history; see `llama_cpp.Llama.eval`.

        Raises:
            EvaluationError: llama.cpp refused them.
            WorkerError: a worker is lost.
        """
        self._settle(back=bool(tokens))
        if not tokens:
            return
        if self._ctx.memory is None:
            raise ModelError(why_no_answer(self))
        if not holds_window(self, self.n_tokens):
            tokens = [*self._input_ids.tolist(), *tokens]
            self.n_tokens = 0
        self._requires_eval = True
        if self._target is not None:
            self._target.evaluated_elsewhere()
        try:
            if self.n_tokens + len(tokens) > self._n_ctx:
                raise RuntimeError("they do not fit")
            super().eval(tokens)
        except WorkerError:
            raise
        except RuntimeError as error:
            raise EvaluationError(
                f"llama.cpp could not evaluate {len(tokens)} tokens after {self.n_tokens} in a "
                f"context of {self._n_ctx}: {error}"
            ) from error

    @alone
    def sample(self, *args: Any, **kwargs: Any) -> int:
        """Sample the token after the history; see `llama_cpp.Llama.sample`."""
        self._settle()
        target = self._target
        if isinstance(self._ctx, Freed):
            raise EvaluationError(CLOSED)
        if target is not None and target.row != LAST_ROW and self.n_tokens > 0:
            # llama_cpp samples from the last row of the last evaluation. Evaluating the last
            # token again makes that the row after the history.
            last = int(self.input_ids[self.n_tokens - 1])
            self.n_tokens -= 1
            self.eval([last])
        return int(super().sample(*args, **kwargs))

    @alone
    def reset(self) -> None:
        """Clear the history; see `llama_cpp.Llama.reset`."""
        self._settle()
        super().reset()  # type: ignore[no-untyped-call]
        self.input_ids.fill(NO_TOKEN)
        if self._target is not None:
            self._target.truncate(0)

    @reading
    def save_state(self) -> llama_cpp.LlamaState:
        """Copy history and KV cache; see `llama_cpp.Llama.save_state`."""
        self._settle(back=True)
        if self._target is not None:
            self._target.drop_leaves()
        return super().save_state()

    @alone
    def load_state(self, state: llama_cpp.LlamaState) -> None:
        """Restore a copy of history and KV cache; see `llama_cpp.Llama.load_state`."""
        self._settle()
        if self._target is not None:
            self._target.truncate(0)  # what it knows of the memory ends with it
        super().load_state(state)

    @alone
    def embed(self, *args: Any, **kwargs: Any) -> Any:
        """Embed texts; see `llama_cpp.Llama.embed`."""
        with sized_embeddings(self):
            return super().embed(*args, **kwargs)

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Tokens of a text; see `llama_cpp.Llama.tokenize`. Waits for no evaluation."""
        with self._tokenizing:
            return super().tokenize(text, add_bos, special)

    def n_ctx(self) -> int:
        """The most tokens that prompt and answer can have together.

        As many as were asked for. `llama_cpp.Llama` returns what llama.cpp rounded this number up
        to, but keeps no history beyond the number that was asked for, and refuses longer prompts.
        """
        return self._n_ctx if "input_ids" in vars(self) else super().n_ctx()
