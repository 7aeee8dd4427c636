"""Owns the networks whose features images are compared by: small classifiers, and Inception.

Shapes: N images, C channels, H x W pixels, F features, K classes.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from gan.checkpoint import check_weights
from gan.metrics.inception import INCEPTION, load_inception

NUM_FEATURES = 128
_WEIGHTS = Path(__file__).parent / "weights"
_FORMAT = "gan features 1"
_MAX_BYTES = 16 << 20
_BATCH = 64  # Inception at 299x299 takes 10 MB an image


@dataclass(frozen=True)
class Features:
    """What a network says of images."""

    features: Tensor  # float32 (N, F)
    logits: Tensor  # float32 (N, K)


@dataclass(frozen=True)
class FeatureNetwork:
    """A network by whose features images are compared."""

    name: str
    sha256: str  # of its weights
    channels: int
    resize: str  # what happens to an image of another size, in words
    classes: tuple[str, ...]  # empty when its classes are not the data's
    module: nn.Module  # uint8 (N, channels, H, W) -> features (N, F), logits (N, K)
    metadata: dict[str, str] = field(default_factory=dict)

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> Features:
        """Maps uint8 images (N, C, H, W) to features on the CPU.

        Grey images are repeated for a network of colours; ValueError for the reverse.
        """
        if images.shape[1] not in (1, self.channels):
            raise ValueError(
                f"feature network {self.name} looks at {self.channels} channel and the images have "
                f"{images.shape[1]}; name another one with --features, or none"
            )
        device = next(self.module.parameters()).device
        parts = []
        for start in range(0, len(images), _BATCH):
            part = torch.tensor(images[start : start + _BATCH])  # a copy, since a pack is read-only
            features, logits = self.module(part.to(device).expand(-1, self.channels, -1, -1))
            parts.append((features.float().cpu(), logits.float().cpu()))
        return Features(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


class Classifier(nn.Module):
    """A convolutional classifier of small images, of any size: they are resized to its own."""

    def __init__(self, channels: int, side: int, num_classes: int) -> None:
        super().__init__()
        self.side = side
        widths = ((channels, 16, 1), (16, 32, 2), (32, 64, 1), (64, 64, 2), (64, 128, 1))
        self.blocks = nn.Sequential(
            *(_block(*width) for width in widths), _block(128, NUM_FEATURES, 2)
        )
        self.head = nn.Linear(NUM_FEATURES, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps images (N, C, H, W) in 0..255 to features (N, F) and logits (N, K)."""
        x = images.float()
        if x.shape[-2:] != (self.side, self.side):
            size = (self.side, self.side)
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        x = x.div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
        x = self.blocks(x)  # (N, F, S/8, S/8)
        features = x.mean(dim=(2, 3))
        return features, self.head(F.dropout(features, 0.2, self.training))


def _block(num_in: int, num_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(num_out),
        nn.ReLU(),
    )


def load_features(name_or_file: str | Path, device: torch.device) -> FeatureNetwork:
    """Loads a network by the name of a shipped one, inception, or a file: .safetensors of
    scripts/train_features.py, or .pth of the standard Inception weights.

    Raises ValueError if there is no such network or its file is damaged or foreign.
    """
    text = str(name_or_file)
    if text == INCEPTION or text.endswith(".pth"):
        module, sha256 = load_inception(None if text == INCEPTION else Path(text))
        resize = "to 299x299, bilinear as in TensorFlow 1"
        return FeatureNetwork(INCEPTION, sha256, 3, resize, (), module.to(device))
    shipped = {path.stem: path for path in sorted(_WEIGHTS.glob("*.safetensors"))}
    path = shipped.get(text, Path(text))
    if path.suffix != ".safetensors":
        names = ", ".join([*shipped, INCEPTION])
        raise ValueError(
            f"feature network must be one of {names}, or a .safetensors or .pth file; got {text!r}"
        )
    return _load_classifier(path, device)


def save_classifier(path: Path, classifier: Classifier, metadata: dict[str, str]) -> None:
    """Writes weights and facts into one safetensors file, with the weights' checksum among them.

    `metadata` must hold name and classes (a JSON list).
    """
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in _weights(classifier)}
    facts = {
        "format": _FORMAT,
        "channels": str(classifier.blocks[0][0].in_channels),  # type: ignore[index,union-attr]
        "side": str(classifier.side),
        "sha256": _checksum(weights),
    }
    path.write_bytes(save(weights, metadata={**metadata, **facts}))


def _load_classifier(path: Path, device: torch.device) -> FeatureNetwork:
    weights, metadata = _read(path)
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{path}: not made by scripts/train_features.py")
    try:
        classes = tuple(json.loads(metadata["classes"]))
        channels, side = int(metadata["channels"]), int(metadata["side"])
        if channels not in (1, 3) or not 8 <= side <= 512:
            raise ValueError(f"{channels} channels, side {side}")
        with torch.device("meta"):
            classifier = Classifier(channels, side, len(classes))
        check_weights(classifier, weights, "weights")
        name, sha256 = metadata["name"], metadata["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its network cannot be built ({error})") from None
    if _checksum(weights) != sha256:
        raise ValueError(f"{path}: damaged (the weights' sha256 does not match)")
    classifier.load_state_dict(weights, assign=True)
    classifier.eval().requires_grad_(False)
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    resize = f"to {side}x{side}, bilinear, antialiased"
    return FeatureNetwork(name, sha256, channels, resize, classes, classifier, metadata)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path}: larger than {_MAX_BYTES:,} bytes")
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: not a readable feature network ({reason})") from None


def _weights(module: nn.Module) -> list[tuple[str, Tensor]]:
    return sorted(module.state_dict().items())


def _checksum(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode())
        digest.update(weights[key].contiguous().numpy().tobytes())
    return digest.hexdigest()
