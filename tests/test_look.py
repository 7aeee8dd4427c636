"""scripts/look.py: its figures on drawn images, and its command on a tiny run."""

from pathlib import Path
from types import SimpleNamespace

import look
import numpy as np
import pytest
from click.testing import CliRunner

from gan.training.loop import train
from tests.conftest import tiny_config


def test_samples_look_like_images_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    by_class = np.repeat([0, 200], 500).astype(np.uint8)[:, None, None, None]
    images = np.broadcast_to(by_class, (1000, 1, 8, 8))
    monkeypatch.setattr(look, "open_source", lambda data: None)
    monkeypatch.setattr(look, "pack", lambda source, data: SimpleNamespace(images=images))
    trained = SimpleNamespace(
        cfg=SimpleNamespace(data=None),
        latents=lambda num, seed: None,
        labels=lambda num, seed: None,
        images=lambda latents, labels: images[::2],
    )
    assert look.look(trained, 500)["mean"] == pytest.approx(1, abs=0.15)


def test_command_prints_three_figures(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    train(cfg, tmp_path / "run", "cpu")
    words = [str(tmp_path / "run"), "--num", "20", "--data-root", cfg.data.root]
    out = CliRunner().invoke(look.main, words, catch_exceptions=False).output
    assert [line.split()[0] for line in out.splitlines()] == ["mean", "deviation", "stride_energy"]


def test_no_run_is_one_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(look.main, [str(tmp_path / "nothing")])
    assert result.exit_code == 2 and "no run, checkpoint or folder" in result.output
