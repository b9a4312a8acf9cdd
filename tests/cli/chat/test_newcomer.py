"""What a newcomer is told: what the default model is for, and what to use instead."""

import pytest

from aded_edge.cli.chat.newcomer import advice
from aded_edge.models.names import Reference


@pytest.mark.parametrize(("gb", "size"), [(2, "1.5B"), (8, "4B"), (16, "8B"), (256, "8B")])
def test_the_model_fits_the_memory(gb, size):
    line = advice(gb << 30)
    assert "\n" not in line
    assert size in line
    Reference.parse(line.split()[-1])  # what can be typed as it stands


def test_this_machine_gets_advice():
    assert "aded-edge chat hf:" in advice()
