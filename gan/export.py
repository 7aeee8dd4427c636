"""A generator as a file for other programs, with its batch normalisation folded into its weights.

Shapes: N images, Z latent, K classes, C channels, H x W pixels.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from gan.errors import ConfigError
from gan.files import replacing
from gan.nn.generator import CLASS_RMS, Generator
from gan.sampling import Trained, build_generator, fold_norms

FORMAT = 1
_METADATA_KEY = "gan"


def folded(trained: Trained) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the averaged generator as float32 tensors and a description of it.

    `layers.I.weight` (C_in, C_out, kH, kW) and `layers.I.bias` (C_out,) are transposed
    convolutions; `class_vectors` (K, Z) are appended to z. The description can be written as JSON.
    Raises ConfigError if a layer is not a transposed convolution.
    """
    generator = _folded_generator(trained)
    tensors: dict[str, Tensor] = {}
    layers: list[dict[str, Any]] = []
    for layer in generator.layers:
        if isinstance(layer, nn.ConvTranspose2d):
            name = f"layers.{len(layers)}"
            tensors[f"{name}.weight"] = layer.weight.float().contiguous()
            tensors[f"{name}.bias"] = _bias(layer).float()
            sizes = ("stride", "padding", "output_padding")
            layers.append({size: list(getattr(layer, size)) for size in sizes})
        elif isinstance(layer, nn.ReLU | nn.Tanh):
            layers[-1]["activation"] = type(layer).__name__.lower()
        else:
            raise ConfigError(
                f"{trained.origin}: model.upsample is {trained.cfg.model.upsample}, and only "
                "transposed convolutions can be written as plain tensors; choose .onnx or .pt2"
            )
    if generator.embedding is not None:
        tensors["class_vectors"] = _class_vectors(generator).float()
    description = {
        "format": FORMAT,
        "z_dim": trained.cfg.model.z_dim,
        "z_dist": trained.cfg.model.z_dist,
        "image_shape": list(trained.cfg.data.image_shape),
        "classes": list(trained.classes[: generator.num_classes]),
        "layers": layers,
    }
    return tensors, description


def save_export(trained: Trained, out: Path) -> None:
    """Writes the tensors of `folded` with the description as JSON under the metadata key "gan"."""
    tensors, description = folded(trained)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        save_file(tensors, part, {_METADATA_KEY: json.dumps(description)})


def _folded_generator(trained: Trained) -> Generator:
    """Returns the generator in float64, so that folding costs no precision."""
    weights = trained.checkpoint.g_ema
    generator = build_generator(trained.cfg, len(trained.classes), weights).double()
    fold_norms(generator, torch.float64)
    return generator


def _bias(layer: nn.ConvTranspose2d) -> Tensor:
    return layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias


def _class_vectors(generator: Generator) -> Tensor:
    """Returns the class vectors (K, Z) with the length that G gives them."""
    assert generator.embedding is not None, "a generator without classes has no class vectors"
    weight = generator.embedding.weight
    return normalize(weight) * (CLASS_RMS * weight.shape[1] ** 0.5)
