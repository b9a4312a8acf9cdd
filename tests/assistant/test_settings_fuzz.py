"""A config file that holds anything: settings, or one line of ConfigError."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aded_edge.assistant.settings import OPTIONS, load_settings
from aded_edge.errors import ConfigError

KEYS = st.sampled_from([*OPTIONS, "x", '"a b"'])
VALUES = st.sampled_from(
    ["1", "-1", "1e999", "nan", "9" * 400, '"text"', "true", "[]", "{a = 1}", "1979-05-27", "="]
)
LINES = st.one_of(
    st.sampled_from(["[defaults]", "[personas.a]", "[personas]", "[[defaults]]", "personas = 1"]),
    st.builds("{} = {}".format, KEYS, VALUES),
    st.text(max_size=12),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("config") / "config.toml"


def read(file, data):
    file.write_bytes(data)
    with contextlib.suppress(ConfigError):
        load_settings(file)


@settings(max_examples=300)
@given(st.lists(LINES, max_size=6))
def test_any_lines(file, lines):
    read(file, "\n".join(lines).encode("utf-8", "replace"))


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes(file, data):
    read(file, data)
