"""What llama_cpp.Llama builds on `generate`: completions, chats, tools, grammars, logprobs."""

import json

import llama_cpp
import pytest

from tests.runtime.helpers import (
    ASKED,
    CAPITAL,
    OTHER,
    STORY,
    assert_in_agreement,
    history,
    question,
    said,
    streamed,
    take,
)


def test_a_streamed_completion_is_the_whole_one(warm, plain):
    arguments = {"max_tokens": 40, "temperature": 0.0}
    whole = warm.create_completion(STORY, **arguments)
    chunks = warm.create_completion(STORY, stream=True, **arguments)
    assert streamed(chunks) == (said(whole), "length")
    assert said(whole) == said(plain.create_completion(STORY, **arguments))
    assert whole["usage"]["completion_tokens"] == 40


def test_a_streamed_chat_is_the_whole_one(warm, plain):
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    arguments = {"messages": messages, "max_tokens": 24, "temperature": 0.0}
    whole = warm.create_chat_completion(**arguments)
    assert said(whole) == said(plain.create_chat_completion(**arguments))
    text, reason = streamed(warm.create_chat_completion(stream=True, **arguments))
    assert (text, reason) == (said(whole), whole["choices"][0]["finish_reason"])


@pytest.mark.parametrize("place", [3, 9, 15, -3])
@pytest.mark.parametrize("alone", [True, False])
def test_stop_strings_end_where_they_end_in_llama_cpp(warm, plain, truth, place, alone):
    # Stop words are taken from the answer, which differs from CPU to CPU.
    arguments = {"max_tokens": 40, "temperature": 0.0}
    words = plain.create_completion(STORY, **arguments)["choices"][0]["text"].split()
    arguments["stop"] = words[place] if alone else ["zzz", f" {words[place]}"]
    expected = plain.create_completion(STORY, **arguments)
    actual = warm.create_completion(STORY, **arguments)
    assert actual["choices"] == expected["choices"]
    assert actual["choices"][0]["finish_reason"] == "stop"
    chunks = plain.create_completion(STORY, stream=True, **arguments)
    assert streamed(warm.create_completion(STORY, stream=True, **arguments)) == streamed(chunks)
    assert_in_agreement(warm)
    assert take(warm, CAPITAL, 12) == truth(CAPITAL, 12)


@pytest.mark.parametrize("n", range(1, 40))
def test_max_tokens_may_end_inside_an_accepted_path(tiny, tiny_plain, tiny_truth, n):
    outputs = []
    for model in (tiny_plain, tiny):
        model.reset()
        output = model.create_completion(ASKED, max_tokens=n, temperature=0.0)
        outputs.append((output["choices"], output["usage"], history(model)))
    assert outputs[0] == outputs[1]
    assert tiny.stats.tokens == output["usage"]["completion_tokens"] >= n
    assert_in_agreement(tiny)
    assert take(tiny, OTHER, 8) == tiny_truth(OTHER, 8)


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "rivers": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
    },
    "required": ["city", "rivers"],
}


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_json_schema_is_kept(warm, plain, temperature):
    arguments = {
        "messages": [{"role": "user", "content": "Tell me about Paris as JSON."}],
        "response_format": {"type": "json_object", "schema": SCHEMA},
        "max_tokens": 100,
        "temperature": temperature,
        "seed": 3,
    }
    text = said(warm.create_chat_completion(**arguments))
    assert set(json.loads(text)) == {"city", "rivers"}
    assert text == said(plain.create_chat_completion(**arguments))


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called(warm, plain, monkeypatch, stream):
    arguments = {
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "max_tokens": 100,
        "temperature": 0.0,
        "stream": stream,
    }
    calls = []
    for model in (warm, plain):
        monkeypatch.setattr(model, "chat_format", "chatml-function-calling")
        output = model.create_chat_completion(**arguments)
        if stream:
            deltas = [chunk["choices"][0]["delta"] for chunk in output]
            found = [d["tool_calls"][0]["function"] for d in deltas if d.get("tool_calls")]
        else:
            found = [output["choices"][0]["message"]["tool_calls"][0]["function"]]
        calls.append((found[0]["name"], "".join(piece["arguments"] for piece in found)))
    assert calls[0] == calls[1]
    assert calls[0][0] == "weather"
    assert set(json.loads(calls[0][1])) == {"city", "rivers"}


def test_logprobs_are_those_of_llama_cpp(load, model_path, settings):
    small = {"n_ctx": 128, "logits_all": True}
    plain = llama_cpp.Llama(str(model_path), **{**settings, **small})
    arguments = {"max_tokens": 12, "temperature": 0.0, "logprobs": 3}
    expected = plain.create_completion(STORY, **arguments)["choices"][0]["logprobs"]
    plain.close()
    llama = load(eager=True, **small)
    for _ in range(2):
        logprobs = llama.create_completion(STORY, **arguments)["choices"][0]["logprobs"]
        assert_same_logprobs(logprobs, expected)
    assert llama.stats.mat > 4
    chunks = llama.create_completion(STORY, stream=True, **arguments)
    pieces = [p for p in (chunk["choices"][0]["logprobs"] for chunk in chunks) if p]
    together = {name: [p[name][0] for p in pieces] for name in expected}
    assert_same_logprobs(together, expected)


def assert_same_logprobs(actual, expected):
    for name in ("tokens", "text_offset"):
        assert actual[name] == expected[name]
    assert actual["token_logprobs"] == pytest.approx(expected["token_logprobs"], abs=1e-3)
    for ours, theirs in zip(actual["top_logprobs"], expected["top_logprobs"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)


def test_logprobs_need_all_logits(llama):
    with pytest.raises(ValueError, match="logits_all"):
        llama.create_completion("Hello", logprobs=1, max_tokens=1)


def test_logit_bias_echo_and_suffix(warm, plain):
    comma = plain.tokenize(b",", add_bos=False)[0]
    biased = {"max_tokens": 16, "temperature": 0.0, "logit_bias": {comma: -50.0}, "echo": True}
    expected = said(plain.create_completion(STORY, **biased))
    assert said(warm.create_completion(STORY, **biased)) == expected
    assert expected.startswith(STORY)
    filled = {"max_tokens": 8, "temperature": 0.0, "suffix": "\n    return total"}
    expected = said(plain.create_completion("def add(a, b):", **filled))
    assert said(warm.create_completion("def add(a, b):", **filled)) == expected


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 24])
def test_streamed_text_never_holds_half_a_character(warm, plain, n):
    prompt = question("Repeat exactly: 🦊🌙😀 你好，世界！ éàü")
    arguments = {"max_tokens": n, "temperature": 0.0}
    text, _ = streamed(warm.create_completion(prompt, stream=True, **arguments))
    assert "\ufffd" not in text
    assert text == streamed(plain.create_completion(prompt, stream=True, **arguments))[0]
    assert text == said(warm.create_completion(prompt, **arguments))
