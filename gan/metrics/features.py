"""Networks that map images to features for comparing them: small classifiers.

Shapes: N images, C channels, H x W pixels, F features, K classes.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from gan.checkpoint import check_tensors

NUM_FEATURES = 128
_WEIGHTS = Path(__file__).parent / "weights"
FORMAT = "gan features 1"
_MAX_BYTES = 16 << 20
_BATCH = 64  # Inception takes 10 MB per image


class Features(NamedTuple):
    """The output of a feature network, on the CPU."""

    features: Tensor  # float32 (N, F)
    logits: Tensor  # float32 (N, K)


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that maps images to features."""

    name: str
    sha256: str  # of its weights
    channels: int
    resize: str  # how images of other sizes are resized, in words
    classes: tuple[str, ...]  # or attributes; empty for networks without labels, and Inception
    module: nn.Module  # uint8 (N, channels, H, W) -> features (N, F), logits (N, K)
    metadata: dict[str, str] = field(default_factory=dict)
    per_channel: bool = False  # of Stacked-MNIST: each channel is a grey image of its own
    is_inception: bool = False  # the network of FID, KID and the Inception score

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> Features:
        """Maps uint8 images (N, C, H, W) to features (N, F) and logits (N, K).

        Grey images are repeated for a colour network; ValueError for the reverse. With
        `per_channel`, the outputs for the C channels are concatenated: (N, C F) and (N, C K).
        """
        num = len(images)
        if self.per_channel:
            images = images.reshape(-1, 1, *images.shape[2:])
        if images.shape[1] not in (1, self.channels):
            raise ValueError(
                f"feature network {self.name} expects {self.channels} channel, but the images "
                f"have {images.shape[1]}; choose another network with --features, or none"
            )
        device = next(self.module.parameters()).device
        parts = []
        for start in range(0, len(images), _BATCH):
            part = torch.tensor(images[start : start + _BATCH])  # copied: a pack is read-only
            features, logits = self.module(part.to(device).expand(-1, self.channels, -1, -1))
            parts.append((features.float().cpu(), logits.float().cpu()))
        rows = (torch.cat(part).unflatten(0, (num, -1)) for part in zip(*parts, strict=True))
        return Features(*(part.flatten(1) for part in rows))


class Classifier(nn.Module):
    """A small convolutional network; images are resized to side x side pixels (S x S).

    Without classes it has features only. Above 32 pixels its first layer halves the size.
    """

    def __init__(self, channels: int, side: int, num_classes: int) -> None:
        super().__init__()
        self.side = side
        self.blocks = nn.Sequential(
            _block(channels, 16, stride=1 if side <= 32 else 2),
            _block(16, 32, stride=2),
            _block(32, 64, stride=1),
            _block(64, 64, stride=2),
            _block(64, 128, stride=1),
            _block(128, NUM_FEATURES, stride=2),
        )
        self.head = nn.Linear(NUM_FEATURES, num_classes) if num_classes else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps images (N, C, H, W) in 0..255 to features (N, F) and logits (N, K)."""
        x = images.float()
        size = (self.side, self.side)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        x = x.div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
        x = self.blocks(x)  # (N, F, S/8, S/8), or S/16
        features = x.mean(dim=(2, 3))
        if self.head is None:
            return features, features[:, :0]
        return features, self.head(F.dropout(features, 0.2, self.training))


def _block(num_in: int, num_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(num_out),
        nn.ReLU(),
    )


def load_features(name_or_file: str | Path, device: torch.device) -> FeatureNetwork:
    """Loads a shipped network by name, or a .safetensors file of scripts/train_features.py.

    Raises ValueError if there is no such network, or its file is damaged or of another kind.
    """
    text = str(name_or_file)
    shipped = {path.stem: path for path in sorted(_WEIGHTS.glob("*.safetensors"))}
    path = shipped.get(text, Path(text))
    if path.suffix != ".safetensors":
        raise ValueError(
            f"feature network must be one of {', '.join(shipped)}, or a .safetensors file; gan "
            f"evaluate also takes inception, or its .pth file; got {text!r}"
        )
    weights, metadata = _read(path)
    try:
        classes = tuple(json.loads(metadata["classes"]))
        channels, side = int(metadata["channels"]), int(metadata["side"])
        if channels not in (1, 3) or not 8 <= side <= 512:
            raise ValueError(f"{channels} channels, side {side}")
        with torch.device("meta"):
            classifier = Classifier(channels, side, len(classes))
        check_tensors(classifier.state_dict(), weights, "weights")
        name, sha256 = metadata["name"], metadata["sha256"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: invalid metadata ({error})") from None
    if weights_checksum(weights) != sha256:
        raise ValueError(f"{path}: damaged (sha256 mismatch); restore it or train it again")
    classifier.load_state_dict(weights, assign=True)
    classifier.eval().requires_grad_(False)
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    resize = f"to {side}x{side}, bilinear, antialiased"
    return FeatureNetwork(name, sha256, channels, resize, classes, classifier, metadata)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}: not a file")
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path}: larger than {_MAX_BYTES:,} bytes")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: not written by scripts/train_features.py")
            return {key: file.get_tensor(key) for key in file.keys()}, metadata
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: not a readable feature network ({error})") from None


def weights_checksum(weights: dict[str, Tensor]) -> str:
    """Returns the sha256 of weights by name."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode())
        digest.update(weights[key].numpy().tobytes())
    return digest.hexdigest()
