"""Data sets, packs and batches."""

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan.analysis.packs import peek
from gan.config.settings import DataConfig
from gan.data import datasets
from gan.data.batches import Pick, batch_indices, batches, resident, streamed
from gan.data.datasets import NothingHeldOut, open_source, read_idx
from gan.data.decode import BadImage
from gan.data.pack import PackedImages, pack
from gan.machine.ranks import Ranks
from gan.metrics.reference import held_out_images
from tests.conftest import SmallDisk, folder_config, gan, packed, zip_of


def test_folder_and_its_zip_have_the_same_images_and_classes(images: Path) -> None:
    a = packed(folder_config(images))
    b = packed(folder_config(zip_of(images, images.parent / "images.zip")))
    assert (a.images == b.images).all()
    assert a.images[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160, 200]
    assert a.labels.tolist() == b.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert a.classes == b.classes == ("cat", "dog")


def test_single_folder_around_all_images_is_not_a_class(images: Path) -> None:
    around = zip_of(images.parent, images.parent.parent / "around.zip")
    assert zipfile.ZipFile(around).namelist()[0] == "images/cat/0.png"
    assert open_source(folder_config(around)).classes == ("cat", "dog")
    flat = zip_of(images / "dog", images.parent.parent / "flat.zip")
    for place in (flat, images / "dog"):
        assert open_source(folder_config(place)).labels is None


def test_zip_members_with_outside_paths_write_nothing_outside(images: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a" / "b" / "evil.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as evil:
        for name in ("../../up.png", str(tmp_path / "root.png"), "in.png"):
            evil.write(images / "dog" / "5.png", name)
    before = set(tmp_path.rglob("*.png"))
    assert packed(folder_config(archive)).images[:, 0, 0, 0].tolist() == [200] * 3
    assert set(tmp_path.rglob("*.png")) == before


def test_hidden_folders_and_packs_are_not_classes(images: Path, no_cache: None) -> None:
    packed(folder_config(images))
    for name in (".Trash-1000/files/a.png", "__MACOSX/cat/._0.png", "cat/._1.png"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images / "dog" / "5.png", images / name)
    for place in (images, zip_of(images, images.parent / "images.zip")):
        source = open_source(folder_config(place))
        assert (len(source), source.classes) == (6, ("cat", "dog"))
        assert source.notes == ["left out 1 other files (1 .txt): notes.txt"]


def test_any_error_of_a_decompressor_is_a_bad_image(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    pixels = np.random.default_rng(0).integers(0, 4, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as made:
        made.write(tmp_path / "a.bmp", "a.bmp")
    kinds = set()
    for place in range(45, whole.stat().st_size - 120, 7):
        data = bytearray(whole.read_bytes())
        data[place] ^= 0xFF
        (tmp_path / f"{place}.zip").write_bytes(data)
        with pytest.raises(BadImage) as bad:
            open_source(folder_config(tmp_path / f"{place}.zip")).read("a.bmp")
        kinds.add(str(bad.value).partition(":")[2][:9])
    assert len(kinds) > 1  # zlib errors and CRC errors


def test_flat_folder_has_no_classes(images: Path) -> None:
    source = open_source(folder_config(images / "cat"))
    assert (len(source), source.labels, source.classes) == (4, None, ())


def test_an_image_beside_the_folders_of_classes_is_named(images: Path) -> None:
    shutil.copy(next((images / "cat").iterdir()), images / "loose.png")
    source = open_source(folder_config(images))
    assert source.classes == ()
    assert source.notes[-1] == "no classes: 1 images are in no subfolder, such as loose.png"


def test_folder_without_images_is_an_error_that_lists_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"no images \(.*\.png.*\); left out 1 .*: a.txt"):
        open_source(folder_config(tmp_path))


def test_missing_data_error_names_the_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train-images-idx3-ubyte"):
        open_source(DataConfig(source="mnist", root=str(tmp_path)))
    with pytest.raises(ValueError, match=r"img_align_celeba\.zip"):
        open_source(DataConfig(source="celeba", root=str(tmp_path)))
    with pytest.raises(ValueError, match="is no folder or file"):
        open_source(folder_config(tmp_path / "nowhere"))


@pytest.mark.parametrize("words", [["data"], ["train", "--dry-run"]])
def test_source_folder_needs_a_root_whatever_gan_data_is(
    words: list[str], images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_DATA", str(images))
    refused = gan(*words, "configs/folder.yaml")
    assert refused.exit_code == 2
    assert refused.output.startswith(
        "Error: data.root: source folder needs the folder or zip of your images: "
        "--set data.root=/path/to/images"
    )
    shown = gan("config", "configs/folder.yaml")
    assert shown.exit_code == 0 and "  root: ''  # " in shown.output


def test_held_out_images_do_not_depend_on_the_others(tmp_path: Path) -> None:
    for i in range(200):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), i).save(path)
    cfg = folder_config(tmp_path / "images", hold_out=0.25)
    train, test = (open_source(cfg, split) for split in ("train", "test"))
    everything = open_source(folder_config(tmp_path / "images")).names
    assert sorted([*train.names, *test.names]) == sorted(everything)
    assert 30 < len(test) < 70
    assert train.labels.tolist() == ["ab".index(name[0]) for name in train.names]
    zipped = folder_config(zip_of(tmp_path / "images", tmp_path / "x.zip"), hold_out=0.25)
    assert open_source(zipped, "test").names == test.names
    for name in test.names[::2]:
        (tmp_path / "images" / name).unlink()
    Image.new("L", (2, 2)).save(tmp_path / "images" / "a" / "new.png")
    assert {*open_source(cfg, "test").names} - {"a/new.png"} == {*test.names[1::2]}
    assert {*open_source(cfg).names} - {"a/new.png"} == {*train.names}


def test_the_splits_of_a_folder_have_packs_of_their_own(images: Path) -> None:
    cfg = folder_config(images, hold_out=0.3)
    whole, rest, test = packed(folder_config(images)), packed(cfg), held_out_images(cfg)
    assert sorted(whole.images[:, 0, 0, 0]) == sorted(
        [*rest.images[:, 0, 0, 0], *test.images[:, 0, 0, 0]]
    )
    assert held_out_images(folder_config(images)) is None


def test_too_few_images_to_hold_some_out(images: Path) -> None:
    with pytest.raises(NothingHeldOut, match=r"data.hold_out 0.001: 0 of 6 images"):
        open_source(folder_config(images, hold_out=0.001), "test")


def test_bad_images_are_listed_and_no_pack_is_left(images: Path, cache: Path) -> None:
    (images / "cat" / "empty.png").write_bytes(b"")
    (images / "cat" / "page.jpg").write_text("<html>")
    with pytest.raises(ValueError, match="2 of 8 images") as caught:
        packed(folder_config(images))
    assert "cat/empty.png: empty" in str(caught.value)
    assert "cat/page.jpg: not an image" in str(caught.value)
    assert not [path for path in (cache / "packed").iterdir() if path.is_dir()]


def test_skipped_bad_images_are_recorded_in_the_pack(images: Path) -> None:
    (images / "cat" / "2x.png").write_bytes(b"")
    found = packed(folder_config(images, on_bad_image="skip"))
    assert found.images[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160, 200]
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 1]
    left_out = json.loads((found.folder / "left_out.json").read_text())
    assert left_out == {"cat/2x.png": "empty"}


def test_pack_is_written_once_and_again_after_a_file_changes(images: Path) -> None:
    cfg = folder_config(images)
    first = packed(cfg)
    made = (first.folder / "images.npy").stat().st_mtime_ns
    assert (packed(cfg).folder / "images.npy").stat().st_mtime_ns == made
    Image.new("RGB", (20, 20), (7, 7, 7)).save(images / "cat" / "0.png")
    os.utime(images / "cat" / "0.png", ns=(1, 1))
    second = packed(cfg)
    assert second.folder != first.folder
    assert second.images[0, 0, 0, 0] == 7


def test_damaged_pack_is_an_error_that_names_the_file(images: Path) -> None:
    found = packed(folder_config(images))
    with open(found.folder / "images.npy", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    with pytest.raises(ValueError, match=r"images\.npy is damaged; delete"):
        packed(folder_config(images))


@pytest.mark.parametrize(
    ("name", "place"),
    [("GAN_CACHE", "packed"), ("XDG_CACHE_HOME", "gan/packed"), ("HOME", ".cache/gan/packed")],
)
def test_packs_are_in_the_cache_of_the_user(
    images: Path, tmp_path: Path, name: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GAN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, "")
    monkeypatch.setenv(name, str(tmp_path / "mine"))
    before = set(images.rglob("*"))
    for root in (images, zip_of(images, tmp_path / "images.zip")):
        assert packed(folder_config(root)).folder.parent == tmp_path / "mine" / place
    assert set(images.rglob("*")) == before and not (tmp_path / "packed").exists()


def test_without_a_cache_packs_are_beside_the_data(images: Path, no_cache: None) -> None:
    assert packed(folder_config(images)).folder.parent == images / "packed"
    zipped = zip_of(images, images.parent / "images.zip")
    assert packed(folder_config(zipped)).folder.parent == images.parent / "packed"


def test_existing_pack_in_a_read_only_folder_is_used(
    images: Path, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "shared"
    small_disk(root, "size=4m")
    shutil.copytree(images, root / "images")
    cfg = folder_config(root / "images")
    monkeypatch.setenv("GAN_CACHE", os.devnull)  # so it is written beside the data
    first = packed(cfg)
    Path(f"{first.folder}.lock").unlink()
    small_disk(root, "ro")
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    second = packed(cfg)
    assert (second.folder, second.checksum) == (first.folder, first.checksum)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("allocates", [True, False])
def test_full_disk_is_an_error_and_no_pack_is_left(
    allocates: bool, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_disk(tmp_path / "disk", "size=64k")
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "disk"))
    cfg = DataConfig(source="synthetic", root=str(tmp_path / "disk"), image_size=32, channels=3)
    if not allocates:  # the disk is found to be full later
        monkeypatch.delattr("os.posix_fallocate")
    with pytest.raises(OSError, match=r"No space left .*\(packing needs 2 MB\)") as full:
        packed(cfg)
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, f"{tmp_path}/disk/packed")
    assert [path.suffix for path in (tmp_path / "disk" / "packed").iterdir()] == [".lock"]


def test_name_of_a_pack_does_not_change_between_versions(tmp_path: Path) -> None:
    cfg = DataConfig(source="synthetic", root=str(tmp_path), image_size=32, channels=3)
    assert packed(cfg).folder.name == "synthetic-3x32x32-b305604ea0f9"


def test_peek_reads_some_images_and_writes_nothing(images: Path, cache: Path) -> None:
    cfg = folder_config(images)
    few = peek(open_source(cfg), cfg, 3)
    assert few.shape == (3, 3, 16, 16)
    assert not (images / "packed").exists() and not cache.exists()
    for image in images.rglob("*.png"):
        image.write_text("damaged")
    none = folder_config(images, on_bad_image="skip")
    with pytest.raises(ValueError, match="6 of 6 images"):
        peek(open_source(none), none, 16)


_PACK = """
import sys
from gan.config.settings import DataConfig
from gan.data.pack import pack
from gan.data.datasets import open_source
cfg = DataConfig(source="folder", root=sys.argv[1], image_size=64, channels=3)
print(pack(open_source(cfg), cfg).checksum)
"""


# the packing cannot end before the signal of the test, however busy the machine is
_STALL = """
import sys, time
import gan.data.pack
usable = gan.data.pack.decode_usable
def stalling(*args):
    for num, found in enumerate(usable(*args)):
        if num == 300:
            time.sleep(10**6)
        yield found
gan.data.pack.decode_usable = stalling
"""


@pytest.fixture
def noise(tmp_path: Path, no_cache: None) -> Path:
    """A folder of 600 images of noise, which takes a second to pack."""
    root = tmp_path / "noise"
    root.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(pixels).save(root / "0.png")
    for i in range(1, 600):
        shutil.copy(root / "0.png", root / f"{i}.png")
    return root


def begin_packing(root: Path, script: str, *arguments: object) -> subprocess.Popen:
    """Starts a script in its own process group; returns when it has begun to write a pack.

    It stalls after 300 images.
    """
    words = [sys.executable, "-c", _STALL + script, *map(str, arguments)]
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # the background job of a shell, as this suite may be, inherits that SIGINT is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while not list(root.glob("packed/*.part*/images.npy")):
        assert process.poll() is None
        time.sleep(0.01)
    return process


def test_two_processes_share_one_pack_after_a_third_was_killed(noise: Path) -> None:
    killed = begin_packing(noise, _PACK, noise)
    time.sleep(0.3)  # most likely its workers have started
    killed.send_signal(signal.SIGKILL)
    killed.communicate()  # returns when the last worker has closed its stderr
    assert not list(noise.glob("packed/*/pack.json"))
    command = [sys.executable, "-c", _PACK, str(noise)]
    two = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = {process.communicate()[0] for process in two}
    assert [process.returncode for process in two] == [0, 0]
    assert len(sums) == 1
    assert len(list(noise.glob("packed/*/pack.json"))) == 1
    assert not list(noise.glob("packed/*.part*"))


_DATA = """
from gan.cli import main
main(["data", sys.argv[1]])
"""


@pytest.mark.parametrize("delay_s", [0, 0.1, 0.3])  # workers start, import, decode
def test_ctrl_c_while_packing_prints_one_line_and_leaves_no_pack(
    noise: Path, delay_s: float
) -> None:
    (noise / "config.yaml").write_text(f"data: {{source: folder, root: {noise}, image_size: 64}}")
    process = begin_packing(noise, _DATA, noise / "config.yaml")
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)  # to the workers too, as a terminal does
    assert process.communicate()[1] == "Error: interrupted\n"
    assert process.returncode == 130
    assert [path.suffix for path in (noise / "packed").iterdir()] == [".lock"]


def idx_file(array: np.ndarray) -> bytes:
    return (
        b"\0\0\x08"
        + bytes([array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + bytes(array.tobytes())
    )


ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
MD5 = hashlib.md5(idx_file(ARRAY)).hexdigest()


def test_idx_file_may_be_gzipped(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(idx_file(ARRAY))
    (tmp_path / "gzipped.gz").write_bytes(gzip.compress(idx_file(ARRAY)))
    assert np.array_equal(read_idx(tmp_path / "plain", MD5), ARRAY)
    assert np.array_equal(read_idx(tmp_path / "gzipped", MD5), ARRAY)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 39), st.sampled_from(["", ".gz"]))
def test_damaged_idx_file_is_an_error_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("idx") / "file"
    whole = gzip.compress(idx_file(ARRAY)) if suffix else idx_file(ARRAY)
    for content in (noise, whole[:cut], b"\0\0\x08" + noise, whole[:8] + noise):
        Path(f"{path}{suffix}").write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(f"{path}{suffix}")) as caught:
            read_idx(path, MD5)
        assert len(str(caught.value)) < 400


def test_changed_byte_in_mnist_is_detected(real_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        shutil.copy(real_data / "MNIST" / "raw" / name, raw)
        (raw / name).chmod(0o644)
    with open(raw / "train-labels-idx1-ubyte", "r+b") as file:
        file.seek(5000)
        file.write(b"\x0b")
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte: md5 is"):
        open_source(DataConfig(source="mnist", root=str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "count", "held_out", "classes"),
    [
        ("mnist", 60_000, 10_000, 10),
        ("fashion_mnist", 60_000, 10_000, 10),
        ("cifar10", 50_000, 10_000, 10),
        ("stacked_mnist", 128_000, 26_000, 1000),
    ],
)
def test_real_data_sets_have_their_images_and_classes(
    real_data: Path, name: str, count: int, held_out: int, classes: int
) -> None:
    cfg = DataConfig(source=name, root=str(real_data), image_size=32, channels=3)
    for split, expected in (("train", count), ("test", held_out)):
        source = open_source(cfg, split)
        assert len(source) == expected == len(source.labels)
        assert len(source.classes) == classes == source.labels.max() + 1
        assert peek(source, cfg, 2).shape == (2, 3, 32, 32)


def test_splits_of_official_cifar10_have_separate_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def batches(root: str, train: bool) -> SimpleNamespace:
        data = np.full((20, 32, 32, 3), 100 if train else 200, dtype=np.uint8)
        return SimpleNamespace(data=data, targets=[0, 1] * 10, classes=["plane", "car"])

    monkeypatch.setattr("torchvision.datasets.CIFAR10", batches)
    (tmp_path / "cifar-10-batches-py").mkdir()
    cfg = DataConfig(source="cifar10", root=str(tmp_path), image_size=32, channels=3)
    train, test = (pack(open_source(cfg, split), cfg) for split in ("train", "test"))
    assert train.images[0].max() == 100 and test.images[0].max() == 200
    (tmp_path / "cifar10_images" / "train").mkdir(parents=True)
    with pytest.raises(NothingHeldOut, match=r"cifar10_images/test does not exist"):
        open_source(cfg, "test")


def test_changed_celeba_partition_gets_a_new_pack(images: Path) -> None:
    root = images.parent
    (root / "celeba").mkdir()
    images.rename(root / "celeba" / "img_align_celeba")
    cfg = DataConfig(source="celeba", root=str(root), image_size=16, channels=3)
    partition = root / "celeba" / "list_eval_partition.txt"
    packs = []
    for held_out in (5, 4):
        partition.write_text("".join(f"{i}.png {2 if i == held_out else 0}\n" for i in range(6)))
        packs.append(pack(open_source(cfg), cfg))
    assert len(packs[0]) == len(packs[1]) == 5 and packs[0].checksum != packs[1].checksum


def test_celeba_test_partition_is_held_out(real_data: Path) -> None:
    cfg = DataConfig(source="celeba", root=str(real_data), image_size=64, channels=3)
    train, test = open_source(cfg), open_source(cfg, "test")
    assert not set(train.names) & set(test.names)
    assert len(train) > 8 * len(test) > 0
    assert peek(test, cfg, 1).shape == (1, 3, 64, 64)


def test_mnist5k_needs_no_download(tmp_path: Path) -> None:
    source = open_source(DataConfig(source="mnist5k", root=str(tmp_path / "nowhere")))
    assert np.bincount(source.labels).tolist() == [500] * 10


def test_every_epoch_has_every_image_once_in_a_new_order() -> None:
    steps = [batch_indices(100, 25, seed=1, step=step) for step in range(8)]
    first, second = np.concatenate(steps[:4]), np.concatenate(steps[4:])
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first != second).any()


def test_batch_may_span_two_epochs() -> None:
    drawn = np.concatenate([batch_indices(10, 7, seed=0, step=step) for step in range(10)])
    assert np.bincount(drawn, minlength=10).tolist() == [7] * 10


def test_batches_are_a_function_of_seed_and_step(images: Path) -> None:
    found = packed(folder_config(images))
    stream = batches(found, 4, seed=3, flip=True)
    drawn = [next(stream) for _ in range(6)]
    again = next(batches(found, 4, seed=3, start_step=5, flip=True))
    assert (drawn[5][0] == again[0]).all() and (drawn[5][1] == again[1]).all()
    other = next(batches(found, 4, seed=4, start_step=5, flip=True))
    assert (other[0] != again[0]).any()


@pytest.mark.parametrize("make_pick", [resident, streamed])
def test_resident_and_streamed_images_equal_the_packed_ones(
    make_pick: Callable[[PackedImages, torch.device], Pick], images: Path
) -> None:
    found = packed(folder_config(images))
    indices = np.array([3, 0, 3, 1])
    assert (make_pick(found, torch.device("cpu"))(indices).numpy() == found.images[indices]).all()


def test_slices_of_all_ranks_make_the_global_batch(images: Path) -> None:
    found = packed(folder_config(images))
    whole = next(batches(found, 6, seed=0, flip=True))[0]
    parts = [next(batches(found, 6, seed=0, ranks=Ranks(r, 3), flip=True))[0] for r in range(3)]
    assert (np.concatenate(parts) == whole.numpy()).all()


def test_flip_mirrors_about_half_of_the_images(tmp_path: Path) -> None:
    sides = np.zeros((400, 1, 2, 2), np.uint8)
    sides[..., 1] = 255
    found = PackedImages(sides, None, (), "", tmp_path)
    images, _ = next(batches(found, 400, seed=0, flip=True))
    assert 150 < (images[:, 0, 0, 0] == 255).sum() < 250


@pytest.mark.parametrize("has_root", [False, True])
def test_a_failed_download_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_root: bool
) -> None:
    def broken(root: str, download: bool) -> None:
        (Path(root) / "MNIST").mkdir()
        (Path(root) / "MNIST" / "half.gz").write_bytes(b"half")
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.MNIST", broken)
    root = tmp_path / "a" / "b"
    if has_root:
        root.mkdir(parents=True)
    with pytest.raises(ValueError, match="the download failed"):
        open_source(DataConfig(root=str(root)), download=True)
    assert list(tmp_path.rglob("*")) == ([tmp_path / "a", root] if has_root else [])


def test_a_process_that_stops_waiting_leaves_the_lock_of_another_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / ".download.lock"
    with FileLock(lock), monkeypatch.context() as patch:
        patch.setattr(datasets, "FileLock", lambda path: FileLock(path, timeout=0))
        with pytest.raises(ValueError, match="the download failed"):
            open_source(DataConfig(root=str(tmp_path)), download=True)
        assert lock.exists()


def test_a_download_adds_to_the_files_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(root: str, download: bool) -> None:
        for folder, name in (("MNIST", "images"), ("other", "b")):
            (Path(root) / folder).mkdir()
            (Path(root) / folder / name).write_text("new")

    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST" / "mine").write_text("old")
    (tmp_path / ".download-abc").mkdir()  # of a process that was killed
    (tmp_path / ".download-abc" / "half.gz").write_text("half")
    monkeypatch.setattr("torchvision.datasets.MNIST", fake)
    with pytest.raises(ValueError, match="cannot be read"):  # these are not the official files
        open_source(DataConfig(root=str(tmp_path)), download=True)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"MNIST/mine", "MNIST/images", "other/b"}
