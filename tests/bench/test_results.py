"""Results on disk."""

import json

import numpy as np
import pytest

from aded_edge.bench.results import save_result
from aded_edge.errors import BenchError


def test_a_result_is_replaced_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "r.json"
    save_result({"a": 1}, path)
    with pytest.raises(TypeError):
        save_result({"a": np.float32}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]
    with pytest.raises(BenchError, match="r.json"):
        save_result({}, path / "r.json")
