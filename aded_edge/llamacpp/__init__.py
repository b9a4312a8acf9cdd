"""The model that decides: a real one in llama.cpp, or a scripted one without weights."""
