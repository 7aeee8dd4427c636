"""The Python interface: gan.load, gan.Model, its folder and the hub, without a network."""

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

import gan as package
from gan.checkpoint import BadCheckpoint
from gan.errors import ConfigError
from gan.pretrained.folder import write_folder
from gan.pretrained.hub import is_hub_name
from gan.pretrained.shipped import CONFIG, DISCRIMINATOR, MODEL
from tests.conftest import gan


def load(source: Path | str) -> package.Model:
    return package.load(source, device="cpu")


def test_importing_gan_and_listing_models_do_not_import_torch() -> None:
    code = (
        "import sys, gan; from gan.pretrained.shipped import table; table();"
        "sys.exit(bool({'torch', 'numpy', 'pydantic'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {}),
        (["--label", "1"], {"label": 1}),
        (["--label", "all"], {"label": "all"}),
        (["--truncation", 0.5], {"truncation": 0.5}),
    ],
)
def test_sample_equals_gan_sample(
    conditional_run: Path, tmp_path: Path, words: list, options: dict
) -> None:
    out = tmp_path / "a.npz"
    done = gan("sample", conditional_run, "--num", 5, "--seed", 3, "--out", out, *words)
    assert done.exit_code == 0, done.output
    images = load(conditional_run).sample(5, seed=3, **options)
    assert images.dtype == np.uint8 and (images == np.load(out)["images"]).all()


def test_repr_is_one_line(conditional_run: Path) -> None:
    text = repr(load(conditional_run))
    assert text.endswith("step 4, images 3x16x16, 2 classes)") and "\n" not in text


def test_truncation_multiplies_the_latents(tiny_run: Path) -> None:
    g = load(tiny_run)
    half = g.trained.images(g.latents(3, seed=1) * 0.5).transpose(0, 2, 3, 1)
    assert (g.sample(3, seed=1, truncation=0.5) == half).all()
    assert (g.sample(3, seed=1) != half).any()


def test_attributes_are_those_of_the_run(tiny_run: Path, conditional_run: Path) -> None:
    g = load(tiny_run)
    assert (g.z_dim, g.image_shape, g.classes) == (8, (3, 16, 16), ())
    assert load(conditional_run).classes == ("disc", "square")


def test_images_of_latents_are_the_samples(tiny_run: Path, conditional_run: Path) -> None:
    for run in (tiny_run, conditional_run):
        g = load(run)
        labels = g.trained.labels(6, 0)
        with torch.no_grad():
            images = g(g.latents(6, seed=0), labels)
        assert images.shape == (6, 3, 16, 16) and images.abs().max() <= 1
        grey = (images.permute(0, 2, 3, 1).numpy() + 1) * 127.5
        assert abs(grey - g.sample(6, seed=0)).max() <= 2.5  # bf16 where it is native


def test_gradient_is_the_slope_of_the_images(conditional_run: Path) -> None:
    g, labels = load(conditional_run), torch.tensor([0, 1])
    z = g.latents(2).requires_grad_()
    g(z, labels).square().mean().backward()
    direction = z.grad / z.grad.norm()
    step = 0.05 * direction
    with torch.no_grad():
        ahead, behind = (g(z + sign * step, labels).square().mean() for sign in (1, -1))
    assert (ahead - behind).item() / 0.1 == pytest.approx(z.grad.norm().item(), rel=0.05)
    assert all(p.grad is None for p in g.network.parameters())


@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (torch.zeros(8), [0], r"z must have the shape \(N, 8\); got \(8,\)"),
        (torch.zeros(2, 9), [0, 1], r"got \(2, 9\)"),
        (torch.zeros(2, 8), None, "labels are needed"),
        (torch.zeros(2, 8), [0], "labels must be 2 numbers from 0 to 1"),
        (torch.zeros(2, 8), [0, 2], "from 0 to 1"),
        (torch.zeros(2, 8), [-1, 0], "from 0 to 1"),
    ],
)
def test_wrong_inputs_are_one_error(
    conditional_run: Path, z: torch.Tensor, labels: list | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(conditional_run)(z, None if labels is None else torch.tensor(labels))


def test_wrong_arguments_are_one_error(tiny_run: Path, conditional_run: Path) -> None:
    g = load(tiny_run)
    with pytest.raises(ValueError, match="not an input"):
        g(torch.zeros(1, 8), torch.zeros(1))
    with pytest.raises(ValueError, match="num must be at least 1"):
        g.sample(0)
    for truncation in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="truncation must be above 0 and at most 1"):
            g.sample(1, truncation=truncation)
    with pytest.raises(ConfigError, match=r"has the classes 0 to 1: disc, square"):
        load(conditional_run).sample(1, label="cat")
    with pytest.raises(ValueError, match="cannot be used on this machine"):
        package.load(tiny_run, device="cuda" if not torch.cuda.is_available() else "mps")
    with pytest.raises(ValueError, match="device gpu cannot be used"):
        package.load(tiny_run, device="gpu")


def test_a_saved_model_is_the_same_model(conditional_run: Path, tmp_path: Path) -> None:
    g = load(conditional_run)
    g.save_pretrained(tmp_path / "mine")
    again = package.Model.from_pretrained(tmp_path / "mine", device="cpu")
    assert (g.sample(4) == again.sample(4)).all() and again.classes == g.classes
    again.save_pretrained(tmp_path / "again")
    for name in (CONFIG, MODEL):
        first, second = ((tmp_path / at / name).read_bytes() for at in ("mine", "again"))
        assert first == second


def test_a_model_is_not_saved_into_a_run(tiny_run: Path) -> None:
    before = sorted(tiny_run.iterdir())
    with pytest.raises(ConfigError, match="is a run; choose a folder of its own"):
        load(tiny_run).save_pretrained(tiny_run)
    assert sorted(tiny_run.iterdir()) == before


def test_a_saved_model_has_a_card_with_front_matter(tiny_run: Path, tmp_path: Path) -> None:
    load(tiny_run).save_pretrained(tmp_path / "mine")
    _, front, text = (tmp_path / "mine" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["pipeline_tag"] == "unconditional-image-generation"
    assert "Not evaluated" in text and "licence" in text
    assert (tmp_path / "mine" / "samples.png").exists()


def test_hub_reads_the_front_matter(tiny_run: Path, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs pip install 'gan[hub]'")
    load(tiny_run).save_pretrained(tmp_path)
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.pipeline_tag == "unconditional-image-generation"


@pytest.fixture
def hub(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A hub that holds one generator as me/faces and lists what was asked of it."""
    load(tiny_run).save_pretrained(tmp_path / "cache")
    asked: list = []
    cards: list[str] = []

    def download(name: str, file: str) -> str:
        asked.append((name, file))
        if name != "me/faces":
            raise OSError("Cannot connect to the hub\nwith a second line")
        return str(tmp_path / "cache" / file)

    def upload(repo_id: str, folder_path: Path) -> str:
        asked.append((repo_id, sorted(path.name for path in folder_path.iterdir())))
        cards.append((folder_path / "README.md").read_text())
        return f"https://hub/{repo_id}"

    fake = SimpleNamespace(
        hf_hub_download=download, upload_folder=upload, create_repo=lambda *_, **__: None
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(asked=asked, cards=cards)


def test_a_hub_name_loads_two_files_of_the_hub(hub: SimpleNamespace, tiny_run: Path) -> None:
    assert (load("me/faces").sample(2) == load(tiny_run).sample(2)).all()
    assert hub.asked == [("me/faces", CONFIG), ("me/faces", MODEL)]


def test_a_hub_name_loads_a_discriminator_too(
    hub: SimpleNamespace, tiny_run: Path, tmp_path: Path
) -> None:
    checkpoint = load(tiny_run).trained.checkpoint
    write_folder(checkpoint, tmp_path / "cache", discriminator=True)
    assert load("me/faces").trained.checkpoint.d.keys() == checkpoint.d.keys()
    assert hub.asked[-1] == ("me/faces", DISCRIMINATOR)


def test_a_hub_name_without_a_network_is_one_error(hub: SimpleNamespace) -> None:
    with pytest.raises(BadCheckpoint, match=r"^you/faces: .*\(Cannot connect to the hub\)$"):
        load("you/faces")


def test_a_hub_name_without_the_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BadCheckpoint, match=r"me/faces: .* pip install 'gan\[hub\]'"):
        load("me/faces")


@pytest.mark.parametrize(
    "name",
    ["../faces", "me/..", "me/../faces", "/me/faces", "me//faces", "me\\faces", "me/fa ces", "me/",
     "~/faces", "me/.faces", "me/faces\n", "https://hub/me/faces", "runs/mnist", "a/" + "b" * 99],
)  # fmt: skip
def test_paths_are_not_hub_names(name: str, hub: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert not is_hub_name(name)
    with pytest.raises(ValueError):
        load(name)
    assert hub.asked == []


def test_a_verb_does_not_ask_the_hub(hub: SimpleNamespace, tmp_path: Path) -> None:
    assert gan("sample", "me/faces", "--out", tmp_path / "a.png").exit_code == 2
    assert hub.asked == []


def test_push_to_hub_uploads_the_folder(hub: SimpleNamespace, tiny_run: Path) -> None:
    assert load(tiny_run).push_to_hub("me/new") == "https://hub/me/new"
    assert hub.asked == [("me/new", ["README.md", CONFIG, MODEL, "samples.png"])]
    assert "# me/new\n" in hub.cards[0] and 'gan.load("me/new")' in hub.cards[0]
    with pytest.raises(ValueError, match="OWNER/NAME"):
        load(tiny_run).push_to_hub("new")
