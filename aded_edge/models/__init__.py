"""Models: where a GGUF file is, and how it gets there.

Knows paths, file names, the models folder, and repos on the Hugging Face hub with their cache.
Does not know what a GGUF file holds, nor llama.cpp.

Others may use:
    resolve, fetch: a path, a name or `hf:owner/repo` -> the file, downloaded if it is missing.
    all_models, removable, remove: `Model`s on this machine.
    models_folder, hub_cache: the two folders they are in.
    default_model_path, fetch_default_model: the model to use when none is named.

huggingface_hub is not imported until a hub's repo or its cache is asked for.
"""

from .cache import hub_cache
from .default import default_model_path, fetch_default_model
from .folder import models_folder
from .inventory import all_models, removable, remove
from .names import Model
from .resolve import fetch, resolve

__all__ = [
    "Model",
    "all_models",
    "default_model_path",
    "fetch",
    "fetch_default_model",
    "hub_cache",
    "models_folder",
    "removable",
    "remove",
    "resolve",
]
