"""What the tests of commands share."""

import pytest


@pytest.fixture
def few(monkeypatch):
    """One round of measurements is enough where speed is not the question."""
    monkeypatch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.3)
