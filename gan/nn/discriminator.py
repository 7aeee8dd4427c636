"""The discriminator: images to logits through layers that each halve the size.

Shapes: N batch, P images per input (pac), C channels, H x W image, F features, K classes.
"""

import itertools
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.parametrizations import spectral_norm

from gan.config.settings import ModelConfig
from gan.config.sizes import num_levels
from gan.nn.generator import (
    class_embedding,
    hidden_channels,
    init_embedding,
    init_weights,
    input_classes,
)


class Scores(NamedTuple):
    """The outputs of D."""

    logits: Tensor  # (N/P,), positive means real
    class_logits: Tensor | None  # (N/P, K), when conditional


class Discriminator(nn.Module):
    """Maps images (N, C, H, W), and labels (N,) when conditional, to Scores.

    Strided convolutions and LeakyReLU 0.2, no normalisation after the first, one last convolution
    over the whole base (Radford et al., 2015). Before the last one come model.d_extra_layers 3x3
    convolutions. P = model.pac images are joined by channel (Lin et al., 2018). Classes enter by
    projection (Miyato and Koyama, 2018): the logit is the head's plus the product of the features
    with the vector of the class. The products with the vectors of all classes are the class logits.
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
            conv = nn.Conv2d(shallow, deep, cfg.kernel, 2, padding, bias=bias)
            layers += _activated(conv, cfg.d_norm == "batch" and level > 0)
        for _ in range(cfg.d_extra_layers):
            conv = nn.Conv2d(deep, deep, 3, padding=1, bias=bias)
            layers += _activated(conv, cfg.d_norm == "batch")
        self.pac = cfg.pac
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], 1, (height >> levels, width >> levels), bias=bias)
        self.embedding = class_embedding(input_classes(cfg, num_classes), widths[-1])
        self.apply(init_weights)
        # the scale of the head: with N(0, 1) the class outweighs the image and D does not recover
        init_embedding(self.embedding, 0.02)
        if cfg.d_norm == "spectral":
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Embedding):
                    spectral_norm(module)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Scores:
        """Maps images (N, C, H, W) and labels (N,) to Scores."""
        if self.pac > 1:
            # neighbours are joined, so a rank's slice has the same pairs as the whole batch
            images = images.unflatten(0, (-1, self.pac)).flatten(1, 2)  # (N/P, PC, H, W)
        features = self.features(images)  # (N/P, F, H >> levels, W >> levels)
        # the head covers the whole input, so it is a matrix product, which is much faster
        flat, weight = (t.movedim(1, -1).flatten(1) for t in (features, self.head.weight))
        logits = linear(flat, weight, self.head.bias).flatten()
        if self.embedding is None:
            return Scores(logits, None)
        class_logits = linear(features.sum((2, 3)), self.embedding.weight)  # (N/P, K)
        classes = labels.unflatten(0, (-1, self.pac))  # type: ignore[union-attr]  # (N/P, P)
        return Scores(logits + class_logits.gather(1, classes).sum(1), class_logits)


def _activated(conv: nn.Conv2d, batch_norm: bool) -> list[nn.Module]:
    norms = [nn.BatchNorm2d(conv.out_channels)] if batch_norm else []
    return [conv, *norms, nn.LeakyReLU(0.2, inplace=True)]
