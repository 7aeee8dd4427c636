"""Any bytes that come from outside give a value or one short error that names the file.

With at most 200 MB more memory. Rows are in test_faults.py, packs and zips in test_data_faults.py,
checkpoints in test_checkpoint.py, whole configs in test_config.py.
"""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from train_features import save_classifier

from gan.config.reader import ConfigError, load_config
from gan.config.settings import Config
from gan.metrics.features import Classifier, load_features
from gan.training.run_dir import locked

CPU = torch.device("cpu")
SETTINGS = [
    f"{section}.{key}"
    for section, field in Config.model_fields.items()
    for key in field.annotation.model_fields
]
_limited = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the limit of memory is the same for all examples


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("network") / "mine.safetensors"
    save_classifier(path, Classifier(3, 32, 2).eval(), {"name": "mine", "classes": '["a", "b"]'})
    return path, path.read_bytes()


@_limited
@given(data=st.data())
def test_any_feature_network_is_loaded_or_refused(
    network: tuple[Path, bytes], little_memory: None, data: st.DataObject
) -> None:
    path, whole = network
    header = 8 + int.from_bytes(whole[:8], "little")
    changed = bytearray(whole)
    positions = st.integers(0, header - 1) | st.integers(0, len(whole) - 1)
    for at, value in data.draw(st.lists(st.tuples(positions, st.integers(0, 255)), max_size=3)):
        changed[at] = value
    length = data.draw(st.just(len(whole)) | st.integers(0, len(whole)))
    path.write_bytes(data.draw(st.just(bytes(changed[:length])) | st.binary(max_size=200)))
    try:
        load_features(path, CPU)
    except ValueError as error:
        assert str(path) in str(error) and len(str(error)) < 500


@_limited
@given(st.binary(max_size=300) | st.text().map(str.encode) | st.just(b"[" * 100_000))
def test_any_lock_file_says_in_use(
    tmp_path_factory: pytest.TempPathFactory, little_memory: None, content: bytes
) -> None:
    run_dir = tmp_path_factory.getbasetemp() / "locked"
    run_dir.mkdir(exist_ok=True)
    with locked(run_dir):
        (run_dir / ".lock.json").write_bytes(content)
        with pytest.raises(ValueError, match="is in use by") as caught, locked(run_dir):
            pass
    assert str(run_dir) in str(caught.value) and len(str(caught.value)) < 1000


_yaml = st.text() | st.text("!&*[]{}:,#|>-?%@`'\"~ 0123456789aex.\n", max_size=40)


@_limited
@given(st.sampled_from(SETTINGS) | st.text(max_size=20), _yaml)
def test_any_value_of_set_is_a_config_or_a_short_error(
    little_memory: None, key: str, value: str
) -> None:
    try:
        load_config("configs/smoke.yaml", [f"{key}={value}"])
    except ConfigError as error:
        assert len(str(error)) < 700


@pytest.mark.parametrize("value", ["[" * 50_000, "{a: " * 20_000, "9" * 100_000, "a" * 10**6])
def test_long_values_of_set_are_a_short_error(little_memory: None, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("configs/smoke.yaml", [f"train.seed={value}"])
    assert len(str(caught.value)) < 500
