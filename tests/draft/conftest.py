"""How the kernels are tried: with no eye on the clock, for the first call compiles."""

import numba
import numpy as np
import pytest
from hypothesis import settings

# As plain Python a kernel takes a hundred times as long.
EXAMPLES = 25 if numba.config.DISABLE_JIT else 100

settings.register_profile("kernels", deadline=None, max_examples=EXAMPLES)
settings.load_profile("kernels")


@pytest.fixture(scope="module", autouse=True)
def wrapping_hashes():
    """Hashes are meant to overflow; compiled code does so silently."""
    with np.errstate(over="ignore"):
        yield
