"""The standard Inception network of FID, KID and the Inception score.

Its weights are TensorFlow's of 2015-12-05, as published by torch-fidelity. Any other weights are
refused, because their results could not be compared with published ones.
"""

import hashlib
from pathlib import Path

import torch

from gan.metrics.features import FeatureNetwork

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_NAME = "weights-inception-2015-12-05-6726825d.pth"
_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{_NAME}"
_HINT = f"download {_URL} (sha256 {SHA256}) and pass the file with --features"


def load_inception(path: Path | None, device: torch.device) -> FeatureNetwork:
    """Loads the network of 2048 features and 1008 classes.

    Without a path, the weights are downloaded once, into torch's cache. Raises ValueError if they
    are missing, cannot be downloaded, or are not the standard ones.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = path or _download()
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {_HINT}")
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != SHA256:  # checked before the file is unpickled
        raise ValueError(f"{path}: not the standard Inception weights; {_HINT}")
    outputs = ["2048", "logits_unbiased"]
    module = FeatureExtractorInceptionV3("inception", outputs, str(path)).eval().to(device)
    resize = "to 299x299, bilinear as in TensorFlow 1"
    return FeatureNetwork("inception", SHA256, 3, resize, (), module, is_inception=True)


def _download() -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / _NAME
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(_URL, str(path), hash_prefix=SHA256, progress=False)
        except (OSError, RuntimeError) as error:  # no connection; another checksum
            raise ValueError(f"cannot download the Inception weights ({error}); {_HINT}") from None
    return path
