"""Only the standard Inception weights are accepted; errors say what to download."""

import hashlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan.analysis import inception
from gan.analysis.inception import load_inception

CPU = torch.device("cpu")


def test_failed_download_says_what_to_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"Name or service .*; download https://\S*6726825d\.pth"):
        load_inception(None, CPU)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="not the standard Inception weights"):
        load_inception(path, CPU)
    with pytest.raises(ValueError, match=r"no\.pth: no such file"):
        load_inception(tmp_path / "no.pth", CPU)


def test_file_with_the_right_sha256_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Extractor(nn.Module):
        def __init__(self, name: str, wanted: list[str], path: str) -> None:
            super().__init__()
            assert wanted == ["2048", "logits_unbiased"]
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            assert images.dtype == torch.uint8
            return images.flatten(1).float(), images.float().mean((2, 3))

    path = tmp_path / "weights.pth"
    path.write_bytes(b"standard")
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(b"standard").hexdigest())
    module = "torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3"
    monkeypatch.setattr(module, Extractor)
    network = load_inception(path, CPU)
    assert (network.name, network.sha256) == ("inception", inception.SHA256)
    assert network(np.zeros((5, 1, 2, 2), np.uint8)).features.shape == (5, 12)
