"""Llama as a drop-in: it takes what llama_cpp.Llama takes, and says what that one says.

Fixtures `plain` and `truth` are llama_cpp's own answers; `eager` evaluates every draft, so that
tests of drafts do not depend on what an evaluation costs here.
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
from collections import Counter

import llama_cpp
import numpy as np
import pytest

import aded_edge.decode.accept
import aded_edge.decode.loop
import aded_edge.llama
import aded_edge.target.llama_cpp
from aded_edge import (
    AdedError,
    ConfigError,
    EvaluationError,
    Llama,
    ModelError,
    PromptError,
)
from aded_edge.store import Store


def question(text):
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


STORY = question("Write a short story about a fox.")
CAPITAL = question("What is the capital of France?")
QUESTIONS = [
    STORY,
    CAPITAL,
    question("Explain photosynthesis to a child."),
    question("Translate to French: the cat is on the table."),
    question("Write a Python function that reverses a list."),
    question("Give me a JSON object describing a person with name, age and city."),
    question("Repeat the word hello ten times."),
    question("用中文写一首关于月亮的短诗。"),
    question("Write an email declining a meeting."),
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,",
]


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


@pytest.fixture(scope="module")
def warm(loader):
    """An eager model that has said the first three answers before: its drafts are long."""
    with loader() as load:
        llama = load(eager=True)
        for prompt in 2 * QUESTIONS[:3]:
            take(llama, prompt, 64)
        take(llama, STORY, 64)
        assert llama.stats.mat > 8
        yield llama


# --- names and arguments --------------------------------------------------------------------


def test_every_public_name_of_llama_cpp_is_there(llama, plain):
    names = {name for name in (*dir(plain), *vars(plain)) if not name.startswith("__")}
    assert names - {name for name in names if hasattr(llama, name)} == set()


METHODS = sorted(
    name
    for name, method in inspect.getmembers(llama_cpp.Llama, callable)
    if not name.startswith("_")
)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_the_arguments_of_llama_cpp(name):
    theirs = inspect.signature(getattr(llama_cpp.Llama, name)).parameters
    ours = inspect.signature(getattr(Llama, name)).parameters
    if any(p.kind is p.VAR_KEYWORD for p in ours.values()):
        return
    assert list(ours)[: len(theirs)] == list(theirs)
    assert [ours[n].default for n in theirs] == [p.default for p in theirs.values()]


def test_the_constructor_takes_every_argument_of_llama_cpp(loader, model_path, truth):
    parameters = inspect.signature(llama_cpp.Llama.__init__).parameters
    defaults = {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in ("self", "model_path", "kwargs")
    }
    assert len(defaults) > 40
    with loader() as load:
        changes = {"n_ctx": 1024, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
        llama = load(**{**defaults, **changes})
        assert take(llama, CAPITAL, 6) == truth(CAPITAL, 6)


def test_an_unknown_argument_is_refused_with_the_nearest_name(model_path):
    with pytest.raises(ConfigError, match=r"'n_thread'.* 'n_threads'") as caught:
        Llama(model_path, n_thread=1)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ConfigError, match="no argument 'qqqq'"):
        Llama(model_path, qqqq=1)


@pytest.mark.parametrize("value", ["on", "", None, True, 1])
def test_an_unknown_drafting_names_the_choices(model_path, value):
    with pytest.raises(ConfigError, match=r"'auto', 'off', 'paper'"):
        Llama(model_path, drafting=value)


@pytest.mark.parametrize("value", [True, 1, b"store.db", ["a"]])
def test_an_unknown_store_names_the_choices(model_path, value):
    with pytest.raises(ConfigError, match="neither a path, nor 'default', nor None"):
        Llama(model_path, store=value)


def test_from_pretrained_gives_ours(monkeypatch, model_path):
    """huggingface_hub is not installed here; this stands in for it."""
    import types

    hub, utils = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.utils")

    class HfFileSystem:
        def ls(self, repo_id, recursive):
            return [f"{repo_id}/{model_path.name}"]

    hub.HfFileSystem = HfFileSystem
    hub.hf_hub_download = lambda **_: str(model_path)
    utils.validate_repo_id = lambda _: None
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", utils)
    found = Llama.from_pretrained(
        "somebody/model", "*.gguf", verbose=False, vocab_only=True, store=None
    )
    assert type(found) is Llama
    found.close()


# --- the same words -------------------------------------------------------------------------


def test_greedy_answers_are_those_of_llama_cpp_at_first_and_once_known(loader, truth):
    with loader() as load:
        llama = load()
        for _ in range(2):
            for prompt in QUESTIONS:
                assert take(llama, prompt, 64) == truth(prompt, 64)


def test_greedy_answers_stay_the_same_when_every_draft_is_evaluated(loader, truth):
    with loader() as load:
        llama = load(eager=True)
        for known in (False, True):
            accepted = steps = 0
            for prompt in QUESTIONS[:5]:
                assert take(llama, prompt, 48) == truth(prompt, 48)
                accepted += llama.stats.accepted
                steps += llama.stats.steps
            assert accepted > 5 * steps or not known


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
    """The same by little trees: each commit leaves holes, and the KV cells out of order."""
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


def test_paper_differs_only_where_the_order_of_cells_decides(loader, plain, truth):
    """A tree's commit leaves the KV out of order, and so sums in another order."""
    with loader() as load:
        paper = load(drafting="paper")
        prompts = QUESTIONS[2:7]
        answers = [(p, take(paper, p, 40)) for _ in range(2) for p in prompts]
        assert paper.stats.mat > 2
        noise, first_differences = 0.0, []
        for prompt in prompts:
            tokens = truth(prompt, 40)
            rows = one_by_one(plain, prompt, tokens)
            for row, other in zip(rows, out_of_order(paper, prompt, tokens), strict=True):
                best, second = np.argsort(row)[-1:-3:-1]
                noise = max(noise, abs(gap(row, best, second) - gap(other, best, second)))
            for answer in (a for p, a in answers if p == prompt and a != tokens):
                place = next(i for i, (a, t) in enumerate(zip(answer, tokens)) if a != t)
                first_differences.append(gap(rows[place], tokens[place], answer[place]))
    assert noise < 2, "that is another answer, not another order"
    assert all(difference <= noise for difference in first_differences)


SAMPLINGS = {
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
def test_a_seed_draws_what_it_draws_in_llama_cpp(warm, plain, sampling):
    plain.set_seed(7)
    plain.reset()
    expected = take(plain, STORY, 32, **sampling)
    for _ in range(2):  # the second time the answer is known, and drafts are accepted
        warm.set_seed(7)
        assert take(warm, STORY, 32, **sampling) == expected
    assert warm.stats.accepted >= 16


@pytest.mark.parametrize("seed", [1, 2, 4294967295])
def test_a_completion_with_a_seed_is_that_of_llama_cpp(warm, plain, seed):
    arguments = {"max_tokens": 24, "temperature": 0.8, "seed": seed}
    expected = said(plain.create_completion(STORY, **arguments))
    assert said(warm.create_completion(STORY, **arguments)) == expected


# --- what llama_cpp.Llama builds on generate ------------------------------------------------


def test_a_streamed_completion_is_the_whole_one(warm, plain):
    arguments = {"max_tokens": 40, "temperature": 0.0}
    whole = warm.create_completion(STORY, **arguments)
    chunks = warm.create_completion(STORY, stream=True, **arguments)
    assert streamed(chunks) == (said(whole), "length")
    assert said(whole) == said(plain.create_completion(STORY, **arguments))
    assert whole["usage"]["completion_tokens"] == 40


def test_a_streamed_chat_is_the_whole_one(warm, plain):
    arguments = {
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 30,
        "temperature": 0.0,
    }
    whole = warm.create_chat_completion(**arguments)
    assert said(whole) == said(plain.create_chat_completion(**arguments))
    text, reason = streamed(warm.create_chat_completion(stream=True, **arguments))
    assert (text, reason) == (said(whole), whole["choices"][0]["finish_reason"])


@pytest.mark.parametrize("stop", ["town", " fox", ".", ["zzz", "rabbits"], "Felix was"])
def test_stop_strings_end_where_they_end_in_llama_cpp(warm, plain, truth, stop):
    arguments = {"max_tokens": 48, "temperature": 0.0, "stop": stop}
    expected = plain.create_completion(STORY, **arguments)
    actual = warm.create_completion(STORY, **arguments)
    assert actual["choices"] == expected["choices"]
    assert actual["choices"][0]["finish_reason"] == "stop"
    chunks = plain.create_completion(STORY, stream=True, **arguments)
    assert streamed(warm.create_completion(STORY, stream=True, **arguments)) == streamed(chunks)
    assert_in_agreement(warm)
    assert take(warm, CAPITAL, 12) == truth(CAPITAL, 12)


@pytest.mark.parametrize("n", [1, 2, 7, 15, 16, 17, 18, 33])
def test_max_tokens_may_end_inside_an_accepted_path(warm, truth, n):
    output = warm.create_completion(STORY, max_tokens=n, temperature=0.0)
    assert said(output).encode() == warm.detokenize(truth(STORY, n))
    assert output["usage"]["completion_tokens"] == warm.stats.tokens == n
    assert history(warm) == [*tokenized(warm, STORY), *truth(STORY, n)][:-1]
    assert_in_agreement(warm)


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
            deltas = [c["choices"][0]["delta"] for c in output]
            pieces = [d["tool_calls"][0]["function"] for d in deltas if d.get("tool_calls")]
            calls.append((pieces[0]["name"], "".join(p["arguments"] for p in pieces)))
        else:
            call = output["choices"][0]["message"]["tool_calls"][0]["function"]
            calls.append((call["name"], call["arguments"]))
    assert calls[0] == calls[1]
    assert calls[0][0] == "weather"
    assert set(json.loads(calls[0][1])) == {"city", "rivers"}


def test_logprobs_are_those_of_llama_cpp(loader, options):
    small = {"n_ctx": 256, "logits_all": True}
    plain = llama_cpp.Llama(**{**options, **small})
    arguments = {"max_tokens": 24, "temperature": 0.0, "logprobs": 3}
    expected = plain.create_completion(STORY, **arguments)["choices"][0]["logprobs"]
    chunks = list(plain.create_completion(STORY, stream=True, **arguments))
    plain.close()
    with loader() as load:
        llama = load(eager=True, **small)
        for _ in range(3):
            logprobs = llama.create_completion(STORY, **arguments)["choices"][0]["logprobs"]
            assert logprobs["tokens"] == expected["tokens"]
            assert logprobs["text_offset"] == expected["text_offset"]
            assert logprobs["token_logprobs"] == pytest.approx(expected["token_logprobs"], abs=1e-3)
            for ours, theirs in zip(
                logprobs["top_logprobs"], expected["top_logprobs"], strict=True
            ):
                assert ours == pytest.approx(theirs, abs=1e-3)
        assert llama.stats.mat > 4
        streamed = list(llama.create_completion(STORY, stream=True, **arguments))
    for ours, theirs in zip(streamed, chunks, strict=True):
        ours, theirs = ours["choices"][0]["logprobs"], theirs["choices"][0]["logprobs"]
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours["tokens"] == theirs["tokens"]
            assert ours["token_logprobs"] == pytest.approx(theirs["token_logprobs"], abs=1e-3)


def test_logprobs_need_all_logits(llama):
    with pytest.raises(ValueError, match="logits_all"):
        llama.create_completion("Hello", logprobs=1, max_tokens=1)


@pytest.mark.parametrize("extra", [0, 1, 6, 15, 16, 17, 25])
def test_stopping_criteria_see_and_stop_the_same(warm, plain, extra):
    """The last call is llama_cpp's own, behind the last token."""
    calls = {}
    outputs = []
    for model in (plain, warm):
        seen = calls[model] = []
        length = len(tokenized(model, STORY)) + extra

        def criterion(input_ids, logits, seen=seen, length=length):
            seen.append(input_ids.tolist())
            assert logits.shape == (plain.n_vocab(),)
            return len(input_ids) >= length

        model.reset()
        output = model.create_completion(
            STORY,
            max_tokens=20,
            temperature=0.0,
            stopping_criteria=llama_cpp.StoppingCriteriaList([criterion]),
        )
        outputs.append((output["choices"], output["usage"]))
    assert outputs[0] == outputs[1]
    assert calls[plain] == calls[warm]
    assert history(plain) == history(warm)
    assert_in_agreement(warm)


def test_a_stopping_criterion_sees_the_logits_behind_the_history(warm, plain, truth):
    expected = one_by_one(plain, STORY, truth(STORY, 19))
    seen = []

    def criterion(input_ids, logits):
        seen.append(np.array(logits))
        return False

    take(warm, STORY, 20, stopping_criteria=criterion)
    for ours, theirs in zip(seen, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("temp", [0.0, 0.8])
def test_a_logits_processor_sees_and_changes_the_same(warm, plain, temp):
    calls, outputs = {}, []
    for model in (plain, warm, warm):
        seen = calls[model] = []
        comma = model.tokenize(b",", add_bos=False)[0]

        def processor(input_ids, logits, seen=seen, comma=comma):
            seen.append((input_ids.tolist(), float(logits.max()), float(logits.sum())))
            logits[comma] = -100.0
            return logits

        model.reset()
        model.set_seed(11)
        processors = llama_cpp.LogitsProcessorList([processor])
        outputs.append(take(model, STORY, 24, temp=temp, logits_processor=processors))
        assert comma not in outputs[-1]
    assert outputs[0] == outputs[1] == outputs[2]
    assert [call[0] for call in calls[plain]] == [call[0] for call in calls[warm]]
    for ours, theirs in zip(calls[warm], calls[plain], strict=True):
        assert ours[1:] == pytest.approx(theirs[1:], rel=1e-4)


def test_logit_bias_and_echo_and_suffix(warm, plain):
    comma = plain.tokenize(b",", add_bos=False)[0]
    arguments = {
        "max_tokens": 16,
        "temperature": 0.0,
        "logit_bias": {comma: -50.0},
        "echo": True,
    }
    expected = said(plain.create_completion(STORY, **arguments))
    assert said(warm.create_completion(STORY, **arguments)) == expected
    assert expected.startswith(STORY)
    arguments = {"max_tokens": 8, "temperature": 0.0, "suffix": "\n    return total"}
    expected = said(plain.create_completion("def add(a, b):", **arguments))
    assert said(warm.create_completion("def add(a, b):", **arguments)) == expected


@pytest.mark.parametrize("n", [*range(1, 12), 24])
def test_streamed_text_never_holds_half_a_character(warm, plain, n):
    prompt = question("Repeat exactly: 🦊🌙😀 你好，世界！ éàü")
    arguments = {"max_tokens": n, "temperature": 0.0}
    text, _ = streamed(warm.create_completion(prompt, stream=True, **arguments))
    assert "\ufffd" not in text
    assert text == streamed(plain.create_completion(prompt, stream=True, **arguments))[0]
    assert text == said(warm.create_completion(prompt, **arguments))


def test_a_prompt_longer_than_a_batch(loader, options, truth):
    """The prompt, and trees, in batches that llama.cpp itself must split."""
    with loader() as load:
        for small in ({"n_batch": 16, "n_ubatch": 8}, {"n_batch": 64, "n_ubatch": 4}):
            llama = load(eager=True, **small)
            for _ in range(2):
                assert take(llama, STORY, 32) == truth(STORY, 32)
            assert_in_agreement(llama)


# --- interruptions --------------------------------------------------------------------------


def closed(llama, stream):
    stream.close()
    return []


def thrown_into(llama, stream):
    with pytest.raises(ZeroDivisionError):
        stream.throw(ZeroDivisionError())
    return []


def ctrl_c_at_a_token(llama, stream):
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt())
    return []


def ctrl_c_while_evaluating(llama, stream):
    """As it happens most: llama_decode has returned, and then Python sees the signal."""
    real, taken = llama_cpp.llama_decode, []

    def decode(*arguments):
        code = real(*arguments)
        signal.raise_signal(signal.SIGINT)
        return code

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(llama_cpp, "llama_decode", decode)
        taken.extend(stream)
    return taken


def refused_by_llama_cpp(llama, stream):
    real, taken = llama_cpp.llama_decode, []

    def decode(*arguments):
        real(*arguments)
        return -3

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama_cpp, "llama_decode", decode)
        with pytest.raises(EvaluationError, match="returned -3"):
            taken.extend(stream)
    return taken


def left_alone(llama, stream):
    ABANDONED.append(stream)
    return []


ABANDONED = []
INTERRUPTIONS = [
    closed,
    thrown_into,
    ctrl_c_at_a_token,
    ctrl_c_while_evaluating,
    refused_by_llama_cpp,
    left_alone,
]


@pytest.mark.parametrize("k", [1, 2, 9, 16, 17, 30])
@pytest.mark.parametrize("interrupt", INTERRUPTIONS)
def test_after_an_interruption_the_model_goes_on_as_a_fresh_one(warm, truth, interrupt, k):
    """Each of the three next prompts reuses another part of the KV."""
    prompt, story = tokenized(warm, STORY), truth(STORY, 64)
    for follow_up in ("the same", "continued", "another"):
        stream = warm.generate(prompt, temp=0.0)
        taken = list(itertools.islice(stream, k))
        taken += interrupt(warm, stream)
        assert taken == story[: len(taken)]
        assert history(warm) in ([*prompt, *taken][:-1], [*prompt, *taken])
        if interrupt is not left_alone:
            assert_in_agreement(warm)
        if follow_up == "the same":
            assert take(warm, prompt, 8) == story[:8]
        elif follow_up == "continued":
            expected = story[len(taken) : len(taken) + 8]
            assert take(warm, [*prompt, *taken], len(expected)) == expected
        else:
            assert take(warm, CAPITAL, 8) == truth(CAPITAL, 8)
        assert_in_agreement(warm)
        ABANDONED.clear()
        assert_in_agreement(warm)


@pytest.mark.parametrize("k", [0, 1, 2, 15, 16, 20])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_stopping_criterion_may_raise(warm, truth, error, k):
    calls = itertools.count()

    def criterion(input_ids, logits):
        if next(calls) == k:
            raise error
        return False

    with pytest.raises(error):
        take(warm, STORY, 64, stopping_criteria=criterion)
    assert history(warm) == [*tokenized(warm, STORY), *truth(STORY, k)]
    assert_in_agreement(warm)
    assert take(warm, STORY, 20) == truth(STORY, 20)
    assert take(warm, CAPITAL, 8) == truth(CAPITAL, 8)


def test_a_chat_stream_may_be_dropped_anywhere(warm, truth):
    for k in (1, 2, 5, 17):
        stream = warm.create_chat_completion(
            [{"role": "user", "content": "Write a short story about a fox."}],
            stream=True,
            temperature=0.0,
        )
        list(itertools.islice(stream, k))
        del stream
        assert_in_agreement(warm)
        assert take(warm, CAPITAL, 8) == truth(CAPITAL, 8)


TRACED = {
    module.__file__
    for module in (
        aded_edge.llama,
        aded_edge.decode.loop,
        aded_edge.decode.accept,
        aded_edge.target.llama_cpp,
    )
}


@contextlib.contextmanager
def tracing(at_line):
    """Calls at_line(file, line) before every line of the modules that decode."""

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in TRACED:
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


def test_ctrl_c_at_any_line_leaves_all_in_order(warm, truth):
    def answer():
        stream = warm.generate(tokenized(warm, STORY), temp=0.0)
        try:
            return list(itertools.islice(stream, 19))
        finally:
            stream.close()

    lines = Counter()
    take(warm, CAPITAL, 2)
    with tracing(lambda *line: lines.update([line])):
        assert answer() == truth(STORY, 19)
    assert len(lines) > 80

    for line, times in lines.items():
        left = [times // 2 + 1]

        def interrupt(*here, line=line, left=left):
            if here == line:
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt

        take(warm, CAPITAL, 2)
        with pytest.raises(KeyboardInterrupt), tracing(interrupt):
            answer()
        where = f"after Ctrl-C at {os.path.basename(line[0])}:{line[1]}"
        assert take(warm, STORY, 4) == truth(STORY, 4), where
        assert_in_agreement(warm)
        assert take(warm, CAPITAL, 4) == truth(CAPITAL, 4), where
        assert_in_agreement(warm)


# --- the consumer uses the model between two tokens -----------------------------------------


def evaluate_another(llama, token):
    llama.eval([100])


def evaluate_more(llama, token):
    llama.eval([100, 200, 300])


def evaluate_the_token(llama, token):
    llama.eval([token])


def round_trip(llama, token):
    llama.load_state(llama.save_state())


BETWEEN_TOKENS = {
    "tokenize": lambda llama, token: llama.tokenize(b"Hello, world"),
    "detokenize": lambda llama, token: llama.detokenize([token]),
    "save_state": lambda llama, token: llama.save_state(),
    "save and load": round_trip,
    "sample": lambda llama, token: llama.sample(temp=0.0),
    "set_seed": lambda llama, token: llama.set_seed(5),
    "eval another token": evaluate_another,
    "eval more": evaluate_more,
    "eval the token itself": evaluate_the_token,
}


@pytest.mark.parametrize("k", [1, 5, 16, 17])
@pytest.mark.parametrize("use", BETWEEN_TOKENS.values(), ids=BETWEEN_TOKENS)
def test_a_stream_goes_on_as_in_llama_cpp(warm, plain, truth, use, k):
    answers = []
    for model in (plain, warm):
        stream = model.generate(tokenized(model, STORY), temp=0.0)
        tokens = list(itertools.islice(stream, k))
        use(model, tokens[-1])
        tokens += itertools.islice(stream, 12)
        stream.close()
        answers.append(tokens)
    assert answers[1] == answers[0]
    assert_in_agreement(warm)
    assert take(warm, CAPITAL, 8) == truth(CAPITAL, 8)


def rewind(llama):
    llama.n_tokens -= 2


THE_GROUND_AWAY = {
    "reset": lambda llama: llama.reset(),
    "reset and eval": lambda llama: (llama.reset(), llama.eval([504, 3575, 282])),
    "another answer": lambda llama: take(llama, CAPITAL, 5),
    "another completion": lambda llama: llama.create_completion("Once", max_tokens=3),
    "rewind": rewind,
}


@pytest.mark.parametrize("k", [1, 5, 16, 17])
@pytest.mark.parametrize("use", THE_GROUND_AWAY.values(), ids=THE_GROUND_AWAY)
def test_a_stream_whose_history_was_taken_away_harms_nothing(warm, truth, use, k):
    """What llama_cpp says then makes no sense; what matters is what comes after."""
    stream = warm.generate(tokenized(warm, STORY), temp=0.0)
    list(itertools.islice(stream, k))
    use(warm)
    list(itertools.islice(stream, 12))
    stream.close()
    assert_in_agreement(warm)
    assert take(warm, STORY, 12) == truth(STORY, 12)
    assert take(warm, CAPITAL, 8) == truth(CAPITAL, 8)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (3, 3), (5, 9), (17, 2), (2, 17)])
def test_two_streams_in_turn_harm_nothing(warm, truth, first, second):
    one = warm.generate(tokenized(warm, STORY), temp=0.0)
    two = warm.generate(tokenized(warm, QUESTIONS[2]), temp=0.0)
    assert list(itertools.islice(one, first)) == truth(STORY, first)
    assert list(itertools.islice(two, second)) == truth(QUESTIONS[2], second)
    for stream in (one, two, one, two):
        assert len(list(itertools.islice(stream, 3))) == 3
        assert_in_agreement_when_settled(warm)
    one.close()
    two.close()
    assert_in_agreement(warm)
    assert take(warm, STORY, 12) == truth(STORY, 12)


def assert_in_agreement_when_settled(llama):
    llama._settle()
    assert_in_agreement(llama)


@pytest.mark.parametrize("first", [1, 3, 16, 17])
def test_a_stream_is_not_harmed_by_closing_an_older_one(warm, truth, first):
    older = warm.generate(tokenized(warm, STORY), temp=0.0)
    list(itertools.islice(older, first))
    stream = warm.generate(tokenized(warm, CAPITAL), temp=0.0)
    tokens = list(itertools.islice(stream, 3))
    older.close()
    tokens += itertools.islice(stream, 5)
    stream.close()
    assert tokens == truth(CAPITAL, 8)
    assert_in_agreement(warm)


@pytest.mark.parametrize("k", [1, 5, 17])
def test_tokens_that_are_sent_in_are_forced(warm, plain, k):
    forced = plain.tokenize(b" and the moon", add_bos=False)
    prompt = tokenized(warm, STORY)
    stream = warm.generate(prompt, temp=0.0)
    before = list(itertools.islice(stream, k))
    after = [stream.send(forced), *itertools.islice(stream, 7)]
    assert history(warm)[: len(prompt) + k + len(forced)] == [*prompt, *before, *forced]
    stream.close()
    plain.reset()
    assert after == take(plain, [*prompt, *before, *forced], 8)
    assert_in_agreement(warm)


# --- limits ---------------------------------------------------------------------------------


def test_a_full_context_ends_where_it_ends_in_llama_cpp(loader, options, truth):
    small = {"n_ctx": 64, "n_batch": 64}
    plain = llama_cpp.Llama(**{**options, **small})
    expected = []
    with pytest.raises((ValueError, RuntimeError)):
        expected.extend(plain.generate(tokenized(plain, QUESTIONS[-1]), temp=0.0))
    plain.close()
    with loader() as load:
        llama = load(eager=True, **small)
        for _ in range(2):
            tokens = []
            with pytest.raises(EvaluationError, match="full"):
                tokens.extend(llama.generate(tokenized(llama, QUESTIONS[-1]), temp=0.0))
            assert tokens == expected
            assert_in_agreement(llama)
            assert take(llama, CAPITAL, 8) == truth(CAPITAL, 8)


def test_a_completion_without_max_tokens_fills_the_context(loader, options):
    small = {"n_ctx": 256}
    plain = llama_cpp.Llama(**{**options, **small})
    prompt = ", ".join(str(n) for n in range(1, 50)) + ","
    expected = plain.create_completion(prompt, max_tokens=None, temperature=0.0)
    plain.close()
    with loader() as load:
        llama = load(eager=True, **small)
        actual = llama.create_completion(prompt, max_tokens=None, temperature=0.0)
        assert (actual["choices"], actual["usage"]) == (expected["choices"], expected["usage"])
        assert actual["usage"]["total_tokens"] == 256
        assert_in_agreement(llama)


@pytest.mark.parametrize("reset", [True, False])
def test_a_prompt_that_is_too_long_is_refused(warm, truth, reset):
    take(warm, STORY, 4)
    with pytest.raises(PromptError, match=r"context holds 1024; shorten it") as caught:
        next(warm.generate([7] * 1025, reset=reset))
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ValueError, match="exceed context window"):
        warm.create_completion("word " * 1100)
    assert take(warm, STORY, 8) == truth(STORY, 8)
    assert_in_agreement(warm)


def test_an_empty_prompt_is_refused(warm, truth):
    take(warm, STORY, 2)
    with pytest.raises(PromptError, match="empty"):
        next(warm.generate([]))
    with pytest.raises(PromptError, match="empty"):
        warm.create_completion("", max_tokens=1)
    assert take(warm, STORY, 8) == truth(STORY, 8)


def test_generation_goes_on_behind_the_history_without_reset(warm, plain):
    answers = []
    for model in (plain, warm):
        model.reset()
        model.eval(tokenized(model, STORY))
        first = list(itertools.islice(model.generate([], temp=0.0, reset=False), 5))
        more = tokenized(model, " suddenly")
        second = list(itertools.islice(model.generate(more, temp=0.0, reset=False), 5))
        answers.append((first, second))
    assert answers[0] == answers[1]
    assert_in_agreement(warm)


# --- life and death -------------------------------------------------------------------------


def in_a_process(script, *arguments, timeout=300, **options):
    """Runs Python code in a process of its own: there a crash is a result."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PRELUDE + textwrap.dedent(script)]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )


PRELUDE = """
import itertools, json, os, sys
import aded_edge.llama
from aded_edge import Llama
from aded_edge.decode.budget import CostCurve

# What an evaluation costs here and now must not decide what is drafted.
aded_edge.llama.measure = lambda *_: CostCurve({width: 1.0 for width in (1, 2, 4, 8, 16)})

def load(path, **options):
    threads = {"n_threads": 1, "n_threads_batch": 1}
    return Llama(path, **{"n_ctx": 512, "verbose": False, "store": None, **threads, **options})

def tokenized(llama, prompt):
    return llama.tokenize(prompt.encode(), add_bos=False, special=True)
"""


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
def after_close(model_path):
    """What became of each use of a closed model: {use: (signal or 0, what it said)}."""
    script = """
        from concurrent.futures import ThreadPoolExecutor
        uses = json.loads(sys.argv[2])
        llama = load(sys.argv[1])
        begun, unbegun = (llama.generate([5, 6, 7], temp=0.0) for _ in range(2))
        next(begun)
        state = llama.save_state()
        llama.close()
        outcomes = {}
        for name, use in uses.items():
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
        sys.stdout.flush()
        os._exit(0)
    """
    done = in_a_process(script, model_path, json.dumps(AFTER_CLOSE))
    return json.loads(finished(done))


@pytest.mark.parametrize("use", AFTER_CLOSE)
def test_the_use_of_a_closed_model_is_an_error_and_no_crash(after_close, use):
    died_of, text = after_close[use]
    assert died_of == 0, f"died of {signal.Signals(died_of).name}"
    assert "closed" in text


def test_a_model_may_be_closed_twice_and_as_a_context(load):
    with load() as llama:
        take(llama, CAPITAL, 2)
    llama.close()
    llama.close()


def test_a_model_may_go_in_any_order(model_path, tmp_path):
    """Streams that outlive their model, models that are never closed, failed constructors."""
    script = """
        from aded_edge import AdedError
        path, store = sys.argv[1:]
        llama = load(path, store=store)
        stream = llama.generate(tokenized(llama, "Once upon a time"), temp=0.0)
        next(stream), next(stream)
        llama.close()
        stream.close()

        for wrong in ({"n_thread": 1}, {"drafting": "x"}, {"tensor_split": [1.0] * 1000}):
            try:
                load(path, **wrong)
            except ValueError:
                pass
        Llama.__new__(Llama).__del__() if hasattr(Llama.__new__(Llama), "_stack") else None

        open_at_exit = load(path, store=store)
        stream_at_exit = open_at_exit.generate(tokenized(open_at_exit, "In the"), temp=0.0)
        next(stream_at_exit), next(stream_at_exit)
        print("the end")
    """
    done = in_a_process(script, model_path, tmp_path / "store.db")
    assert finished(done) == "the end\n"
    assert done.stderr == ""


def test_a_model_is_pickled_with_its_options(load, truth, tmp_path):
    llama = load(drafting="paper", store=tmp_path / "store.db", n_ctx=256)
    again = pickle.loads(pickle.dumps(llama))
    try:
        assert (again.drafting, again.store) == ("paper", tmp_path / "store.db")
        assert again.__getstate__() == llama.__getstate__()
        assert take(again, CAPITAL, 6) == truth(CAPITAL, 6)
    finally:
        again.close()


def test_a_closed_model_is_still_pickled(load):
    llama = load(n_ctx=256)
    state = llama.__getstate__()
    llama.close()
    assert llama.__getstate__() == state


SIZES = [
    {"n_ctx": 8},
    {"n_ctx": 32, "n_batch": 32},
    {"n_ctx": 63},
    {"n_ctx": 64},
    {"n_ctx": 65},
    {"n_ctx": 512, "n_batch": 1},
    {"n_ctx": 512, "n_batch": 31, "n_ubatch": 7},
    {"n_ctx": 0, "drafting": "off"},
]


@pytest.fixture(scope="module")
def small_ones(model_path):
    """What each size of context said, up to the one that crashed."""
    script = """
        for options in json.loads(sys.argv[2]):
            for drafting in ("auto", "paper"):
                with load(sys.argv[1], **{"drafting": drafting, **options}) as llama:
                    output = llama.create_completion("The quick", max_tokens=5, temperature=0)
                    print(json.dumps(output["choices"][0]["text"]), flush=True)
    """
    done = in_a_process(script, model_path, json.dumps(SIZES))
    return done.stdout.splitlines() + [done.stderr[-500:]] * (2 * len(SIZES))


@pytest.mark.parametrize("number", range(len(SIZES)), ids=map(str, SIZES))
def test_small_contexts_and_batches_work(small_ones, plain, number):
    expected = said(plain.create_completion("The quick", max_tokens=5, temperature=0))
    for line in small_ones[2 * number : 2 * number + 2]:
        assert line == json.dumps(expected)


BAD_MODELS = {
    "missing": "does not exist",
    "a folder": "is a folder",
    "empty": "is no GGUF file",
    "text": "is no GGUF file",
    "four bytes": "cut short",
    "a thousandth": "cut short",
    "half": "cut short",
    "all but a byte": "cut short",
}


@pytest.fixture(scope="module")
def bad_models(model_path, tmp_path_factory):
    """{kind: what Llama() says of it}"""
    folder = tmp_path_factory.mktemp("bad models")
    whole = model_path.read_bytes()
    (folder / "a folder").mkdir()
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("Once upon a time")
    (folder / "four bytes").write_bytes(b"GGUF")
    (folder / "a thousandth").write_bytes(whole[: len(whole) // 1000])
    (folder / "half").write_bytes(whole[: len(whole) // 2])
    (folder / "all but a byte").write_bytes(whole[:-1])
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
    shutil.rmtree(folder)
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


def test_stats_add_up(warm):
    before = warm.stats.cumulative
    prompt = tokenized(warm, STORY)
    take(warm, STORY, 40)
    stats = warm.stats
    assert (stats.prompt_tokens, stats.tokens) == (len(prompt), 40)
    assert 0 < stats.steps < 10
    assert stats.accepted <= stats.drafted
    assert stats.mat == 1 + stats.accepted / stats.steps
    parts = ("drafting", "evaluating", "accepting", "learning")
    assert stats.seconds == pytest.approx(sum(getattr(stats, f"seconds_{p}") for p in parts))
    assert stats.seconds > 0
    assert stats.plain_because is None
    assert stats.cumulative.cumulative is None
    for name in ("prompt_tokens", "tokens", "steps", "drafted", "accepted"):
        assert getattr(stats.cumulative, name) == getattr(before, name) + getattr(stats, name)
    assert stats.cumulative.seconds == pytest.approx(before.seconds + stats.seconds)


@pytest.mark.parametrize("k", [1, 2, 16, 17, 20])
def test_stats_count_what_was_taken(warm, k):
    before = warm.stats.cumulative.tokens
    take(warm, STORY, k)
    assert warm.stats.tokens == k
    assert warm.stats.cumulative.tokens == before + k


def test_stats_of_streams_that_overlap_are_their_own(warm):
    before = warm.stats.cumulative.tokens
    one = warm.generate(tokenized(warm, STORY), temp=0.0)
    list(itertools.islice(one, 5))
    take(warm, CAPITAL, 3)
    assert warm.stats.tokens == 3
    one.close()
    assert warm.stats.tokens == 5
    assert warm.stats.cumulative.tokens == before + 8


def test_stats_before_the_first_answer_are_zero(load):
    stats = load(drafting="off").stats
    assert (stats.tokens, stats.mat, stats.tokens_per_second) == (0, 1.0, 0.0)
    assert stats.predicted_speedup is None


class NoDraft:
    """A draft model of llama_cpp that never knows anything."""

    def __call__(self, input_ids, /, **_):
        return np.empty(0, np.intc)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"drafting": "off"}, 'drafting="off"'),
        ({"draft_model": NoDraft()}, "draft_model"),
        ({"embedding": True}, "embedding"),
    ],
)
def test_plain_decoding_says_why_and_is_counted(load, truth, options, why):
    llama = load(n_ctx=256, **options)
    for _ in range(2):
        assert take(llama, CAPITAL, 8) == truth(CAPITAL, 8)
    stats = llama.stats
    assert why in stats.plain_because
    assert (stats.tokens, stats.steps, stats.drafted, stats.accepted) == (8, 7, 0, 0)
    assert stats.mat == 1.0
    assert stats.predicted_speedup is None
    assert stats.cumulative.tokens == 16
    assert why in stats.cumulative.plain_because


def test_a_draft_model_of_llama_cpp_still_works(load, truth):
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

    llama = load(draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4), n_ctx=256)
    prompt = QUESTIONS[-1]
    assert take(llama, prompt, 16) == truth(prompt, 16)


# --- the store ------------------------------------------------------------------------------

ANSWER = """
    path, store, count, *prompts = sys.argv[1:]
    with load(path, store=store) as llama:
        for prompt in prompts:
            stream = llama.generate(tokenized(llama, prompt), temp=0.0)
            tokens = list(itertools.islice(stream, int(count)))
            stream.close()
            print(json.dumps([tokens, llama.stats.mat]), flush=True)
"""


def answers(process):
    return [json.loads(line) for line in finished(process).splitlines()]


def kept(store, llama):
    """All that a store holds of a model: (number of parts, tokens of their logs)."""
    from aded_edge.target.fingerprint import model_fingerprint

    with Store.open(store) as opened:
        parts, _ = opened.model(model_fingerprint(llama), "").load()
        assert opened.warnings == ()
    logs = [token for part in parts for token in part.tokens.tolist()]
    return len(parts), logs


def holds(logs, tokens):
    text = " ".join(map(str, logs))
    return " ".join(map(str, tokens)) in text


def test_the_next_process_drafts_better_and_says_the_same(model_path, tmp_path, truth):
    """Wherever the model's file lies: its fingerprint counts."""
    elsewhere = tmp_path / "a copy.gguf"
    try:
        os.link(model_path.resolve(), elsewhere)
    except OSError:
        shutil.copy(model_path, elsewhere)
    store = tmp_path / "store.db"
    ((first, cold),) = answers(in_a_process(ANSWER, model_path, store, 40, STORY))
    ((second, warm),) = answers(in_a_process(ANSWER, elsewhere, store, 40, STORY))
    assert first == second == truth(STORY, 40)
    assert cold < 3
    assert warm > 6


def test_paper_learns_from_process_to_process_too(model_path, tmp_path, load):
    prompt, mats = QUESTIONS[6], []
    for _ in range(2):
        llama = load(drafting="paper", store=tmp_path / "store.db", n_ctx=256)
        take(llama, prompt, 24)
        mats.append(llama.stats.mat)
        llama.close()
    assert mats[1] > mats[0] + 0.5


def test_two_processes_at_once_lose_nothing(model_path, tmp_path, plain, truth):
    store, halves, done = tmp_path / "store.db", [QUESTIONS[:2], QUESTIONS[2:4]], {}

    def work(number):
        done[number] = in_a_process(ANSWER, model_path, store, 20, *halves[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (0, 1):
        tokens = [tokens for tokens, _ in answers(done[number])]
        assert tokens == [truth(prompt, 20) for prompt in halves[number]]
        assert done[number].stderr == ""
    parts, logs = kept(store, plain)
    assert parts == 4
    for prompt in QUESTIONS[:4]:
        assert holds(logs, tokenized(plain, prompt) + truth(prompt, 20))


def test_a_killed_process_loses_no_earlier_turn(model_path, tmp_path, plain, truth):
    script = """
        path, store, first, second = sys.argv[1:]
        llama = load(path, store=store)
        for prompt in (first, second):
            stream = llama.generate(tokenized(llama, prompt), temp=0.0)
            for _ in range(20):
                next(stream)
            if prompt == first:
                stream.close()
        print("in the middle", flush=True)
        sys.stdin.read()
    """
    store = tmp_path / "store.db"
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), model_path, store]
        + [CAPITAL, STORY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "in the middle\n"
        for _ in range(300):  # saving runs in the background
            if kept(store, plain)[0]:
                break
            time.sleep(0.1)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    with contextlib.closing(sqlite3.connect(store)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    parts, logs = kept(store, plain)
    assert parts == 1
    assert holds(logs, tokenized(plain, CAPITAL) + truth(CAPITAL, 20)[:-1])
    ((tokens, mat),) = answers(in_a_process(ANSWER, model_path, store, 20, CAPITAL))
    assert tokens == truth(CAPITAL, 20)
    assert mat > 2


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
    path.chmod(0o444)


def truncated(path):
    with Store.open(path) as store:
        from aded_edge.store import Learned

        store.model("fingerprint", "name").add(Learned.empty())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def a_folder(path):
    path.mkdir()


BAD_STORES = [not_a_database, another_programs, from_the_future, read_only, truncated, a_folder]


@pytest.mark.parametrize("make", BAD_STORES)
def test_a_bad_store_never_stops_an_answer(load, truth, tmp_path, caplog, monkeypatch, make):
    path = tmp_path / "store.db"
    make(path)
    if make is read_only:  # root may write everywhere
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: mode != os.W_OK and real(p, mode))
    before = path.read_bytes() if path.is_file() else None
    with caplog.at_level(logging.WARNING, "aded_edge"):
        llama = load(store=path, n_ctx=256)
        for _ in range(2):
            assert take(llama, CAPITAL, 6) == truth(CAPITAL, 6)
        llama.close()
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert "\n" not in record.getMessage()
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("where", ["/proc/aded-edge/store.db", "/dev/full"])
def test_a_store_that_cannot_be_made_never_stops_an_answer(load, truth, caplog, where):
    with caplog.at_level(logging.WARNING, "aded_edge"):
        llama = load(store=where, n_ctx=256)
        assert take(llama, CAPITAL, 6) == truth(CAPITAL, 6)
        llama.close()
    (record,) = caplog.records
    assert where in record.getMessage()


def test_a_store_in_a_missing_folder_is_made(load, tmp_path, plain):
    path = tmp_path / "a" / "b c" / "store.db"
    llama = load(store=str(path), n_ctx=256)
    take(llama, CAPITAL, 6)
    llama.close()
    assert kept(path, plain)[0] == 1


def test_a_store_that_breaks_while_it_is_used_never_stops_an_answer(load, truth, tmp_path, caplog):
    path = tmp_path / "store.db"
    with caplog.at_level(logging.WARNING, "aded_edge"):
        llama = load(store=path, n_ctx=256)
        take(llama, CAPITAL, 6)
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript("DROP TABLE arrays; DROP TABLE parts;")
        for _ in range(2):
            assert take(llama, CAPITAL, 6) == truth(CAPITAL, 6)
        llama.close()
    assert 1 <= len(caplog.records) <= 2
    assert str(path) in caplog.text


def test_the_default_store_is_in_the_users_data_folder(load, data_folder):
    llama = load(store="default", n_ctx=256)
    take(llama, CAPITAL, 4)
    assert llama.store.is_relative_to(data_folder)
    assert llama.store.is_file()
    llama.close()


def test_no_store_leaves_no_file(load, data_folder, tmp_path):
    def files():
        return {path for path in data_folder.rglob("*") if path.is_file()}

    before = files()
    llama = load(n_ctx=256)
    take(llama, CAPITAL, 4)
    llama.close()
    assert files() == before


def test_a_small_context_does_not_narrow_the_drafts_of_a_large_one(load, tmp_path):
    """Both measure; what the small one could not measure must not be taken for all there is."""
    store = tmp_path / "store.db"
    load(store=store, n_ctx=8).close()
    assert load(store=store, n_ctx=512)._loop.budget.most_nodes >= 7


def test_errors_are_what_llama_cpp_code_catches():
    assert issubclass(ModelError, ValueError)
    assert issubclass(PromptError, ValueError)
    assert issubclass(ConfigError, ValueError)
    assert issubclass(EvaluationError, RuntimeError)
    assert all(issubclass(e, AdedError) for e in (ModelError, PromptError, EvaluationError))
