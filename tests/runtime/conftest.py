"""Models that know two answers already, so that their drafts are long.

Eager models evaluate every draft, so that nothing depends on what an evaluation costs here.
"""

import pytest

from tests.runtime.helpers import ASKED, CAPITAL, OTHER, STORY, take


@pytest.fixture(scope="module")
def warmed(loader, model_path):
    with loader() as load:
        llama = load(model_path=model_path, eager=True)
        take(llama, CAPITAL, 24)
        for _ in range(2):
            take(llama, STORY, 64)
        assert llama.stats.mat > 8
        yield llama


@pytest.fixture
def warm(warmed):
    """The real model, eager. It knows two answers, so its drafts are long."""
    warmed.reset()
    return warmed


@pytest.fixture(scope="module", params=["chains", "trees"])
def tiny_warmed(request, loader, tiny_settings, tiny_truth):
    with loader() as load:
        trees = request.param == "trees"
        drafting = "paper" if trees else "auto"
        llama = load(**tiny_settings, eager=not trees, drafting=drafting)
        for prompt in (OTHER, ASKED, OTHER, ASKED):
            assert take(llama, prompt, 64) == tiny_truth(prompt, 64)
        assert llama.stats.mat > (3 if trees else 8)
        yield llama


@pytest.fixture
def tiny(tiny_warmed):
    """The tiny model, which knows two answers; once with chains, once with the paper's trees."""
    tiny_warmed.reset()
    return tiny_warmed
