"""Settings for tests of kernels: no deadline, because the first call compiles."""

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
    """Hashes overflow on purpose; compiled code does so without a warning."""
    with np.errstate(over="ignore"):
        yield
