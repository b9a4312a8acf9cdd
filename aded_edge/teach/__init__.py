"""Teaching: fill a model's matrix before it chats, from texts or from its own answers.

`learn.TextLearner` and `learn.learn_files` teach the texts of files. `prime.run_priming` lets a
model answer the openings that `prime.load_openings` and `prime.opening_prompts` prepare, with
`answers.ParallelAnswers` as the decoder. Both write through `lessons.Lessons`, one model's part of
a store; `lessons.load_for_teaching` loads the model.
Does not know options or progress bars, nor how a drafter uses what it was taught. Nothing is
imported here, because the modules load llama.cpp and Numba.
"""
