"""Which of several files a file name or a quantisation means."""

import pytest

from aded_edge.models.names import Weights, matching, quantisation, whole_models


@pytest.mark.parametrize(
    ("names", "what", "meant"),
    [
        (["a-Q4_K_M.gguf", "a-Q4_0.gguf"], None, ["a-Q4_K_M.gguf"]),
        (["a-Q4_0.gguf", "a-Q2_K.gguf"], None, ["a-Q4_0.gguf"]),
        (["a-Q8_0.gguf", "a-F16.gguf"], None, ["a-Q8_0.gguf"]),  # the smallest: sizes go up
        (["a-Q4_K_M.gguf"], "Q4_K", []),
        (["a-IQ4_0.gguf", "a-Q4_0_8_8.gguf"], "Q4_0", []),
        (["a.q4_k_m.gguf"], "Q4_K_M", ["a.q4_k_m.gguf"]),
        (["phi_Q4_K_M.gguf"], "q4_k_m", ["phi_Q4_K_M.gguf"]),
        (["a-UD-Q4_K_XL.gguf"], "UD-Q4_K_XL", ["a-UD-Q4_K_XL.gguf"]),
        (["Q8_0/a-Q8_0.gguf", "b-Q8_0.gguf"], "a-q8_0.gguf", ["Q8_0/a-Q8_0.gguf"]),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0", ["a-Q8_0.gguf", "b-Q8_0.gguf"]),
        (["a-Q8_0.gguf", "b-Q8_0.gguf", "a.gguf"], "a.gguf", ["a.gguf"]),
        (["x.gguf"], "a+b(", []),
    ],
)
def test_what_a_quantisation_means(names, what, meant):
    there = whole_models({name: size for size, name in enumerate(names)})
    assert [model.name for model in matching(there, what)] == meant


def test_a_split_model_is_one_and_only_if_it_is_whole():
    sizes = {
        "a-00001-of-00002.gguf": 3,
        "a-00002-of-00002.gguf": 4,
        "b-00001-of-00002.gguf": 5,
        "c.GGUF": 1,
        "mmproj-a.gguf": 1,
        "imatrix.gguf": 1,
        "notes.txt": 1,
    }
    assert whole_models(sizes) == [
        Weights(("a-00001-of-00002.gguf", "a-00002-of-00002.gguf"), 7),
        Weights(("c.GGUF",), 1),
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("a/Qwen2.5-0.5B-IQ2_XXS-00001-of-00003.gguf", "IQ2_XXS"),
        ("gemma-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("llama-bf16.gguf", "bf16"),
        ("gpt-oss-MXFP4.gguf", "MXFP4"),
        ("Q8-model.gguf", "Q8"),
        ("plain.gguf", None),
    ],
)
def test_the_quantisation_that_a_name_tells(name, told):
    assert quantisation(name) == told
