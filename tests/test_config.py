"""Settings: reading, checking, overriding and describing them."""

import copy
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gan.config.reader import describe, identity, load_config, parse_config
from gan.config.settings import Config
from gan.config.sizes import num_levels
from gan.errors import ConfigError

CONFIGS = sorted(Path("configs").glob("*.yaml"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("height", "width", "levels"),
    [(28, 28, 2), (32, 32, 3), (48, 48, 3), (64, 64, 4), (80, 80, 4), (96, 96, 4), (128, 128, 5),
     (256, 256, 6), (512, 512, 7), (16, 16, 2), (64, 48, 3), (48, 64, 3)],
)  # fmt: skip
def test_levels_leave_a_base_of_4_to_7_pixels(height: int, width: int, levels: int) -> None:
    assert num_levels(height, width) == levels


@pytest.mark.parametrize("side", range(1, 600))
def test_square_is_valid_exactly_if_a_base_of_4_to_7_doubles_to_it(side: int) -> None:
    doubled = [base << k for base in (4, 5, 6, 7) for k in range(10)]
    if side in doubled and 16 <= side <= 512:
        assert side >> num_levels(side, side) in (4, 5, 6, 7)
    else:
        with pytest.raises(ValueError, match="nearest valid sizes"):
            num_levels(side, side)


def test_all_errors_are_reported_at_once_with_file_key_and_value(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "data: {source: mnst, image_size: 30}\n"
        "train: {num_step: 3, beta1: 1.5, seed: no}\nmodle: 1",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert all(line.startswith(f"{path}: ") for line in lines)
    text = str(caught.value)
    assert "data.source: input should be 'mnist5k', 'mnist'" in text and "got 'mnst'" in text
    assert "data.image_size" in text and "28x28, 32x32" in text
    assert "unknown key 'train.num_step'; did you mean 'num_steps'?" in text
    assert "train.beta1: input should be less than 1; got 1.5" in text
    assert "train.seed" in text and "got 'no'" in text
    assert "unknown key 'modle'; did you mean 'model'?" in text


def test_the_keys_of_a_section_are_listed_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({"train": {"qq": 1, "zz": 2}}, origin="x")
    text = str(error.value)
    assert "x: unknown key 'train.qq'\n" in text and "unknown key 'train.zz'" in text
    assert text.count("keys of train: seed, batch_size") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {seed: 1, seed: 2}", "duplicate key"),
        ("train: &a {seed: 1}\nmodel: *a", "aliases are not supported"),
        ("train: [1", "not valid YAML"),
        ("- 1", "must hold the sections"),
        ("train: 3", "train"),
        ("x: !!python/object/apply:os.system [echo]", "not valid YAML"),
        ("train: {seed: .inf}", "train.seed"),
        ("train: {seed: " + "9" * 40 + "}", "more than 30 digits"),
        ("a: " + "[" * 2000 + "]" * 2000, "not valid YAML"),
        ("#" * (1 << 20) + "#", "larger than 1 MiB"),
    ],
)
def test_unusual_yaml_gives_a_short_error(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_section_without_keys_has_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "data:\n  # source: cifar10\ntrain:\nmodel: {z_dim: 8}")
    cfg = load_config(path, ["train.seed=3"])
    assert (cfg.data, cfg.model.z_dim, cfg.train.seed) == (Config().data, 8, 3)


def test_exponents_and_leading_zeros_are_read_as_decimal_numbers(tmp_path: Path) -> None:
    path = write(
        tmp_path, "train: {g_learning_rate: 2e-4, seed: 010}\ndata: {image_size: [64, 48]}"
    )
    cfg = load_config(path)
    assert cfg.train.g_learning_rate == 0.0002
    assert cfg.train.seed == 10
    assert cfg.data.image_shape == (1, 64, 48)


def test_overrides_replace_settings_and_are_checked_like_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "train: {seed: 1}")
    cfg = load_config(path, ["train.seed=5", "model.z_dist=uniform", "data.image_size=[64, 48]"])
    assert (cfg.train.seed, cfg.model.z_dist, cfg.data.image_size) == (5, "uniform", (64, 48))
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        load_config(path, ["train.sed=5"])
    with pytest.raises(ConfigError, match=r"expects section\.key=value"):
        load_config(path, ["seed=5"])


@pytest.mark.parametrize(
    ("section", "key", "off"),
    [("train", "evaluate_every_steps", 0), ("train", "sample_every_steps", 0),
     ("train", "checkpoint_every_steps", 0), ("train", "learning_rate_halflife_images", 0),
     ("train", "ema_halflife_images", 0), ("train", "augment", "none"),
     ("hardware", "threads", 0)],
)  # fmt: skip
def test_off_is_null_and_other_spellings_are_refused(section: str, key: str, off: object) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.{key}: .*; null turns it off"):
        parse_config({section: {key: off}}, origin="x")
    assert getattr(getattr(parse_config({section: {key: None}}, origin="x"), section), key) is None


def test_class_loss_needs_a_conditional_run() -> None:
    with pytest.raises(ConfigError, match=r"class_loss_weight needs model\.conditional"):
        parse_config({"train": {"class_loss_weight": 0.5}}, origin="x")


def test_translation_is_at_most_an_eighth_of_the_shorter_side() -> None:
    data = {"image_size": [32, 64]}
    parse_config({"data": data, "train": {"translate_pixels": 4}}, origin="x")
    with pytest.raises(ConfigError, match=r"train\.translate_pixels 5 .* set it to 4 or less"):
        parse_config({"data": data, "train": {"translate_pixels": 5}}, origin="x")
    data = {"image_size": 28}  # where null shifts by up to 4 pixels
    parse_config({"data": data, "train": {"translate_pixels": 4}}, origin="x")


@pytest.mark.parametrize("root", ["08", "1e5", "2e-4", "null", "a: b", "plain"])
def test_a_described_config_is_read_back(root: str, tmp_path: Path) -> None:
    cfg = parse_config({"data": {"root": root}, "train": {"init_from": root}}, origin="x")
    (tmp_path / "c.yaml").write_text(describe(cfg))
    assert load_config(tmp_path / "c.yaml") == cfg


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("model", "g_width", 10**6), ("model", "z_dim", 10**6), ("data", "image_size", 4096),
     ("train", "batch_size", 10**9), ("hardware", "threads", 10**6),
     ("train", "keep_checkpoints", 1)],
)  # fmt: skip
def test_value_beyond_its_bound_is_refused_by_name(section: str, key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"^x: {section}\.{key}: .*{value}"):
        parse_config({section: {key: value}}, origin="x")


def test_settings_of_earlier_versions_are_read_if_they_say_what_is_done_now() -> None:
    former = {"model": {"d_norm": "batch", "pac": 1, "g_width": 8},
              "train": {"penalty": None, "penalty_gamma": 1.0, "seed": 3}}  # fmt: skip
    before = copy.deepcopy(former)
    cfg = parse_config(former, origin="x")
    assert (cfg.model.g_width, cfg.train.seed) == (8, 3) and former == before
    for section, key, value in (
        ("model", "pac", 2),
        ("model", "d_norm", None),
        ("model", "d_norm", torch.zeros(2)),
        ("train", "penalty", "r1"),
    ):
        with pytest.raises(ConfigError, match=rf"^x: {section}\.{key} has been removed, so"):
            parse_config({**former, section: {key: value}}, origin="x")


def test_a_tensor_in_the_place_of_a_setting_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^x: train\.augment: input should be 'translate'"):
        parse_config({"train": {"augment": torch.ones(3)}}, origin="x")


def test_identity_leaves_out_lengths_cadences_and_paths() -> None:
    kept = identity(Config())
    assert "root" not in kept["data"] and "hardware" not in kept
    free = {"num_steps", "max_minutes", "log_every_steps", "sample_every_steps",
            "checkpoint_every_steps", "keep_checkpoints"}  # fmt: skip
    assert not free & kept["train"].keys()
    assert {"seed", "batch_size", "g_learning_rate", "init_from"} <= kept["train"].keys()
    assert parse_config(kept, origin="x") == Config()


def test_described_config_is_read_back_unchanged(tmp_path: Path) -> None:
    cfg = parse_config(
        {"data": {"image_size": [64, 48]}, "train": {"max_minutes": 2.5}}, origin="x"
    )
    assert load_config(write(tmp_path, describe(cfg))) == cfg


def test_every_setting_has_a_description() -> None:
    for section in Config.model_fields.values():
        for name, field in section.annotation.model_fields.items():
            assert field.description, name


def test_data_root_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_DATA", "/somewhere")
    assert Config().data.root == "/somewhere"
    monkeypatch.delenv("GAN_DATA")
    assert Config().data.root == "data"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_list_only_what_differs(path: Path) -> None:
    load_config(path)
    for section, values in yaml.safe_load(path.read_text()).items():
        for key, value in values.items():
            default = getattr(getattr(Config(), section), key)
            if key != "source":  # always listed
                assert value != default, f"{section}.{key} is the default"


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["mnist", "train", "data", "64", "1e-3"]),
)  # fmt: skip
_keys = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["data", "model", "train", "seed", "image_size", "g_width", "augment"]),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=12,
)


def _override(words: tuple[str, str, str]) -> str:
    return "{}.{}={}".format(*words)


@settings(max_examples=300)
@given(st.dictionaries(_keys, _values, max_size=4))
def test_any_values_give_a_config_or_a_short_error(values: dict) -> None:
    try:
        parse_config(values, origin="x")
    except ConfigError as error:
        assert len(str(error)) < 4000


@settings(max_examples=300)
@given(
    st.one_of(st.text(), st.binary(), _values.map(yaml.safe_dump)),
    st.lists(st.one_of(st.text(), st.tuples(_keys, _keys, st.text()).map(_override)), max_size=2),
)
def test_any_file_and_override_give_a_config_or_a_short_error(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes, overrides: list[str]
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    try:
        load_config(path, overrides)
    except ConfigError as error:
        assert len(str(error)) < 4000
