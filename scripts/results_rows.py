"""The rows of the results pages: a config, its changes, and how it is evaluated."""

from typing import NamedTuple


class Row(NamedTuple):
    """One recipe on one data set."""

    group: str
    config: str
    changes: tuple[str, ...] = ()
    second: str | None = None  # another feature network that evaluates the run too
    num: int = 5000  # images to evaluate


def _rate(value: str) -> tuple[str, ...]:
    return f"train.g_learning_rate={value}", f"train.d_learning_rate={value}"


# the settings of the well-known PyTorch example, with the networks of the config
_CONSTANT = ("train.learning_rate_halflife_images=null", "train.augment=null",
             "train.augment_ramp_epochs=null", "train.class_loss_weight=0",
             "train.translate_pixels=null", "model.d_border=grey", "train.beta1=0.5",
             "model.upsample=transposed", "train.colour_noise=null")  # fmt: skip
_PUBLISHED = (*_CONSTANT, "train.batch_size=64", *_rate("2e-4"), "train.ema_halflife_images=null")
RATES = ("2e-4", "5e-4", "1e-3")  # the sweep of a fair baseline


def _compared(
    group: str, name: str, images: int, batch: int, second: str | None = None
) -> dict[str, Row]:
    """Returns a config and its baselines: the same networks, as many images, as many evaluations.

    The published recipe; the same with labels, if the data have them; and the fair baseline, which
    also has the averaged generator and the `batch` of the config, at each rate of a sweep.
    """

    def row(size: int, *changes: str) -> Row:
        steps = images // size
        length = f"train.num_steps={steps}", f"train.evaluate_every_steps={steps // 4}"
        files = "train.sample_every_steps=null", "train.checkpoint_every_steps=null"
        return Row(group, f"configs/{name}.yaml", (*length, *files, *changes), second=second)

    rows = {name: row(batch)}
    rows[f"{name}, published recipe"] = row(64, *_PUBLISHED, "model.conditional=false")
    if name != "celeba64":  # no classes
        rows[f"{name}, published recipe, labels"] = row(64, *_PUBLISHED)
    for rate in RATES:
        rows[f"{fair_baseline(name)}{rate}"] = row(batch, *_CONSTANT, *_rate(rate))
    return rows


def fair_baseline(name: str) -> str:
    """Returns how the names of the fair baselines of row `name` begin; the rate follows."""
    return f"{name}, fair baseline, "


def _longer(
    group: str, name: str, steps: int, second: str | None = None, word: str = "longer"
) -> dict[str, Row]:
    changes = (f"train.num_steps={steps}",)
    return {f"{name}, {word}": Row(group, f"configs/{name}.yaml", changes, second=second)}


def _longer_baselines(group: str, name: str, steps: int, batch: int) -> dict[str, Row]:
    """Returns baselines of `_longer` for as many images: two rates, and the published recipe."""

    def row(size: int, *changes: str) -> Row:
        length = f"train.num_steps={steps * batch // size}"
        return Row(group, f"configs/{name}.yaml", (length, *changes), second="photos")

    published = row(64, *_PUBLISHED, "model.conditional=false")
    rows = {f"{name}, longer, published recipe": published}
    for rate in ("2e-4", "5e-4"):
        rows[fair_baseline(f"{name}, longer") + rate] = row(batch, *_CONSTANT, *_rate(rate))
    return rows


ROWS = {
    **_compared("MNIST", "mnist", 128_000, 32),
    **_longer("MNIST", "mnist", 32_000),
    **_compared("Fashion-MNIST", "fashion_mnist", 128_000, 32),
    **_longer("Fashion-MNIST", "fashion_mnist", 32_000),
    "stacked_mnist": Row("Stacked-MNIST", "configs/stacked_mnist.yaml", num=26_000),
    **_compared("CIFAR-10", "cifar10", 128_000, 32, "photos"),
    **_longer("CIFAR-10", "cifar10", 12_000, "photos"),
    **_longer_baselines("CIFAR-10", "cifar10", 12_000, 32),
    **_longer("CIFAR-10", "cifar10", 32_000, "photos", "longest"),
    **_compared("CelebA, 64 pixels", "celeba64", 64_000, 16, "photos"),
    **_longer("CelebA, 64 pixels", "celeba64", 21_681, "photos"),
    **_longer_baselines("CelebA, 64 pixels", "celeba64", 21_681, 16),
    **_longer("CelebA, 64 pixels", "celeba64", 62_500, "photos", "longest"),
}
