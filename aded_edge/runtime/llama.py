"""`Llama`: llama_cpp.Llama that answers faster and says the same.

Joins the parts: a target on the inherited context, a drafter, a budget and the store. It has its
own `generate` and completions; everything above them (chat, tools, grammars) is inherited.

Does not know how a draft is made, what SQL is, or how a batch is laid out.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
from llama_cpp.llama_grammar import LlamaGrammar

from aded_edge.decode.budget import CostBudget
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.decode.loop import Loop
from aded_edge.decode.stats import Stats
from aded_edge.llamacpp import state
from aded_edge.llamacpp.adapter import without_cycle
from aded_edge.llamacpp.fingerprint import weights
from aded_edge.llamacpp.purpose import widen
from aded_edge.llamacpp.recurrent import open_target
from aded_edge.llamacpp.rpc import open_workers
from aded_edge.llamacpp.sampler import without_cycles
from aded_edge.store import default_store_path

from .access import alone, reading
from .building import build_loop, open_recurrent, plain_because, prepare_for_forks
from .closed import CLOSED, Freed
from .completion import complete, ended_in_time, handles
from .costs import save_observed
from .exactness import NOTHING_PROVED
from .generation import generated
from .loading import load
from .options import (
    Drafting,
    StoreChoice,
    check_drafting,
    check_names,
    check_store,
    with_default_threads,
    with_worker_defaults,
)
from .persistence import Persistence
from .plain import Tokens
from .settled import SettledLlama
from .warm_up import WarmUp

_OWN = ("drafting", "store", "keep", "exact", "rpc_servers")
"""Arguments of `Llama` that `llama_cpp.Llama` does not have."""

_ARGUMENTS = frozenset(inspect.signature(llama_cpp.Llama.__init__).parameters) - {"self", "kwargs"}


class Llama(SettledLlama):
    """Drop-in for `llama_cpp.Llama` (0.3.36).

    Args:
        model_path: a GGUF file.
        drafting: "auto" drafts where the measured costs say that it pays; "off" decodes
            plainly; "paper" is ADED's search and tree at any cost, for comparisons.
        store: the file that keeps what the drafter learned: "default" (in the user's data
            folder), the path of a SQLite file, or None for nowhere.
        keep: append to the store; if False, the store is only read.
        exact: draft only in widths that were proved to give the bits of plain decoding, so that
            greedy and seeded answers are the same to the byte. The proof takes about 20 seconds,
            on a slow model as long as 1000 tokens of an answer, and is kept in the store. Where
            no width is proved, `stats.plain_because` says so.
        rpc_servers: workers that hold layers of the model and evaluate them, "host:port,host:port".
            All layers go there (and to this machine's GPUs), each device getting as many as its
            share of the memory, unless `n_gpu_layers` or `tensor_split` say otherwise; flash
            attention is on unless `flash_attn` says otherwise.
        **kwargs: every other argument of `llama_cpp.Llama`. One default differs: without
            `n_threads` (or with None) both `n_threads` and `n_threads_batch` are the physical
            cores that this process may use (`runtime.options.default_threads`), as in every
            command. Numbers that are given are passed on unchanged; where only `n_threads` is
            given, `n_threads_batch` is llama_cpp's default.

    Attributes:
        stats: figures of the last generation, `stats.cumulative` has the sums of all generations.

    Raises:
        ConfigError: an argument is unknown, `drafting` or `store` has a value that cannot be
            used, or `drafting="paper"` or a `draft_model` is to be exact.
        ModelError: the model file is missing, damaged or not GGUF, or its context needs more
            memory than there is.
        WorkerError: a worker is absent, of another version, or was lost.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        drafting: Drafting = "auto",
        store: StoreChoice = "default",
        keep: bool = True,
        exact: bool = False,
        rpc_servers: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._prepare()
        # close() needs these, also after a constructor that failed half-way.
        self._stack = contextlib.ExitStack()
        self._persistence: Persistence | None = None
        self._loop: Loop | None = None
        self.drafting = check_drafting(drafting, exact, kwargs.get("draft_model"))
        self.exact = exact
        self.store = check_store(store, default_store_path())
        self.keep = keep
        self.rpc_servers = rpc_servers
        check_names(kwargs, _ARGUMENTS)
        self.stats = Stats(cumulative=Stats())
        warm_up = WarmUp() if drafting != "off" else None
        self._workers = open_workers(rpc_servers)
        arguments = with_worker_defaults(with_default_threads(kwargs), rpc_servers)
        load(super().__init__, os.fspath(model_path), arguments, self._workers)
        without_cycle(self)
        weights(self)  # the file as it is now: it may be replaced later
        widen(self)
        self._plain_because = plain_because(self)
        # llama.cpp rounds its context up, but the history has only as many places as asked for.
        self._n_ctx = min(self._n_ctx, len(self.input_ids))
        self._access.after_fork = prepare_for_forks(self)
        if self._plain_because is None:
            self._plain_because = open_recurrent(self)
        if self._plain_because is None:
            assert warm_up is not None
            warm_up.wait()
            self._target = open_target(self)
            if self.store is not None:
                self._persistence = Persistence(self.store, self.keep)
            self._loop = build_loop(self, self._target, self._persistence)
            if self._loop is None:
                self._plain_because = NOTHING_PROVED

    def generate(  # noqa: PLR0913, PLR0917 (the signature is that of llama_cpp)
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        typical_p: float = 1.0,
        temp: float = 0.80,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        tfs_z: float = 1.0,
        mirostat_mode: int = 0,
        mirostat_tau: float = 5.0,
        mirostat_eta: float = 0.1,
        penalize_nl: bool = True,
        logits_processor: llama_cpp.LogitsProcessorList | None = None,
        stopping_criteria: llama_cpp.StoppingCriteriaList | None = None,
        grammar: LlamaGrammar | None = None,
    ) -> Tokens:
        """Yield tokens after a prompt, as `llama_cpp.Llama.generate` does.

        Raises:
            PromptError: the prompt is empty or does not fit into the context.
            EvaluationError: the context is full, or llama.cpp refused a batch.
        """
        sampling: dict[str, Any] = {
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "typical_p": typical_p,
            "temp": temp,
            "repeat_penalty": repeat_penalty,
            "frequency_penalty": frequency_penalty,
            "presence_penalty": presence_penalty,
            "tfs_z": tfs_z,
            "mirostat_mode": mirostat_mode,
            "mirostat_tau": mirostat_tau,
            "mirostat_eta": mirostat_eta,
            "penalize_nl": penalize_nl,
            "logits_processor": logits_processor,
            "grammar": grammar,
        }
        inherited: Any = functools.partial(super().generate, **sampling)

        def plainly(tokens: list[int], reset: bool) -> Tokens:
            steps: Tokens = inherited(tokens, reset=reset, stopping_criteria=stopping_criteria)
            return steps

        steps = generated(self, plainly, list(tokens), reset, stopping_criteria, sampling)
        yield from self._access.stream(steps)

    def _create_completion(  # type: ignore[override]  # create_completion passes names only
        self, prompt: str | list[int], **arguments: Any
    ) -> Iterator[Any]:
        if handles(self, prompt, arguments):
            answer = complete(self, prompt, **arguments)
        else:
            inherited: Any = super()._create_completion
            answer = ended_in_time(self, inherited, prompt, arguments)
        return self._access.stream(answer)

    def _init_sampler(self, *args: Any, **kwargs: Any) -> Any:
        # A logits processor's sampler refers to the model, which owns the sampler.
        mine: Any = weakref.proxy(self)
        return without_cycles(llama_cpp.Llama._init_sampler(mine, *args, **kwargs))

    # Beyond llama_cpp.Llama.

    @property
    def costs(self) -> dict[int, float]:
        """Width -> seconds of one evaluation, as known now; empty where nothing is drafted."""
        curve = self._curve()
        return curve.seconds() if curve is not None else {}

    @reading
    def save_kv(self, path: Path) -> None:
        """Write history and KV cache into a file that `load_kv` of the same model can read.

        Raises:
            StoreError: the file cannot be written.
        """
        self._settle(back=True)
        state.save(self, path)

    @alone
    def load_kv(self, path: Path) -> int:
        """Read history and KV cache from a file that `save_kv` wrote.

        Returns:
            Number of tokens in the history. 0 if the file belongs to another model or other
            settings, is damaged, or does not fit into the context; then the history is empty.

        Raises:
            StoreError: the file cannot be read.
        """
        self.reset()
        tokens = state.load(self, path)
        if tokens == 0:
            self.reset()
        return tokens

    @property
    @reading
    def kv_bytes(self) -> int:
        """Size of the file that `save_kv` would write now, about."""
        self._settle()
        return state.size(self)

    def belongs_to(self, conversation: str | None) -> None:
        """Keep what is learned from now on as part of a conversation, given by its uid."""
        if self._persistence is not None:
            self._persistence.source = conversation

    def wait_for_store(self) -> None:
        """Wait until everything that was learned is in the store."""
        if self._persistence is not None:
            self._persistence.wait()

    def close(self) -> None:
        """Save what was learned and free the model.

        Waits for the evaluation that another thread runs; its stream ends with an EvaluationError.
        """
        with self._access.end(CLOSED):
            self._close()

    def _close(self) -> None:
        target, self._target = self._target, None
        if target is not None:
            curve = self._curve()
            if curve is not None:
                save_observed(self, curve, self._persistence)
            target.close()
        persistence, self._persistence = self._persistence, None
        if persistence is not None:
            persistence.close()
        with self._tokenizing:
            super().close()
            # Inherited methods would go on with freed memory and crash the process.
            freed: Any = Freed()
            self._ctx = self._model = self._batch = self.tokenizer_ = freed

    def _curve(self) -> CostCurve | None:
        """The cost curve that decides about drafts."""
        budget = self._loop.budget if self._loop is not None else None
        return budget.curve if isinstance(budget, CostBudget) else None

    def __enter__(self) -> Llama:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        inherited: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        own = {name: getattr(self, name) for name in _OWN}
        return {**inherited, **own}
