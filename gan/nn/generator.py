"""The generator: latents to images through layers that each double the size.

Shapes: N batch, Z latent, C channels, H x W image, F features.
"""

import itertools
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, normalize, pixel_shuffle

from gan.config.settings import ModelConfig
from gan.config.sizes import num_levels
from gan.nn.transposed_conv import TransposedConv2d

CLASS_RMS = 0.1  # root mean square of a class vector; that of a latent is about 1
_MAX_WIDENING = 8  # the deepest layers have at most 8 times g_width or d_width channels


def hidden_channels(width: int, levels: int) -> list[int]:
    """Returns the channels from the largest hidden layer to the smallest: w, 2w, 4w, 8w, 8w ..."""
    return [width * min(1 << level, _MAX_WIDENING) for level in range(levels)]


class Generator(nn.Module):
    """Maps latents (N, Z), and labels (N,) when conditional, to images (N, C, H, W) in [-1, 1].

    A 1x1 latent becomes a base of 4 to 7 pixels a side, which doubles until H x W; batch
    normalisation and ReLU follow each layer, tanh the last (Radford et al., 2015). `num_classes` is
    that of the data; the attribute of the same name is 0 unless the class is an input.
    """

    def __init__(
        self, cfg: ModelConfig, image_shape: tuple[int, int, int], num_classes: int = 0
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        levels = num_levels(height, width)
        widths = hidden_channels(cfg.g_width, levels)[::-1]
        base = (height >> levels, width >> levels)
        self.embedding = class_embedding(cfg, num_classes, cfg.z_dim)
        self.num_classes = 0 if self.embedding is None else num_classes
        z_dim = cfg.z_dim * (2 if self.num_classes else 1)
        first = TransposedConv2d if cfg.upsample == "reference" else _FromOnePixel
        layers: list[nn.Module] = [first(z_dim, widths[0], base, bias=False), *_norm(widths[0])]
        for wide, narrow in itertools.pairwise(widths):
            layers += [_doubling(cfg, wide, narrow), *_norm(narrow)]
        layers += [_doubling(cfg, widths[-1], channels), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(init_weights)
        init_embedding(self.embedding, CLASS_RMS)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps (N, Z) to (N, C, H, W)."""
        if self.embedding is not None:
            # a fixed length, well below that of z: a class vector that may grow makes G ignore z
            # and draw a few images per class
            classes = normalize(self.embedding(labels)) * (CLASS_RMS * z.shape[1] ** 0.5)
            z = torch.cat([z, classes], dim=1)  # (N, 2Z)
        return self.layers(z[:, :, None, None])


def class_embedding(cfg: ModelConfig, num_classes: int, width: int) -> nn.Embedding | None:
    """Returns class vectors to be initialised by `init_embedding`, or None if classes are no
    input."""
    if not (cfg.conditional and num_classes):
        return None
    weight = torch.empty(num_classes, width)
    return nn.Embedding(num_classes, width, _weight=weight if weight.is_meta else None)


def init_embedding(embedding: nn.Embedding | None, std: float) -> None:
    """Draws class vectors from N(0, std)."""
    if embedding is not None and not embedding.weight.is_meta:
        nn.init.normal_(embedding.weight, 0.0, std)


def init_weights(module: nn.Module) -> None:
    """Draws weights from N(0, 0.02) and gains of batch normalisation from N(1, 0.02)."""
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return  # drawing normal numbers on "meta" imports torch's compiler (1 s)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    elif isinstance(module, _SubPixel):  # its convolution has been drawn
        # ICNR: equal sub-pixels at the start, so that G does not begin with a checkerboard
        weight = module.convolution.weight.data
        weight.copy_(weight[::4].repeat_interleave(4, dim=0))


class _FromOnePixel(nn.ConvTranspose2d):
    """A transposed convolution of (N, C, 1, 1), computed as a matrix product; much faster."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        taps = self.weight.movedim(1, -1)  # (C, K, L, F)
        out = (x.flatten(1) @ taps.flatten(1)).unflatten(1, taps.shape[1:]).movedim(-1, 1)
        return out if self.bias is None else out + self.bias[:, None, None]


class BalancedTransposedConv2d(nn.ConvTranspose2d):
    """A transposed convolution of stride 2 whose four kernels have equal sums.

    Different elements of the kernel make the outputs in even and in odd rows and columns. Where
    their sums differ, a constant map becomes a pattern that repeats every second pixel
    (Sugawara et al., 2018). It is the same in all images, so D recognises samples by it.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Maps (N, C, H, W) to (N, F, 2H, 2W)."""
        return conv_transpose2d(x, self.balanced(), None, *self._sizes())

    def balanced(self) -> Tensor:
        """Returns the weight (C, F, K, K) less what makes the four sums differ."""
        device, dtype = self.weight.device, self.weight.dtype
        with torch.autocast(device.type, enabled=False):  # not in half precision
            found = self.weight.flatten(2) @ _balancing(self.kernel_size[0], device, dtype)
        return found.view_as(self.weight)

    def plain(self) -> nn.ConvTranspose2d:
        """Returns the same layer with a fixed weight, in eval mode."""
        channels, sizes = (self.in_channels, self.out_channels), self._sizes()
        layer = nn.ConvTranspose2d(
            *channels, self.kernel_size[0], *sizes, bias=False, device="meta"
        )
        layer.weight = nn.Parameter(self.balanced().detach(), requires_grad=False)
        return layer.eval()

    def _sizes(self) -> tuple[int, int, int]:
        return self.stride[0], int(self.padding[0]), self.output_padding[0]


@cache
def _balancing(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns the projection (K * K, K * K) of flat kernels to those with four equal sums."""
    odd = torch.arange(size, device=device) % 2
    kind = (2 * odd[:, None] + odd).flatten()  # which of the four an element belongs to
    same = (kind[:, None] == kind).to(dtype)
    return torch.eye(size * size, device=device, dtype=dtype) - (same - 0.25) / same.sum(0)


class _SubPixel(nn.Module):
    """Doubles the size by a convolution to four times the channels and a pixel shuffle."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, 4 * channels_out, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle(self.convolution(x), 2)


def _doubling(cfg: ModelConfig, channels_in: int, channels_out: int) -> nn.Module:
    if cfg.upsample == "subpixel":
        return _SubPixel(channels_in, channels_out)
    if cfg.upsample == "resize":
        convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolution)
    transposed = _TRANSPOSED[cfg.upsample]
    # k4 p1 doubles the size; k5 p2 is one pixel short
    padding, extra = (1, 0) if cfg.kernel == 4 else (2, 1)
    return transposed(
        channels_in, channels_out, cfg.kernel, 2, padding, output_padding=extra, bias=False
    )


_TRANSPOSED: dict[str, type[nn.ConvTranspose2d]] = {
    "transposed": nn.ConvTranspose2d,
    "balanced": BalancedTransposedConv2d,
    "reference": TransposedConv2d,
}


def _norm(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
