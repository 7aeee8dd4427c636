"""Exported generators give the images of the network they were made from."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d

from gan.checkpoint import Checkpoint
from gan.export import folded, save_export
from gan.machine.precision import Precision
from gan.nn.generator import Generator
from gan.pretrained.load import load_generator
from gan.pretrained.trained import Trained, build_generator
from tests.conftest import gan, largest_file, tiny_config

CPU = torch.device("cpu")
PLAIN = Precision(torch.float32, channels_last=False, threads=1)


def untrained(num_classes: int = 0, **model: object) -> Trained:
    """Returns a random generator whose normalisations are far from the identity."""
    cfg = tiny_config(Path(), model={"conditional": num_classes > 0, **model})
    g = Generator(cfg.model, cfg.data.image_shape, num_classes)
    for norm in (m for m in g.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.005, 0.05)
    list(g.layers.parameters())[-1].data.mul_(5)  # to images with contrast
    weights = {name: tensor.clone() for name, tensor in g.state_dict().items()}
    names = [f"class {i}" for i in range(num_classes)]
    states: list[dict] = [{}, {}, weights, {}, {}]
    checkpoint = Checkpoint(cfg.model_dump(), names, "", 3, 24, {}, *states, path=Path("a.pt"))
    return Trained(build_generator(cfg, num_classes, weights), PLAIN, cfg, checkpoint)


def exact_images(trained: Trained, z: Tensor, labels: Tensor | None) -> Tensor:
    """Returns what the network with its normalisations gives in float64."""
    weights = {name: tensor.clone() for name, tensor in trained.checkpoint.g_ema.items()}
    bare = build_generator(trained.cfg, len(trained.classes), weights).double()
    return bare(z.double(), labels)


def by_description(
    tensors: dict[str, Tensor], description: dict, z: Tensor, labels: Tensor | None
) -> Tensor:
    """Computes images from nothing but the tensors and the description."""
    x = z if labels is None else torch.cat([z, tensors["class_vectors"][labels]], 1)
    x = x[:, :, None, None]
    for i, layer in enumerate(description["layers"]):
        settings = {key: value for key, value in layer.items() if key != "activation"}
        weight, bias = tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]
        x = getattr(torch, layer["activation"])(conv_transpose2d(x, weight, bias, **settings))
    return x


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize(
    "model",
    [{}, {"kernel": 5}, {"upsample": "balanced"}, {"upsample": "reference"}],
    ids=["k4", "k5", "balanced", "reference"],
)
def test_folded_tensors_give_the_images_of_the_unfolded_network(
    model: dict, num_classes: int
) -> None:
    trained = untrained(num_classes, **model)
    tensors, description = folded(trained)
    z, labels = trained.latents(5, seed=1), trained.labels(5, seed=1)
    expected = exact_images(trained, z, labels)
    assert expected.std() > 0.1
    found = by_description(tensors, json.loads(json.dumps(description)), z, labels)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_description_says_what_another_program_needs() -> None:
    _, description = folded(untrained(num_classes=2, z_dist="uniform"))
    doubling = {"stride": [2, 2], "padding": [1, 1], "output_padding": [0, 0]}
    first = {"stride": [1, 1], "padding": [0, 0], "output_padding": [0, 0]}
    assert description == {
        "format": 1,
        "z_dim": 8,
        "z_dist": "uniform",
        "image_shape": [3, 16, 16],
        "classes": ["class 0", "class 1"],
        "layers": [
            {**first, "activation": "relu"},
            {**doubling, "activation": "relu"},
            {**doubling, "activation": "tanh"},
        ],
    }


def test_folding_leaves_the_loaded_generator_as_it_is(tiny_run: Path) -> None:
    trained = load_generator(tiny_run, CPU)
    before = trained.images(trained.latents(4, 0))
    folded(trained)
    assert np.array_equal(before, trained.images(trained.latents(4, 0)))
    assert {t.dtype for t in trained.checkpoint.g_ema.values()} <= {torch.float32, torch.int64}


def test_safetensors_file_holds_the_folded_tensors_and_their_description(
    conditional_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "g.safetensors"
    assert gan("export", conditional_run, "--out", out).exit_code == 0
    tensors, description = folded(load_generator(conditional_run, CPU))
    with safe_open(out, "pt") as file:
        assert json.loads(file.metadata()["gan"]) == description
        assert set(file.keys()) == set(tensors)
        for name in file.keys():
            assert torch.equal(file.get_tensor(name), tensors[name])


PROGRAMS = {
    "classes": ({"kernel": 5}, 3),
    "reference": ({"upsample": "reference"}, 0),
    "resize": ({"upsample": "resize"}, 0),
    "subpixel": ({"upsample": "subpixel"}, 0),
}


@pytest.mark.parametrize(("model", "num_classes"), PROGRAMS.values(), ids=PROGRAMS)
def test_onnx_file_gives_the_images_of_the_network_for_any_batch(
    model: dict, num_classes: int, tmp_path: Path
) -> None:
    trained = untrained(num_classes, **model)
    differences = save_export(trained, tmp_path / "g.onnx")
    assert list(differences) == [1, 2, 7]
    assert 0 < max(differences.values()) < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
    z, labels = trained.latents(5, seed=9), trained.labels(5, seed=9)
    inputs = {"z": z.numpy()} | ({} if labels is None else {"labels": labels.numpy()})
    (images,) = session.run(["images"], inputs)
    expected = exact_images(trained, z, labels).float()
    torch.testing.assert_close(torch.from_numpy(images), expected, rtol=0, atol=1e-5)
    assert [i.name for i in session.get_inputs()] == list(inputs)
    interface = json.loads(session.get_modelmeta().custom_metadata_map["gan"])
    assert (interface["z_dim"], len(interface["classes"])) == (8, num_classes)
    assert b".py" not in (tmp_path / "g.onnx").read_bytes()  # no path of the machine


@pytest.mark.parametrize(("model", "num_classes"), PROGRAMS.values(), ids=PROGRAMS)
def test_pt2_file_gives_the_images_of_the_network_for_any_batch(
    model: dict, num_classes: int, tmp_path: Path
) -> None:
    trained = untrained(num_classes, **model)
    assert 0 < max(save_export(trained, tmp_path / "g.pt2").values()) < 1e-5
    extra = {"gan": ""}
    program = torch.export.load(tmp_path / "g.pt2", extra_files=extra)
    z, labels = trained.latents(5, seed=9), trained.labels(5, seed=9)
    images = program.module()(z) if labels is None else program.module()(z, labels)
    expected = exact_images(trained, z, labels).float()
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-5)
    assert json.loads(extra["gan"])["image_shape"] == [3, 16, 16]
    assert b".py" not in (tmp_path / "g.pt2").read_bytes()  # no path of the machine


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_network_with_other_images_is_not_kept(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is folded, as in an exporter that forgets the normalisation of the first layer."""

    def drop_norm(generator: Generator, dtype: torch.dtype) -> None:
        generator.layers[1] = nn.Identity()

    out = tmp_path / f"g{suffix}"
    out.write_text("older")
    monkeypatch.setattr("gan.export.fold_norms", drop_norm)
    with pytest.raises(ValueError, match=r"a.pt, step 3: .* differs by .* in a batch of 1"):
        save_export(untrained(), out)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == "older"


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_without_the_packages_of_onnx_one_line_says_what_to_install(
    package: str, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    done = gan("export", tiny_run, "--out", tmp_path / "g.onnx")
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert f"needs the package {package}; run pip install 'gan[export]'" in done.output
    assert not list(tmp_path.iterdir())


def test_network_too_large_for_one_onnx_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.export._MAX_ONNX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"a.pt, step 3: the network has .* choose .safetensors"):
        save_export(untrained(), Path("g.onnx"))
    assert not Path("g.onnx").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("g.pkl", "must end in .onnx, .pt2, .safetensors or no suffix"),
        ("there.onnx", "there.onnx: Is a directory"),
        ("file/g.pt2", "file: File exists|Not a directory"),
    ],
)
def test_unusable_out_is_one_error(name: str, message: str, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "there.onnx").mkdir()
    (tmp_path / "file").touch()
    done = gan("export", tiny_run, "--out", tmp_path / name)
    assert done.exit_code in (1, 2) and re.search(message, done.output), done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there.onnx"]


def test_full_disk_leaves_the_older_file(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.safetensors"
    out.write_text("older")
    trained = load_generator(tiny_run, CPU)
    with largest_file(1000), pytest.raises(OSError, match=out.name):
        save_export(trained, out)
    assert out.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


def test_exported_folder_gives_the_samples_of_the_run(
    conditional_run: Path, tmp_path: Path
) -> None:
    assert gan("export", conditional_run, "--out", tmp_path / "hub").exit_code == 0
    assert (tmp_path / "hub" / "README.md").read_text().startswith("---\n")
    for source, name in ((conditional_run, "run"), (tmp_path / "hub", "folder")):
        assert gan("sample", source, "--out", tmp_path / f"{name}.npz").exit_code == 0
    run, folder = (np.load(tmp_path / f"{name}.npz") for name in ("run", "folder"))
    assert np.array_equal(run["images"], folder["images"])
    assert np.array_equal(run["labels"], folder["labels"])


def test_a_run_is_not_overwritten_by_a_folder(finished_run: Path) -> None:
    done = gan("export", finished_run, "--out", finished_run, "--force")
    assert done.exit_code == 2 and "is a run; choose a folder of its own" in done.output
    assert not (finished_run / "config.json").exists()


@pytest.mark.parametrize("upsample", ["resize", "subpixel"])
def test_layers_that_are_not_transposed_convolutions_are_refused(upsample: str) -> None:
    with pytest.raises(ValueError, match=rf"a.pt, step 3: model.upsample is {upsample}.*\.onnx"):
        folded(untrained(upsample=upsample))


def test_every_example_of_the_page_runs(
    conditional_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path("docs/export.md").read_text()
    trained = load_generator(conditional_run, CPU)
    monkeypatch.chdir(tmp_path)
    for suffix, example in zip(
        ("onnx", "pt2", "safetensors"), re.findall(r"```python\n(.*?)```", page, re.S), strict=True
    ):
        save_export(trained, Path(f"digits.{suffix}"))
        shorter = example.replace("(10, 100)", "(10, 8)").replace("arange(10))", "arange(10) % 2)")
        names: dict = {}
        exec(shorter, names)
        assert names["images"].shape == (10, 3, 16, 16)
        assert 0 < abs(names["images"]).max() <= 1
