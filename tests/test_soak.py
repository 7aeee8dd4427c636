"""One fault of scripts/soak.py; a full soak is `python scripts/soak.py --minutes 30`."""

import subprocess
import sys
from pathlib import Path


def test_short_soak_loses_nothing(tmp_path: Path) -> None:
    """At least one fault, then the comparison with an unbroken run."""
    options = ["--minutes", "0.01", "--place", tmp_path / "soak"]
    command = [sys.executable, "scripts/soak.py", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "faults, nothing lost" in done.stdout
