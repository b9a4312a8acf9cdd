"""Llama as a drop-in: it has the names of llama_cpp.Llama and takes its arguments."""

import inspect
import types

import llama_cpp
import pytest

from aded_edge import ConfigError, Llama
from tests.runtime.helpers import ASKED, take


def test_every_public_name_of_llama_cpp_is_there(llama, plain):
    names = {name for name in (*dir(plain), *vars(plain)) if not name.startswith("__")}
    assert {name for name in names if not hasattr(llama, name)} == set()


METHODS = [n for n, _ in inspect.getmembers(llama_cpp.Llama, callable) if not n.startswith("_")]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_the_arguments_of_llama_cpp(name):
    theirs = inspect.signature(getattr(llama_cpp.Llama, name)).parameters
    ours = inspect.signature(getattr(Llama, name)).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in ours.values()):
        assert list(ours)[: len(theirs)] == list(theirs)
        assert [ours[n].default for n in theirs] == [p.default for p in theirs.values()]


def test_the_constructor_takes_every_argument_of_llama_cpp(load_tiny, tiny_truth):
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(llama_cpp.Llama.__init__).parameters.items()
        if parameter.default is not parameter.empty
    }
    assert len(defaults) > 40
    llama = load_tiny(**{**defaults, "n_threads": 1, "verbose": False})
    assert take(llama, ASKED, 20) == tiny_truth(ASKED, 20)


def test_an_unknown_argument_is_refused_with_the_nearest_name(tiny_path):
    with pytest.raises(ConfigError, match=r"'n_thread'.* 'n_threads'") as caught:
        Llama(tiny_path, n_thread=1)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ConfigError, match="no argument 'qqqq'"):
        Llama(tiny_path, qqqq=1)


def test_from_pretrained_gives_ours(monkeypatch, tiny_path):
    """The hub is a stand-in: one repository, whose file is the tiny model."""
    hub = types.SimpleNamespace(ls=lambda *_, **__: [f"somebody/model/{tiny_path.name}"])
    monkeypatch.setattr("huggingface_hub.HfFileSystem", lambda: hub)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda **_: str(tiny_path))
    found = Llama.from_pretrained("somebody/model", "*.gguf", verbose=False, drafting="off")
    assert type(found) is Llama
    assert found.drafting == "off"
    found.close()
