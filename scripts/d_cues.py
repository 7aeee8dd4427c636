"""Shows what D goes by: its logits of training, held-out and generated images, each one changed.

    python scripts/d_cues.py runs/faces

Where D is right for the samples and as sure of held-out images as of training images, it has not
memorised them: it recognises samples by something that they all have. A change that removes this
brings the logits of samples to those of real images. Uses the current G, not its average.
"""

import io
import itertools
from collections.abc import Callable, Iterator

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan.checkpoint import Checkpoint
from gan.config.settings import Config
from gan.data.batches import Batch, batches
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.errors import one_message
from gan.latents import draw_latents
from gan.metrics.reference import held_out_images
from gan.nn.augment import as_d_sees, draw_augmentation
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator
from gan.pretrained.load import load_generator
from gan.sampling import to_uint8

BATCH = 128


def brightness(images: Tensor) -> Tensor:
    """Returns the brightness (N, 1, H, W) of images (N, C, H, W), as JPEG defines it."""
    if images.shape[1] == 1:
        return images
    return torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114]), images)[:, None]


def joined(bright: Tensor, coloured: Tensor) -> Tensor:
    """Returns images with the brightness of some and the colours of others, all (N, C, H, W)."""
    return coloured + brightness(bright) - brightness(coloured)


def noisy(std: float, *, part: str = "both") -> Callable[[Tensor], Tensor]:
    """Returns a function that adds noise with a standard deviation in grey levels, to both the
    brightness and the colours, or to one of these parts."""
    generator = torch.Generator().manual_seed(0)

    def change(images: Tensor) -> Tensor:
        noised = images + torch.randn(images.shape, generator=generator) * (std / 127.5)
        if part == "brightness":
            return joined(noised, images)
        return joined(images, noised) if part == "colours" else noised

    return change


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
    return from_uint8(torch.from_numpy(np.stack(changed))).movedim(-1, 1)


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as in training": lambda images: images,
    "8 bits": lambda images: from_uint8(to_uint8(images)),
    "JPEG": jpeg,
    "JPEG, its brightness alone": lambda images: joined(jpeg(images), images),
    "JPEG, its colours alone": lambda images: joined(images, jpeg(images)),
    "grey": lambda images: images.mean(1, keepdim=True).expand_as(images),
    **{f"noise, {std} grey levels": noisy(std) for std in (1, 2, 4, 8)},
    "noise, 4 grey levels, in brightness": noisy(4, part="brightness"),
    "noise, 4 grey levels, in colours": noisy(4, part="colours"),
    **{f"frequencies up to {share:.0%}": smooth(share) for share in (0.8, 0.6, 0.4, 0.2)},
}


def networks(checkpoint: Checkpoint, cfg: Config) -> tuple[Generator, Discriminator]:
    """Returns G and D, with the statistics of each batch, as in training."""
    g = Generator(cfg.model, cfg.data.image_shape, len(checkpoint.classes))
    d = Discriminator(cfg.model, cfg.data.image_shape, len(checkpoint.classes))
    g.load_state_dict(checkpoint.g)
    d.load_state_dict(checkpoint.d)
    return g.train(), d.train()


def real_batches(packed: PackedImages, num: int) -> list[Batch]:
    """Returns the first `num` batches that training with seed 0 would see."""
    found = itertools.islice(batches(packed, BATCH, seed=0), num)
    return [(from_uint8(images), labels) for images, labels in found]


def from_uint8(images: Tensor) -> Tensor:
    """Returns uint8 images as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


@torch.no_grad()
def logits(d: Discriminator, cfg: Config, images: Tensor, labels: Tensor | None) -> Tensor:
    """Returns D's logits (N,) of images, augmented and with noise as at the end of training."""
    train = cfg.train
    draws = draw_augmentation(
        len(images),
        cfg.data.image_shape,
        np.random.default_rng(0),
        translate_pixels=train.translate_pixels,
        noise=train.colour_noise or 0.0,
    )
    return d(as_d_sees(images, draws, train), labels).logits


def table(run: str, data_root: str | None, num: int) -> Iterator[str]:
    """Yields the lines of the table of a run or a checkpoint."""
    trained = load_generator(run, torch.device("cpu"), data_root=data_root)
    checkpoint, cfg, data = trained.checkpoint, trained.cfg, trained.cfg.data
    if not checkpoint.d:
        raise ValueError(f"{run} has no discriminator; give a run or a checkpoint")
    g, d = networks(checkpoint, cfg)
    kinds = {"training": real_batches(pack(open_source(data), data), num)}
    if (held_out := held_out_images(data)) is not None:
        kinds["held-out"] = real_batches(held_out, num)
    with torch.no_grad():
        kinds["samples"] = [
            (g(draw_latents(BATCH, cfg.model, seed=seed), labels), labels)
            for seed, (_, labels) in enumerate(kinds["training"])
        ]
    yield f"{run}, step {checkpoint.step:,}: logits of D, mean and deviation over images"
    yield "| images | " + " | ".join(kinds) + " | correct |"
    yield "|---|" + "---|" * (len(kinds) + 1)
    for name, change in CHANGES.items():
        found = {
            kind: torch.cat([logits(d, cfg, change(images), labels) for images, labels in found_in])
            for kind, found_in in kinds.items()
        }
        right = found["training"] > 0, found["samples"] < 0
        correct = torch.stack([part.double().mean() for part in right]).mean()
        cells = [f"{values.mean():.1f} ± {values.std():.1f}" for values in found.values()]
        yield f"| {name} | " + " | ".join(cells) + f" | {correct:.0%} |"


@click.command()
@click.argument("run")
@click.option("--data-root", help="Folder of the data [default: $GAN_DATA or data].")
@click.option("--batches", "num", default=8, show_default=True, help=f"Batches of {BATCH} images.")
def main(run: str, data_root: str | None, num: int) -> None:
    """Shows what D goes by: RUN is a run or a checkpoint."""
    with one_message():
        for line in table(run, data_root, num):
            click.echo(line)


if __name__ == "__main__":
    main()
