"""A few seconds of scripts/soak.py; the full soak is `--minutes 30`."""

import subprocess
import sys
from pathlib import Path


def test_a_short_soak_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/soak.py", "--minutes", "0.1", "--place", tmp_path / "soak"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing lost" in done.stdout
