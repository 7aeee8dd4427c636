"""The model card of a generator's folder: README.md with front matter for hubs, and a grid."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from gan.checkpoint import Checkpoint
from gan.files import read_json, replacing
from gan.pretrained.folder import write_folder
from gan.pretrained.samples import save_samples
from gan.pretrained.shipped import CONFIG, is_folder
from gan.pretrained.trained import Trained

_GRID_COLUMNS = 8
_NUM_IMAGES = 64
_EXTRAS = ("evaluation", "training", "truncation")  # keys of config.json that only the card reads
_SCORES = ("frechet_distance", "fid", "precision", "recall", "density", "coverage",
           "class_balance", "modes", "confident_share", "sliced_wasserstein_mean")  # fmt: skip


class _Data(NamedTuple):
    """What a card says of a data set."""

    front: str  # lines of the front matter
    origin: str
    limits: str


_MNIST = _Data(
    "license: mit\ndatasets:\n- ylecun/mnist",
    "[MNIST](http://yann.lecun.com/exdb/mnist/) (LeCun, Cortes and Burges, 1998), digits from "
    "NIST's Special Databases 1 and 3. Its authors name no licence. The weights have this "
    "project's licence, MIT.",
    "A few digits are unclear.",
)
_DATA = {
    "mnist": _MNIST,
    "mnist5k": _MNIST,
    "stacked_mnist": _MNIST,
    "fashion_mnist": _Data(
        "license: mit\ndatasets:\n- zalando-datasets/fashion_mnist",
        "[Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist) (Xiao, Rasul and "
        "Vollgraf, 2017; Zalando's articles), MIT licence. The weights have this project's "
        "licence, MIT.",
        "Printed patterns become blotches, and lettering cannot be read.",
    ),
    "cifar10": _Data(
        "license: mit\ndatasets:\n- uoft-cs/cifar10",
        "[CIFAR-10](https://www.cs.toronto.edu/~kriz/cifar.html) (Krizhevsky, 2009), photographs "
        "collected from the web. Its author names no licence. The weights have this project's "
        "licence, MIT.",
        "Colours and outlines fit the class, but many objects cannot be recognised.",
    ),
    "celeba": _Data(
        "license: other\nlicense_name: celeba-non-commercial-research\n"
        "license_link: https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html\n"
        "datasets:\n- flwrlabs/celeba",
        "[CelebA](https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html) (Liu, Luo, Wang and Tang, "
        "2015), photographs of celebrities from the web, for **non-commercial research only**. Use "
        "these weights for that alone.",
        "The faces have the bias of the data, which are photographs of celebrities. Hats and "
        "glasses are often broken, and so are faces seen from the side.",
    ),
}
_OTHER = _Data(
    "",
    "Not known to this program: state the origin and the licence of the images here.",
    "Images that are rare in the data are drawn worse.",
)
_UNSEEN = "Not described: look at samples.png. A generator has the bias of its data."


def extras(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns what a card tells besides the checkpoint: of a run, its evaluation.json if that
    belongs to the checkpoint; of a folder, what its config.json has."""
    path = checkpoint.path
    if is_folder(path):
        values = read_json(path / CONFIG) or {}
        return {key: values[key] for key in _EXTRAS if key in values}
    record = read_json(path.parent.parent / "evaluation.json")
    origin = record.get("checkpoint") if isinstance(record, dict) else None
    is_own = isinstance(origin, dict) and origin.get("sha256") == checkpoint.sha256
    return {"evaluation": record} if is_own else {}


def save_folder(trained: Trained, folder: Path, *, name: str = "") -> None:
    """Writes a generator in hub layout, with what is known of it and its card, which names it
    `name`, by default as the folder.

    Raises BadCheckpoint, before anything is written, if its images are not finite.
    """
    require_finite(trained)
    write_folder(trained.checkpoint, folder, **extras(trained.checkpoint))
    write_card(trained, folder, name=name)


def require_finite(trained: Trained) -> None:
    """Raises BadCheckpoint if the images of a few latents are not finite."""
    trained.images(trained.latents(_NUM_IMAGES, 0), trained.labels(_NUM_IMAGES, 0))


def write_card(trained: Trained, folder: Path, *, name: str = "") -> None:
    """Writes README.md and samples.png of a folder that `write_folder` has written."""
    label = "all" if trained.generator.num_classes else None
    num = trained.generator.num_classes * _GRID_COLUMNS or _NUM_IMAGES
    out = folder / "samples.png"
    save_samples(trained, out, num, 0, label, columns=_GRID_COLUMNS)
    text = _card(trained, read_json(folder / CONFIG), name or folder.resolve().name)
    with replacing(folder / "README.md") as part:
        part.write_text(text, encoding="utf-8", errors="replace")  # of a folder's name


def _card(trained: Trained, values: dict[str, Any], name: str) -> str:
    data = _DATA.get(trained.cfg.data.source, _OTHER)
    channels, height, width = trained.cfg.data.image_shape
    colour = {1: "grey", 3: "colour", 4: "colour and opacity"}[channels]
    classes = trained.classes[: trained.generator.num_classes]
    label = f", label={json.dumps(classes[0], ensure_ascii=False)}" if classes else ""
    front = ["pipeline_tag: unconditional-image-generation", "library_name: gan", "tags:",
             "- gan", "- dcgan", "- image-generation"]  # fmt: skip
    return "\n".join(
        [
            *("---", *filter(None, [data.front]), *front, "---", ""),
            *(f"# {name}", "", "![A grid of samples](samples.png)", ""),
            f"A DCGAN generator of {height} x {width} {colour} images"
            + (f" of {len(classes)} classes" if classes else "")
            + f", trained on `{trained.cfg.data.source}`: the average of the weights after "
            f"{trained.checkpoint.images_seen:,} images.",
            *("", "```python", "import gan", ""),
            f'g = gan.load("{name}")  # or the path of this folder',
            f"images = g.sample(16, seed=0{label})  # uint8 (16, {height}, {width}, {channels})",
            "```",
            *_evaluation(values.get("evaluation")),
            *_truncation(values.get("truncation")),
            *_training(trained, values.get("training")),
            *("", "## Data and licence", "", data.origin),
            *("", "## Limits", "", data.limits if "training" in values else _UNSEEN, ""),
        ]
    )


def _evaluation(record: Any) -> list[str]:
    try:
        values, floor, network = record["values"], record["floor"], record["network"]
        rows = [
            f"| {key} | {values[key]:.3g} | {floor[key]:.3g} |" for key in _SCORES if key in values
        ]
        counts = f"{record['num_generated']:,} samples and {record['num_real']:,} real images"
        features = f"features of {network['name']:.40}" if network else "no features"
        draws = f"{record['draws']:d} draws"
    except (KeyError, TypeError, ValueError, OverflowError):
        return ["", "Not evaluated."]
    note = "The floor is the score of real images. The distance is not an FID, unless named fid."
    head = ["| score | samples | floor |", "|---|---|---|"]
    return ["", "## Evaluation", "", *head, *rows, "",
            f"{counts}, {features}, mean of {draws}. {note}"]  # fmt: skip


def _truncation(rows: Any) -> list[str]:
    try:
        lines = [
            f"| {row['truncation']:g} | {row['frechet_distance']:.3g} | {row['precision']:.3g} | "
            f"{row['recall']:.3g} |"
            for row in rows
        ]
    except (KeyError, TypeError, ValueError, OverflowError):
        return []
    return [
        *("", "## Truncation", ""),
        "`gan sample --truncation` multiplies the latents. One draw of the same evaluation:",
        *("", "| truncation | frechet_distance | precision | recall |", "|---|---|---|---|"),
        *lines,
    ]


def _training(trained: Trained, training: Any) -> list[str]:
    torch = str(trained.checkpoint.environment.get("torch", "?"))[:40]
    step = f"{trained.checkpoint.step:,} steps, torch {torch}"
    try:
        facts = f"{training['images']:,} training images, {step}, commit `{training['commit']:.40}`"
        return ["", "## Training", "", "```bash", f"{training['command']:.500}", "```", "", facts]
    except (KeyError, TypeError, ValueError, OverflowError):
        return ["", "## Training", "", f"{step}; every setting is in `config.json`."]
