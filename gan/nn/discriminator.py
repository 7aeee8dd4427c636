"""Owns the discriminator: images to one logit each through layers that each halve the size.

Shapes: N batch, P images judged together, C channels, H x W image, F features, K classes.
"""

import itertools
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.parametrizations import spectral_norm

from gan.config.settings import ModelConfig
from gan.config.sizes import num_levels
from gan.nn.generator import hidden_channels, init_weights


class Judgement(NamedTuple):
    """What D says of images."""

    logits: Tensor  # (N/P,), positive means real
    classes: Tensor | None  # (N/P, K) logits of their class, when conditional


class Discriminator(nn.Module):
    """Judges images (N, C, H, W), knowing labels (N,) when conditional.

    Strided convolutions and LeakyReLU 0.2, no normalisation at the input, one last convolution
    over the whole base (Radford et al., 2015); P = model.pac images are joined by channel (Lin
    et al., 2018); a class enters by projection (Miyato and Koyama, 2018): an image is as real as it
    looks, plus as much as it looks like its class.
    """

    def __init__(
        self, cfg: ModelConfig, image_shape: tuple[int, int, int], num_classes: int = 0
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        levels = num_levels(height, width)
        widths = [channels * cfg.pac, *hidden_channels(cfg.d_width, levels)]
        bias = cfg.d_norm != "batch"
        layers: list[nn.Module] = []
        for level, (shallow, deep) in enumerate(itertools.pairwise(widths)):
            padding = (cfg.kernel - 1) // 2
            layers.append(nn.Conv2d(shallow, deep, cfg.kernel, 2, padding, bias=bias))
            if cfg.d_norm == "batch" and level > 0:
                layers.append(nn.BatchNorm2d(deep))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        self.pac = cfg.pac
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], 1, (height >> levels, width >> levels), bias=bias)
        has_classes = cfg.conditional and num_classes
        self.embedding = nn.Embedding(num_classes, widths[-1]) if has_classes else None
        self.apply(init_weights)
        if self.embedding is not None:
            # of the head's scale: from N(0, 1) the classes drown the image, and D never recovers
            nn.init.normal_(self.embedding.weight, 0.0, 0.02)
        if cfg.d_norm == "spectral":
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Embedding):
                    spectral_norm(module)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Judgement:
        """Judges (N, C, H, W)."""
        if self.pac > 1:
            # neighbours are joined, so that a rank's slice has the same pairs as the whole batch
            images = images.unflatten(0, (-1, self.pac)).flatten(1, 2)  # (N/P, PC, H, W)
        features = self.features(images)  # (N/P, F, H >> levels, W >> levels)
        # the head's window is all there is: a matrix product does the same, several times as fast
        flat, weight = (t.movedim(1, -1).flatten(1) for t in (features, self.head.weight))
        logits = linear(flat, weight, self.head.bias).flatten()
        if self.embedding is None:
            return Judgement(logits, None)
        classes = linear(features.sum((2, 3)), self.embedding.weight)  # (N/P, K)
        asked = labels.unflatten(0, (-1, self.pac))  # type: ignore[union-attr]  # (N/P, P)
        return Judgement(logits + classes.gather(1, asked).sum(1), classes)
