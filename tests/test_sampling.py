"""From checkpoints to images: the same bytes for a seed, files, labels, bad checkpoints."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan import sampling
from gan.checkpoint import BadCheckpoint, read_checkpoint, save_checkpoint
from gan.config.reader import identity, parse_config
from gan.config.settings import HardwareConfig
from gan.errors import ConfigError
from gan.machine.precision import Precision, choose_precision
from gan.pretrained.load import load_generator
from gan.pretrained.samples import save_samples
from gan.pretrained.trained import Trained, build_generator
from gan.sampling import generate, grid, save_gif
from gan.training.loop import train
from gan.training.state import TrainState, make_state, restore
from tests.conftest import gan, tiny_config

CPU = torch.device("cpu")
GOLDEN = Path("tests/golden/format_2.pt")


def test_first_k_of_n_samples_equal_a_call_with_k(tiny_run: Path) -> None:
    trained = load_generator(tiny_run, CPU)
    many = trained.images(trained.latents(100, seed=1))
    few = trained.images(trained.latents(7, seed=1))
    assert np.array_equal(many[:7], few)


def test_batch_size_does_not_change_samples(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load_generator(tiny_run, CPU)
    z = trained.latents(20, seed=1)
    whole = trained.images(z)
    monkeypatch.setattr(sampling, "_BATCH", 3)
    assert np.array_equal(whole, trained.images(z))


def test_samples_come_from_the_average_not_from_g() -> None:
    """To a few grey levels, since sampling folds BatchNorm and may use bf16."""
    trained = load_generator(GOLDEN, CPU)
    z, labels = trained.latents(20, seed=1), trained.labels(20, seed=1)
    plain = Precision(torch.float32, channels_last=False, threads=1)
    classes, found = len(trained.classes), trained.images(z, labels)
    average, g = (
        generate(build_generator(trained.cfg, classes, weights), z, labels, plain)
        for weights in (trained.checkpoint.g_ema, trained.checkpoint.g)
    )
    assert abs(found.astype(int) - average).max() <= 4
    assert abs(found.astype(int) - g).max() > 20


@pytest.mark.parametrize("upsample", ["transposed", "balanced", "resize", "subpixel"])
def test_folding_batchnorm_changes_no_image(
    tmp_path: Path, upsample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = choose_precision(HardwareConfig(precision="fp32"), CPU)
    monkeypatch.setattr("gan.pretrained.trained.choose_precision", lambda *_: exact)
    train(tiny_config(tmp_path, model={"upsample": upsample}), tmp_path / "run", "cpu")
    trained = load_generator(tmp_path / "run", CPU)
    weights = read_checkpoint(trained.checkpoint.path).g_ema
    bare = build_generator(trained.cfg, 0, weights)
    z = trained.latents(8, seed=1)
    torch.testing.assert_close(trained.generator(z), bare(z), rtol=0, atol=1e-5)
    norms = [m for m in trained.generator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == (0 if upsample in ("transposed", "balanced") else 1)


def test_checkpoint_file_is_enough_for_sampling(tiny_run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "anything.pt"
    alone.write_bytes((tiny_run / "checkpoints" / "step_00000004.pt").read_bytes())
    a, b = (load_generator(path, CPU) for path in (alone, tiny_run))
    assert np.array_equal(a.images(a.latents(4, 0)), b.images(b.latents(4, 0)))


def _state_of(trained: Trained) -> TrainState:
    precision = choose_precision(trained.cfg.hardware, CPU)
    return make_state(trained.cfg, len(trained.classes), CPU, precision)


def test_checkpoint_of_format_2_gives_its_images_and_can_be_resumed() -> None:
    trained = load_generator(GOLDEN, CPU)
    images = trained.images(trained.latents(64, 0), trained.labels(64, 0))
    assert images.mean((0, 2, 3)) == pytest.approx([106.45, 110.34, 102.29], abs=0.2)
    assert images.std((0, 2, 3)) == pytest.approx([17.71, 17.97, 21.08], abs=0.2)
    state = _state_of(trained)
    restore(state, trained.checkpoint)
    assert (state.step, state.images_seen) == (300, 2400)


def test_checkpoint_with_a_removed_setting_is_refused_and_named_once(
    tiny_run: Path, tmp_path: Path
) -> None:
    checkpoint = load_generator(tiny_run, CPU).checkpoint
    model = {**checkpoint.config["model"], "pac": 2}
    path = tmp_path / "old.pt"
    save_checkpoint(path, replace(checkpoint, config={**checkpoint.config, "model": model}))
    shown = gan("sample", path, "--out", tmp_path / "samples.png")
    assert shown.exit_code == 1 and "model.pac has been removed, so 2 needs" in shown.output
    assert shown.output.count(str(path)) == 1


@pytest.mark.parametrize("left", [0, 1])
def test_checkpoint_without_all_moments_is_refused(left: int) -> None:
    """Adam would accept the empty state and start with moments of zero."""
    checkpoint = read_checkpoint(GOLDEN)
    moments = checkpoint.d_optim["state"]
    checkpoint.d_optim["state"] = dict(list(moments.items())[:left])
    with pytest.raises(BadCheckpoint, match="d_optim: moments of Adam are missing"):
        restore(_state_of(load_generator(GOLDEN, CPU)), checkpoint)


def test_png_records_seed_and_checkpoint(tiny_run: Path, tmp_path: Path) -> None:
    save_samples(load_generator(tiny_run, CPU), tmp_path / "a.png", 9, 5, None)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (3 * 18 + 2, 3 * 18 + 2)
        assert image.text["seed"] == "5"
        content = (tiny_run / "checkpoints" / "step_00000004.pt").read_bytes()
        assert image.text["checkpoint_sha256"] == hashlib.sha256(content).hexdigest()[:16]


def test_npz_and_folder_have_the_same_images(conditional_run: Path, tmp_path: Path) -> None:
    trained = load_generator(conditional_run, CPU)
    save_samples(trained, tmp_path / "a.npz", 5, 0, None)
    save_samples(trained, tmp_path / "folder", 5, 0, None)
    arrays = np.load(tmp_path / "a.npz")
    assert arrays["images"].shape == (5, 16, 16, 3) and arrays["images"].dtype == np.uint8
    assert arrays["labels"].shape == (5,)
    names = [trained.classes[label] for label in arrays["labels"]]
    assert set(names) == {"disc", "square"}
    for i, (name, image) in enumerate(zip(names, arrays["images"], strict=True)):
        path = tmp_path / "folder" / f"{i:06}_{name}.png"
        assert np.array_equal(np.asarray(Image.open(path)), image)
    rows = [f"{i},{name}" for i, name in enumerate(names)]
    assert (tmp_path / "folder" / "labels.csv").read_text().split() == ["index,class", *rows]


def test_class_names_in_file_names_have_safe_characters_only(
    conditional_run: Path, tmp_path: Path
) -> None:
    trained = load_generator(conditional_run, CPU)
    checkpoint = replace(trained.checkpoint, classes=["../a b\0", "x" * 300])
    out = tmp_path / "folder"
    save_samples(replace(trained, checkpoint=checkpoint), out, 1, 0, "0")
    save_samples(replace(trained, checkpoint=checkpoint), out, 2, 0, "0")
    names = ["000000_-a-b-.png", "000001_-a-b-.png", "labels.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    save_samples(replace(trained, checkpoint=checkpoint), out, 1, 0, "1")
    assert sorted(path.name for path in out.iterdir()) == [f"000000_{'x' * 40}.png", "labels.csv"]


def test_label_all_gives_one_class_a_row(conditional_run: Path, tmp_path: Path) -> None:
    trained = load_generator(conditional_run, CPU)
    assert save_samples(trained, tmp_path / "a.png", 7, 3, "all") == 8
    labels = torch.tensor([0] * 4 + [1] * 4)
    images = trained.images(trained.latents(8, 3), labels)
    save_samples(trained, tmp_path / "b.png", 7, 3, "all", columns=2)
    for name, columns in (("a.png", 4), ("b.png", 2)):
        with Image.open(tmp_path / name) as shown:
            assert np.array_equal(np.asarray(shown), grid(images, columns=columns))


def test_columns_and_scale_of_a_grid(tiny_run: Path, tmp_path: Path) -> None:
    trained = load_generator(tiny_run, CPU)
    for name in ("a.png", "a.jpg"):
        save_samples(trained, tmp_path / name, 6, 0, None, columns=2, scale=3)
    large = trained.images(trained.latents(6, 0)).repeat(3, axis=2).repeat(3, axis=3)
    expected = grid(large, columns=2)
    with Image.open(tmp_path / "a.png") as shown:
        assert np.array_equal(np.asarray(shown), expected)
    with Image.open(tmp_path / "a.jpg") as shown:
        assert abs(np.asarray(shown).astype(int) - expected).mean() < 20


def test_label_may_be_the_name_or_number_of_a_class(conditional_run: Path) -> None:
    trained = load_generator(conditional_run, CPU)
    assert (
        trained.labels(3, 0, "square").tolist() == trained.labels(3, 0, "1").tolist() == [1, 1, 1]
    )
    with pytest.raises(ValueError, match=r"--label cat: .* the classes 0 to 1: disc, square$"):
        trained.labels(3, 0, "cat")
    with pytest.raises(ValueError, match=r"; did you mean square\?"):
        trained.labels(3, 0, "Sqare")


def test_a_damaged_newest_checkpoint_is_reported(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").glob("step_*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    assert load_generator(tmp_path / "run", CPU).checkpoint.step == 2
    shown = capsys.readouterr().err
    assert f"warning: {newest}: " in shown and "using an older checkpoint" in shown


def test_a_label_that_is_no_decimal_number_is_unknown(conditional_run: Path) -> None:
    with pytest.raises(ConfigError, match=r"--label ²: .* has the classes"):
        load_generator(conditional_run, CPU).labels(3, 0, "²")


def test_label_for_a_run_without_classes_is_an_error(tiny_run: Path) -> None:
    with pytest.raises(ValueError, match="has no classes"):
        load_generator(tiny_run, CPU).labels(3, 0, "1")


def test_generate_restores_the_mode(tiny_run: Path) -> None:
    checkpoint = read_checkpoint(tiny_run / "checkpoints" / "step_00000004.pt")
    cfg = parse_config(checkpoint.config, origin="test")
    generator = build_generator(cfg, 0, checkpoint.g_ema).train()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    generate(generator, torch.randn(4, 8), None, choose_precision(cfg.hardware, CPU))
    assert generator.training
    assert all(torch.equal(before[key], value) for key, value in generator.state_dict().items())


def test_generate_restores_the_mode_after_an_error(tiny_run: Path) -> None:
    checkpoint = read_checkpoint(tiny_run / "checkpoints" / "step_00000004.pt")
    cfg = parse_config(checkpoint.config, origin="test")
    generator = build_generator(cfg, 0, checkpoint.g_ema).train()
    with pytest.raises(RuntimeError):
        generate(generator, torch.randn(4, 9), None, choose_precision(cfg.hardware, CPU))
    assert generator.training


def test_grid_has_its_images_in_reading_order() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((6, 1, 2, 2), np.uint8)
    sheet = grid(images, columns=3)
    assert sheet.shape == (2 * 4 + 2, 3 * 4 + 2, 1)
    assert [int(sheet[2, left, 0]) for left in (2, 6, 10)] == [0, 1, 2]
    assert [int(sheet[6, left, 0]) for left in (2, 6, 10)] == [3, 4, 5]


def test_config_of_another_network_is_refused_before_memory_is_allocated(
    tiny_run: Path, tmp_path: Path, little_memory: None
) -> None:
    checkpoint = read_checkpoint(tiny_run / "checkpoints" / "step_00000004.pt")
    huge = identity(tiny_config(tmp_path, model={"g_width": 1024, "z_dim": 4096}))
    for config, message in [
        (huge, r"g_ema\.layers\.0\.weight: .* config has"),
        ({**huge, "model": {**huge["model"], "g_width": 10**6}}, r"model\.g_width: .*got 1000000"),
        ({**huge, "model": "nonsense"}, r"model: .* got 'nonsense'"),
    ]:
        save_checkpoint(tmp_path / "a.pt", replace(checkpoint, config=config))
        with pytest.raises(BadCheckpoint, match=message) as caught:
            load_generator(tmp_path / "a.pt", CPU)
        assert str(tmp_path / "a.pt") in str(caught.value)


_junk = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
        st.sampled_from([torch.zeros(2), torch.zeros(3, dtype=torch.long), torch.tensor(1.0)]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inner, max_size=3),
    ),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=60)
@given(st.data())
def test_any_value_in_a_checkpoint_gives_images_or_a_short_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    payload = inner = torch.load(GOLDEN, weights_only=True)
    key = data.draw(st.sampled_from(sorted(payload)))
    while isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans()):
        inner = inner[key]
        keys = range(len(inner)) if isinstance(inner, list) else sorted(inner)
        key = data.draw(st.sampled_from(keys))
    inner[key] = data.draw(_junk)
    path = tmp_path_factory.mktemp("fuzz") / "a.pt"
    torch.save(payload, path)
    try:
        trained = load_generator(path, CPU)
        trained.images(trained.latents(1, 0), trained.labels(1, 0))
        restore(_state_of(trained), trained.checkpoint)
    except BadCheckpoint as error:
        assert 0 < len(str(error)) < 1000


def test_samples_keep_their_opacity_except_in_a_gif(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(20):
        pixels = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    data = {"source": "folder", "channels": 4}
    cfg = tiny_config(tmp_path, data=data, train={"evaluate_every_steps": 4})
    run = train(cfg, tmp_path / "run", "cpu").run_dir
    assert Image.open(run / "samples" / "real.png").mode == "RGBA"
    for name in ("a.png", "a.npz", "folder"):
        assert gan("sample", run, "--num", 2, "--out", tmp_path / name).exit_code == 0
    jpg = gan("sample", run, "--out", tmp_path / "a.jpg")
    assert jpg.exit_code == 2 and "a .jpg has no opacity" in jpg.output
    assert np.load(tmp_path / "a.npz")["images"].shape == (2, 16, 16, 4)
    assert Image.open(tmp_path / "a.png").mode == "RGBA"
    assert Image.open(tmp_path / "folder" / "000001.png").mode == "RGBA"
    frames = [Image.new("RGBA", (8, 8), colour) for colour in ((255, 0, 0, 255), (0, 0, 0, 0))]
    save_gif(frames, tmp_path / "a.gif", frame_ms=10)
    with Image.open(tmp_path / "a.gif") as found:
        found.seek(1)
        assert found.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    record = json.loads(gan("evaluate", run, "--data-root", tmp_path, "--num", 10, "--json").stdout)
    assert {name.rpartition("_")[0] for name in record["values"]} == {"sliced_wasserstein"}
    refused = gan("evaluate", run, "--data-root", tmp_path, "--features", "cifar10", "--num", 10)
    assert refused.exit_code == 1 and "the images have 4; choose another" in refused.output
