"""What all tests share: two models, and a data folder that is not the user's.

The real one, SmolLM2, is where words count. The tiny one has random weights: it talks nonsense,
but each token depends on all before it, and a whole answer takes milliseconds.
"""

import contextlib
import functools
import itertools
import struct
import sys

import llama_cpp
import numpy as np
import pytest

from aded_edge.models.default import default_model_path
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
def tiny_path(tmp_path_factory):
    """The tiny model's file."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    path.write_bytes(tiny_gguf())
    return path


@pytest.fixture(scope="session")
def settings():
    """Arguments of every model: one thread, as llama.cpp's threads spin while others work."""
    return {"n_ctx": 1024, "n_threads": 1, "n_threads_batch": 1, "verbose": False}


@pytest.fixture(scope="session")
def tiny_settings(tiny_path, settings):
    """The tiny model's. Its KV is float32: there the order of cells changes next to nothing."""
    return {**settings, "model_path": str(tiny_path), "type_k": 0, "type_v": 0}


@pytest.fixture(scope="session")
def plain(model_path, settings):
    """llama_cpp's own Llama: what every answer is compared with."""
    llama = llama_cpp.Llama(str(model_path), **settings)
    yield llama
    llama.close()


@pytest.fixture(scope="session")
def tiny_plain(tiny_settings):
    """The same with the tiny model."""
    llama = llama_cpp.Llama(**tiny_settings)
    yield llama
    llama.close()


class Truth:
    """(prompt, n) -> the n tokens that plain greedy decoding gives, remembered."""

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
    """What the real model says."""
    return Truth(plain)


@pytest.fixture(scope="session")
def tiny_truth(tiny_plain):
    """What the tiny model says."""
    return Truth(tiny_plain)


@pytest.fixture(scope="session")
def loader(settings):
    """A context manager that gives `load(eager=False, **arguments)`, and closes all models."""

    @contextlib.contextmanager
    def loader():
        from aded_edge import Llama
        from aded_edge.decode.budget import FixedBudget

        def load(eager=False, **changes):
            llama = stack.enter_context(Llama(**{**settings, "store": None, **changes}))
            if eager:
                llama._loop.budget = FixedBudget(NODES)
            return llama

        with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
            # One round of measurements is enough where speed is not the question.
            patch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.0)
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
    """The real model as users have it: it drafts what pays."""
    with loader() as load:
        yield load(model_path=model_path)


# --- a GGUF file with random weights --------------------------------------------------------


def tiny_gguf(width=64, layers=2, context=2048):
    """The bytes of a Llama whose tokens are bytes."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    metadata = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.context_length": context,
        "llama.embedding_length": width,
        "llama.block_count": layers,
        "llama.feed_forward_length": 2 * width,
        "llama.attention.head_count": 4,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": width // 4,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        # unknown, two of control, bytes
        "tokenizer.ggml.token_type": [np.int32(kind) for kind in (2, 3, 3, *[6] * 256)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    shapes = {"token_embd": (len(tokens), width), "output": (len(tokens), width)}
    shapes["output_norm"] = (width,)
    for layer in range(layers):
        block = f"blk.{layer}."
        shapes |= {block + name: (width,) for name in ("attn_norm", "ffn_norm")}
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[block + name] = (width, width)
        shapes |= {block + name: (2 * width, width) for name in ("ffn_gate", "ffn_up")}
        shapes[block + "ffn_down"] = (width, 2 * width)

    rng = np.random.default_rng(0)
    infos, data = b"", b""
    for name, shape in shapes.items():
        weights = np.ones(shape, np.float32)
        if len(shape) == 2:
            weights = rng.standard_normal(shape, np.float32) / np.sqrt(shape[1])
            weights *= 3 if "attn" in name else 1  # attention counts, or history would not
        sizes = struct.pack(f"<{len(shape)}Q", *shape[::-1])
        infos += _string(name + ".weight") + struct.pack("<I", len(shape)) + sizes
        infos += struct.pack("<IQ", 0, len(data))
        data += _padded(weights.astype("<f4").tobytes())
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    return _padded(head + infos) + data


def _value(value):
    if isinstance(value, list):
        items = [_value(item) for item in value]
        return struct.pack("<I", 9) + items[0][:4] + _list(item[4:] for item in items)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<Ii", 5 if isinstance(value, np.int32) else 4, value)


def _list(items):
    items = list(items)
    return struct.pack("<Q", len(items)) + b"".join(items)


def _string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _padded(data):
    return data + b"\0" * (-len(data) % 32)
