"""scripts/d_cues.py: the table of a tiny run, and its changes of images."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from d_cues import CHANGES, brightness, main

from gan.training.loop import train
from tests.conftest import tiny_config


@pytest.mark.parametrize("conditional", [False, True])
def test_table_has_a_line_for_each_change(tmp_path: Path, conditional: bool) -> None:
    cfg = tiny_config(
        tmp_path,
        model={"conditional": conditional},
        train={"augment": "translate", "colour_noise": 4.0},
    )
    train(cfg, tmp_path / "run", "cpu")
    words = [str(tmp_path / "run"), "--batches", "1"]
    words += ["--data-root", cfg.data.root] if conditional else []  # else the default
    out = CliRunner().invoke(main, words, catch_exceptions=False).output
    lines = out.splitlines()
    assert "training" in lines[1] and "samples" in lines[1]
    assert [line.split(" | ")[0].strip("| ") for line in lines[3:]] == list(CHANGES)


def test_a_generator_without_d_is_refused() -> None:
    result = CliRunner().invoke(main, ["celeba64"])
    assert result.exit_code == 1 and "celeba64 has no discriminator" in result.output


def test_changes_do_what_they_say() -> None:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    spectrum = torch.fft.fft2(CHANGES["frequencies up to 40%"](images)).abs().mean((0, 1))
    assert spectrum[0, 6] > 1 and spectrum[0, 7] < 1e-4  # of 16, the highest frequency
    assert abs((CHANGES["noise, 4 grey levels"](images) - images).std() * 127.5 - 4) < 0.1
    for kept, lost in (("brightness", "colours"), ("colours", "brightness")):
        for change in (f"JPEG, its {lost} alone", f"noise, 4 grey levels, in {lost}"):
            moved = CHANGES[change](images) - images
            differs = moved - brightness(moved), brightness(moved)
            of = dict(zip(("colours", "brightness"), differs, strict=True))
            assert of[kept].abs().max() < 1e-5 < 0.005 < of[lost].std()
    grey = images[:, :1]
    assert torch.allclose(CHANGES["JPEG, its colours alone"](grey), grey, atol=1e-6)
    assert torch.equal(CHANGES["8 bits"](images), CHANGES["8 bits"](CHANGES["8 bits"](images)))
    smooth = CHANGES["frequencies up to 20%"](images)
    lost = [
        (CHANGES["JPEG"](part) - part).square().mean().sqrt() * 127.5 for part in (images, smooth)
    ]
    assert lost[1] < 8 < lost[0]
