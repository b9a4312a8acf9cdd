"""Files that are no models: one error, in one line."""

import json

import pytest

from aded_edge import ModelError
from tests.runtime.helpers import finished, in_a_process

BAD_MODELS = {
    "missing": "does not exist",
    "a folder": "is a folder",
    "empty": "is no GGUF file",
    "text": "is no GGUF file",
    "four bytes": "cut short",
    "a tenth": "cut short",
    "half": "cut short",
    "all but a byte": "cut short",
}


@pytest.fixture(scope="module")
def bad_models(tiny_path, tmp_path_factory):
    """{kind of file: [type of the error, whether it is a ValueError, its text]}"""
    folder, whole = tmp_path_factory.mktemp("bad models"), tiny_path.read_bytes()
    (folder / "a folder").mkdir()
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("Once upon a time")
    (folder / "four bytes").write_bytes(b"GGUF")
    (folder / "a tenth").write_bytes(whole[: len(whole) // 10])
    (folder / "half").write_bytes(whole[: len(whole) // 2])
    (folder / "all but a byte").write_bytes(whole.rstrip(b"\0")[:-1])
    script = """
        said = {}
        for name in json.loads(sys.argv[2]):
            try:
                load(os.path.join(sys.argv[1], name))
            except Exception as error:
                said[name] = [type(error).__name__, isinstance(error, ValueError), str(error)]
        print(json.dumps(said))
    """
    done = in_a_process(script, folder, json.dumps(list(BAD_MODELS)))
    return json.loads(finished(done).splitlines()[-1])


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_a_file_that_is_no_model_is_told_in_one_line(bad_models, kind):
    name, is_value_error, text = bad_models[kind]
    assert name == ModelError.__name__
    assert is_value_error
    assert BAD_MODELS[kind] in text
    assert kind in text
    assert "\n" not in text
