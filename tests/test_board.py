"""What TensorBoard shows of a run, read back from the event files."""

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from gan.board import Board
from gan.metrics.scores import score
from gan.tracking import Tracker
from gan.training.loop import train
from gan.training.run import Ending
from tests.conftest import SmallDisk, gan, tiny_config


def board_of(run_dir: Path) -> EventAccumulator:
    guidance = {"images": 0, "scalars": 0, "histograms": 0}
    return EventAccumulator(str(run_dir), size_guidance=guidance).Reload()


def hparams(run_dir: Path, tag: str) -> HParamsPluginData:
    content = board_of(run_dir).SummaryMetadata(tag).plugin_data.content
    return HParamsPluginData.FromString(content)


def settings(run_dir: Path) -> Mapping[str, Any]:
    found = hparams(run_dir, metadata.SESSION_START_INFO_TAG).session_start_info.hparams
    return {key: value.string_value or value.number_value for key, value in found.items()}


@pytest.mark.parametrize("lost", [(6,), (4, 6)])
def test_tensorboard_has_each_point_once_after_a_kill(
    tmp_path: Path, lost: tuple[int, ...]
) -> None:
    run_dir = tmp_path / "run"
    cfg = tiny_config(tmp_path, train={"checkpoint_every_steps": 4, "num_steps": 6})
    train(cfg, run_dir, "cpu")
    for step in lost:  # as if killed before its last save, or before its first
        (run_dir / "checkpoints" / f"step_{step:08}.pt").unlink()
    train(cfg, run_dir, "cpu")
    board = board_of(run_dir)
    assert [event.step for event in board.Scalars("3_loss/d")] == [16, 32, 48]
    assert [event.step for event in board.Images("1_images/ema")] == [0, 16, 32, 48]
    tags = board.Tags()
    assert {"1_images/real", "1_images/raw"} <= set(tags["images"])
    assert {"4_d/real_logits", "4_d/fake_logits"} <= set(tags["histograms"])
    assert {"config.yaml/text_summary", "meta.json/text_summary"} <= set(tags["tensors"])


def test_x_axis_is_described_and_the_step_is_a_curve(tiny_run: Path) -> None:
    board = board_of(tiny_run)
    assert [(e.step, e.value) for e in board.Scalars("progress/step")] == [(16, 2), (32, 4)]
    for tag in ("3_loss/d", "1_images/ema", "4_d/real_logits"):
        found = board.SummaryMetadata(tag)
        assert "images seen" in found.summary_description
        assert found.data_class  # else TensorBoard drops the description


def test_images_come_first_and_a_chart_has_each_pair_of_curves(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train={"evaluate_every_steps": 2})
    run = train(cfg, tmp_path / "run", "cpu")
    board = board_of(tmp_path / "run")
    tags = board.Tags()
    groups = sorted({tag.partition("/")[0] for kind in ("images", "scalars") for tag in tags[kind]})
    assert groups[:4] == ["1_images", "2_distance", "3_loss", "4_d"]
    (event,) = board.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    (category,) = layout.category
    shown = {
        chart.title: {tag for tag in tags["scalars"] if re.match(chart.multiline.tag[0], tag)}
        for chart in category.chart
    }
    assert shown["losses"] == {"3_loss/d", "3_loss/g"}
    assert shown["D(x) and D(G(z))"] == {"4_d/real", "4_d/fake"}
    mean = "2_distance/sliced_wasserstein_mean"
    assert shown["sliced Wasserstein distance and its floor"] == {mean, f"{mean}_floor"}
    reference = run.reference
    floor = score(reference.floor_images, reference)["sliced_wasserstein_mean"]
    points = [(event.step, event.value) for event in board.Scalars(f"{mean}_floor")]
    assert points == [(16, pytest.approx(floor)), (32, pytest.approx(floor))]


def test_histograms_of_weights_come_at_fixed_image_counts(tmp_path: Path) -> None:
    """At the first logs from 1,000, 2,000 and 4,000 images on."""
    recipe = {"batch_size": 500, "num_steps": 9, "sample_every_steps": None,
              "checkpoint_every_steps": None, "log_every_steps": 3}  # fmt: skip
    train(tiny_config(tmp_path, train=recipe), tmp_path / "run", "cpu")
    board = board_of(tmp_path / "run")
    for tag in ("weights/g.layers.0.weight", "gradients/d.head.weight"):
        assert [event.step for event in board.Histograms(tag)] == [1500, 3000, 4500]


def test_hparams_have_the_settings_as_in_a_config(tmp_path: Path) -> None:
    recipe = {"learning_rate_halflife_images": None, "num_steps": 2}
    train(tiny_config(tmp_path, train=recipe), tmp_path / "run", "cpu")
    found = settings(tmp_path / "run")
    assert {
        "data.source": "synthetic", "model.conditional": "false", "train.batch_size": 8,
        "train.augment": "null", "train.learning_rate_halflife_images": "null",
    }.items() <= found.items()  # fmt: skip
    assert "train.num_steps" not in found  # it may change during a run
    # a list of settings and metrics would replace those of other runs
    assert metadata.EXPERIMENT_TAG not in board_of(tmp_path / "run").summary_metadata


def test_stopped_run_is_in_hparams_with_its_curves(tmp_path: Path) -> None:
    endless = {"num_steps": 10**6, "max_minutes": 1e-4}
    run = train(tiny_config(tmp_path, train=endless), tmp_path / "run", "cpu")
    assert run.ending == Ending.TIME_UP
    assert settings(tmp_path / "run")["model.z_dim"] == 8
    assert board_of(tmp_path / "run").Scalars("3_loss/d")


def test_removed_run_directory_is_reported_once(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    tracker = Tracker(tmp_path / "run", step=0, images_seen=0, num_steps=9)
    # not deleted: meanwhile TensorBoard's thread could add a file, and that would fail
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    for step in range(1, 30):
        tracker.scalars(step, 8 * step, {"loss/d": 1.0})
    tracker.close()
    assert len((tmp_path / "elsewhere" / "metrics.jsonl").read_text().splitlines()) == 29
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("TensorBoard cannot be written") and "the run continues without" in line


@pytest.mark.parametrize("options", ["ro", "size=64k"])
def test_run_continues_without_tensorboard(
    config: Path, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch,
    options: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # instead of pytest's
    small_disk(tmp_path / "disk", options)
    monkeypatch.setattr("gan.tracking.Board", lambda _, **rest: Board(tmp_path / "disk", **rest))
    done = gan("train", config, "--run-dir", tmp_path / "run")
    assert done.exit_code == 0 and "Traceback" not in done.stderr
    assert done.stderr.count("TensorBoard cannot be written") == 1
    assert (tmp_path / "run" / "checkpoints" / "step_00000004.pt").exists()
