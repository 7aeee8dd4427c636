"""Signs of collapse, on values and images with known results and in a real run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan.training.collapse import Watch, diversity, signs
from gan.training.loop import train
from gan.training.run import Ending
from tests.conftest import tiny_config

HEALTHY = {"loss/d": 0.5, "d/real": 0.9, "d/fake": 0.1, "samples/diversity": 0.9}
NOISE = np.random.default_rng(0).integers(0, 256, (64, 1, 16, 16), np.uint8)


@pytest.mark.parametrize(
    ("values", "sign"),
    [
        ({"loss/d": 0.001}, "loss"),
        ({"d/real": 0.999, "d/fake": 0.001}, "margin"),
        ({"samples/diversity": 0.1}, "diversity"),
    ],
)
def test_each_sign_is_found_alone(values: dict, sign: str) -> None:
    assert not signs(HEALTHY)
    assert list(signs(HEALTHY | values)) == [sign]


def test_sign_is_reported_once_it_has_lasted_and_again_after_it_was_gone() -> None:
    bad = HEALTHY | {"loss/d": 0.0}
    watch = Watch()
    assert [bool(watch.update(bad, images)) for images in (0, 49_999, 50_000, 90_000)] == [
        False, False, True, False,
    ]  # fmt: skip
    assert not watch.update(HEALTHY, 100_000)
    assert [bool(watch.update(bad, images)) for images in (110_000, 159_000, 160_000)] == [
        False, False, True,
    ]  # fmt: skip


def test_diversity_is_1_for_real_images_and_low_for_repeated_ones() -> None:
    others = np.random.default_rng(1).integers(0, 256, NOISE.shape, np.uint8)
    assert diversity(others, NOISE) == pytest.approx(1, abs=0.02)
    shares = []
    for kinds in (64, 16, 4, 1):
        jitter = np.random.default_rng(2).integers(0, 4, NOISE.shape, np.uint8)
        shares.append(diversity(others[np.arange(64) % kinds] // 4 * 4 + jitter, NOISE))
    assert shares[0] > 0.9 and max(shares[1:]) < 0.05
    assert diversity(others, NOISE[:1]) == 1  # nothing to compare with


def test_collapsed_run_warns_in_tensorboard_and_stops_if_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan.training.collapse._LASTING_IMAGES", 16)  # two steps
    cfg = tiny_config(
        tmp_path,
        train={"num_steps": 100, "log_every_steps": 1, "sample_every_steps": 1,
               "on_collapse": "stop", "g_learning_rate": 1e-9, "d_learning_rate": 0.02},
    )  # fmt: skip
    run = train(cfg, tmp_path / "run", "cpu")
    assert run.ending == Ending.COLLAPSED
    assert "Stopped and saved at step" in run.describe_collapse()
    (newest, *_) = sorted((tmp_path / "run" / "checkpoints").glob("step_*.pt"), reverse=True)
    assert 0 < int(newest.stem.removeprefix("step_")) < 100
    log = (tmp_path / "run" / "log.txt").read_text()
    assert re.search(r"warning: samples have \d% of the real images' diversity", log)
    board = EventAccumulator(str(tmp_path / "run")).Reload()
    assert "warnings/text_summary" in board.Tags()["tensors"]
    assert "5_samples/diversity" in board.Tags()["scalars"]


def test_collapse_that_only_the_last_grids_show_ends_the_run_as_collapsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan.training.collapse._LASTING_IMAGES", 0)
    train_cfg = {"num_steps": 2, "sample_every_steps": None, "g_learning_rate": 1e-9}
    for on_collapse, ending in (("warn", Ending.DONE), ("stop", Ending.COLLAPSED)):
        cfg = tiny_config(tmp_path, train={**train_cfg, "on_collapse": on_collapse})
        assert train(cfg, tmp_path / on_collapse, "cpu").ending == ending
        assert (tmp_path / on_collapse / "checkpoints" / "step_00000002.pt").exists()


def test_signs_count_from_earlier_calls_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan.training.collapse._LASTING_IMAGES", 24)  # three steps
    monkeypatch.setattr("gan.training.collapse._MIN_DIVERSITY", 100.0)  # a sign at every grid
    endings = []
    (tmp_path / "run").mkdir()
    row = {"step": 0, "images_seen": 0, "loss/d": 0.0, "d/real": 1, "d/fake": 0}
    for damaged in ({"loss/d": -(10**400)}, {"d/real": "1"}, {"images_seen": []}, {"d/fake": None}):
        with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row | {"samples/diversity": 0.1} | damaged) + "\n")
    for steps in (2, 4, 6, 8):
        cfg = tiny_config(
            tmp_path,
            train={"num_steps": steps, "log_every_steps": 1, "sample_every_steps": 1,
                   "on_collapse": "stop"},
        )  # fmt: skip
        endings.append(train(cfg, tmp_path / "run", "cpu").ending)
    assert endings[0] == Ending.DONE and endings[2:] == [Ending.COLLAPSED] * 2
