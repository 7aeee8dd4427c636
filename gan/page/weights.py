"""Networks as text: weights as bytes with a scale for each output channel, compressed, base64.

Shapes: C channels, kH x kW kernel, K classes, F features.
"""

import base64
import gzip
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.swa_utils import update_bn

from gan.checkpoint import BadCheckpoint, check_tensors
from gan.nn.discriminator import Discriminator
from gan.pretrained.trained import Trained

_LEVELS = 127  # a byte holds -127 to 127
_NUM_SETTLE = 512  # generated images from which D's statistics are estimated


def pack(tensors: dict[str, Tensor], description: dict[str, Any]) -> dict[str, Any]:
    """Returns a description with the tensors as text, for `unpack` in model.js.

    Kernels (.., .., kH, kW) are bytes with a scale for each output channel: the second axis of
    transposed convolutions, the first of convolutions. Other tensors are float32.
    """
    axis = 1 if description["kind"] == "generator" else 0
    entries: dict[str, dict[str, Any]] = {}
    floats, codes = [], []
    num_floats = num_codes = 0
    for name, tensor in tensors.items():
        entry: dict[str, Any] = {"shape": list(tensor.shape), "floats": num_floats}
        values = tensor.detach().float().contiguous()
        if tensor.dim() == 4:
            quantised, values = quantise(values, axis)
            entry |= {"codes": num_codes, "axis": axis}
            codes.append(quantised.numpy().ravel())
            num_codes += quantised.numel()
        floats.append(values.numpy().ravel())
        num_floats += values.numel()
        entries[name] = entry
    blob = b"".join([
        np.concatenate(floats).astype("<f4").tobytes(),
        np.concatenate(codes).tobytes(),
    ])  # fmt: skip
    text = base64.b64encode(gzip.compress(blob, mtime=0)).decode()
    return {**description, "tensors": entries, "num_floats": num_floats, "data": text}


def quantise(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Returns int8 codes and a scale (C,) for each slice along `axis`; code * scale is near."""
    others = [dim for dim in range(weight.dim()) if dim != axis]
    scale = weight.abs().amax(others).clamp_min(1e-12) / _LEVELS
    shape = [-1 if dim == axis else 1 for dim in range(weight.dim())]
    return (weight / scale.view(shape)).round().to(torch.int8), scale


def discriminator_of(trained: Trained) -> dict[str, Any] | None:
    """Returns the packed discriminator of a model of grey images, None of others.

    Its normalisations have the statistics of generated images, as when it met these in training:
    then D(G(z)) is that of the curves. `layers.I.weight` (C_out, C_in, kH, kW) and `layers.I.bias`
    are convolutions with LeakyReLU after all but the last, the head; `class_vectors` (K, F) are
    multiplied with the features. `offset` is added to the image before its border of zeros.
    """
    cfg = trained.cfg
    weights = trained.checkpoint.d
    if not weights or cfg.data.channels != 1:
        return None
    with torch.device("meta"):
        network = Discriminator(cfg.model, cfg.data.image_shape, len(trained.classes))
    check_tensors(network.state_dict(), weights, f"{trained.checkpoint.path}: d")
    # copies: update_bn changes the statistics in place
    network.load_state_dict({k: v.clone() for k, v in weights.items()}, assign=True)
    network.requires_grad_(False)
    labels = trained.labels(_NUM_SETTLE, seed=0)
    images = trained.images(trained.latents(_NUM_SETTLE, seed=0), labels)
    update_bn([torch.from_numpy(images).float() / 127.5 - 1], network.features)
    tensors, layers = _plain_layers(network.eval())
    offset = 1 if cfg.model.d_border == "black" else 0  # the border of -1 becomes 0
    tensors["layers.0.bias"] -= offset * tensors["layers.0.weight"].sum((1, 2, 3))
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise BadCheckpoint(f"{trained.checkpoint.path}: the values of D are not finite")
    description = {"kind": "discriminator", "layers": layers, "offset": offset}
    return pack(tensors, description)


def _plain_layers(network: Discriminator) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Returns convolutions alone: normalisations are folded into the layer before them."""
    plain: list[nn.Conv2d] = []
    for layer in [*network.features, network.head]:
        if isinstance(layer, nn.BatchNorm2d):
            plain[-1] = fuse_conv_bn_eval(plain[-1], layer)
        elif isinstance(layer, nn.Conv2d):
            plain.append(layer)
    tensors: dict[str, Tensor] = {}
    layers = []
    for i, layer in enumerate(plain):
        tensors[f"layers.{i}.weight"] = layer.weight
        bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
        tensors[f"layers.{i}.bias"] = bias
        slope = 1.0 if layer is plain[-1] else 0.2
        layers.append({"stride": layer.stride[0], "padding": layer.padding[0], "slope": slope})
    if network.embedding is not None:
        tensors["class_vectors"] = network.embedding.weight
    return tensors, layers
