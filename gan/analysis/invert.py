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

from gan.analysis.walk import ZDist, require_ffmpeg, save_walk
from gan.data.datasets import open_source
from gan.data.decode import BadImage, read_file
from gan.data.pack import pack
from gan.data.source import Source
from gan.data.workers import decode_all
from gan.errors import ConfigError
from gan.files import replacing
from gan.latents import rng
from gan.metrics.reference import held_out_images
from gan.nn.generator import Generator
from gan.pretrained.samples import enlarge
from gan.pretrained.trained import Trained, build_generator, fold_norms
from gan.sampling import grid, to_pil
from gan.training.state import Adam

_NUM_CANDIDATES = 512  # random images, the nearest of which are the starts
_STARTS = 16
# all starts, then the best quarter; in half the steps digits end 2 grey levels farther
_FIRST_STEPS, _STEPS, _STEP_SIZE = 60, 400, 0.1
_BATCH = 64
_MIN_SIDE = 128  # pixels of an image in the file of pairs
_WALK_STEPS = 16


def invert(
    trained: Trained, images: np.ndarray, *, starts: int = _STARTS, seed: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Returns the latents (M, Z), and labels (M,) with classes, nearest to uint8 (M, C, H, W).

    Adam starts from `starts` of 512 random images, those nearest in each class, and after some
    steps continues with the best quarter. Latents stay where G was trained: in [-1, 1] if uniform,
    within the usual length if normal.
    """
    weights = {name: tensor.clone() for name, tensor in trained.checkpoint.g_ema.items()}
    generator = build_generator(trained.cfg, len(trained.classes), weights)
    fold_norms(generator, torch.float32)
    generator.to(next(trained.generator.parameters()).device)
    z, labels = trained.latents(_NUM_CANDIDATES, seed), trained.labels(_NUM_CANDIDATES, seed)
    chosen = _nearest(images, trained.images(z, labels), labels, starts)  # (M, S)
    for kept, steps in ((max(1, starts // 4), _FIRST_STEPS), (1, _STEPS)):
        z, labels = z[chosen.flatten()], None if labels is None else labels[chosen.flatten()]
        errors = _descend(generator, images, z, labels, trained.cfg.model.z_dist, steps)
        best = errors.unflatten(0, (len(images), -1)).topk(kept, largest=False).indices
        chosen = best + len(z) // len(images) * torch.arange(len(images))[:, None]
    best = chosen[:, 0]
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
    if film and film.suffix == ".mp4":
        require_ffmpeg()
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
        found = grey_levels(images, trained.images(*invert(trained, images, starts=4, seed=seed)))
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
    generator: Generator,
    images: np.ndarray,
    z: Tensor,
    labels: Tensor | None,
    dist: ZDist,
    steps: int,
) -> Tensor:
    """Moves latents (M * S, Z), in place, until their images are near uint8 (M, C, H, W).

    Returns their mean squared errors (M * S,).
    """
    device = next(generator.parameters()).device
    errors = torch.empty(len(z))
    for rows in torch.arange(len(z)).split(_BATCH):
        wanted = torch.tensor(images[rows // (len(z) // len(images))], device=device) / 127.5 - 1
        given = None if labels is None else labels[rows].to(device)
        part = z[rows].to(device).requires_grad_()
        adam = Adam([part], lr=_STEP_SIZE, betas=(0.9, 0.99))
        for step in range(steps):
            adam.param_groups[0]["lr"] = _STEP_SIZE * min(1, 2 - 2 * step / steps)
            error = (generator(part, given) - wanted).square().mean((1, 2, 3))
            (part.grad,) = torch.autograd.grad(error.sum(), part)
            adam.step()
            with torch.no_grad():
                _keep_typical(part, dist)
        z[rows], errors[rows] = part.detach().cpu(), error.detach().cpu()
    return errors


def _nearest(images: np.ndarray, candidates: np.ndarray, labels: Tensor | None, num: int) -> Tensor:
    """Returns the indices (M, num) of the candidates nearest to each image.

    The nearest of each class come before any second ones: thin eights are near ones, and a descent
    does not change the class.
    """
    a, b = (torch.tensor(each).float().flatten(1) for each in (images, candidates))
    distances = torch.cdist(a, b)  # (M, 512)
    ranks = torch.zeros_like(distances)
    for label in [] if labels is None else labels.unique():
        members = labels == label
        ranks[:, members] = distances[:, members].argsort(1).argsort(1).float()
    return (distances + ranks * distances.max()).topk(num, largest=False).indices


def _keep_typical(z: Tensor, dist: ZDist) -> None:
    """Moves latents (M, Z) back to where G was trained."""
    if dist == "uniform":
        z.clamp_(-1, 1)
    else:  # the length of a normal vector is sqrt(Z) ± 0.7
        z.mul_(((z.shape[1] ** 0.5 + 2.1) / z.norm(dim=1, keepdim=True)).clamp(max=1))
