"""The discriminator: images to logits through layers that each halve the size.

Shapes: N batch, C channels, H x W image, F features, K classes.
"""

import itertools
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

from gan.config.settings import ModelConfig
from gan.config.sizes import num_levels
from gan.nn.generator import class_embedding, hidden_channels, init_embedding, init_weights


class Logits(NamedTuple):
    """The outputs of D."""

    logits: Tensor  # (N,), positive means real
    class_logits: Tensor | None  # (N, K), when conditional


class Discriminator(nn.Module):
    """Maps images (N, C, H, W), and labels (N,) when conditional, to Logits.

    Strided convolutions, batch normalisation after all but the first, LeakyReLU 0.2, and one last
    convolution over the whole base (Radford et al., 2015). Before it come model.d_extra_layers 3x3
    convolutions. Classes enter by projection (Miyato and Koyama, 2018): the logit is the head's
    plus the product of the features with the vector of the class. The products with the vectors of
    all classes are the class logits.
    """

    def __init__(
        self, cfg: ModelConfig, image_shape: tuple[int, int, int], num_classes: int = 0
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        levels = num_levels(height, width)
        widths = [channels, *hidden_channels(cfg.d_width, levels)]
        layers: list[nn.Module] = []
        for level, (shallow, deep) in enumerate(itertools.pairwise(widths)):
            padding = (cfg.kernel - 1) // 2
            kind = _BlackBorder if cfg.d_border == "black" and level == 0 else nn.Conv2d
            conv = kind(shallow, deep, cfg.kernel, 2, padding, bias=False)
            layers += _activated(conv, batch_norm=level > 0)
        for _ in range(cfg.d_extra_layers):
            layers += _activated(nn.Conv2d(deep, deep, 3, padding=1, bias=False), batch_norm=True)
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], 1, (height >> levels, width >> levels), bias=False)
        self.embedding = class_embedding(cfg, num_classes, widths[-1])
        self.apply(init_weights)
        # the scale of the head: with N(0, 1) the class outweighs the image and D does not recover
        init_embedding(self.embedding, 0.02)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Logits:
        """Maps images (N, C, H, W) and labels (N,) to Logits."""
        features = self.features(images)  # (N, F, H >> levels, W >> levels)
        # the head covers the whole input, so it is a matrix product, which is much faster
        flat, weight = (t.movedim(1, -1).flatten(1) for t in (features, self.head.weight))
        logits = linear(flat, weight).flatten()
        if self.embedding is None:
            return Logits(logits, None)
        class_logits = linear(features.sum((2, 3)), self.embedding.weight)  # (N, K)
        own = class_logits.gather(1, labels[:, None])  # type: ignore[index]
        return Logits(logits + own[:, 0], class_logits)


class _BlackBorder(nn.Conv2d):
    """Pads images with black, -1, instead of grey, 0.

    With BatchNorm and without biases, D gives a batch and its multiples the same logits. A border
    that is not 0 lets D see the contrast.
    """

    def forward(self, images: Tensor) -> Tensor:
        bordered = pad(images, [int(self.padding[0])] * 4, value=-1)
        return conv2d(bordered, self.weight, self.bias, self.stride)


def _activated(conv: nn.Conv2d, batch_norm: bool) -> list[nn.Module]:
    norms = [nn.BatchNorm2d(conv.out_channels)] if batch_norm else []
    return [conv, *norms, nn.LeakyReLU(0.2, inplace=True)]
