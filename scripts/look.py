"""Compares the brightness, contrast and streaks of samples with those of training images.

python scripts/look.py runs/faces
python scripts/look.py celeba64 --num 2903
"""

import click
import numpy as np
import torch
from checkerboard import stride_energy

from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.errors import one_message
from gan.pretrained.load import load_generator
from gan.pretrained.trained import Trained


def look(trained: Trained, num: int) -> dict[str, float]:
    """Returns figures of `num` samples, each divided by that of as many training images.

    The mean and the standard deviation of the grey levels, and the energy at the stride.
    """
    samples = trained.images(trained.latents(num, 0), trained.labels(num, 0))
    packed = pack(open_source(trained.cfg.data), trained.cfg.data).images
    # any images, because the first ones of a folder with classes are all of one class
    chosen = np.random.default_rng(0).permutation(len(packed))[:num]
    real = packed[np.sort(chosen)]
    energy, real_energy = (stride_energy(torch.tensor(x))[0] for x in (samples, real))
    return {
        "mean": float(samples.mean() / real.mean()),
        "deviation": float(samples.std() / real.std()),
        "stride_energy": energy / real_energy,
    }


@click.command()
@click.argument("run")
@click.option("--data-root", help="Folder of the data [default: $GAN_DATA or data].")
@click.option("--num", default=2000, show_default=True, help="Samples to compare.")
def main(run: str, data_root: str | None, num: int) -> None:
    """Compares samples of RUN, a run, checkpoint or shipped generator, with its training images.

    1 means: as in the training images.
    """
    with one_message():
        trained = load_generator(run, torch.device("cpu"), data_root=data_root)
        for name, value in look(trained, num).items():
            click.echo(f"{name:14}{value:.2f}")


if __name__ == "__main__":
    main()
