"""A hub, a user's machine, and a models folder of its own."""

import pytest

from aded_edge.models import folder as folder_module
from aded_edge.models.default import DEFAULT_MODEL
from tests.models.hub import Hub
from tests.models.machine import FILES, REPO, Machine


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The models folder, here and in `Machine`."""
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / DEFAULT_MODEL.file
    monkeypatch.setattr(folder_module, "default_model_path", lambda: path)
    return folder


@pytest.fixture
def hub():
    with Hub().running() as hub:
        hub.repos[REPO] = dict(FILES)
        yield hub


@pytest.fixture
def machine(hub, folder, tmp_path):
    return Machine(hub.url, tmp_path / "home", folder)
