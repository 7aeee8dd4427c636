"""Owns the standard Inception network of FID, KID and Inception score.

Its weights are TensorFlow's of 2015-12-05 as torch-fidelity publishes them; a file with another
checksum is refused, since its numbers could be compared with nobody's.
"""

import hashlib
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

INCEPTION = "inception"
_NAME = "weights-inception-2015-12-05-6726825d.pth"
_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{_NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_NUM_BYTES = 95_628_359


class _Inception(nn.Module):
    def __init__(self, path: Path) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        wanted = ["2048", "logits_unbiased"]
        self.extractor = FeatureExtractorInceptionV3("inception", wanted, str(path))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps uint8 (N, 3, H, W) to features (N, 2048) and logits (N, 1008)."""
        features, logits = self.extractor(images)
        return features, logits


def load_inception(path: Path | None) -> tuple[nn.Module, str]:
    """Returns the network, from a file or a download when `path` is None, and its sha256.

    Raises ValueError if there is neither, or the weights are not the standard ones.
    """
    path = _downloaded() if path is None else path
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {_by_hand()}")
    # compared before it is unpickled
    if path.stat().st_size != _NUM_BYTES or _sha256(path) != SHA256:
        raise ValueError(f"{path}: not the standard Inception weights; {_by_hand()}")
    return _Inception(path).eval(), SHA256


def _downloaded() -> Path:
    """Returns the file's place in torch's own cache, where it is fetched once."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / _NAME
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(_URL, str(path), hash_prefix=SHA256, progress=False)
        except (URLError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"the Inception weights could not be downloaded ({reason}); {_by_hand()}"
            ) from None
    return path


def _by_hand() -> str:
    return f"fetch {_URL} (sha256 {SHA256}) and name that file with --features"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
