"""Opening the model of an assistant, with the defaults of a chat.

Knows how a model is found and loaded. Does not know conversations.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from aded_edge import models
from aded_edge.errors import ConfigError, ModelError
from aded_edge.llamacpp.purpose import why_no_answer
from aded_edge.runtime.llama import Llama
from aded_edge.runtime.options import default_threads

from .keeping import Keeping
from .settings import Persona


def model_of(persona: Persona | None) -> str | None:
    """The model that a persona names, or None."""
    return persona.options.get("model") if persona else None


def open_model(
    model: str | os.PathLike[str] | None, keeping: Keeping, loading: Mapping[str, Any]
) -> Llama:
    """Load a model.

    Raises:
        ConfigError: none was given.
        ModelError: it cannot be found or loaded, or writes no answers.
    """
    if model is None:
        raise ConfigError("no model was given; give a file, a name in models/ or hf:owner/repo")
    threads = loading.get("n_threads") or default_threads()
    options: dict[str, Any] = {
        "n_ctx": 4096,
        "n_gpu_layers": -1,
        "verbose": False,
        "n_threads_batch": threads,
    }
    options |= {**loading, "n_threads": threads}
    store = keeping.store.path if keeping.store is not None else None
    llama = Llama(models.resolve(model), store=store, keep=keeping.keep, **options)
    refusal = why_no_answer(llama)
    if refusal is not None:
        llama.close()
        raise ModelError(refusal)
    return llama
