"""scripts/compose_quarter.py: the files in the package are what it writes."""

import runpy
from pathlib import Path

from aded_edge.bench.sessions import PACKAGED, packaged

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "compose_quarter.py"


def test_the_files_in_the_package_are_made_of_the_texts(tmp_path):
    main = runpy.run_path(str(SCRIPT))["main"]
    main.__globals__["PACKAGE"] = tmp_path
    main()
    for name in PACKAGED:
        written = (tmp_path / f"{name}.jsonl").read_bytes()
        assert written == packaged(name).read_bytes(), f"run scripts/compose_quarter.py: {name}"
