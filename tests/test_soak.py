"""One fault of scripts/soak.py; a full soak is `python scripts/soak.py --minutes 30`."""

import subprocess
import sys
from pathlib import Path


def test_short_soak_loses_nothing(tmp_path: Path) -> None:
    """One fault takes more than 0.01 minutes; that of seed 5 is a kill that cuts metrics.jsonl."""
    options = ["--minutes", "0.01", "--seed", "5", "--place", tmp_path / "soak"]
    command = [sys.executable, "scripts/soak.py", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tear_metrics" in done.stdout
    assert "survived 1 faults, nothing lost" in done.stdout
