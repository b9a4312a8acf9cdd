"""What all tests share: the real model, and a data folder that is not the user's."""

import contextlib
import itertools
import sys

import llama_cpp
import pytest

from aded_edge.fetch import default_model_path
from aded_edge.store import default_store_path

MODEL = default_model_path()  # asked before the data folder moves

NODES = 15
"""Draft nodes that an `eager` model takes in every step, whatever they cost."""


def pytest_collection_modifyitems(items):
    for item in items:
        if "model_path" in getattr(item, "fixturenames", ()):
            item.add_marker("model")


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory):
    """No test, nor any process it starts, ever touches the real user's store."""
    folder = tmp_path_factory.mktemp("user-data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        if sys.platform == "darwin":
            patch.setenv("HOME", str(folder))
        assert default_store_path().is_relative_to(folder), "the user's own store is in danger"
        yield folder


@pytest.fixture(scope="session")
def model_path():
    """The default model's file."""
    if not MODEL.is_file():
        pytest.fail(f"{MODEL} is missing: run scripts/test, which fetches it", pytrace=False)
    return MODEL


@pytest.fixture(scope="session")
def options(model_path):
    """Arguments of every model: one thread, as llama.cpp's threads spin while others work."""
    return {
        "model_path": str(model_path),
        "n_ctx": 1024,
        "n_threads": 1,
        "n_threads_batch": 1,
        "verbose": False,
    }


@pytest.fixture(scope="session")
def plain(options):
    """llama_cpp's own Llama: what every answer is compared with."""
    llama = llama_cpp.Llama(**options)
    yield llama
    llama.close()


@pytest.fixture(scope="session")
def truth(plain):
    """(prompt, n) -> the n tokens that plain greedy decoding gives, remembered."""
    known = {}

    def truth(prompt, n):
        tokens = known.get(prompt, [])
        if len(tokens) < n:
            plain.reset()
            stream = plain.generate(tokenized(plain, prompt), temp=0.0)
            tokens = known[prompt] = list(itertools.islice(stream, n))
        return tokens[:n]

    return truth


@pytest.fixture(scope="session")
def loader(options):
    """A context manager that gives a function to load models, and closes them."""

    @contextlib.contextmanager
    def loader():
        from aded_edge import Llama

        with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
            # One round of measurements is enough where speed is not the question.
            patch.setattr("aded_edge.llama.MEASURE_SECONDS", 0.0)

            def load(eager=False, **changes):
                llama = stack.enter_context(Llama(**{**options, "store": None, **changes}))
                return drafts_always(llama) if eager else llama

            yield load

    return loader


@pytest.fixture
def load(loader):
    """Loads models for one test: `load(eager=False, **arguments)`."""
    with loader() as load:
        yield load


@pytest.fixture(scope="module")
def llama(loader):
    """A model as users have it: it drafts what pays."""
    with loader() as load:
        yield load()


@pytest.fixture(scope="module")
def eager(loader):
    """A model that evaluates every draft: no test of drafts depends on the machine's speed."""
    with loader() as load:
        yield load(eager=True)


def drafts_always(llama):
    from aded_edge.decode.budget import FixedBudget

    llama._loop.budget = FixedBudget(NODES)
    return llama


def tokenized(llama, prompt):
    return llama.tokenize(prompt.encode(), add_bos=False, special=True)
