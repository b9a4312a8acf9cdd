"""Completions: the same as llama_cpp's, chunk by chunk, without its growing cost."""

import contextlib

import llama_cpp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aded_edge import Llama
from aded_edge.runtime.answer_text import AnswerText

EOS = 2
"""The end of an answer in the tiny model, whose other tokens are bytes + 3."""

same_model = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def tiny(loader, tiny_settings):
    """The tiny model."""
    with loader() as load:
        yield load(drafting="off", **tiny_settings)


def tokens_of(text):
    return [byte + 3 for byte in text]


def answered(complete, llama, tokens, **arguments):
    """What a way to complete yields when the model generates these tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Llama, "generate", lambda self, *_, **__: iter(tokens))
        chunks = list(complete(llama, "prompt", **arguments))
    for chunk in chunks:
        del chunk["id"], chunk["created"]
    return chunks


def spoken(chunks):
    return "".join(chunk["choices"][0]["text"] for chunk in chunks)


def without_text(chunks):
    return [{**chunk, "choices": [{**chunk["choices"][0], "text": None}]} for chunk in chunks]


usual = {"model": None, "seed": 1, "temperature": 0.0, "stopping_criteria": None}
texts = st.lists(st.sampled_from(["a", "b", "ab", " ", "é", "你", "🦊", "\n"]), max_size=12).map(
    lambda parts: "".join(parts).encode()
)
# Also bytes that are no text, and the control tokens between them.
streams = st.one_of(
    texts.map(tokens_of),
    st.lists(st.integers(0, 258), max_size=20),
    st.tuples(texts, st.integers(0, 20)).map(lambda t: tokens_of(t[0])[: t[1]]),
)
stops = st.lists(st.sampled_from(["a", "ab", "ba", "b ", "你", "🦊a", "é"]), max_size=3)


@same_model
@given(streams, stops, st.integers(-1, 12), st.booleans())
@example(tokens_of("ab🦊ab".encode()), ["🦊a"], -1, True)
@example(tokens_of("🦊".encode()), [], 2, False)
def test_it_is_llama_cpps_to_the_byte(tiny, tokens, stop, most, stream):
    arguments = {**usual, "stop": stop, "max_tokens": most, "stream": stream}
    ours = answered(Llama._create_completion, tiny, [*tokens, EOS], **arguments)
    theirs = answered(llama_cpp.Llama._create_completion, tiny, [*tokens, EOS], **arguments)
    if stream and spoken(ours) != spoken(theirs):
        # The end of a stream is not that of the answer in llama_cpp: it loses a character that is
        # split between the last tokens. Then its own answer in one piece counts.
        arguments["stream"] = False
        whole = answered(llama_cpp.Llama._create_completion, tiny, [*tokens, EOS], **arguments)
        assert spoken(ours) == spoken(whole)
        assert without_text(ours) == without_text(theirs)
        return
    assert ours == theirs


def test_a_character_at_the_end_of_a_stream_is_not_lost(tiny):
    arguments = {**usual, "stop": ["🦊a"], "max_tokens": -1, "stream": True}
    tokens = [*tokens_of("ab🦊".encode()), EOS]
    assert spoken(answered(Llama._create_completion, tiny, tokens, **arguments)) == "ab🦊"


@pytest.mark.parametrize("stop", [None, "a", ["a", "b"]])
@pytest.mark.parametrize("prompt", ["ab", [4, 5, 6]])
def test_prompts_and_stops_are_taken_in_every_form(tiny, prompt, stop):
    ours = tiny.create_completion(prompt, stop=stop, max_tokens=20, seed=3)
    theirs = llama_cpp.Llama._create_completion(tiny, prompt, stop=stop, max_tokens=20, seed=3)
    (theirs,) = theirs
    assert ours["choices"] == theirs["choices"]
    assert ours["usage"] == theirs["usage"]


def test_a_prompt_that_is_too_long_is_refused_as_llama_cpp_does(tiny):
    with pytest.raises(ValueError, match=r"Requested tokens \(\d+\) exceed context window"):
        tiny.create_completion("a" * 2000)


@pytest.mark.parametrize(
    "unusual",
    [{"echo": True}, {"suffix": "b"}, {"logit_bias": {5: 1.0}}],
    ids=lambda u: next(iter(u)),
)
def test_unusual_requests_are_left_to_llama_cpp(tiny, unusual, monkeypatch):
    monkeypatch.setattr("aded_edge.runtime.llama.complete", None)
    assert tiny.create_completion("ab", max_tokens=3, **unusual)["choices"]


def test_the_generator_is_closed_before_the_last_chunk(tiny):
    closed = []

    def generate(self, *_, **__):
        try:
            yield from tokens_of(b"abc")
        finally:
            closed.append(True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Llama, "generate", generate)
        stream = tiny.create_completion("x", max_tokens=2, stream=True)
        reasons = [(chunk["choices"][0]["finish_reason"], bool(closed)) for chunk in stream]
    assert reasons[-1] == ("length", True)


def test_the_cost_of_a_token_does_not_grow_with_the_answer():
    """Counted, not timed: bytes that are looked at for a token, after many and after few."""

    class Counted(bytearray):
        looked_at = 0

        def find(self, sub, start=0):
            Counted.looked_at += len(self) - start
            return super().find(sub, start)

    def cost_of_the_last(tokens):
        text = AnswerText([b"stop", b"###"])
        text._text = Counted()
        for _ in range(tokens):
            Counted.looked_at = 0
            text.take(b"word ")
            list(text.chunks())
        return Counted.looked_at, len(text._unsent)

    assert cost_of_the_last(20) == cost_of_the_last(4000)


def test_closing_a_stream_closes_the_generation(tiny):
    with contextlib.closing(tiny.create_completion("ab", max_tokens=50, stream=True)) as stream:
        next(stream)
    assert tiny.stats.tokens >= 1
    assert tiny.create_completion("ab", max_tokens=5, seed=1)["usage"]["completion_tokens"] == 5


def test_a_character_that_the_context_cuts_in_two_ends_the_answer(load_tiny):
    """llama_cpp waits for the rest of it, and fails where the context is full."""
    llama = load_tiny(drafting="off", n_ctx=256)
    emoji = tokens_of("🦊".encode() * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Llama, "generate", lambda self, *_, **__: iter(emoji))
        for prompt in ("a" * 250, "a" * 249, "a" * 248):
            answer = llama.create_completion(prompt, max_tokens=-1)
            assert answer["choices"][0]["finish_reason"] == "length"
            assert answer["usage"]["total_tokens"] == 256


def test_a_verbose_model_prints_its_timings_as_llama_cpp_does(tiny, monkeypatch):
    called = []
    monkeypatch.setattr(tiny, "verbose", True)
    for name in ("reset_timings", "print_timings"):
        monkeypatch.setattr(tiny._ctx, name, lambda name=name: called.append(name))
    for complete in (Llama._create_completion, llama_cpp.Llama._create_completion):
        called.clear()
        answered(
            complete, tiny, [*tokens_of(b"ab"), EOS], stop=[], stream=False, max_tokens=9, **usual
        )
        assert called == ["reset_timings", "print_timings"]
