"""Cost curves: the published ones with their sources, and files of users, good and bad."""

import json

import pytest

from aded_edge.bench.replay.curves import MACHINES, Curve, load_curves
from aded_edge.decode.cost_curve import WIDTHS
from aded_edge.errors import BenchError

SECONDS = {1: 0.01, 2: 0.02, 8: 0.03}


def costs(name, measured=None):
    (curve,) = load_curves(name, measured)
    return curve.costs


def test_the_published_curves_have_names_and_sources():
    curves = {curve.name: curve for curve in load_curves(MACHINES, None)}
    assert len(curves) == 11
    assert curves["strix-halo-hip"].costs[16] == 1.77 < curves["strix-halo-hip"].costs[8]
    for curve in curves.values():
        assert curve.costs[1] == 1
        assert curve.source
        assert load_curves(curve.name, None) == [curve]


def test_what_was_measured_is_the_default():
    assert costs("measured", SECONDS) == SECONDS
    with pytest.raises(BenchError, match="a transcript has no measured costs"):
        load_curves("measured", None)


def test_straight_lines_have_names():
    assert costs("laptop") == pytest.approx({w: 1.0 + 0.10 * (w - 1) for w in WIDTHS})
    assert costs("gpu") == pytest.approx({w: 1.0 + 0.01 * (w - 1) for w in WIDTHS})


def test_between_two_widths_the_curve_is_a_line_and_goes_on_as_it_was_on_average():
    curve = Curve({1: 1.0, 4: 2.5, 8: 4.5})
    assert [curve.cost(w) for w in (1, 2, 4, 6, 8)] == [1.0, 1.5, 2.5, 3.5, 4.5]
    assert curve.cost(16) == 4.5 + 8 * 0.5
    assert curve.total({1: 3, 6: 2}) == 3 * 1.0 + 2 * 3.5
    assert Curve({1: 2.0}).cost(3) == 6.0, "one row after the other"
    falling = Curve({1: 1.0, 2: 0.9})
    assert falling.cost(64) == 0.9, "more rows never cost less than the widest"


def test_a_replay_knows_the_widths_that_llama_would_measure():
    known = Curve({1: 1.0, 9: 3.0}).measurable()
    assert known.keys() == {*WIDTHS, 9}
    assert known[5] == 2.0
    assert known[64] == 3.0 + 55 * 0.25


@pytest.fixture
def file(tmp_path):
    def file(content):
        path = tmp_path / "costs.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return str(path)

    return file


def test_a_file_has_one_curve(file):
    assert costs(file({"1": 0.01, "4": 0.02})) == {1: 0.01, 4: 0.02}


def test_a_file_has_several_curves(file):
    path = file({"mine": {"costs": {"1": 1}, "source": "me"}, "other": {"costs": {"1": 2}}})
    mine, other = load_curves(path, None)
    assert (mine.name, mine.costs, mine.source) == ("mine", {1: 1.0}, "me")
    assert (other.name, other.costs, other.source) == ("other", {1: 2.0}, path)


BAD = [
    ("", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("[1]", "not an object"),
    ("{}", "not an object"),
    ('"1"', "not an object"),
    ({"2": 1}, "no cost of width 1"),
    ({"1": 0}, "not between"),
    ({"1": 1, "2": -1}, "width 2 is not between"),
    ('{"1": NaN}', "not between"),
    ('{"1": 1, "2": Infinity}', "not between"),
    ('{"1": 1e999}', "not between"),
    ('{"1": 1' + "0" * 400 + "}", "not between"),
    ({"1": None}, "is no number"),
    ({"1": True}, "is no number"),
    ({"1": "1"}, "is no number"),
    ({"1": [1] * 999}, "is no number"),
    ({"a": 1}, "'a' is not a width"),
    ({"1": 1, "0": 1}, "'0' is not a width"),
    ({"1": 1, "-2": 1}, "'-2' is not a width"),
    ({"1": 1, "1.5": 1}, "'1.5' is not a width"),
    ({"1": 1, "9" * 5000: 1}, "is not a width"),
    ({"mine": {"costs": {"1": 1}}, "yours": 3}, "'yours' is not a cost curve"),
    ({"mine": {"cost": {"1": 1}}}, "'mine' is not a cost curve"),
    ({"mine": {"costs": {}}}, "no cost of width 1"),
    ({"mine": {"costs": {"1": 1, "2": "x"}}}, "'mine' is not a cost curve"),
]


@pytest.mark.parametrize(("content", "said"), BAD)
def test_what_is_no_cost_curve_is_named_in_one_line(file, content, said):
    path = file(content)
    with pytest.raises(BenchError, match="not a cost curve") as caught:
        load_curves(path, None)
    error = str(caught.value)
    assert path in error
    assert said in error
    assert "write JSON like" in error
    assert len(error.splitlines()) == 1
    assert len(error) < 500


def test_a_file_that_is_not_there_is_told_what_else_there_is(tmp_path):
    for path in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(BenchError, match="not a readable file") as caught:
            load_curves(str(path), None)
        assert str(path) in str(caught.value)
        assert "rtx-3090-8b-q4_0" in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "costs.json"
    path.write_bytes(b'{"1": 1, "\xff": 2}')
    with pytest.raises(BenchError, match="UTF-8"):
        load_curves(str(path), None)
