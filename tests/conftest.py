"""What all tests share: two models, and a data folder that is not the user's.

The real model, SmolLM2, is for tests in which words count. The tiny one has random weights: it
talks nonsense, but each token depends on all tokens before it, and an answer takes milliseconds.
"""

import contextlib
import functools
import itertools
import os
import sys

import llama_cpp
import pytest
from hypothesis import settings

from aded_edge.assistant.kv_states import KVStates
from aded_edge.llamacpp import offloading
from aded_edge.models.default import default_model_path
from aded_edge.store import default_store_path
from tests.architectures import write_architecture
from tests.gguf_files import write_tiny

settings.register_profile("aded-edge", deadline=None)  # no test is timed against a clock
settings.load_profile("aded-edge")

MODEL = default_model_path()  # before a fixture sets another data folder

NODES = 15
"""Draft nodes that an `eager` model evaluates in every step, whatever they cost."""


GPU_LAYERS = int(os.environ.get("ADED_EDGE_TEST_GPU_LAYERS", "0"))
"""Layers of all models on a GPU, -1 for all; scripts/test-gpu sets it. Tests then fail where no
device evaluates."""

ROUNDING = 2e-2 if GPU_LAYERS else 1e-4
"""By so much the tiny model's logits may differ between widths."""

SEED = 49 if GPU_LAYERS else 0
"""Of the tiny model. A device rounds more, so its model has no near ties in the answers of
tests/runtime/helpers.py: 0.005 and more lie between the two likeliest tokens."""


def pytest_collection_modifyitems(items):
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "model_path" in fixtures:
            item.add_marker("model")
        if "tiny_settings" in fixtures and not item.get_closest_marker("cpu"):
            item.add_marker("gpu")


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory):
    """A data folder for tests and the processes that they start, in the place of the user's.

    Saved KV states and the config file have folders of their own, too.
    """
    folder = tmp_path_factory.mktemp("user-data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user-cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("user-config")))
        if sys.platform == "darwin":
            patch.setenv("HOME", str(folder))
        assert default_store_path().is_relative_to(folder), "the user's own store is in danger"
        assert KVStates().folder.is_relative_to(folder.parent), "the user's own cache is in danger"
        yield folder


@pytest.fixture(scope="session")
def model_path():
    """The default model's file."""
    if not MODEL.is_file():
        pytest.fail(f"{MODEL} is missing: run scripts/test, which fetches it", pytrace=False)
    return MODEL


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    """The tiny model's file."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_tiny(path, seed=SEED)
    return path


@pytest.fixture(scope="session")
def architecture_path(tmp_path_factory):
    """kind -> the file of a tiny model of this architecture (a key of ARCHITECTURES)."""
    folder = tmp_path_factory.mktemp("architectures")

    @functools.cache
    def written(kind):
        path = folder / f"{kind}.gguf"
        write_architecture(path, kind)
        return path

    return written


@pytest.fixture(scope="session")
def settings():
    """Arguments of every model. One thread, because llama.cpp's threads spin at barriers.

    With one thread and flash attention SmolLM2 gives the same bits at all widths up to 16, in
    llama.cpp's default build and in one without llamafile; test_exactness.py holds that. So these
    tests may demand identical answers in both.
    """
    if GPU_LAYERS and not offloading.found():
        pytest.fail("llama.cpp finds no device for ADED_EDGE_TEST_GPU_LAYERS", pytrace=False)
    return {
        "n_ctx": 1024,
        "n_threads": 1,
        "n_threads_batch": 1,
        "n_gpu_layers": GPU_LAYERS,
        "flash_attn": True,
        "verbose": False,
    }


@pytest.fixture(scope="session")
def tiny_settings(tiny_path, settings):
    """Arguments of the tiny model. With a float32 KV cache the order of its cells hardly counts."""
    precise = {"type_k": 0, "type_v": 0, "flash_attn": False}
    return {**settings, "model_path": str(tiny_path), **precise}


@pytest.fixture(scope="session")
def plain(model_path, settings):
    """llama_cpp's own Llama, with which every answer is compared."""
    llama = llama_cpp.Llama(str(model_path), **settings)
    yield llama
    llama.close()


@pytest.fixture(scope="session")
def tiny_plain(tiny_settings):
    """llama_cpp's own Llama with the tiny model."""
    llama = llama_cpp.Llama(**tiny_settings)
    yield llama
    llama.close()


class Truth:
    """(prompt, n) -> the n tokens of plain greedy decoding, each computed once."""

    def __init__(self, plain):
        self._plain = plain
        self._known = {}

    def __call__(self, prompt, n):
        plain = self._plain
        if isinstance(prompt, str):
            prompt = plain.tokenize(prompt.encode(), add_bos=False, special=True)
        tokens = self._known.get(tuple(prompt), [])
        if len(tokens) < n:
            plain.reset()
            stream = plain.generate(prompt, temp=0.0)
            tokens = self._known[tuple(prompt)] = list(itertools.islice(stream, n))
        return tokens[:n]


@pytest.fixture(scope="session")
def truth(plain):
    """Plain greedy decoding with the real model."""
    return Truth(plain)


@pytest.fixture(scope="session")
def tiny_truth(tiny_plain):
    """Plain greedy decoding with the tiny model."""
    return Truth(tiny_plain)


@pytest.fixture(scope="session")
def loader(settings):
    """A context manager: gives `load(eager=False, **arguments)`, and closes all models."""

    @contextlib.contextmanager
    def loader():
        from aded_edge import Llama
        from aded_edge.decode.budget import FixedBudget

        def load(eager=False, **changes):
            llama = stack.enter_context(Llama(**{**settings, "store": None, **changes}))
            if GPU_LAYERS and llama.model_params.n_gpu_layers:
                assert offloading.evaluating(llama), "the CPU evaluates instead of the device"
            if eager:
                llama._loop.budget = FixedBudget(NODES)
            return llama

        with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
            # These tests do not depend on the costs, so one round of measurements is enough.
            patch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.3)
            yield load

    return loader


@pytest.fixture
def load(loader, model_path):
    """Loads real models for one test."""
    with loader() as load:
        yield functools.partial(load, model_path=model_path)


@pytest.fixture
def load_tiny(loader, tiny_settings):
    """Loads tiny models for one test."""
    with loader() as load:
        yield functools.partial(load, **tiny_settings)


@pytest.fixture(scope="module")
def llama(loader, model_path):
    """The real model as users have it: it drafts where that pays."""
    with loader() as load:
        yield load(model_path=model_path)
