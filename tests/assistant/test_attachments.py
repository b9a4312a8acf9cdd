"""Files attached to a conversation."""


def test_a_small_file_is_given_whole_and_a_large_one_in_part(open_assistant, say, tmp_path):
    assistant = open_assistant(
        n_ctx=2048, memory_tokens=900
    )  # the tiny model has a token for each byte
    small, large = tmp_path / "small.txt", tmp_path / "large.txt"
    small.write_text("The code is 4711.")
    large.write_text("\n\n".join(f"Paragraph {n}: " + "filler words " * 8 for n in range(90)))
    large.write_text(large.read_text() + "\n\nThe harbour closes at nine every evening.\n")
    assert "given whole" in assistant.attach(small)
    say(assistant, "What is it?")
    assert "The code is 4711." in assistant.messages[-2].given
    say(assistant, "Thanks.")
    assert assistant.messages[-2].given is None
    assert "passages" in assistant.attach(large)
    say(assistant, "When is the harbour closing in the evening?")
    assert [item.where.rpartition("/")[2] for item in assistant.used] == ["large.txt:181"]
