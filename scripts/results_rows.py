"""The rows of the results pages: a config, its changes, and how many images are evaluated."""

from typing import NamedTuple


class Row(NamedTuple):
    """One recipe on one data set."""

    group: str
    config: str
    changes: tuple[str, ...] = ()
    num: int = 5000  # images to evaluate
    baseline: str | None = None  # the row of the classic recipe after as many images
    title: str | None = None  # shown on the page instead of the name in the record


def _short(*changes: str, title: str | None = None) -> Row:
    """Returns one change to the quickstart recipe, trained on 112,000 images."""
    budget = ("train.num_steps=1750", "train.max_minutes=null", "train.evaluate_every_steps=350")
    return Row("Ablations", "configs/quickstart.yaml", (*budget, *changes), title=title)


def _rate(value: str) -> tuple[str, ...]:
    return f"train.g_learning_rate={value}", f"train.d_learning_rate={value}"


# the published recipe with the same networks and images
_CLASSIC = ("train.batch_size=64", "model.conditional=false", *_rate("2e-4"),
            "train.learning_rate_halflife_images=null", "train.ema_halflife_images=null",
            "train.augment=null", "train.class_loss_weight=0")  # fmt: skip

# the config with which the records of celeba64 were made
_FORMER_FACES = ("model.g_width=64", "model.d_width=64", "train.batch_size=64",
                 "train.augment=diffaugment", "train.augment_ramp_epochs=null")  # fmt: skip


def _with_baseline(
    group: str, name: str, images: int, evaluations: int, batch: int = 64,
    changes: tuple[str, ...] = (), *, long: bool = False,
) -> dict[str, Row]:  # fmt: skip
    """Returns a row for a config and one for the classic recipe, both trained on `images` images.

    Both have the `changes`. `batch` is the batch size of the first one's config. A long row takes
    half an hour of two cores or more, so it samples, saves and logs less often.
    """
    suffix = ", long" if long else ""
    cadences = ("evaluate", "sample", "checkpoint") if long else ("evaluate",)
    logs = ("train.log_every_steps=400",) if long else ()

    def budget(size: int) -> tuple[str, ...]:
        steps = images // size
        every = (f"train.{what}_every_steps={steps // evaluations}" for what in cadences)
        return (f"train.num_steps={steps}", *every, *logs)

    config, baseline = f"configs/{name}.yaml", f"{name}, classic recipe{suffix}"
    return {
        f"{name}{suffix}": Row(group, config, (*budget(batch), *changes), baseline=baseline),
        baseline: Row(group, config, (*budget(64), *changes, *_CLASSIC)),
    }


_CROSS = {
    "pac 2": "model.pac=2",
    "relativistic": "train.loss=relativistic",
    "spectral": "model.d_norm=spectral",
}
ROWS = {
    "quickstart": Row(
        "Quickstart", "configs/quickstart.yaml", ("train.evaluate_every_steps=500",)
    ),
    "mnist, 45 seconds": Row("MNIST", "configs/mnist.yaml", ("train.max_minutes=0.75",)),
    **_with_baseline("MNIST", "mnist", 512_000, 8, batch=32),
    **_with_baseline("MNIST", "mnist", 1_600_000, 25, batch=32, long=True),
    **_with_baseline("Fashion-MNIST", "fashion_mnist", 384_000, 12),
    **_with_baseline("Fashion-MNIST", "fashion_mnist", 1_600_000, 25, long=True),
    "stacked_mnist": Row("Stacked-MNIST", "configs/stacked_mnist.yaml", num=26_000),
    **_with_baseline("CIFAR-10", "cifar10", 384_000, 12, batch=32),
    **_with_baseline("CIFAR-10", "cifar10", 4_096_000, 20, batch=32, long=True),
    **_with_baseline("CelebA, 64 pixels", "celeba64", 51_200, 8, changes=_FORMER_FACES),
    "celeba64_gpu": Row("CelebA, 64 pixels", "configs/celeba64_gpu.yaml"),
    "quickstart, as it is": _short(title="quickstart, unchanged"),
    "no classes": _short("model.conditional=false"),
    "learning rates 2e-4": _short(*_rate("2e-4")),
    "learning rates 1e-3": _short(*_rate("1e-3")),
    "learning rates 1e-3, halved after 40,000": _short(
        *_rate("1e-3"), "train.learning_rate_halflife_images=40000"
    ),
    "no average": _short("train.ema_halflife_images=null"),
    "average over 20,000": _short("train.ema_halflife_images=20000", "train.ema_warmup=0.1"),
    "batch 32": _short("train.batch_size=32", "train.num_steps=3500",
                       "train.evaluate_every_steps=700"),
    "width 64": _short("model.g_width=64", "model.d_width=64"),
    "kernel 5": _short("model.kernel=5"),
    "resize": _short("model.upsample=resize"),
    "D names the class": _short("train.class_loss_weight=0.5",
                                title="auxiliary classification loss"),
    "hinge": _short("train.loss=hinge"),
    "diffaugment": _short("train.augment=diffaugment"),
    "no norm in D, R1": _short("model.d_norm=null", "train.penalty=r1"),
    "pac 2": _short(_CROSS["pac 2"]),
    "relativistic": _short(_CROSS["relativistic"]),
    "spectral": _short(_CROSS["spectral"]),
    "pac 2, relativistic": _short(_CROSS["pac 2"], _CROSS["relativistic"]),
    "pac 2, spectral": _short(_CROSS["pac 2"], _CROSS["spectral"]),
    "relativistic, spectral": _short(_CROSS["relativistic"], _CROSS["spectral"]),
    "pac 2, relativistic, spectral": _short(*_CROSS.values()),
}  # fmt: skip
