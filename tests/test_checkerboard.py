"""The spectral measure of scripts/checkerboard.py, and its command on a tiny run."""

from pathlib import Path

import torch
from checkerboard import main, stride_energy
from click.testing import CliRunner


def test_a_pure_checkerboard_has_all_its_energy_at_the_stride() -> None:
    rows, columns = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    for pattern in (rows % 2, columns % 2, (rows + columns) % 2):
        assert abs(stride_energy(pattern[None, None].float())[0] - 1) < 1e-12


def test_low_frequencies_have_no_energy_at_the_stride_and_noise_has_its_share() -> None:
    wave = torch.sin(torch.arange(28) * 2 * torch.pi / 28).expand(1, 1, 28, 28)
    assert stride_energy(wave)[0] < 1e-12
    noise = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    # 55 of the 783 frequencies other than the mean
    assert abs(stride_energy(noise)[0] - 55 / 783) < 2e-3


def test_command_writes_table_and_figure(tmp_path: Path) -> None:
    words = [
        "--config", "configs/quickstart.yaml", "--num-steps", 2, "--seeds", 1, "--num", 60,
        "--docs", tmp_path / "docs", "--runs", tmp_path / "runs",
        "--set", f"data.root={tmp_path}", "--set", "train.log_every_steps=1",
        "--set", "model.g_width=2", "--set", "model.d_width=2",
    ]  # fmt: skip
    CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    text = (tmp_path / "docs" / "checkerboard.md").read_text()
    assert text.count("\n| ") >= 7 and "transposed, k5" in text
    assert (tmp_path / "docs" / "figures" / "checkerboard.png").stat().st_size > 10_000
