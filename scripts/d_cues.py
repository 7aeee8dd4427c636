"""Shows what D goes by: its logits of training, held-out and generated images, each one changed.

    python scripts/d_cues.py runs/faces

Where D is right for the samples and as sure of held-out images as of training images, it has not
memorised them: it recognises samples by something that they all have. A change that removes this
brings the logits of samples to those of real images. Uses the current G, not its average.
"""

import io
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan.checkpoint import Checkpoint
from gan.config.reader import parse_config
from gan.config.settings import Config
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.latents import draw_latents
from gan.metrics.reference import held_out_images
from gan.nn.augment import AUGMENTATIONS, draw_augmentation
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator
from gan.pretrained.load import read_source
from gan.sampling import to_uint8

BATCH = 128
Batch = tuple[Tensor, Tensor | None]  # images (N, C, H, W) in [-1, 1], labels (N,)


def noisy(std: float) -> Callable[[Tensor], Tensor]:
    """Returns a function that adds noise with a standard deviation in grey levels."""
    generator = torch.Generator().manual_seed(0)
    return lambda images: images + torch.randn(images.shape, generator=generator) * (std / 127.5)


def smooth(share: float) -> Callable[[Tensor], Tensor]:
    """Returns a function that removes frequencies above a share of the highest one."""

    def change(images: Tensor) -> Tensor:
        rows, columns = (torch.fft.fftfreq(side).square() for side in images.shape[2:])
        kept = (rows[:, None] + columns).sqrt() <= share / 2
        return torch.fft.ifft2(torch.fft.fft2(images) * kept).real

    return change


def jpeg(images: Tensor) -> Tensor:
    """Returns images after JPEG of quality 75 with halved colour, the encoder's usual settings."""
    changed = []
    for pixels in to_uint8(images).movedim(1, -1).numpy():
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=75)
        changed.append(np.asarray(Image.open(file)).reshape(pixels.shape))
    return from_uint8(np.stack(changed)).movedim(-1, 1)


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as in training": lambda images: images,
    "8 bits": lambda images: from_uint8(to_uint8(images).numpy()),
    "JPEG": jpeg,
    "grey": lambda images: images.mean(1, keepdim=True).expand_as(images),
    **{f"noise, {std} grey levels": noisy(std) for std in (1, 2, 4, 8)},
    **{f"frequencies up to {share:.0%}": smooth(share) for share in (0.8, 0.6, 0.4, 0.2)},
}


def networks(checkpoint: Checkpoint, cfg: Config) -> tuple[Generator, Discriminator]:
    """Returns G and D, with the statistics of each batch, as in training."""
    num_classes = len(checkpoint.classes) if cfg.model.conditional else 0
    g = Generator(cfg.model, cfg.data.image_shape, num_classes)
    d = Discriminator(cfg.model, cfg.data.image_shape, num_classes)
    g.load_state_dict(checkpoint.g)
    d.load_state_dict(checkpoint.d)
    return g.train(), d.train()


def real_batches(packed: PackedImages, num: int) -> list[Batch]:
    """Returns at most `num` batches of real images."""
    order = np.random.default_rng(0).permutation(len(packed))[: num * BATCH]
    parts = [np.sort(part) for part in np.split(order, range(BATCH, len(order), BATCH))]
    return [(from_uint8(packed.images[part]), own_labels(packed, part)) for part in parts]


def own_labels(packed: PackedImages, indices: np.ndarray) -> Tensor | None:
    """Returns the labels (N,) of some images, None without classes."""
    return None if packed.labels is None else torch.from_numpy(packed.labels[indices]).long()


def from_uint8(images: np.ndarray) -> Tensor:
    """Returns uint8 images as float32 in [-1, 1]."""
    return torch.from_numpy(images).float() / 127.5 - 1


@torch.no_grad()
def logits(d: Discriminator, cfg: Config, images: Tensor, labels: Tensor | None) -> Tensor:
    """Returns D's logits (N,) of images, augmented as at the end of training."""
    train = cfg.train
    draws = draw_augmentation(
        len(images),
        cfg.data.image_shape,
        np.random.default_rng(0),
        translate_pixels=train.translate_pixels,
    )
    if train.augment:
        images = AUGMENTATIONS[train.augment](images, draws)
    return d(images, labels).logits


@click.command()
@click.argument("run")
@click.option("--data-root", help="Folder of the data [default: $GAN_DATA or data].")
@click.option("--batches", default=8, show_default=True, help=f"Batches of {BATCH} images.")
def main(run: str, data_root: str | None, batches: int) -> None:
    """Shows what D goes by: RUN is a run or a checkpoint."""
    checkpoint = read_source(run)
    cfg = parse_config(checkpoint.config, origin=run)
    data = cfg.data.model_copy(update={"root": data_root})
    g, d = networks(checkpoint, cfg)
    kinds = {"training": real_batches(pack(open_source(data), data), batches)}
    if (held_out := held_out_images(data)) is not None:
        kinds["held-out"] = real_batches(held_out, batches)
    labels = [own if cfg.model.conditional else None for _, own in kinds["training"]]
    with torch.no_grad():
        latents = (draw_latents(BATCH, cfg.model, seed=seed) for seed in range(batches))
        kinds["samples"] = [
            (g(z[: len(real)], own), own)
            for z, own, (real, _) in zip(latents, labels, kinds["training"], strict=False)
        ]
    print(f"{Path(run)}, step {checkpoint.step:,}: logits of D, mean and deviation over images")
    print("| images | " + " | ".join(kinds) + " | correct |\n|---|" + "---|" * (len(kinds) + 1))
    for name, change in CHANGES.items():
        found = {
            kind: torch.cat([logits(d, cfg, change(images), own) for images, own in batches_of])
            for kind, batches_of in kinds.items()
        }
        right = found["training"] > 0, found["samples"] < 0
        correct = torch.stack([part.double().mean() for part in right]).mean()
        cells = [f"{values.mean():.1f} ± {values.std():.1f}" for values in found.values()]
        print(f"| {name} | " + " | ".join(cells) + f" | {correct:.0%} |")


if __name__ == "__main__":
    main()
