"""What the tests of the benchmark share."""

import pytest

from aded_edge.bench.speed.decoders import RunSettings


@pytest.fixture
def few(monkeypatch):
    """One round of measurements is enough where speed is not the question."""
    monkeypatch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.3)


@pytest.fixture
def small(model_path):
    """Conditions of a short run; threads and flash attention as in the fixture `settings`."""
    return RunSettings(
        str(model_path), ("p",), max_tokens=12, n_ctx=512, threads=1, flash_attn=True
    )
