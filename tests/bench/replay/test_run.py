"""Replay: the figures are those of the real loop, and of what is known without one."""

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from aded_edge.bench.dialogs import ALL_CATEGORIES
from aded_edge.bench.replay.curves import Curve
from aded_edge.bench.replay.run import Replay, Tally
from aded_edge.decode.budget import CostBudget
from aded_edge.decode.cost_curve import WIDTHS, CostCurve
from aded_edge.decode.loop import Loop
from aded_edge.draft.drafter import PaperDrafter
from aded_edge.llamacpp.prompt import common_prefix
from tests.bench.replay.drafters import fresh
from tests.bench.replay.traces import scripted, trace

LAPTOP = Curve({width: 1.0 + 0.10 * (width - 1) for width in WIDTHS})
GPU = Curve({width: 1.0 + 0.01 * (width - 1) for width in WIDTHS})
STAIRCASE = Curve({1: 1.0, 2: 1.8, 4: 2.4, 8: 3.5, 16: 5.0})


@pytest.fixture(scope="module")
def turns():
    return trace().turns


# --- against the real loop ------------------------------------------------------------------


class Told:
    """Learns what a trace can know: nothing of rejected nodes."""

    def __init__(self, drafter):
        self.drafter = drafter

    def draft(self, *arguments):
        return self.drafter.draft(*arguments)

    def learn(self, *steps):
        for step in steps:
            rows = step.parents + 1
            known = [array[rows] for array in step[3:]]
            self.drafter.learn(step._replace(**dict(zip(step._fields[3:], known, strict=True))))


class Priced(CostBudget):
    """Goes by a price list, whatever evaluations take here and now."""

    def __init__(self, curve):
        super().__init__(CostCurve(curve.measurable()))
        self._prices = curve

    def observe(self, width, seconds):
        super().observe(width, self._prices.cost(width))


def decoded(turns, drafter, curve):
    """What the real loop does with the answers of the model that the trace is of."""
    tally, budget, target = Tally(), Priced(curve), scripted()
    for turn in turns:
        held = common_prefix(target.history, turn.prompt[:-1])
        target.read(turn.prompt.tolist())
        drafter.read(target.history, held)
        before = len(target.widths)
        loop = Loop(target, Told(drafter), budget)
        stream = loop.run(lambda row, logits: int(logits.argmax()))
        assert list(islice(stream, len(turn.answer))) == turn.answer.tolist()
        stream.close()
        tally.steps += loop.meter.steps
        tally.drafted += loop.meter.drafted
        tally.accepted += loop.meter.accepted
        tally.cost += sum(curve.cost(width) for width in target.widths[before:])
    return tally


@pytest.mark.parametrize("curve", [LAPTOP, GPU, STAIRCASE])
@pytest.mark.parametrize("leaves", [1, 8])
@pytest.mark.parametrize("options", [{}, {"trusting": True, "soft": 0.0}])
def test_a_replay_does_what_the_real_loop_does(turns, curve, leaves, options):
    """The same steps, drafts and costs on two visits, learning on all the while."""
    real, replayed = fresh(max_leaves=leaves, **options), fresh(max_leaves=leaves, **options)
    run = Replay(replayed, curve)
    loop = decoded([*turns, *turns], real, curve)
    tally = run.visit([*turns, *turns])[ALL_CATEGORIES]
    for figure in ("steps", "drafted", "accepted"):
        assert getattr(tally, figure) == getattr(loop, figure), figure
    assert tally.cost == pytest.approx(loop.cost)
    assert tally.accepted > 0


# --- figures --------------------------------------------------------------------------------


def test_where_width_is_free_the_cost_is_that_of_the_steps(turns):
    tally = Replay(fresh(), Curve(dict.fromkeys(WIDTHS, 1.0))).visit(turns)[ALL_CATEGORIES]
    assert tally.cost == tally.steps
    assert tally.speedup == pytest.approx(tally.mat)
    assert tally.plain == tally.tokens
    assert tally.oracle == len(turns), "every answer at once"
    assert sum(tally.widths.values()) == tally.steps


def test_where_width_never_pays_nothing_is_drafted_but_a_probe(turns):
    tally = Replay(fresh(), Curve({1: 1.0, 2: 2.5, 4: 5.5})).visit([*turns, *turns])[ALL_CATEGORIES]
    assert tally.drafted <= tally.steps / 100
    assert tally.oracle_share == tally.speedup > 0.99


@pytest.mark.parametrize("curve", [LAPTOP, GPU, STAIRCASE])
def test_the_second_visit_is_faster_and_none_outruns_the_oracle(turns, curve):
    run = Replay(fresh(), curve)
    first, second = (run.visit(turns)[ALL_CATEGORIES] for _ in range(2))
    assert second.speedup > 1.2 * first.speedup
    for tally in (first, second):
        assert 0.0 < tally.oracle_share <= 1.0
        assert tally.speedup == pytest.approx(tally.oracle_share * tally.plain / tally.oracle)


def test_the_figures_add_up(turns):
    tallies = Replay(fresh(), LAPTOP).visit([*turns, *turns])
    assert set(tallies) == {ALL_CATEGORIES, "qa", "rag"}
    whole = Tally()
    whole.add(tallies["qa"])
    whole.add(tallies["rag"])
    for name, value in vars(tallies[ALL_CATEGORIES]).items():
        assert getattr(whole, name) == (
            pytest.approx(value) if name not in {"depths", "widths"} else value
        )
    assert whole.answers == 2 * len(turns)
    assert whole.tokens == 2 * sum(len(turn.answer) - 1 for turn in turns)
    assert whole.tokens == whole.steps + whole.accepted
    assert whole.drafted >= whole.accepted > 0
    assert sum(whole.depths.values()) == whole.steps
    assert sum(depth * times for depth, times in whole.depths.items()) == whole.accepted


def test_accepted_by_depth_is_the_share_of_steps_that_came_so_far():
    tally = Tally(steps=8, tokens=16, accepted=8, drafted=10)
    tally.depths = Counter({0: 4, 1: 2, 3: 2})
    row = tally.row()
    assert row["accepted_by_depth"] == [0.5, 0.25, 0.25]
    assert (row["mat"], row["wasted"]) == (2.0, 2)


def test_what_drafting_costs_is_added_to_each_step(turns):
    free, dear = (
        Replay(fresh(), LAPTOP, overhead=o).visit(turns)[ALL_CATEGORIES] for o in (0.0, 0.5)
    )
    assert dear.steps == free.steps
    assert dear.cost == pytest.approx(free.cost + 0.5 * LAPTOP.cost(1) * free.steps)


def test_the_same_input_gives_the_same_figures(turns):
    one, other = (Replay(fresh(), LAPTOP).visit(turns)[ALL_CATEGORIES].row() for _ in range(2))
    assert one == other


def test_the_tree_of_the_paper_is_evaluated_whole_and_pays_for_it(turns):
    run = Replay(fresh(PaperDrafter), LAPTOP, fixed=True)
    run.visit(turns)
    tally = run.visit(turns)[ALL_CATEGORIES]
    assert tally.drafted > 20 * tally.steps
    assert tally.speedup < tally.mat / 2


@pytest.mark.parametrize("tokens", [1, 2])
def test_answers_of_hardly_a_token_are_no_special_case(tokens):
    tallies = Replay(fresh(), LAPTOP).visit(trace(answers=1, tokens=tokens).turns)
    assert tallies[ALL_CATEGORIES].tokens == tallies[ALL_CATEGORIES].steps == tokens - 1
    assert tallies[ALL_CATEGORIES].row()["mat"] == 1.0


def test_a_conversation_that_goes_on_is_not_read_twice(turns):
    first = turns[0]
    longer = np.concatenate((first.prompt, first.answer, [1, 2, 3]))
    drafter, once = fresh(), fresh()
    run = Replay(drafter, LAPTOP)
    for turn in (first, replace(turns[1], prompt=longer.astype(np.int32))):
        run.answer(turn)
    once.read(longer)
    once.read(turns[1].answer)
    assert len(drafter.spans) == len(once.spans) - 1, "no gap before the answer"
