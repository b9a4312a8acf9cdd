"""The text of an answer from any bytes, in any pieces: nothing is lost, doubled or refused."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from aded_edge.runtime.answer_text import AnswerText

BYTES = st.one_of(
    st.binary(max_size=60), st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace"))
)


def pieces_of(data, cuts):
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


@given(BYTES, st.lists(st.integers(0, 99), max_size=12))
@example("🙂".encode(), [1, 2, 3])
@example(b"\xf0\x9f\x99", [1])
@example(b"\xc3", [])
@example(b"\x00\xf0\x90\x80\x80\x00", [2])
def test_any_bytes_in_any_pieces_are_streamed_once(data, cuts):
    text, said = AnswerText([]), ""
    for piece in pieces_of(data, cuts):
        if text.take(piece):
            said += "".join(text.chunks())
    said += "".join(text.rest())
    assert bytes(text) == data
    assert said == data.decode("utf-8", errors="ignore")  # as an answer that is not streamed


@given(st.text(max_size=30), st.lists(st.integers(0, 99), max_size=12), st.text(min_size=1))
def test_a_stop_string_ends_the_text_before_it(text, cuts, stop):
    data, end = text.encode("utf-8", "replace"), stop.encode("utf-8", "replace")
    answer = AnswerText([end])
    for piece in pieces_of(data, cuts):
        if answer.take(piece) and answer.reason == "stop":
            break
    assert answer.reason != "stop" or end not in bytes(answer)
    assert data.startswith(bytes(answer))
