"""scripts/classic.py trains on any config's data, and saves checkpoints like any other."""

import json
from pathlib import Path

import classic
import torch
from click.testing import CliRunner

from gan.sampling import load_trained


def test_the_classic_example_is_trained_and_judged(tmp_path: Path) -> None:
    changes = (f"data.root={tmp_path}", "data.image_size=16", "model.g_width=4", "model.d_width=4")
    sets = [word for change in changes for word in ("--set", change)]
    out, run_dir = tmp_path / "classic.json", tmp_path / "run"
    arguments = ["configs/smoke.yaml", "--minutes", "0.002", "--num", "10", *sets]
    places = ["--run-dir", str(run_dir), "--out", str(out)]
    done = CliRunner().invoke(classic.main, [*arguments, *places], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    (end,) = record["checkpoints"]  # too short for an epoch
    assert end["seconds"] >= 0.12 and end["values"].keys() == end["floor"].keys()
    assert "--set data.image_size=16" in record["command"]
    trained = load_trained(run_dir / end["checkpoint"]["file"], torch.device("cpu"))
    assert trained.images_seen == 64 * trained.step > 0
    assert trained.cfg.train.ema_halflife_images == 0


def test_a_bad_setting_is_one_error(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "none.json")]
    done = CliRunner().invoke(classic.main, ["configs/smoke.yaml", "--set", "model.widht=4", *out])
    assert done.exit_code == 1 and "model.widht" in done.output and "Traceback" not in done.output
