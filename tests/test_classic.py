"""scripts/classic.py: trains on any config's data and saves ordinary checkpoints."""

import json
from pathlib import Path

import classic
import torch
from click.testing import CliRunner

from gan.pretrained.load import load_generator


def test_classic_example_is_trained_and_evaluated(tmp_path: Path) -> None:
    out, run_dir = tmp_path / "classic.json", tmp_path / "run"
    arguments = ["configs/smoke.yaml", "--minutes", "0.002", "--num", "10", "--size", "16",
                 "--data-root", tmp_path, "--run-dir", run_dir, "--out", out]  # fmt: skip
    done = CliRunner().invoke(classic.main, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    end = record["checkpoints"][-1]
    assert end["seconds"] >= 0.12 and end["values"].keys() == end["floor"].keys()
    trained = load_generator(run_dir / end["checkpoint"]["file"], torch.device("cpu"))
    assert trained.checkpoint.images_seen == 64 * trained.checkpoint.step > 0
    assert trained.cfg.train.ema_halflife_images is None
    again = CliRunner().invoke(classic.main, list(map(str, arguments)))
    assert again.exit_code == 1 and str(run_dir) in again.output  # nothing is overwritten
    arguments[arguments.index(run_dir)] = tmp_path / "other"
    arguments[0] = "configs/mnist.yaml"  # which is not at hand
    failed = CliRunner().invoke(classic.main, list(map(str, arguments)))
    assert failed.exit_code == 1 and not (tmp_path / "other").exists()  # it can be repeated
