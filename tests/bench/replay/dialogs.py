"""Dialogs to be recorded."""

import json

DIALOGS = [
    {"question_id": 7, "category": "qa", "turns": ["Name a colour.", "And another one?"]},
    {"question_id": 8, "category": "rag", "turns": ["Count from one to five."]},
]


def write_dialogs(path, dialogs):
    """Writes a prompt file, and returns its path."""
    path.write_text("\n".join(json.dumps(dialog) for dialog in dialogs) + "\n", encoding="utf-8")
    return path
