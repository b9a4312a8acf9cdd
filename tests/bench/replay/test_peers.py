"""The drafts of other programs, against examples that were worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from aded_edge.bench.replay.peers import NgramMod, NgramSimple, PromptLookup, visit

# --- llama_cpp's prompt lookup ----------------------------------------------------------------


def test_lookup_copies_what_came_behind_the_first_place():
    peer = PromptLookup(2)
    peer.begin([])
    #            0  1  2  3  4  5  6  7
    text = [5, 6, 7, 8, 5, 6, 9, 5, 6]
    assert peer.draft(text) == [7, 8], "5 6 came first at 0, not last at 4"
    assert peer.draft([*text, 9]) == [5, 6], "6 9 at 5"
    assert peer.draft([*text, 9, 8]) == [5, 6], "9 8 is new, and 8 alone was at 3"
    assert peer.draft([*text, 9, 8, 1]) == []
    assert peer.draft([*text, 9, 8, 1, 1]) == [1], "1 at the place before, and the text ends"


def test_lookup_drafts_ten_tokens_by_default():
    assert PromptLookup().draft([*range(20), 0, 1]) == [*range(2, 12)]


def test_lookup_begins_anew_with_each_answer():
    peer = PromptLookup(2)
    peer.begin([])
    assert peer.draft([1, 2, 3, 1]) == [2, 3]
    peer.begin([])
    assert peer.draft([4, 5, 1]) == []


@pytest.mark.parametrize("most", [2, 10])
def test_lookup_drafts_what_llama_cpp_drafts(most):
    theirs = LlamaPromptLookupDecoding(num_pred_tokens=most)
    ours = PromptLookup(most)
    text = np.random.default_rng(0).integers(0, 6, 300).tolist()
    ours.begin(text[:1])
    for end in range(1, len(text)):
        expected = theirs(np.asarray(text[:end], np.intc)).tolist()
        assert ours.draft(text[:end]) == expected, end


# --- ngram-simple -----------------------------------------------------------------------------


def simple():
    peer = NgramSimple()
    peer.begin([])
    return peer


def test_simple_copies_48_tokens_from_behind_the_last_place():
    key = [*range(12)]
    text = [99, *key, *range(100, 160), *key, *range(200, 260), *key]
    assert simple().draft(text) == [*range(200, 248)], "behind the later place"


def test_simple_needs_twelve_tokens_to_copy():
    key = [*range(12)]
    filler = [*range(300, 360)]
    for copied in (11, 12):
        text = [*filler, *key, *range(100, 100 + copied - 11), *key]
        # What may be copied ends before the last token, so the key's own 11 tokens belong to it.
        assert simple().draft(text) == (text[72 : 72 + copied] if copied == 12 else [])


def test_simple_does_not_look_at_the_beginning_or_into_short_texts():
    key = [*range(12)]
    long = [*key, *range(100, 148), 7, *key]
    assert simple().draft(long) == [], "the place at index 0"
    assert len(long[1:]) == 72
    assert simple().draft([99, *long]) != []
    short = [99, *key, *range(100, 137), *key]
    assert len(short) - 1 == 61
    assert simple().draft(short) == [], "61 evaluated tokens"
    assert simple().draft([98, *short]) == [*range(100, 137), *key[:11]], "62 are enough"


# --- ngram-mod --------------------------------------------------------------------------------


def mod(**options):
    return NgramMod(**{"n": 3, "least": 2, "most": 5, **options})


def test_mod_walks_through_the_table_of_all_texts():
    peer = mod()
    peer.begin([1, 2, 3, 4, 5, 6, 7, 8, 9])
    peer.begin([5, 5, 5])
    assert peer.draft([5, 5, 5, 1, 2, 3]) == [4, 5, 6, 7, 8], "most 5, from an earlier prompt"
    assert peer.draft([5, 5, 5, 4, 5, 6]) == [7, 8, 9]
    assert peer.draft([5, 5, 5, 5, 6, 7]) == [8, 9]
    assert peer.draft([5, 5, 5, 6, 7, 8]) == [], "9 alone is less than the least"
    assert peer.draft([5, 5, 5, 1, 2, 4]) == []


def test_mod_takes_the_token_that_came_last():
    peer = mod()
    peer.begin([1, 2, 3, 4, 9, 1, 2, 3, 5, 6])
    assert peer.draft([0, 1, 2, 3])[:2] == [5, 6]


def test_mod_learns_an_answer_in_pieces():
    peer = mod()
    peer.begin([50, 51, 52, 53])  # from index 1 on nothing is known
    text = [50, 51, 52, 53, 1, 2, 3, 4, 5]
    more = [*range(100, 124), 1, 2, 3]
    assert len([*text, *more]) - 1 == 35
    assert peer.draft([*text, *more][:-1]) == [], "34 are evaluated, 1 + 32 = 33 are fewer"
    peer = mod()
    peer.begin([50, 51, 52, 53])
    assert peer.draft([*text, *more[3:]]) == []
    assert peer.draft([*text, *more, 1, 2, 3][: len(text) + 27]) == [4, 5, 100, 101, 102]


def test_mod_forgets_all_after_five_bad_drafts():
    peer = mod()
    peer.begin([1, 2, 3, 4, 5, 6, 7, 8, 9])
    peer.begin([5, 5, 5])
    text = [5, 5, 5, 1, 2, 3]
    for accepted in (1, 1, 1, 1, 2, 1, 1, 1, 1):  # a quarter of 5 lies between 1 and 2
        assert len(peer.draft(text)) == 5
        peer.settle(accepted)
    assert peer.draft(text) != []
    peer.settle(1)
    assert peer.draft(text) == []


def test_mod_forgets_all_where_a_quarter_is_full():
    for size, known in ((64, True), (16, False)):
        peer = mod(size=size)
        peer.begin([1, 2, 3, 4, 5, 6, 7, 8, 9])  # six entries
        assert bool(peer.draft([0, 1, 2, 3])) == known


def test_mod_hashes_as_its_source_does():
    factor, size = 6364136223846793005, 1 << 22
    by_hand = (((7 * factor + 8) * factor + 9) % (1 << 64)) % size
    peer = mod()
    peer.begin([7, 8, 9, 10])
    assert peer._table == {by_hand: 10}


def test_the_defaults_of_mod_are_those_of_the_source():
    peer = NgramMod()
    peer.begin([*range(24), *range(1000, 1070)])
    assert peer.draft([*range(24)] * 2) == [*range(1000, 1064)], "24 match, 64 follow"
    peer = NgramMod()
    peer.begin([*range(24), *range(1000, 1047)])
    assert peer.draft([*range(24)] * 2) == [], "47 are fewer than 48"


# --- visits -----------------------------------------------------------------------------------


def turn(prompt, answer):
    return SimpleNamespace(prompt=np.asarray(prompt), answer=np.asarray(answer))


class Told:
    """Drafts what it is told, and notes what it is told of the outcome."""

    def __init__(self, *drafts, cuts=False):
        self.drafts, self.cuts, self.accepted = list(drafts), cuts, []

    def begin(self, prompt):
        self.prompt = prompt[:]

    def draft(self, text):
        return self.drafts.pop(0) if self.drafts else []

    def settle(self, accepted):
        self.accepted.append(accepted)


def test_a_visit_counts_widths_and_what_was_accepted():
    peer = Told([11, 12, 0], [], [15, 16, 17])
    tally = visit(peer, [turn([1, 2], [10, 11, 12, 13, 14, 15, 16])], None)
    assert peer.prompt == [1, 2]
    assert peer.accepted == [2, 1], "the last token is the target's own"
    assert (tally.answers, tally.steps, tally.tokens) == (1, 3, 6)
    assert (tally.drafted, tally.accepted) == (6, 3)
    assert tally.widths == {4: 2, 1: 1}


def test_servers_cut_drafts_to_what_an_answer_may_have():
    long = [11, 12, 13, 14, 15]
    answer = turn([1], [10, 11, 12, 13])
    assert visit(Told(long), [answer], 4).widths == {6: 1}
    assert visit(Told(long, cuts=True), [answer], 4).widths == {3: 1}
    assert visit(Told(long, cuts=True), [answer], None).widths == {6: 1}


def test_an_answer_of_one_token_has_no_step():
    assert visit(Told(), [turn([1], [10]), turn([1], [])], 4).steps == 0


@pytest.mark.parametrize("make", [PromptLookup, lambda: NgramSimple(4, 8)])
def test_a_conversation_that_goes_on_is_drafted_for_like_a_new_text(make):
    kept, text = make(), np.random.default_rng(1).integers(0, 2, 400).tolist()
    kept.begin(text[:100])
    kept.draft(text[:150])
    kept.begin(text[:200])
    some = 0
    for end in range(201, len(text)):
        fresh = make()
        fresh.begin(text[:200])
        draft = kept.draft(text[:end])
        assert draft == fresh.draft(text[:end])
        some += bool(draft)
    assert some > 20
    kept.begin(text[1:200])
    fresh = make()
    fresh.begin(text[1:200])
    assert kept.draft(text[1:300]) == fresh.draft(text[1:300])
