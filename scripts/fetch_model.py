#!/usr/bin/env python3
"""Fetch the default model, with the package of the clone that this script is in.

`aded_edge/models/default.py` does the work.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

try:
    from aded_edge.models.default import main
except ModuleNotFoundError as error:
    sys.exit(f"aded-edge: {sys.executable} lacks {error.name}: run scripts/chat, which sets up all")

if __name__ == "__main__":
    sys.exit(main())
