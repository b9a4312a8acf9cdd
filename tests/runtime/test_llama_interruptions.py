"""After an interruption at any point a model answers as a fresh one does."""

import contextlib
import itertools
import os
import sys
from collections import Counter

import llama_cpp
import pytest

import aded_edge.decode.accept
import aded_edge.decode.loop
import aded_edge.llamacpp.target
import aded_edge.runtime.access
import aded_edge.runtime.generation
import aded_edge.runtime.llama
import aded_edge.runtime.prefill
import aded_edge.runtime.sampling
from aded_edge import EvaluationError
from tests.runtime.helpers import (
    ASKED,
    CAPITAL,
    OTHER,
    assert_in_agreement,
    ctrl_c_at_a_token,
    ctrl_c_while_evaluating,
    history,
    take,
)


def closed(stream):
    stream.close()
    return []


def thrown_into(stream):
    with pytest.raises(ZeroDivisionError):
        stream.throw(ZeroDivisionError())
    return []


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
    """Each follow-up finds another part of its prompt in the KV cache."""
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
    aded_edge.runtime.access,
    aded_edge.runtime.generation,
    aded_edge.runtime.llama,
    aded_edge.runtime.prefill,
    aded_edge.runtime.sampling,
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
    assert interrupted > 0.8 * len(lines)  # what is learned meanwhile changes which lines run
