"""Prompts: messages in the model's own chat template."""

from aded_edge import Llama
from aded_edge.llamacpp.prompt import Prompter


def test_the_prompt_is_what_the_model_s_own_template_makes(model_path):
    with Llama(str(model_path), n_ctx=512, drafting="off", verbose=False) as llama:
        prompter = Prompter(llama)
        tokens = prompter.tokens([{"role": "user", "content": "Hello there."}])
        llama.create_chat_completion(
            [{"role": "user", "content": "Hello there."}], max_tokens=1, temperature=0.0
        )
        assert llama.input_ids[: len(tokens)].tolist() == tokens
        assert prompter.text(tokens[-3:])
