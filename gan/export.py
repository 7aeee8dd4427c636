"""A generator as a file for other programs, with its batch normalisation folded into its weights.

Shapes: N images, Z latent, K classes, C channels, H x W pixels.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.functional import embedding, normalize

from gan.errors import ConfigError
from gan.files import replacing
from gan.nn.generator import CLASS_RMS, Generator
from gan.pretrained.card import require_finite, save_folder
from gan.pretrained.trained import Trained, build_generator, fold_norms

_FORMAT = 1
_METADATA_KEY = "gan"
_BATCHES = (1, 2, 7)  # one fixed at export would fail or give other images for the rest
_MAX_DIFFERENCE = 1e-3  # of pixels in [-1, 1]; an eighth of a grey level
_MAX_ONNX_BYTES = 2_000_000_000  # protobuf writes at most 2 GiB

Program = Callable[[dict[str, Tensor]], Tensor]


def save_export(trained: Trained, out: Path) -> dict[int, float]:
    """Writes a folder in the layout of hubs, or a .safetensors, .onnx or .pt2 file.

    Existing files are replaced. For .onnx and .pt2, returns the largest difference between the
    images of the file and those of the network with its normalisations in float64, by batch size.
    Raises ValueError, before anything is written, if there is a difference that can be seen.
    """
    if out.suffix not in _ENCODERS:
        save_folder(trained, out)
        return {}
    data, run = _ENCODERS[out.suffix](trained)
    differences = _differences(trained, run) if run else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        part.write_bytes(data)
    return differences


def folded(trained: Trained) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the averaged generator as float32 tensors and a description of it.

    `layers.I.weight` (C_in, C_out, kH, kW) and `layers.I.bias` (C_out,) are transposed
    convolutions; `class_vectors` (K, Z) are appended to z. The description can be written as JSON.
    Raises ConfigError if a layer is not a transposed convolution, BadCheckpoint if images are not
    finite.
    """
    require_finite(trained)
    generator = _folded_generator(trained)
    tensors: dict[str, Tensor] = {}
    layers: list[dict[str, Any]] = []
    for layer in generator.layers:
        if isinstance(layer, nn.ConvTranspose2d):
            name = f"layers.{len(layers)}"
            tensors[f"{name}.weight"] = layer.weight.float()
            tensors[f"{name}.bias"] = _bias(layer).float()
            sizes = ("stride", "padding", "output_padding")
            layers.append({size: list(getattr(layer, size)) for size in sizes})
        elif isinstance(layer, nn.ReLU | nn.Tanh):
            layers[-1]["activation"] = type(layer).__name__.lower()
        else:
            raise ConfigError(
                f"{trained.origin}: model.upsample is {trained.cfg.model.upsample}, and only "
                "transposed convolutions can be written as plain tensors; `gan export` writes it "
                "as .onnx or .pt2"
            )
    if generator.embedding is not None:
        tensors["class_vectors"] = _class_vectors(generator).float()
    return tensors, {"format": _FORMAT, **_interface(trained), "layers": layers}


def _interface(trained: Trained) -> dict[str, Any]:
    """Describes what goes in and what comes out."""
    return {
        "z_dim": trained.cfg.model.z_dim,
        "z_dist": trained.cfg.model.z_dist,
        "image_shape": list(trained.cfg.data.image_shape),
        "classes": list(trained.classes[: trained.generator.num_classes]),
    }


def _folded_generator(trained: Trained) -> Generator:
    """Returns the generator in float64, so that folding costs no precision."""
    generator = _exact_generator(trained)
    fold_norms(generator, torch.float64)
    return generator


def _exact_generator(trained: Trained) -> Generator:
    generator = build_generator(trained.cfg, len(trained.classes), trained.checkpoint.g_ema)
    exact = generator.double()
    # weights of a run may be channels_last, which torch.export warns about
    return exact.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _bias(layer: nn.ConvTranspose2d) -> Tensor:
    return layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias


def _class_vectors(generator: Generator) -> Tensor:
    """Returns the class vectors (K, Z) with the length that G gives them."""
    assert generator.embedding is not None, "a generator without classes has no class vectors"
    weight = generator.embedding.weight
    return normalize(weight) * (CLASS_RMS * weight.shape[1] ** 0.5)


class _Network(nn.Module):
    """Maps z (N, Z), and labels (N,) if it has classes, to images (N, C, H, W) in [-1, 1]."""

    class_vectors: Tensor

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(*map(_plain, generator.layers)).float().eval()
        if generator.embedding is not None:
            self.register_buffer("class_vectors", _class_vectors(generator).float())

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            z = torch.cat([z, embedding(labels, self.class_vectors)], dim=1)  # (N, 2Z)
        return self.layers(z[:, :, None, None])


def _plain(layer: nn.Module) -> nn.Module:
    """Returns PyTorch's transposed convolution in place of this project's, which take more
    operations."""
    if not isinstance(layer, nn.ConvTranspose2d):
        return layer
    with torch.device("meta"):
        plain = nn.ConvTranspose2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.output_padding,  # type: ignore[arg-type]
        )
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain


def _program(trained: Trained) -> ExportedProgram:
    """Returns the network as a graph for any batch size."""
    inputs = _inputs(trained, 2)
    batch = Dim("batch")
    program = torch.export.export(
        _Network(_folded_generator(trained)),
        tuple(inputs.values()),
        dynamic_shapes={name: {0: batch} for name in inputs},
    )
    for node in program.graph.nodes:  # or the file would hold paths of this machine
        node.meta.pop("stack_trace", None)
    return program


def _inputs(trained: Trained, num: int) -> dict[str, Tensor]:
    labels = trained.labels(num, seed=num)
    z = trained.latents(num, seed=num)
    return {"z": z} if labels is None else {"z": z, "labels": labels}


def _encode_tensors(trained: Trained) -> tuple[bytes, None]:
    tensors, description = folded(trained)
    return safetensors.torch.save(tensors, {_METADATA_KEY: json.dumps(description)}), None


def _encode_program(trained: Trained) -> tuple[bytes, Program]:
    buffer = io.BytesIO()
    interface = json.dumps(_interface(trained))
    torch.export.save(_program(trained), buffer, extra_files={_METADATA_KEY: interface})
    data = buffer.getvalue()
    module = torch.export.load(io.BytesIO(data)).module()
    return data, lambda inputs: module(*inputs.values())


def _encode_onnx(trained: Trained) -> tuple[bytes, Program]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise ValueError(
            f"an .onnx file needs the package {error.name}; run pip install 'gan[export]', or "
            "choose .safetensors or .pt2"
        ) from None
    program = _program(trained)
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > _MAX_ONNX_BYTES:
        raise ValueError(
            f"{trained.origin}: the network has {size:,} bytes, an .onnx file at most "
            f"{_MAX_ONNX_BYTES:,}; choose .safetensors or .pt2"
        )
    names = list(_inputs(trained, 1))
    exported = torch.onnx.export(
        program, dynamo=True, input_names=names, output_names=["images"], verbose=False
    )
    assert exported is not None, "the exporter returns a program when it gets no file"
    for node in exported.model.graph:
        node.metadata_props.clear()
    exported.model.metadata_props[_METADATA_KEY] = json.dumps(_interface(trained))
    data = exported.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(inputs: dict[str, Tensor]) -> Tensor:
        arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
        return torch.from_numpy(session.run(["images"], arrays)[0])

    return data, run


@torch.no_grad()
def _differences(trained: Trained, run: Program) -> dict[int, float]:
    """Returns the largest difference from the network in float64 by batch size."""
    exact = _exact_generator(trained)
    found = {}
    for num in _BATCHES:
        inputs = _inputs(trained, num)
        images = run(inputs)
        expected = exact(inputs["z"].double(), inputs.get("labels"))
        found[num] = float((images - expected).abs().max())
        if not found[num] <= _MAX_DIFFERENCE:  # also NaN
            raise ValueError(
                f"{trained.origin}: the exported network differs by {found[num]:.1e} in a batch "
                f"of {num}; nothing was written"
            )
    return found


_ENCODERS: dict[str, Callable[[Trained], tuple[bytes, Program | None]]] = {
    ".safetensors": _encode_tensors,
    ".onnx": _encode_onnx,
    ".pt2": _encode_program,
}
