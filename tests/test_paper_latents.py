"""Walks, arithmetic and the removal of concepts, on generators whose latents mean something known.

The planted generator draws two halves: latent 3 is the brightness of the upper one, latent 5 that
of the lower one, through one feature map each.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan.config.settings import HardwareConfig, ModelConfig
from gan.errors import ConfigError
from gan.latents import draw_latents
from gan.machine.precision import choose_precision
from gan.metrics.features import FeatureNetwork
from gan.paper import ablate, arithmetic, concepts, walk
from gan.paper.nearest import as_rows
from gan.pretrained.load import load_generator
from gan.sampling import generate
from tests.conftest import gan

CPU = torch.device("cpu")
Z, SIDE, UP, DOWN = 8, 16, 3, 5


class Halves(nn.Module):
    """Draws tanh(2 z[3]) above and tanh(2 z[5]) below."""

    num_classes = 0

    def __init__(self) -> None:
        super().__init__()
        to_maps, to_image = nn.ConvTranspose2d(Z, Z, 1), nn.ConvTranspose2d(Z, 1, SIDE)
        for parameter in (*to_maps.parameters(), *to_image.parameters()):
            nn.init.zeros_(parameter.requires_grad_(False))
        to_maps.weight[:, :, 0, 0] = torch.eye(Z)
        to_maps.bias.fill_(3)  # so that ReLU cuts nothing
        to_image.weight[UP, 0, : SIDE // 2] = to_image.weight[DOWN, 0, SIDE // 2 :] = 2
        to_image.bias.fill_(-6)
        self.layers = nn.Sequential(to_maps, nn.ReLU(), to_image, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z[:, :, None, None])


class Bars(nn.Module):
    """Draws a bar with the slant z[0]."""

    num_classes = 0

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))  # names the device

    def forward(self, z: Tensor) -> Tensor:
        return torch.from_numpy(bars(z[:, 0].numpy() / 4)).float() / 127.5 - 1


def bars(slants: np.ndarray, width: float = 3) -> np.ndarray:
    """Draws bars of 24 x `width` pixels as uint8 (N, 1, 48, 48)."""
    place = np.arange(48) - 23.5
    centre = -slants[:, None, None] * place[:, None]
    ink = (width / 2 + 0.5 - np.abs(place - centre)).clip(0, 1)
    ink *= (np.abs(place) < 12)[:, None]
    return (255 * ink).round().astype(np.uint8)[:, None]


class SeesHalves(nn.Module):
    """Has logits that are positive for a bright upper half, and for a bright lower one."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        means = torch.stack([half.float().mean((1, 2, 3)) for half in images.chunk(2, 2)], 1)
        return means, means / 32 - 4


NETWORK = FeatureNetwork(
    "halves", "", 1, "", ("up", "down"), SeesHalves(), {"learned": "attributes"}
)


def trained(generator: nn.Module) -> SimpleNamespace:
    precision = choose_precision(HardwareConfig(precision="fp32"), CPU)
    return SimpleNamespace(
        generator=generator,
        precision=precision,
        origin="planted",
        cfg=SimpleNamespace(data=SimpleNamespace(source="synthetic")),
        latents=lambda num, seed: draw_latents(num, ModelConfig(z_dim=Z), seed=seed),
        images=lambda z, labels=None: generate(generator, z, labels, precision),
    )


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concepts, "choose_network", lambda cfg, device: NETWORK)


def test_a_sum_of_concepts_has_both_where_latents_are_the_concepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arithmetic, "_TRIALS", 1000)
    given = ("up", "not down", "down")
    _, numbers = arithmetic.run(trained(Halves()), seed=0, num=2000, concepts=given)
    assert numbers["sum"] == "(up, not down) - (not up, not down) + (not up, down)"
    both = {name: rate["both"] for name, rate in numbers["rates"].items()}
    # normal numbers above 0.255 (a score of 1) have mean 0.967 and variance 0.311, so a concept is
    # there with probability Phi(0.967 / sqrt(3 0.311 / E)) for E exemplars, 1 - that without a
    assert both["one latent"] == pytest.approx(0.841**2, abs=0.05)
    assert both["three latents"] == pytest.approx(0.958**2, abs=0.07)
    assert both["three latents, noise"] == pytest.approx(0.958**2, abs=0.07)
    assert both["three latents, b for a"] == pytest.approx(0.042 * 0.958, abs=0.04)
    assert both["random samples"] == pytest.approx(0.25, abs=0.06)


def test_a_sum_of_single_latents_is_longer_and_one_of_means_is_not() -> None:
    z = torch.randn(3000, 100)
    picked = torch.randperm(3000)[:2400].reshape(200, 4, 3)
    sums = arithmetic.latent_sums(z, picked)
    lengths = {name: float(made.norm(dim=1).mean()) for name, made in sums.items()}
    expected = {"one latent": 300**0.5, "one latent, shortened": 10, "three latents": 10,
                "three latents, b for a": 10}  # fmt: skip
    assert lengths == pytest.approx(expected, rel=0.03)
    a, b, c, _ = z[picked[7]]
    torch.testing.assert_close(sums["one latent"][7], a[0] - b[0] + c[0])
    torch.testing.assert_close(sums["three latents"][7], a.mean(0) - b.mean(0) + c.mean(0))


def test_a_sum_is_of_means() -> None:
    pixels = torch.tensor([200, 20, 180], dtype=torch.uint8)
    picked = torch.tensor([[[0, 1], [1, 1], [2, 2]], [[1, 1], [0, 0], [1, 1]]])
    assert arithmetic.total(pixels, picked).tolist() == [110 - 20 + 180, 20 - 200 + 20]


def test_chosen_samples_show_the_concepts_and_differ() -> None:
    scores = {"up": np.random.default_rng(0).normal(0, 2, 400)}
    scores["down"] = np.random.default_rng(1).normal(0, 2, 400)
    parts = ("not up", "down"), ("up", "down"), ("up", "not down")
    a, b, c = arithmetic.pick(scores, parts, np.random.default_rng(0)).swapaxes(0, 1).numpy()
    assert (scores["up"][a] < -1).all() and (scores["up"][np.stack([b, c])] > 1).all()
    assert (scores["down"][np.stack([a, b])] > 1).all() and (scores["down"][c] < -1).all()
    assert all(len({*x}) == 3 for x in [*a, *b, *c])


def test_too_few_examples_are_an_error_that_names_the_concept() -> None:
    given = ("up", "not up", "down")
    with pytest.raises(ValueError, match="only 0 samples clearly show up and not up; raise --num"):
        arithmetic.run(trained(Halves()), seed=0, num=100, concepts=given)


def test_the_turning_vector_turns_other_samples_and_a_random_vector_does_not() -> None:
    model = trained(Bars())
    pool = concepts.Pool(model, model.latents(400, 0))
    fresh = model.latents(600, 1)[400:]
    found, images = arithmetic.turn(pool, fresh, np.random.default_rng(0))
    assert (images[3::7] == model.images(fresh)).all()  # the middle place
    assert found["pose"]["rising"] == 1
    assert found["random"]["rising"] == pytest.approx(0.5, abs=0.12)
    assert found["pose"]["score"] == sorted(found["pose"]["score"])


@pytest.mark.parametrize("width", [2, 3, 5, 8])
def test_thickness_is_twice_the_area_by_the_outline(width: int) -> None:
    (found,) = concepts.thickness(bars(np.zeros(1), width))
    assert found == pytest.approx(2 * 24 * width / (2 * (24 + width)), rel=0.06)


def test_slant_is_the_shear_of_a_bar() -> None:
    slants = np.array([-0.5, -0.2, 0, 0.3, 0.5])
    assert concepts.slant(bars(slants)) == pytest.approx(slants, abs=0.01)


def test_asymmetry_is_what_differs_from_mirror_images_most() -> None:
    stream = np.random.default_rng(0)
    both_sides = stream.normal(0, 20, (300, 1, 32, 32))
    one_side = stream.normal(0, 20, (1, 1, 32, 32))
    amounts = stream.normal(0, 1, 300)
    images = 128 + both_sides + both_sides[..., ::-1]
    images = images + amounts[:, None, None, None] * (one_side - one_side[..., ::-1])
    images = images.clip(0, 255).astype(np.uint8)
    measure = concepts.asymmetry(images)
    assert abs(np.corrcoef(measure(images), amounts)[0, 1]) > 0.9
    mirrored = images[..., ::-1].copy()
    assert measure(mirrored) == pytest.approx(-measure(images), abs=1e-3)


def test_an_unknown_concept_is_an_error_that_lists_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"unknown concept 'not ups'; .* of up, down"):
        concepts.shows({"up": np.zeros(1), "down": np.zeros(1)}, "not ups")


def test_concepts_need_a_run_without_classes() -> None:
    generator = Halves()
    generator.num_classes = 2
    with pytest.raises(ConfigError, match=r"model\.conditional false"):
        concepts.Pool(trained(generator), torch.zeros(1, Z))


def test_a_table_jumps_by_the_distance_of_its_images_and_a_smooth_walk_does_not() -> None:
    levels = np.concatenate([np.arange(0, 200, 25), np.arange(200, 0, -25)])
    finer = np.concatenate([np.arange(0, 200, 5), np.arange(200, 0, -5)])
    walks = {name: np.broadcast_to(values[:, None, None, None], (len(values), 1, 4, 4)).copy()
             for name, values in {"G": levels, "finer": finer}.items()}  # fmt: skip
    walks["a table"] = walks["G"][[0, 8]]
    others = np.full((12, 1, 4, 4), 50, np.uint8)
    others[6:] = 150
    found = {name: walk.step_sizes(frames, others, as_rows) for name, frames in walks.items()}
    largest = {name: float(sizes.max()) for name, sizes in found.items()}
    assert largest == pytest.approx({"G": 0.25, "finer": 0.05, "a table": 2}, rel=1e-4)


def test_the_one_map_that_draws_the_concept_is_found_and_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ablate, "_NUM_TESTED", 200)
    _, found = ablate.run(trained(Halves()), seed=0, num=500, concept="up")
    row = found["dropped"][1]
    assert found["maps"] == Z and row["found"] == {"left": 0, "kept": 1}
    assert row["random"]["left"] > 0.5  # at most 2 of 5 draws are the map


def test_gains_are_those_of_a_logistic_model() -> None:
    x = torch.randn(20_000, 4) * torch.tensor([1.0, 5.0, 0.2, 1.0]) + 3
    weights = torch.tensor([2.0, -0.1, 3.0, 0.0])
    has = torch.rand(20_000) < ((x - 3) @ weights).sigmoid()
    wanted = (weights * x[has].mean(0)).numpy()
    assert ablate.gains_of(x.numpy(), has.numpy()) == pytest.approx(wanted, abs=0.5, rel=0.05)


def test_dropped_maps_are_zero_and_come_back(tiny_run: Path) -> None:
    model = load_generator(tiny_run, CPU)
    z, layer = model.latents(3, 0), model.generator.layers[1]
    before, every = model.images(z), torch.arange(model.generator.layers[0].out_channels)
    without = ablate.draw(model, layer, z, lambda y: y.index_fill(1, every, 0))
    assert (without == without[:1]).all() and not (before == before[:1]).all()
    assert (model.images(z) == before).all()


def test_walk_draws_a_figure_and_writes_its_numbers(tiny_run: Path, tmp_path: Path) -> None:
    words = ("paper", "walk", tiny_run, "--points", 3, "--steps", 4, "--out", tmp_path / "made.png")
    shown = gan(*words)
    assert shown.exit_code == 0 and "a table: " in shown.output
    assert not re.search(r"\d\.\d{6}", shown.output)  # rounded, unlike the file
    assert re.search(r"\d\.\d{6}", (tmp_path / "made.json").read_text())
    assert {path.name for path in tmp_path.iterdir()} == {"made.png", "made.json"}


@pytest.mark.parametrize("verb", ["arithmetic", "ablate"])
def test_data_without_a_classifier_are_an_error(
    verb: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    given = ["--concepts", "a", "b", "c"] if verb == "arithmetic" else ["--concept", "a"]
    shown = gan("paper", verb, tiny_run, *given, "--out", tmp_path / "made.png")
    assert shown.exit_code == 2 and "no classifier ships for data.source" in shown.output
    shown = gan("paper", verb, tiny_run, "--out", tmp_path / "made.png")
    assert shown.exit_code == 2 and f"these data need {given[0]}" in shown.output
    assert not list(tmp_path.iterdir())
