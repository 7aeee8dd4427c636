"""The latents whose images are nearest to given images, by gradient descent through G.

Shapes: M images to invert, S starts each, Z latent, C channels, H x W pixels.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan.analysis.walk import save_walk
from gan.data.datasets import open_source
from gan.data.decode import BadImage, read_file
from gan.data.pack import pack
from gan.data.source import Source
from gan.data.workers import decode_all
from gan.errors import ConfigError
from gan.files import replacing
from gan.latents import ZDist, rng
from gan.metrics.reference import held_out_images
from gan.nn.generator import Generator
from gan.sampling import Trained, build_generator, enlarge, fold_norms, grid, to_pil
from gan.training.state import Adam

_NUM_CANDIDATES = 512  # random images, the nearest of which are the starts
_STARTS, _STEPS, _STEP_SIZE = 4, 400, 0.1  # of Adam; in half the steps digits are 2 levels farther
_BATCH = 64
_MIN_SIDE = 128  # pixels of an image in the file of pairs
_WALK_STEPS = 16


def invert(
    trained: Trained, images: np.ndarray, *, starts: int = _STARTS, seed: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Returns the latents (M, Z), and labels (M,) with classes, nearest to uint8 (M, C, H, W).

    Adam starts from the latents of the `starts` nearest of 512 random images, and the best end
    is returned. Latents stay where G was trained: in [-1, 1] if uniform, within the usual length
    if normal.
    """
    weights = {name: tensor.clone() for name, tensor in trained.checkpoint.g_ema.items()}
    generator = build_generator(trained.cfg, len(trained.classes), weights)
    fold_norms(generator, torch.float32)
    generator.to(next(trained.generator.parameters()).device)
    z, labels = trained.latents(_NUM_CANDIDATES, seed), trained.labels(_NUM_CANDIDATES, seed)
    nearest = _nearest(images, trained.images(z, labels), starts).flatten()  # (M * S,)
    z, labels = z[nearest], None if labels is None else labels[nearest]
    errors = []
    for rows in torch.arange(len(z)).split(_BATCH):
        given = None if labels is None else labels[rows]
        z[rows], error = _descend(
            generator, images[rows // starts], z[rows], given, trained.cfg.model.z_dist
        )
        errors.append(error)
    best = torch.cat(errors).unflatten(0, (-1, starts)).argmin(1)
    best += starts * torch.arange(len(images))
    return z[best], None if labels is None else labels[best]


def grey_levels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the distances (M,) between uint8 images (M, C, H, W): root mean squares."""
    squares = (a.astype(np.float64) - b) ** 2
    return np.sqrt(squares.mean(axis=(1, 2, 3)))


def save_pairs(
    trained: Trained, paths: tuple[Path, ...], out: Path, *, film: Path | None, seed: int
) -> Iterator[str]:
    """Writes each image beside the nearest of G, and a walk from the first to the second.

    Yields the distances. Raises BadImage, before anything is written, with all images that cannot
    be used.
    """
    images = read_images(trained, paths)
    z, labels = invert(trained, images, seed=seed)
    found = trained.images(z, labels)
    out.parent.mkdir(parents=True, exist_ok=True)
    pairs = np.stack([images, found], axis=1).reshape(-1, *images.shape[1:])
    scale = -(-_MIN_SIDE // min(images.shape[2:]))
    with replacing(out) as part:
        columns = 2 * math.ceil(math.sqrt(len(images) / 2))
        to_pil(grid(enlarge(pairs, scale), columns)).save(part)
    for i, distance in enumerate(grey_levels(images, found)):
        label = "" if labels is None else f", class {trained.classes[labels[i]]}"
        yield f"{paths[i]}: {distance:.1f} grey levels{label}"
    if film:
        save_walk(trained, film, z, labels, steps=_WALK_STEPS)


def read_images(trained: Trained, paths: tuple[Path, ...]) -> np.ndarray:
    """Returns image files as uint8 (M, C, H, W), resized as the run's training images were."""
    names = [str(path) for path in paths]
    source = Source("", names, partial(read_file, ""), fingerprint="", parallel=True)
    data = trained.cfg.data
    decoded = list(decode_all(source, data.image_shape, data.fit))
    bad = {name: d for name, d in zip(names, decoded, strict=True) if isinstance(d, BadImage)}
    if bad:
        raise BadImage("\n".join(f"{name}: {reason}" for name, reason in bad.items()))
    return np.stack([image for image in decoded if isinstance(image, np.ndarray)])


def compare_held_out(trained: Trained, *, num: int, seed: int) -> Iterator[str]:
    """Yields how well G draws `num` training images and as many that it has never seen.

    Raises ConfigError if the data have no images that were kept from training.
    """
    data = trained.cfg.data
    train, others = pack(open_source(data), data), held_out_images(data)
    if others is None:
        raise ConfigError(
            f"{trained.origin}: its data have no held-out images; train with data.hold_out"
        )
    num = min(num, len(train), len(others))
    means, errors = [], []
    for step, (name, packed) in enumerate([("training", train), ("held-out", others)]):
        images = packed.images[rng(seed, step, "real").permutation(len(packed))[:num]]
        found = grey_levels(images, trained.images(*invert(trained, images, starts=1, seed=seed)))
        deviation = found.std(ddof=1) if num > 1 else math.nan
        means.append(found.mean())
        errors.append(deviation / num**0.5)
        yield f"{name} images: {means[-1]:.1f} ± {deviation:.1f} grey levels ({num} images)"
    yield (
        f"held-out images are {means[1] - means[0]:+.1f} farther (standard error "
        f"{math.hypot(*errors):.1f}); G would draw memorised training images better"
    )
    if train.checksum != trained.checkpoint.data:
        yield "note: the checkpoint was trained on other images (checksums differ)"


def _descend(
    generator: Generator, images: np.ndarray, z: Tensor, labels: Tensor | None, dist: ZDist
) -> tuple[Tensor, Tensor]:
    """Moves latents (N, Z) until their images are near uint8 images (N, C, H, W).

    Returns the latents and their mean squared errors (N,).
    """
    device = next(generator.parameters()).device
    wanted = torch.tensor(images, device=device) / 127.5 - 1
    labels = None if labels is None else labels.to(device)
    z = z.to(device).requires_grad_()
    adam = Adam([z], lr=_STEP_SIZE, betas=(0.9, 0.99))
    for step in range(_STEPS):
        adam.param_groups[0]["lr"] = _STEP_SIZE * min(1, 2 - 2 * step / _STEPS)
        errors = (generator(z, labels) - wanted).square().mean((1, 2, 3))
        (z.grad,) = torch.autograd.grad(errors.sum(), z)
        adam.step()
        with torch.no_grad():
            _keep_typical(z, dist)
    return z.detach().cpu(), errors.detach().cpu()


def _nearest(images: np.ndarray, candidates: np.ndarray, num: int) -> Tensor:
    """Returns the indices (M, num) of the candidates nearest to each image."""
    a, b = (torch.tensor(each).float().flatten(1) for each in (images, candidates))
    return torch.cdist(a, b).topk(num, largest=False).indices


def _keep_typical(z: Tensor, dist: ZDist) -> None:
    """Moves latents (M, Z) back to where G was trained."""
    if dist == "uniform":
        z.clamp_(-1, 1)
    else:  # the length of a normal vector is sqrt(Z) ± 0.7
        z.mul_(((z.shape[1] ** 0.5 + 2.1) / z.norm(dim=1, keepdim=True)).clamp(max=1))
