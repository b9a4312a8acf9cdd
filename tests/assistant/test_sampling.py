"""The sampling that a model file recommends."""

import pytest

from aded_edge.assistant import Assistant
from aded_edge.assistant.sampling import recommended_sampling
from aded_edge.assistant.settings import Persona

RECOMMENDED = {"general.sampling.temp": "0.6", "general.sampling.top_k": "20"}


def test_what_the_file_recommends_is_translated():
    metadata = {**RECOMMENDED, "general.sampling.penalty_repeat": "1.05", "general.name": "x"}
    assert recommended_sampling(metadata) == {
        "temperature": 0.6,
        "top_k": 20,
        "repeat_penalty": 1.05,
    }
    assert isinstance(recommended_sampling(metadata)["top_k"], int)
    assert recommended_sampling({}) == {}


@pytest.mark.parametrize("value", ["", "warm", "nan", "inf", "-1", "1e9"])
def test_nonsense_in_a_file_is_left_out(value):
    assert recommended_sampling({"general.sampling.temp": value}) == {}


def test_persona_and_arguments_come_before_it(open_assistant, monkeypatch):
    known = open_assistant().llama
    monkeypatch.setitem(known.metadata, "general.sampling.temp", "0.6")
    monkeypatch.setitem(known.metadata, "general.sampling.top_k", "20")
    persona = Persona("p", {"top_k": 5})
    with Assistant(known, store=None, persona=persona) as assistant:
        assert assistant.sampling == {"temperature": 0.6, "top_k": 5}
    with Assistant(known, store=None, persona=persona, sampling={"temperature": 0.0}) as assistant:
        assert assistant.sampling == {"temperature": 0.0, "top_k": 5}
