"""Files that are no models, and contexts that do not fit: one error, in one line."""

import json
from typing import NamedTuple

import llama_cpp
import psutil
import pytest

from aded_edge import ConfigError, Llama, ModelError
from aded_edge.llamacpp.memory import kv_tokens_and_bytes, metadata_of
from aded_edge.llamacpp.system import captured_log
from tests.runtime.helpers import finished, in_a_process


class Memory(NamedTuple):
    """What psutil says of the memory."""

    total: int


BAD_MODELS = {
    "missing": "does not exist",
    "a folder": "is a folder",
    "empty": "is no GGUF file",
    "text": "is no GGUF file",
    "four bytes": "cut short",
    "a tenth": "cut short",
    "half": "cut short",
    "all but a byte": "cut short",
}


@pytest.fixture(scope="module")
def bad_models(tiny_path, tmp_path_factory):
    """{kind of file: [type of the error, whether it is a ValueError, its text]}"""
    folder, whole = tmp_path_factory.mktemp("bad models"), tiny_path.read_bytes()
    (folder / "a folder").mkdir()
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("Once upon a time")
    (folder / "four bytes").write_bytes(b"GGUF")
    (folder / "a tenth").write_bytes(whole[: len(whole) // 10])
    (folder / "half").write_bytes(whole[: len(whole) // 2])
    (folder / "all but a byte").write_bytes(whole.rstrip(b"\0")[:-1])
    script = """
        said = {}
        for name in json.loads(sys.argv[2]):
            try:
                load(os.path.join(sys.argv[1], name))
            except Exception as error:
                said[name] = [type(error).__name__, isinstance(error, ValueError), str(error)]
        print(json.dumps(said))
    """
    done = in_a_process(script, folder, json.dumps(list(BAD_MODELS)))
    return json.loads(finished(done).splitlines()[-1])


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_a_file_that_is_no_model_is_told_in_one_line(bad_models, kind):
    name, is_value_error, text = bad_models[kind]
    assert name == ModelError.__name__
    assert is_value_error
    assert BAD_MODELS[kind] in text
    assert kind in text
    assert "\n" not in text


@pytest.mark.parametrize("n_ctx", [100_000, 1 << 18])
def test_a_context_that_the_machine_cannot_hold_is_refused_before_it_is_made(n_ctx, tiny_path):
    needed = n_ctx * 2 * 4 * 16 * 8  # layers, heads, elements, two 32-bit floats
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", lambda: Memory(needed - 1))
        with pytest.raises(ModelError, match=f"n_ctx {n_ctx} needs .* GB .* has .* GB") as error:
            Llama(str(tiny_path), n_ctx=n_ctx, type_k=0, type_v=0, store=None, verbose=False)
    assert "\n" not in str(error.value)


def test_the_size_of_a_kv_cache_is_that_which_llama_cpp_allocates(model_path):
    with captured_log() as log:
        llama = llama_cpp.Llama(str(model_path), n_ctx=1024, verbose=True)
    llama.close()
    said = next(line for line in log if "KV buffer size" in line)
    tokens, needed = kv_tokens_and_bytes(metadata_of(str(model_path)), 1024, None, None)
    assert tokens == 1024
    assert f"{needed / (1 << 20):.2f} MiB" in said


def test_the_context_of_the_model_counts_where_none_is_given(model_path):
    assert kv_tokens_and_bytes(metadata_of(str(model_path)), 0, None, None)[0] == 8192
    hybrid = {"general.architecture": "x", "x.ssm.state_size": "4", "x.block_count": "9"}
    assert kv_tokens_and_bytes(hybrid, 9, None, None) == (9, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_ctx": 10**9}, "n_ctx=1000000000"),
        ({"n_ctx": -1}, "n_ctx=-1"),
        ({"n_ctx": 1.5}, "n_ctx=1.5 is no whole number"),
        ({"n_batch": 10**9}, "n_batch=1000000000"),
        ({"n_threads": 100_000}, "n_threads=100000"),
    ],
)
def test_a_number_beyond_reason_is_refused(arguments, words, tiny_path):
    with pytest.raises(ConfigError, match=words):
        Llama(str(tiny_path), store=None, verbose=False, **arguments)
