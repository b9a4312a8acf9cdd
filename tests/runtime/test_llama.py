"""Llama as a drop-in: it takes what llama_cpp.Llama takes, and says what that one says.

`truth` is what llama_cpp's own Llama says. Where words count the model is the real one; where
only the machinery counts it is the tiny one, and the tests go through every token and line.
Eager models evaluate every draft, so that nothing depends on what an evaluation costs here.
"""

import contextlib
import inspect
import itertools
import json
import logging
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections import Counter

import llama_cpp
import numpy as np
import pytest

import aded_edge.decode.accept
import aded_edge.decode.loop
import aded_edge.llamacpp.target
import aded_edge.runtime.llama
from aded_edge import ConfigError, EvaluationError, Llama, ModelError, PromptError
from aded_edge.decode.cost_curve import CostCurve
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.store import Part, Store


def question(text):
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


STORY = question("Write a short story about a fox.")
CAPITAL = question("What is the capital of France?")
QUESTIONS = [
    STORY,
    CAPITAL,
    question("Explain photosynthesis to a child."),
    question("Why is the sky blue?"),
    question("Write a Python function that reverses a list."),
    question("Give me a JSON object describing a person with name, age and city."),
    question("Repeat the word hello ten times."),
    question("用中文写一首关于月亮的短诗。"),
    question("Write an email declining a meeting."),
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,",
]

# For the tiny model, whose tokens are bytes.
ASKED, OTHER = [1, 70, 80, 90], [1, 99, 120, 55, 60, 33]


def tokenized(llama, prompt):
    return llama.tokenize(prompt.encode(), add_bos=False, special=True)


def take(llama, prompt, n, **sampling):
    """The next n tokens behind a prompt (text or tokens), greedy unless told otherwise."""
    tokens = tokenized(llama, prompt) if isinstance(prompt, str) else prompt
    stream = llama.generate(tokens, **{"temp": 0.0, **sampling})
    taken = list(itertools.islice(stream, n))
    stream.close()
    return taken


def said(completion):
    choice = completion["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"]


def streamed(chunks):
    """(text, last finish_reason) of a stream of completion or chat chunks."""
    text, reason = "", None
    for chunk in chunks:
        choice = chunk["choices"][0]
        text += choice["text"] if "text" in choice else choice["delta"].get("content") or ""
        reason = choice["finish_reason"]
    return text, reason


def history(llama):
    return llama.input_ids[: llama.n_tokens].tolist()


def assert_in_agreement(llama):
    """The KV holds the history, on sequence 0 alone."""
    memory = llama_cpp.llama_get_memory(llama.ctx)
    assert llama_cpp.llama_memory_seq_pos_max(memory, 0) == llama.n_tokens - 1
    assert llama_cpp.llama_memory_seq_pos_min(memory, 0) == (0 if llama.n_tokens else -1)
    for sequence in range(1, llama.context_params.n_seq_max):
        assert llama_cpp.llama_memory_seq_pos_max(memory, sequence) == -1


def assert_in_agreement_once_settled(llama):
    """The same where an evaluation may still be pending: whatever uses the KV settles first."""
    llama._settle()
    assert_in_agreement(llama)


@pytest.fixture(scope="module")
def warmed(loader, model_path):
    with loader() as load:
        llama = load(model_path=model_path, eager=True)
        take(llama, CAPITAL, 24)
        for _ in range(2):
            take(llama, STORY, 64)
        assert llama.stats.mat > 8
        yield llama


@pytest.fixture
def warm(warmed):
    """The real model, eager, which knows two answers: its drafts are long."""
    warmed.reset()
    return warmed


@pytest.fixture(scope="module", params=["chains", "trees"])
def tiny_warmed(request, loader, tiny_settings, tiny_truth):
    with loader() as load:
        trees = request.param == "trees"
        drafting = "paper" if trees else "auto"
        llama = load(**tiny_settings, eager=not trees, drafting=drafting)
        for prompt in (OTHER, ASKED, OTHER, ASKED):
            assert take(llama, prompt, 64) == tiny_truth(prompt, 64)
        assert llama.stats.mat > (3 if trees else 8)
        yield llama


@pytest.fixture
def tiny(tiny_warmed):
    """The tiny model, which knows two answers: once it drafts chains, once the paper's trees."""
    tiny_warmed.reset()
    return tiny_warmed


# --- names and arguments --------------------------------------------------------------------


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


@pytest.mark.parametrize("value", ["on", "", None, True, 1, ["auto"]])
def test_an_unknown_drafting_names_the_choices(tiny_path, value):
    with pytest.raises(ConfigError, match=r"'auto', 'off', 'paper'"):
        Llama(tiny_path, drafting=value)


@pytest.mark.parametrize("value", [True, 1, b"store.db", ["a"]])
def test_an_unknown_store_names_the_choices(tiny_path, value):
    with pytest.raises(ConfigError, match="neither a path, nor 'default', nor None"):
        Llama(tiny_path, store=value)


def test_from_pretrained_gives_ours(monkeypatch, tiny_path):
    """huggingface_hub is not installed here; this stands in for it."""
    hub, utils = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.utils")
    files = [f"somebody/model/{tiny_path.name}"]
    hub.HfFileSystem = lambda: types.SimpleNamespace(ls=lambda *_, **__: files)
    hub.hf_hub_download = lambda **_: str(tiny_path)
    utils.validate_repo_id = lambda _: None
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", utils)
    found = Llama.from_pretrained("somebody/model", "*.gguf", verbose=False, drafting="off")
    assert type(found) is Llama
    assert found.drafting == "off"
    found.close()


# --- the same words -------------------------------------------------------------------------


def test_greedy_answers_are_those_of_llama_cpp_at_first_and_once_known(load, truth):
    llama = load()
    for _ in range(2):
        for prompt in QUESTIONS:
            assert take(llama, prompt, 64) == truth(prompt, 64)


def test_greedy_answers_stay_the_same_when_every_draft_is_evaluated(load, truth):
    llama = load(eager=True)
    for prompt in QUESTIONS[2:5]:
        for _ in range(2):
            assert take(llama, prompt, 48) == truth(prompt, 48)
        assert llama.stats.mat > 6


def logits(llama):
    return np.ctypeslib.as_array(llama._ctx.get_logits_ith(-1), (llama.n_vocab(),)).copy()


def one_by_one(plain, prompt, tokens):
    """Plain's logits behind the prompt and each of the tokens."""
    plain.reset()
    plain.eval(tokenized(plain, prompt))
    rows = [logits(plain)]
    for token in tokens:
        plain.eval([token])
        rows.append(logits(plain))
    return rows


def out_of_order(llama, prompt, tokens):
    """The same by little trees: each commit leaves holes, and the KV's cells out of order."""
    llama.reset()
    llama.eval(tokenized(llama, prompt))
    target = llama._target
    rows = [target.logits().copy()]
    for root, child in itertools.zip_longest(tokens[::2], tokens[1::2]):
        nodes = np.asarray([7, 11, child or 0, 13], np.int32)
        found = target.evaluate(root, nodes, np.full(4, -1, np.int32))
        rows += [found[0].copy(), found[3].copy()]
        target.advance(0)
        if child is not None:
            target.advance(3)
        target.settle()
    return rows[: len(tokens) + 1]


def gap(row, first, second):
    return float(row[first] - row[second])


def test_paper_differs_only_where_the_order_of_cells_decides(load, plain, truth):
    """A tree's commit leaves the KV out of order, and so sums in another order."""
    prompts, n = QUESTIONS[2:5], 32
    paper = load(drafting="paper")
    answers = {(visit, prompt): take(paper, prompt, n) for visit in (1, 2) for prompt in prompts}
    assert paper.stats.mat > 2
    noise, differences = 0.0, []
    for prompt in prompts:
        tokens = truth(prompt, n)
        rows = one_by_one(plain, prompt, tokens)
        for row, other in zip(rows, out_of_order(paper, prompt, tokens), strict=True):
            best, second = np.argsort(row)[-1:-3:-1]
            noise = max(noise, abs(gap(row, best, second) - gap(other, best, second)))
        for answer in (answers[visit, prompt] for visit in (1, 2)):
            pairs = zip(rows, tokens, answer, strict=False)
            gaps = [gap(row, token, ours) for row, token, ours in pairs if token != ours]
            differences += gaps[:1]
    assert noise < 2, "that is another answer, not another order"
    assert all(difference <= noise for difference in differences)


SAMPLINGS = {
    "greedy": {},
    "temperature": {"temp": 0.8},
    "everything open": {"temp": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    "narrow": {"temp": 0.7, "top_k": 5, "top_p": 0.5, "min_p": 0.2},
    "typical": {"temp": 0.9, "typical_p": 0.5},
    "no temperature": {"temp": -1.0},
    "penalties, greedy": {"repeat_penalty": 1.3, "frequency_penalty": 0.3},
    "penalties": {"temp": 0.8, "repeat_penalty": 1.2, "presence_penalty": 0.5},
    "mirostat 1": {"temp": 0.8, "mirostat_mode": 1},
    "mirostat 2": {"temp": 0.8, "mirostat_mode": 2, "mirostat_tau": 3.0, "mirostat_eta": 0.2},
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_a_seed_draws_what_it_draws_in_llama_cpp(tiny, tiny_plain, sampling):
    accepted = 0
    for seed in range(1, 11):
        tiny_plain.set_seed(seed)
        tiny_plain.reset()
        expected = take(tiny_plain, ASKED, 64, **sampling)
        for _ in range(2):  # the second time the answer is known, and drafts are accepted
            tiny.set_seed(seed)
            assert take(tiny, ASKED, 64, **sampling) == expected
        accepted += tiny.stats.accepted
    assert accepted > 100


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_completion_with_a_seed_is_that_of_llama_cpp(warm, plain, seed):
    arguments = {"max_tokens": 24, "temperature": 0.8, "seed": seed}
    expected = said(plain.create_completion(STORY, **arguments))
    for _ in range(2):
        assert said(warm.create_completion(STORY, **arguments)) == expected
    assert warm.stats.accepted >= 12


# --- what llama_cpp.Llama builds on generate ------------------------------------------------


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
    # Words of this machine's own answer: on another CPU it is another one.
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


def test_every_logit_is_kept_where_all_are_asked_for(
    load_tiny, tiny_settings, tiny_truth, monkeypatch
):
    small = {"n_ctx": 128, "logits_all": True}
    plain = llama_cpp.Llama(**{**tiny_settings, **small})
    llama = load_tiny(eager=True, **small)
    for n in (2, 17, 40, 40):
        for model in (plain, llama):
            assert take(model, ASKED, n) == tiny_truth(ASKED, n)
        np.testing.assert_allclose(llama._scores, plain._scores, atol=1e-4)
    assert llama.stats.mat > 6
    plain.close()


def test_logprobs_need_all_logits(llama):
    with pytest.raises(ValueError, match="logits_all"):
        llama.create_completion("Hello", logprobs=1, max_tokens=1)


@pytest.mark.parametrize("extra", range(22))
def test_stopping_criteria_see_and_stop_the_same(tiny, tiny_plain, extra):
    """The last call is llama_cpp's own, behind the last token."""
    outcomes = []
    for model in (tiny_plain, tiny):
        seen = []

        def criterion(input_ids, logits, seen=seen):
            seen.append(input_ids.tolist())
            assert logits.shape == (tiny_plain.n_vocab(),)
            return len(input_ids) >= len(ASKED) + extra

        model.reset()
        output = model.create_completion(
            ASKED,
            max_tokens=20,
            temperature=0.0,
            stopping_criteria=llama_cpp.StoppingCriteriaList([criterion]),
        )
        outcomes.append((seen, history(model), output["choices"], output["usage"]))
    assert outcomes[0] == outcomes[1]
    assert_in_agreement(tiny)


def test_a_stopping_criterion_sees_the_logits_behind_the_history(tiny, tiny_plain, tiny_truth):
    expected, seen = [], []
    tiny_plain.reset()
    for tokens in (ASKED, *([token] for token in tiny_truth(ASKED, 39))):
        tiny_plain.eval(tokens)
        expected.append(logits(tiny_plain))
    take(tiny, ASKED, 40, stopping_criteria=lambda ids, row: seen.append(np.array(row)))
    np.testing.assert_allclose(seen, expected, atol=1e-4)


@pytest.mark.parametrize("temp", [0.0, 0.8])
def test_a_logits_processor_sees_and_changes_the_same(tiny, tiny_plain, temp):
    outcomes = []
    for model in (tiny_plain, tiny, tiny):
        seen, figures = [], []

        def processor(input_ids, logits, seen=seen, figures=figures):
            seen.append(input_ids.tolist())
            figures.append(logits.copy())
            logits[100:200] = -100.0
            return logits

        model.reset()
        model.set_seed(11)
        processors = llama_cpp.LogitsProcessorList([processor])
        answer = take(model, ASKED, 40, temp=temp, logits_processor=processors)
        assert not any(100 <= token < 200 for token in answer)
        outcomes.append((answer, seen, figures))
    assert tiny.stats.accepted > 10
    for answer, seen, figures in outcomes[1:]:
        assert (answer, seen) == outcomes[0][:2]
        np.testing.assert_allclose(figures, outcomes[0][2], atol=1e-4)


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


BATCHES = [(1, 1), (2, 1), (5, 5), (16, 7), (31, 31), (64, 4), (64, 64), (512, 8)]


@pytest.mark.parametrize(("n_batch", "n_ubatch"), BATCHES)
@pytest.mark.parametrize("drafting", ["auto", "paper"])
def test_prompts_and_drafts_may_be_longer_than_a_batch(
    load_tiny, tiny_truth, n_batch, n_ubatch, drafting
):
    options = {"n_batch": n_batch, "n_ubatch": n_ubatch, "drafting": drafting}
    llama = load_tiny(eager=drafting == "auto", **options)
    for prompt in (ASKED, 13 * OTHER, ASKED, 13 * OTHER):
        assert take(llama, prompt, 40) == tiny_truth(prompt, 40)
        assert_in_agreement(llama)


# --- interruptions --------------------------------------------------------------------------


def closed(stream):
    stream.close()
    return []


def thrown_into(stream):
    with pytest.raises(ZeroDivisionError):
        stream.throw(ZeroDivisionError())
    return []


def ctrl_c_at_a_token(stream):
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt())
    return []


def ctrl_c_while_evaluating(stream):
    """As it happens most: llama_decode has returned, and then Python sees the signal."""
    real, taken = llama_cpp.llama_decode, []

    def decode(*arguments):
        real(*arguments)
        signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama_cpp, "llama_decode", decode)
        with pytest.raises(KeyboardInterrupt):
            taken.extend(stream)
    return taken


def refused_by_llama_cpp(stream):
    real, taken = llama_cpp.llama_decode, []

    def decode(*arguments):
        real(*arguments)
        return -3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama_cpp, "llama_decode", decode)
        with pytest.raises(EvaluationError, match="returned -3"):
            taken.extend(stream)
    return taken


def left_alone(stream):
    return []


INTERRUPTIONS = [
    closed,
    thrown_into,
    ctrl_c_at_a_token,
    ctrl_c_while_evaluating,
    refused_by_llama_cpp,
    left_alone,
]


@pytest.mark.parametrize("follow_up", ["the same", "continued", "shorter", "another"])
@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_after_an_interruption_the_model_goes_on_as_a_fresh_one(
    tiny, tiny_truth, interrupt, follow_up
):
    """Each follow-up finds another part of its prompt in the KV."""
    whole = tiny_truth(ASKED, 64)
    for k in range(1, 40):
        stream = tiny.generate(ASKED, temp=0.0)
        taken = list(itertools.islice(stream, k))
        taken += interrupt(stream)
        n = len(taken)
        assert taken == whole[:n]
        assert history(tiny) in ([*ASKED, *taken][:-1], [*ASKED, *taken])
        if interrupt is closed:
            assert_in_agreement(tiny)
        if follow_up == "the same":
            assert take(tiny, ASKED, 8) == whole[:8]
        elif follow_up == "continued":
            assert take(tiny, [*ASKED, *taken], 8) == whole[n : n + 8]
        elif follow_up == "shorter":
            middle = n // 2
            assert take(tiny, [*ASKED, *taken[:middle]], 8) == whole[middle : middle + 8]
        assert take(tiny, OTHER, 8) == tiny_truth(OTHER, 8)
        assert_in_agreement(tiny)
        del stream
        assert_in_agreement(tiny)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_stopping_criterion_may_raise(tiny, tiny_truth, error):
    for k in range(40):
        calls = itertools.count()

        def criterion(input_ids, logits, k=k, calls=calls):
            if next(calls) == k:
                raise error

        with pytest.raises(error):
            take(tiny, ASKED, 64, stopping_criteria=criterion)
        assert history(tiny) == [*ASKED, *tiny_truth(ASKED, k)]
        assert_in_agreement(tiny)
        assert take(tiny, ASKED, 20) == tiny_truth(ASKED, 20)
        assert take(tiny, OTHER, 8) == tiny_truth(OTHER, 8)


@pytest.mark.parametrize("k", [1, 3, 18])
def test_a_chat_stream_may_be_dropped_anywhere(warm, truth, k):
    messages = [{"role": "user", "content": "Write a short story about a fox."}]
    stream = warm.create_chat_completion(messages, stream=True, temperature=0.0)
    list(itertools.islice(stream, k))
    del stream
    assert_in_agreement(warm)
    assert take(warm, CAPITAL, 8) == truth(CAPITAL, 8)


MODULES = (
    aded_edge.runtime.llama,
    aded_edge.decode.loop,
    aded_edge.decode.accept,
    aded_edge.llamacpp.target,
)
FILES = {module.__file__ for module in MODULES}


@contextlib.contextmanager
def tracing(at_line):
    """Calls at_line(file, line) before every line of the modules that decode."""

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            at_line(frame.f_code.co_filename, frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("occurrence", ["first", "middle", "last"])
def test_ctrl_c_at_any_line_leaves_all_in_order(tiny, tiny_truth, occurrence):
    def answer():
        stream = tiny.generate(ASKED, temp=0.0)
        try:
            return list(itertools.islice(stream, 40))
        finally:
            stream.close()

    lines, harmful, interrupted = Counter(), [], 0
    take(tiny, OTHER, 2)
    with tracing(lambda *line: lines.update([line])):
        assert answer() == tiny_truth(ASKED, 40)
    assert len(lines) > 80

    for line, times in lines.items():
        left = {"first": 1, "middle": times // 2 + 1, "last": times}[occurrence]

        def interrupt(*here, line=line):
            nonlocal left
            left -= here == line
            if here == line and left == 0:
                raise KeyboardInterrupt

        take(tiny, OTHER, 2)
        try:
            with tracing(interrupt):
                answer()
        except KeyboardInterrupt:
            interrupted += 1
        try:
            assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)
            assert_in_agreement(tiny)
            assert take(tiny, OTHER, 8) == tiny_truth(OTHER, 8)
            assert_in_agreement(tiny)
        except Exception as error:
            harmful.append((os.path.basename(line[0]), line[1], repr(error)[:80]))
            tiny.reset()
    assert harmful == []
    assert interrupted > 0.8 * len(lines)  # trees grow with what is learned, and take others


# --- the consumer uses the model between two tokens -----------------------------------------

BETWEEN_TOKENS = {
    "tokenize": lambda llama, token: llama.tokenize(b"Hello, world"),
    "save_state": lambda llama, token: llama.save_state(),
    "save and load": lambda llama, token: llama.load_state(llama.save_state()),
    "sample": lambda llama, token: llama.sample(temp=0.0),
    "set_seed": lambda llama, token: llama.set_seed(5),
    "eval another token": lambda llama, token: llama.eval([100]),
    "eval more": lambda llama, token: llama.eval([100, 200, 50]),
    "eval the token itself": lambda llama, token: llama.eval([token]),
}


@pytest.mark.parametrize("use", BETWEEN_TOKENS.values(), ids=BETWEEN_TOKENS)
def test_a_stream_goes_on_as_in_llama_cpp(tiny, tiny_plain, tiny_truth, use):
    for k in range(1, 36):
        answers = []
        for model in (tiny_plain, tiny):
            stream = model.generate(ASKED, temp=0.0)
            tokens = list(itertools.islice(stream, k))
            use(model, tokens[-1])
            tokens += itertools.islice(stream, 12)
            stream.close()
            answers.append(tokens)
        assert answers[1] == answers[0]
        assert_in_agreement(tiny)
        assert take(tiny, OTHER, 8) == tiny_truth(OTHER, 8)


def rewind(llama):
    llama.n_tokens -= 2


THE_GROUND_AWAY = {
    "reset": lambda llama: llama.reset(),
    "reset and eval": lambda llama: (llama.reset(), llama.eval([50, 35, 28])),
    "another answer": lambda llama: take(llama, OTHER, 5),
    "another completion": lambda llama: llama.create_completion("Once", max_tokens=3),
    "rewind": rewind,
}


@pytest.mark.parametrize("use", THE_GROUND_AWAY.values(), ids=THE_GROUND_AWAY)
def test_a_stream_whose_history_was_taken_away_harms_nothing(tiny, tiny_truth, use):
    """What llama_cpp says then makes no sense; what matters is what comes after."""
    for k in range(1, 36):
        stream = tiny.generate(ASKED, temp=0.0)
        list(itertools.islice(stream, k))
        use(tiny)
        list(itertools.islice(stream, 12))
        stream.close()
        assert_in_agreement(tiny)
        assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)
        assert take(tiny, OTHER, 8) == tiny_truth(OTHER, 8)


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8, 17])
@pytest.mark.parametrize("second", [1, 2, 3, 6, 17, 20])
def test_two_streams_in_turn_harm_nothing(tiny, tiny_truth, first, second):
    one, two = (tiny.generate(prompt, temp=0.0) for prompt in (ASKED, OTHER))
    assert list(itertools.islice(one, first)) == tiny_truth(ASKED, first)
    assert list(itertools.islice(two, second)) == tiny_truth(OTHER, second)
    for stream in (one, two, one, two):
        assert len(list(itertools.islice(stream, 3))) == 3
        assert_in_agreement_once_settled(tiny)
    one.close()
    two.close()
    assert_in_agreement(tiny)
    assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)


@pytest.mark.parametrize("first", [1, 2, 3, 8, 16, 17])
def test_closing_an_older_stream_does_not_harm_the_newer_one(tiny, tiny_truth, first):
    for second in range(1, 20):
        older = tiny.generate(ASKED, temp=0.0)
        list(itertools.islice(older, first))
        stream = tiny.generate(OTHER, temp=0.0)
        tokens = list(itertools.islice(stream, second))
        older.close()
        tokens += itertools.islice(stream, 20)
        stream.close()
        assert tokens == tiny_truth(OTHER, second + 20)
        assert_in_agreement(tiny)


def test_tokens_that_are_sent_in_are_forced(tiny, tiny_plain):
    for k, n in itertools.product(range(1, 25), (1, 2, 5)):
        forced = [40, 140, 41, 141, 42][:n]
        stream = tiny.generate(ASKED, temp=0.0)
        before = list(itertools.islice(stream, k))
        after = [stream.send(forced), *itertools.islice(stream, 7)]
        so_far = [*ASKED, *before, *forced]
        assert history(tiny)[: len(so_far)] == so_far
        stream.close()
        tiny_plain.reset()
        assert after == take(tiny_plain, so_far, 8)
        assert_in_agreement(tiny)


# --- limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("drafting", ["auto", "paper"])
@pytest.mark.parametrize("n_ctx", [8, 63, 64, 200, 256, 300])
def test_a_full_context_is_an_error_and_no_end(load_tiny, tiny_truth, n_ctx, drafting):
    """The context ends where it was asked to, though llama.cpp rounds it up."""
    llama = load_tiny(eager=drafting == "auto", drafting=drafting, n_ctx=n_ctx)
    for _ in range(3):
        tokens = []
        with pytest.raises(EvaluationError, match=f"{n_ctx} tokens is full"):
            tokens.extend(llama.generate(ASKED, temp=0.0))
        assert tokens == tiny_truth(ASKED, n_ctx - len(ASKED) + 1)
        assert_in_agreement(llama)
        assert take(llama, OTHER, 2) == tiny_truth(OTHER, 2)


@pytest.mark.parametrize("n_ctx", [64, 256, 300])
def test_a_completion_without_max_tokens_fills_the_context(load_tiny, tiny_settings, n_ctx):
    plain = llama_cpp.Llama(**{**tiny_settings, "n_ctx": 512})
    arguments = {"prompt": ASKED, "max_tokens": None, "temperature": 0.0}
    arguments["logit_bias"] = {plain.token_eos(): -100.0}
    expected = said(plain.create_completion(**arguments))
    plain.close()
    llama = load_tiny(eager=True, n_ctx=n_ctx)
    for _ in range(2):
        output = llama.create_completion(**arguments)
        assert output["choices"][0]["finish_reason"] == "length"
        # A token that leaves a character half-written does not count for llama_cpp.
        assert output["usage"]["total_tokens"] in (n_ctx, n_ctx + 1)
        assert expected.startswith(said(output)[:-1])
        assert_in_agreement(llama)


@pytest.mark.parametrize("reset", [True, False])
def test_a_prompt_that_is_too_long_is_refused(tiny, tiny_truth, reset):
    take(tiny, ASKED, 4)
    with pytest.raises(PromptError, match=r"context holds 1024; shorten it") as caught:
        next(tiny.generate([7] * 1025, reset=reset))
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ValueError, match="exceed context window"):
        tiny.create_completion([7] * 1025)
    assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)
    assert_in_agreement(tiny)


def test_a_prompt_as_long_as_the_context_gets_one_token(tiny, tiny_truth):
    prompt = [(7 * number) % 250 for number in range(1024)]
    assert take(tiny, prompt, 1) == tiny_truth(prompt, 1)
    with pytest.raises(EvaluationError, match="full"):
        take(tiny, prompt, 2)
    assert take(tiny, ASKED, 8) == tiny_truth(ASKED, 8)


def test_an_empty_prompt_is_refused(warm, truth):
    take(warm, STORY, 2)
    with pytest.raises(PromptError, match="empty"):
        next(warm.generate([]))
    with pytest.raises(PromptError, match="empty"):
        warm.create_completion("", max_tokens=1)
    assert take(warm, STORY, 8) == truth(STORY, 8)


def test_generation_goes_on_behind_the_history_without_reset(tiny, tiny_plain):
    answers = []
    for model in (tiny_plain, tiny):
        model.reset()
        model.eval(ASKED)
        answers.append([])
        for more in ([], [60, 61], [], [62]):
            answers[-1].append(take(model, more, 9, reset=False))
    assert answers[0] == answers[1]
    assert_in_agreement(tiny)


# --- life and death -------------------------------------------------------------------------

PRELUDE = """
import itertools, json, os, sys
import aded_edge.runtime.llama
from aded_edge import AdedError, Llama
from aded_edge.decode.cost_curve import CostCurve

# What an evaluation costs here and now must not decide what is drafted.
aded_edge.runtime.llama.measure = lambda *_: CostCurve(dict.fromkeys((1, 2, 4, 8, 16), 1.0))

def load(path, **options):
    threads = {"n_threads": 1, "n_threads_batch": 1}
    return Llama(path, **{"n_ctx": 512, "verbose": False, "store": None, **threads, **options})
"""


def command(script, *arguments):
    """Python code in a process of its own: there a crash is a result."""
    code = PRELUDE + textwrap.dedent(script)
    return [sys.executable, "-X", "faulthandler", "-c", code, *map(str, arguments)]


def in_a_process(script, *arguments):
    return subprocess.run(command(script, *arguments), capture_output=True, text=True, timeout=300)


def finished(process):
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


AFTER_CLOSE = {
    "create_completion": 'llama.create_completion("Hello", max_tokens=2)',
    "create_chat_completion": 'llama.create_chat_completion([{"role": "user", "content": "a"}])',
    "generate": "next(llama.generate([1, 2, 3]))",
    "a stream that was begun": "next(begun)",
    "a stream that was not begun": "next(unbegun)",
    "tokenize": 'llama.tokenize(b"Hello")',
    "detokenize": "llama.detokenize([5, 6])",
    "eval": "llama.eval([1])",
    "sample": "llama.sample()",
    "save_state": "llama.save_state()",
    "load_state": "llama.load_state(state)",
    "embed": 'llama.embed("Hello")',
}


@pytest.fixture(scope="module")
def after_close(tiny_path):
    """What became of each use of a closed model: {use: [signal or 0, what it said]}."""
    script = """
        llama = load(sys.argv[1])
        begun, unbegun = (llama.generate([5, 6, 7], temp=0.0) for _ in range(2))
        next(begun)
        state = llama.save_state()
        llama.close()
        outcomes = {}
        for name, use in json.loads(sys.argv[2]).items():
            here, there = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    eval(use)
                    text = "nothing was raised"
                except Exception as error:
                    text = f"{type(error).__name__}: {error}"
                os.write(there, text.encode())
                os._exit(0)
            os.close(there)
            _, status = os.waitpid(child, 0)
            outcomes[name] = (os.WTERMSIG(status), os.read(here, 10000).decode())
        print(json.dumps(outcomes))
    """
    return json.loads(finished(in_a_process(script, tiny_path, json.dumps(AFTER_CLOSE))))


@pytest.mark.parametrize("use", AFTER_CLOSE)
def test_the_use_of_a_closed_model_is_an_error_and_no_crash(after_close, use):
    died_of, text = after_close[use]
    assert died_of == 0, f"died of {signal.Signals(died_of).name}"
    assert "closed" in text


def test_a_model_may_be_closed_twice_and_as_a_context(load_tiny):
    with load_tiny() as llama:
        take(llama, ASKED, 2)
    llama.close()
    llama.close()


def test_models_and_streams_may_go_in_any_order(tiny_path, tmp_path):
    """Streams that outlive their model, models never closed, constructors that failed."""
    script = """
        path, store = sys.argv[1:]
        llama = load(path, store=store)
        stream = llama.generate([1, 70, 80], temp=0.0)
        next(stream), next(stream)
        llama.close()
        stream.close()
        for wrong in ({"n_thread": 1}, {"drafting": "x"}, {"tensor_split": [1.0] * 1000}):
            try:
                load(path, **wrong)
            except ValueError as error:
                print(type(error).__name__)
        open_at_exit = load(path, store=store)
        stream_at_exit = open_at_exit.generate([1, 80, 70], temp=0.0)
        next(stream_at_exit), next(stream_at_exit)
        print("the end")
    """
    done = in_a_process(script, tiny_path, tmp_path / "store.db")
    assert finished(done).split() == ["ConfigError", "ConfigError", "ValueError", "the", "end"]
    assert done.stderr == ""


def test_a_model_is_pickled_with_its_options(load_tiny, tiny_truth, tmp_path):
    llama = load_tiny(drafting="paper", store=tmp_path / "store.db", n_ctx=256)
    again = pickle.loads(pickle.dumps(llama))
    try:
        assert (again.drafting, again.store) == ("paper", tmp_path / "store.db")
        assert again.__getstate__() == llama.__getstate__()
        assert take(again, ASKED, 6) == tiny_truth(ASKED, 6)
    finally:
        again.close()


def test_vocab_only_and_closed_models_are_pickled_too(load_tiny):
    llama = load_tiny(vocab_only=True)
    state = llama.__getstate__()
    assert state["vocab_only"] is True
    llama.close()
    assert llama.__getstate__() == state


SIZES = [(8, 8), (32, 32), (63, 512), (64, 512), (65, 512), (512, 1), (512, 31), (0, 512)]


@pytest.fixture(scope="module")
def small_ones(tiny_path):
    """What is said in each size of context, up to the one that crashed."""
    script = """
        for n_ctx, n_batch in json.loads(sys.argv[2]):
            for drafting in ("auto", "paper"):
                options = {"n_ctx": n_ctx, "n_batch": n_batch, "drafting": drafting}
                with load(sys.argv[1], **options) as llama:
                    stream = llama.generate(json.loads(sys.argv[3]), temp=0.0)
                    print(list(itertools.islice(stream, 4)), flush=True)
                    stream.close()
    """
    done = in_a_process(script, tiny_path, json.dumps(SIZES), ASKED)
    return done.stdout.splitlines() + [done.stderr[-500:]] * 2 * len(SIZES)


@pytest.mark.parametrize("number", range(len(SIZES)), ids=map(str, SIZES))
def test_small_contexts_and_batches_work(small_ones, tiny_truth, number):
    assert small_ones[2 * number : 2 * number + 2] == 2 * [str(tiny_truth(ASKED, 4))]


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
    """{kind: what Llama() says of it}"""
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


# --- figures --------------------------------------------------------------------------------


def test_stats_add_up(tiny):
    take(tiny, OTHER, 9)
    before = tiny.stats.cumulative
    take(tiny, ASKED, 40)
    stats = tiny.stats
    assert (stats.prompt_tokens, stats.tokens) == (len(ASKED), 40)
    assert 0 < stats.steps < 20
    assert 0 < stats.accepted <= stats.drafted
    assert stats.mat == 1 + stats.accepted / stats.steps
    parts = ("drafting", "evaluating", "accepting", "learning")
    assert stats.seconds == pytest.approx(sum(getattr(stats, f"seconds_{p}") for p in parts))
    assert stats.seconds > 0
    assert stats.plain_because is None
    assert stats.cumulative.cumulative is None
    for name in ("prompt_tokens", "tokens", "steps", "drafted", "accepted"):
        assert getattr(stats.cumulative, name) == getattr(before, name) + getattr(stats, name)
    assert stats.cumulative.seconds == pytest.approx(before.seconds + stats.seconds)


def test_stats_count_what_was_taken(tiny):
    take(tiny, OTHER, 1)
    for k in range(1, 36):
        before = tiny.stats.cumulative.tokens
        take(tiny, ASKED, k)
        assert tiny.stats.tokens == k
        assert tiny.stats.cumulative.tokens == before + k


def test_stats_of_streams_that_overlap_are_their_own(tiny):
    take(tiny, OTHER, 1)
    before = tiny.stats.cumulative.tokens
    older = tiny.generate(ASKED, temp=0.0)
    list(itertools.islice(older, 5))
    take(tiny, OTHER, 3)
    assert tiny.stats.tokens == 3
    older.close()
    assert tiny.stats.tokens == 5
    assert tiny.stats.cumulative.tokens == before + 8


def test_stats_before_the_first_answer_are_zero(load_tiny):
    stats = load_tiny(drafting="off").stats
    assert (stats.tokens, stats.mat, stats.tokens_per_second) == (0, 1.0, 0.0)
    assert stats.predicted_speedup is None


PLAIN = {
    "off": ({"drafting": "off"}, 'drafting="off"'),
    "draft model": ({"draft_model": lambda ids, /, **_: np.empty(0, np.intc)}, "draft_model"),
    "embedding": ({"embedding": True}, "embedding"),
}


@pytest.mark.parametrize(("options", "why"), PLAIN.values(), ids=PLAIN)
def test_plain_decoding_says_why_and_is_counted(load_tiny, tiny_truth, options, why):
    llama = load_tiny(n_ctx=256, **options)
    for _ in range(2):
        assert take(llama, ASKED, 8) == tiny_truth(ASKED, 8)
    stats = llama.stats
    assert why in stats.plain_because
    assert (stats.tokens, stats.steps, stats.drafted, stats.accepted) == (8, 7, 0, 0)
    assert stats.mat == 1.0
    assert stats.predicted_speedup is None
    assert stats.cumulative.tokens == 16
    assert why in stats.cumulative.plain_because


def test_a_draft_model_of_llama_cpp_still_works(load_tiny, tiny_truth):
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

    llama = load_tiny(draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4), n_ctx=256)
    prompt = [*ASKED, *tiny_truth(ASKED, 30), *ASKED]
    assert take(llama, prompt, 16) == tiny_truth(prompt, 16)


# --- the store ------------------------------------------------------------------------------

ANSWER = """
    path, store, count, *prompts = sys.argv[1:]
    with load(path, store=store) as llama:
        for prompt in map(json.loads, prompts):
            stream = llama.generate(prompt, temp=0.0)
            tokens = list(itertools.islice(stream, int(count)))
            stream.close()
            print(json.dumps([tokens, llama.stats.mat]), flush=True)
"""


def answers(process):
    return [json.loads(line) for line in finished(process).splitlines()]


def kept(path, llama):
    """What a store holds of a model: (number of parts, tokens of their logs)."""
    with Store.open(path) as store:
        parts, _ = store.model(model_fingerprint(llama), "").load()
        assert store.warnings == ()
    return len(parts), [token for part in parts for token in part.tokens.tolist()]


def holds(logs, tokens):
    return f" {' '.join(map(str, tokens))} " in f" {' '.join(map(str, logs))} "


def test_the_next_process_drafts_better_and_says_the_same(model_path, tmp_path, truth, plain):
    """Wherever the model's file lies: its fingerprint counts."""
    elsewhere = tmp_path / "a copy.gguf"
    try:
        os.link(model_path.resolve(), elsewhere)
    except OSError:
        shutil.copy(model_path, elsewhere)
    store, prompt = tmp_path / "store.db", tokenized(plain, STORY)
    ((first, cold),) = answers(in_a_process(ANSWER, model_path, store, 40, prompt))
    ((second, warm),) = answers(in_a_process(ANSWER, elsewhere, store, 40, prompt))
    assert first == second == truth(STORY, 40)
    assert cold < 3
    assert warm > 6


@pytest.mark.parametrize("drafting", ["auto", "paper"])
def test_what_one_model_learned_the_next_one_knows(
    load_tiny, tmp_path, tiny_truth, monkeypatch, drafting
):
    monkeypatch.setattr("aded_edge.runtime.llama.measure", lambda *_: flat_costs())
    mats = []
    for _ in range(2):
        with load_tiny(drafting=drafting, store=tmp_path / "store.db") as llama:
            assert take(llama, ASKED, 40) == tiny_truth(ASKED, 40)
            mats.append(llama.stats.mat)
    assert mats[0] < 1.5
    assert mats[1] > 3


def flat_costs():
    return CostCurve(dict.fromkeys((1, 2, 4, 8, 16), 1.0))


def test_two_processes_at_once_lose_nothing(tiny_path, tmp_path, tiny_plain, tiny_truth):
    store, done = tmp_path / "store.db", {}
    prompts = [[1, 60 + number, 90 - number] for number in range(12)]

    def work(number):
        half = [json.dumps(prompt) for prompt in prompts[number::2]]
        done[number] = in_a_process(ANSWER, tiny_path, store, 20, *half)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (0, 1):
        said = [tokens for tokens, _ in answers(done[number])]
        assert said == [tiny_truth(prompt, 20) for prompt in prompts[number::2]]
        assert done[number].stderr == ""
    parts, logs = kept(store, tiny_plain)
    assert parts == len(prompts)
    for prompt in prompts:
        assert holds(logs, prompt[1:] + tiny_truth(prompt, 20))


def test_a_killed_process_loses_no_earlier_turn(tiny_path, tmp_path, tiny_plain, tiny_truth):
    script = """
        llama = load(sys.argv[1], store=sys.argv[2])
        for prompt in map(json.loads, sys.argv[3:]):
            stream = llama.generate(prompt, temp=0.0)
            for _ in range(20):
                next(stream)
            if prompt == json.loads(sys.argv[3]):
                stream.close()
        print("in the middle", flush=True)
        sys.stdin.read()
    """
    store = tmp_path / "store.db"
    process = subprocess.Popen(
        command(script, tiny_path, store, ASKED, OTHER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "in the middle\n"
        for _ in range(300):  # saving runs in the background
            if kept(store, tiny_plain)[0]:
                break
            time.sleep(0.1)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with contextlib.closing(sqlite3.connect(store)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    parts, logs = kept(store, tiny_plain)
    assert parts == 1
    assert holds(logs, ASKED[1:] + tiny_truth(ASKED, 20))
    ((tokens, mat),) = answers(in_a_process(ANSWER, tiny_path, store, 20, ASKED))
    assert tokens == tiny_truth(ASKED, 20)
    assert mat > 3


def not_a_database(path):
    path.write_bytes(b"no database at all " * 500)


def another_programs(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (thing TEXT)")
        database.commit()


def from_the_future(path):
    with Store.open(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('aded-edge', '9999_from_the_future', 'now')"
        )
        database.commit()


def read_only(path):
    with Store.open(path):
        pass


def cut_short(path):
    with Store.open(path) as store:
        store.model("fingerprint", "name").add(Part.empty())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def a_folder(path):
    path.mkdir()


BAD_STORES = [not_a_database, another_programs, from_the_future, read_only, cut_short, a_folder]


@pytest.mark.parametrize("make", BAD_STORES)
def test_a_bad_store_never_stops_an_answer(
    load_tiny, tiny_truth, tmp_path, caplog, monkeypatch, make
):
    path = tmp_path / "store.db"
    make(path)
    if make is read_only:  # by these words, as root may write to any file
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: mode != os.W_OK and real(p, mode))
    before = path.read_bytes() if path.is_file() else None
    with caplog.at_level(logging.WARNING, "aded_edge"), load_tiny(store=path) as llama:
        for _ in range(2):
            assert take(llama, ASKED, 20) == tiny_truth(ASKED, 20)
    assert_told_once(caplog, path)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("where", ["/proc/aded-edge/store.db", "/dev/full", "/dev/null/store"])
def test_a_store_that_cannot_be_made_never_stops_an_answer(load_tiny, tiny_truth, caplog, where):
    with caplog.at_level(logging.WARNING, "aded_edge"), load_tiny(store=where) as llama:
        assert take(llama, ASKED, 6) == tiny_truth(ASKED, 6)
    assert_told_once(caplog, where)


def assert_told_once(caplog, path):
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_store_in_a_missing_folder_is_made(load_tiny, tmp_path, tiny_plain):
    path = tmp_path / "a" / "b c" / "store.db"
    with load_tiny(store=str(path)) as llama:
        take(llama, ASKED, 6)
    assert kept(path, tiny_plain)[0] == 1


def test_a_store_that_breaks_while_it_is_used_never_stops_an_answer(
    load_tiny, tiny_truth, tmp_path, caplog
):
    path = tmp_path / "store.db"
    with caplog.at_level(logging.WARNING, "aded_edge"), load_tiny(store=path) as llama:
        take(llama, ASKED, 6)
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
            database.executescript("DROP TABLE arrays; DROP TABLE parts;")
        for _ in range(3):
            assert take(llama, ASKED, 20) == tiny_truth(ASKED, 20)
    assert str(path) in caplog.text
    assert len(caplog.records) <= 2


def test_the_default_store_is_in_the_users_data_folder(load_tiny, data_folder):
    with load_tiny(store="default") as llama:
        take(llama, ASKED, 4)
        assert llama.store.is_relative_to(data_folder)
        assert llama.store.is_file()


def test_no_store_leaves_no_file(load_tiny, data_folder):
    def files():
        return {path for path in data_folder.rglob("*") if path.is_file()}

    before = files()
    with load_tiny() as llama:
        take(llama, ASKED, 4)
    assert files() == before


def test_a_small_context_does_not_narrow_the_drafts_of_a_large_one(load_tiny, tmp_path):
    """What the small one could not measure must not be taken for all there is."""
    store = tmp_path / "store.db"
    load_tiny(store=store, n_ctx=4).close()
    assert max(load_tiny(store=store, n_ctx=512).costs) >= 8
