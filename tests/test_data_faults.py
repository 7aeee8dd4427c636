"""Faults of data: nothing trains on the wrong images, nothing is left out in silence."""

import bz2
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan.analysis.inspect import read_headers, report
from gan.analysis.packs import peek
from gan.config.settings import DataConfig
from gan.data.batches import batches
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.data.source import Source
from tests.conftest import SmallDisk, folder_config, gan, packed, zip_of
from tests.reads import read_unless


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def zip_with(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def red(found: object) -> list[int]:
    return found.images[:, 0, 0, 0].tolist()


def pack_here(cfg: DataConfig) -> PackedImages:
    """Packs without other processes."""
    return pack(replace(open_source(cfg), parallel=False), cfg)


# the key of a pack


def test_zips_of_equal_size_and_time_have_separate_packs(tmp_path: Path) -> None:
    found = []
    for animal, value in (("cats", 200), ("dogs", 201)):
        archive = zip_with(tmp_path / f"{animal}.zip", {"a.png": png(value), "b.png": png(value)})
        os.utime(archive, (1, 1))
        found.append(packed(folder_config(archive)))
    assert [red(pack) for pack in found] == [[200, 200], [201, 201]]


def test_a_replaced_zip_of_equal_size_and_time_gets_a_new_pack(tmp_path: Path) -> None:
    for value in (200, 201):  # of equal size as files
        archive = zip_with(tmp_path / "images.zip", {"a.png": png(value)})
        os.utime(archive, (1, 1))
        assert red(packed(folder_config(archive))) == [value]


def test_read_only_folders_with_equal_files_have_separate_packs_in_the_cache(
    tmp_path: Path, cache: Path
) -> None:
    for value in (200, 201):  # of equal size as files
        folder = tmp_path / str(value)
        folder.mkdir()
        (folder / "packed").write_text("")  # no folder can be made here
        (folder / "a.png").write_bytes(png(value))
        os.utime(folder / "a.png", (1, 1))
        assert red(packed(folder_config(folder))) == [value]


def test_gan_data_verify_finds_new_content_of_equal_size_and_time(
    images: Path, tmp_path: Path
) -> None:
    config = tmp_path / "folder.yaml"
    config.write_text("data: {source: folder, image_size: 16, channels: 3}")
    command = ("data", config, "--set", f"data.root={images}")
    assert "paths, names, sizes, times" in gan(*command).output
    assert gan(*command, "--verify").exit_code == 0
    changed = images / "cat" / "1.png"
    before = changed.stat()
    Image.new("RGB", (20, 20), (41, 0, 0)).save(changed)
    assert changed.stat().st_size == before.st_size
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert gan(*command).exit_code == 0
    done = gan(*command, "--verify")
    assert done.exit_code == 1
    assert f"differs from {images} in 1 images (cat/1.png); delete" in done.output
    changed.unlink()
    changed.write_bytes(b"?" * before.st_size)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "1 of 6 images" in gan(*command, "--verify").output


# what is in a folder


def test_run_directories_are_left_out(images: Path, tiny_run: Path) -> None:
    shutil.copytree(tiny_run, images / "runs" / "00000-mine")
    source = open_source(folder_config(images))
    assert (len(source), source.classes) == (6, ("cat", "dog"))
    assert "left out 1 run directories: runs/00000-mine/" in source.notes


def test_a_run_in_the_folder_of_the_images_leaves_its_own_out(images: Path, tiny_run: Path) -> None:
    before = open_source(folder_config(images / "dog")).fingerprint
    shutil.copytree(tiny_run, images / "dog", dirs_exist_ok=True)
    source = open_source(folder_config(images / "dog"))
    assert source.names == ["4.png", "5.png"]
    assert source.fingerprint == before


def test_linked_class_folders_are_searched(images: Path, tmp_path: Path) -> None:
    (images / "dog").rename(tmp_path / "elsewhere")
    (images / "dog").symlink_to(tmp_path / "elsewhere")
    source = open_source(folder_config(images))
    assert (len(source), source.classes) == (6, ("cat", "dog"))
    hidden = images / ".store"
    (images / "cat").rename(hidden)
    (images / "cat").symlink_to(hidden)
    assert open_source(folder_config(images)).names == source.names


@pytest.mark.parametrize("linked", ["folder", "file"])
def test_a_link_to_other_images_of_equal_size_and_time_gets_a_new_pack(
    tmp_path: Path, linked: str
) -> None:
    """As in a store whose times are all 1."""
    for value in (200, 201):
        stored = tmp_path / "store" / str(value) / "a.png"
        stored.parent.mkdir(parents=True)
        stored.write_bytes(png(value))
        os.utime(stored, (1, 1))
    link = tmp_path / "images" / ("cat" if linked == "folder" else "a.png")
    link.parent.mkdir()
    for value in (200, 201):
        stored = tmp_path / "store" / str(value) / "a.png"
        link.unlink(missing_ok=True)
        link.symlink_to(stored.parent if linked == "folder" else stored)
        assert red(packed(folder_config(tmp_path / "images"))) == [value]


def test_links_in_circles_end_and_folders_keep_their_own_names(images: Path) -> None:
    names = open_source(folder_config(images)).names
    (images / "a").symlink_to(images / "dog")  # before dog in the alphabet
    (images / "cat" / "up").symlink_to(images)
    (images / "cat" / "out").symlink_to(images.parent)
    (images / "dog" / "itself").symlink_to(images / "dog")
    (images / "cat" / "loop.png").symlink_to(images / "cat" / "loop.png")
    source = open_source(folder_config(images))
    assert source.names == sorted([*names, "cat/loop.png"])
    assert "left out 4 folders without images: a/, cat/out/, cat/up/, dog/itself/" in source.notes


def test_a_class_may_be_named_packed(images: Path, no_cache: None) -> None:
    (images / "dog").rename(images / "packed")
    for _ in range(2):
        found = packed(folder_config(images))
        assert found.classes == ("cat", "packed")
        assert found.labels.tolist() == [0, 0, 0, 0, 1, 1]
    source = open_source(folder_config(zip_of(images, images.parent / "images.zip")))
    assert source.classes == ("cat", "packed")
    assert source.notes == ["left out 1 other files (1 .txt): notes.txt"]


def test_dangling_links_are_bad_images(images: Path, tmp_path: Path) -> None:
    (images / "cat" / "2x.png").symlink_to(tmp_path / "annex" / "2x.png")
    with pytest.raises(
        ValueError, match=r"1 of 7 images.*skip:\n  cat/2x.png: not a file, or a link to a missing"
    ):
        packed(folder_config(images))
    cfg = folder_config(images, on_bad_image="skip")
    assert len(packed(cfg)) == 6
    (tmp_path / "annex").mkdir()
    (tmp_path / "annex" / "2x.png").write_bytes(png(7))
    assert red(packed(cfg)) == [0, 40, 80, 7, 120, 160, 200]


def test_a_pipe_is_a_bad_image(images: Path) -> None:
    os.mkfifo(images / "cat" / "2x.png")
    with pytest.raises(ValueError, match=r"1 of 7 images.*\n  cat/2x.png: not a file"):
        packed(folder_config(images))


def test_a_disk_that_goes_away_is_not_remembered(images: Path) -> None:
    cfg = folder_config(images, on_bad_image="skip")
    source = open_source(cfg)
    (images / "cat").rename(images / "away")
    with pytest.raises(ValueError, match=r"4 of 6 images .* cannot .*not in the files"):
        pack(source, cfg)


def test_dangling_links_to_folders_are_listed(images: Path, tmp_path: Path) -> None:
    (images / "fish").symlink_to(tmp_path / "nowhere")
    source = open_source(folder_config(images))
    assert "left out 1 links to missing files: fish" in source.notes


@contextmanager
def ordinary_user() -> Iterator[Path]:
    """Gives a folder and takes the rights of root, for whom all files are readable."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)


def test_unreadable_folders_are_listed(images: Path) -> None:
    with ordinary_user() as place:
        for name in ("cat", "dog"):
            (place / name).mkdir()
            (place / name / "1.png").write_bytes(png(1))
        (place / "dog").chmod(0)
        notes = open_source(folder_config(place)).notes
        (place / "dog").chmod(0o755)
    assert "left out 1 unreadable folders: dog/" in notes


def test_classes_without_images_are_listed_and_all_are_counted(images: Path) -> None:
    for name in ("fish", "newt/young"):
        (images / name).mkdir(parents=True)
        (images / name / "list.txt").write_text("")
    with zipfile.ZipFile(zip_of(images, images.parent / "images.zip"), "a") as archive:
        for name in ("fish/", "newt/", "newt/young/"):
            archive.writestr(name, "")
    for place in (images, images.parent / "images.zip"):
        cfg = folder_config(place)
        source = open_source(cfg)
        empty = "left out 3 folders without images: fish/, newt/, newt/young/"
        assert source.notes[0] == empty
        text = report(cfg, source, pack(source, cfg))
        assert "classes  2: cat 4, dog 2" in text
        assert empty in text


def test_the_summary_of_images_without_classes(images: Path) -> None:
    cfg = folder_config(images / "cat")
    assert "classes  none" in report(cfg, open_source(cfg), packed(cfg))


# CelebA


@pytest.mark.parametrize(
    "text", ["", "0.png 0\n1.png 1\n", "<html>quota exceeded</html>", "\xff\xfe", "0.png 2\n1.pn"]
)
def test_a_damaged_celeba_partition_is_an_error(images: Path, text: str) -> None:
    root = images.parent
    (root / "celeba").mkdir()
    shutil.move(images / "cat", root / "celeba" / "img_align_celeba")
    partition = root / "celeba" / "list_eval_partition.txt"
    cfg = DataConfig(source="celeba", root=str(root), image_size=16, channels=3)
    partition.write_text("0.png 0\r\n1.png 0\n2.png 1\n3.png 2\n")
    assert [len(open_source(cfg, split)) for split in ("train", "test")] == [3, 1]
    partition.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"list_eval_partition.txt: \d of 4 images have no line"):
        open_source(cfg)


# what is remembered of bad images


def source_with(folder: Path, what: str) -> Source:
    """Makes a source of 40 images, of which one has a fault while the file `what` exists."""
    (folder / what).touch()
    read = partial(read_unless, str(folder), what)
    return Source("here", range(40), read, fingerprint="", parallel=True)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("memory", "out of memory"),
        ("read", "Input/output error"),
        ("SIGKILL", "killed by signal 9"),
        ("SIGTERM", "killed by signal 15"),
    ],
)
def test_what_the_file_does_not_cause_is_not_remembered(
    tmp_path: Path, cache: Path, what: str, reason: str
) -> None:
    source = source_with(tmp_path, what)
    cfg = folder_config(tmp_path, on_bad_image="skip")
    with pytest.raises(
        ValueError, match=f"1 of 40 images of here cannot .*not in the files.*\n  5: .*{reason}"
    ):
        pack(source, cfg)
    assert not list(cache.glob("packed/*/pack.json"))
    (tmp_path / what).unlink()
    assert len(pack(source, cfg)) == 40


_SHORT_MEMORY = """
import resource, sys
from gan.data.decode import decode_image, read_file
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 20_000_000,) * 2)
read = lambda name: read_file(sys.argv[1], name)
print(type(decode_image("a.webp", read, shape=(3, 16, 16), fit="crop")).__name__)
"""


def test_a_webp_that_memory_is_too_short_for_is_not_bad(tmp_path: Path) -> None:
    Image.new("RGB", (4000, 4000)).save(tmp_path / "a.webp")
    command = [sys.executable, "-c", _SHORT_MEMORY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "ReadFailed\n", done.stderr


def test_an_image_without_permission_is_not_remembered_as_bad() -> None:
    with ordinary_user() as place:
        for i in range(3):
            (place / f"{i}.png").write_bytes(png(i))
        (place / "1.png").chmod(0)
        cfg = folder_config(place, on_bad_image="skip")
        with pytest.raises(ValueError, match=r"1 of 3 images.*\n  1.png: Permission denied"):
            pack_here(cfg)
        (place / "1.png").chmod(0o644)
        assert red(pack_here(cfg)) == [0, 1, 2]


@pytest.mark.parametrize("what", ["SIGSEGV", "SIGABRT"])
def test_an_image_that_crashes_costs_one_process(tmp_path: Path, cache: Path, what: str) -> None:
    source = source_with(tmp_path, what)
    cfg = folder_config(tmp_path, on_bad_image="skip")
    found = pack(source, cfg)
    assert red(found) == [i for i in range(40) if i != 5]
    assert json.loads((found.folder / "left_out.json").read_text()) == {"5": "its decoder crashed"}
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 40
    assert len(set(pids)) <= len(os.sched_getaffinity(0)) + 1
    assert str(os.getpid()) not in pids


def test_a_dry_run_survives_an_image_that_crashes_its_decoder(tmp_path: Path) -> None:
    source = source_with(tmp_path, "SIGSEGV")
    assert len(peek(source, folder_config(tmp_path, on_bad_image="skip"), 16)) == 16


def test_a_dry_run_looks_beyond_bad_images_that_are_left_out(images: Path) -> None:
    for i in range(16):
        (images / "cat" / f"-{i:02}.png").write_text("no image")
    cfg = folder_config(images, on_bad_image="skip")
    assert len(peek(open_source(cfg), cfg, 4)) == 4


SCRIPT = """
import sys
from pathlib import Path
sys.path.append(Path("helpers"))  # which import ignores
from gan.config.settings import DataConfig
from gan.data.datasets import open_source
from gan.data.pack import pack
cfg = DataConfig(source="folder", root=sys.argv[1], image_size=16, channels=3)
print(len(pack(open_source(cfg), cfg)))
"""


def test_a_script_without_a_main_guard_can_pack(images: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(images)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("6\n", "", 0)


# disks and homes


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
@pytest.mark.parametrize("pages", [16, 386, 387])  # for no images, no labels, no pack.json
def test_a_disk_that_fills_while_packing_is_exit_code_4(
    config: Path, tmp_path: Path, small_disk: SmallDisk, on_bad_image: str, pages: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    small_disk(tmp_path / "disk", f"size={4 * pages}k")
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "disk"))
    settings = {"root": tmp_path / "disk", "image_size": 32, "on_bad_image": on_bad_image}
    sets = [word for key, value in settings.items() for word in ("--set", f"data.{key}={value}")]
    done = gan("data", config, *sets)
    assert done.exit_code == 4
    assert "No space left on device (packing needs 2 MB); free some disk space" in done.output
    assert [path.suffix for path in (tmp_path / "disk" / "packed").iterdir()] == [".lock"]


CUT = """
import os, sys
from gan.config.settings import DataConfig
from gan.data.batches import batches
from gan.data.datasets import open_source
from gan.data.pack import pack
cfg = DataConfig(source="synthetic", root=sys.argv[1], image_size=32, channels=3)
packed = pack(open_source(cfg), cfg)
stream = batches(packed, 64, seed=0)
next(stream)
os.truncate(packed.folder / "images.npy", 4096)
try:
    next(stream)
except ValueError as error:
    print(error)
"""


def test_a_pack_that_is_cut_short_while_it_is_in_use_is_an_error(
    tmp_path: Path, cache: Path
) -> None:
    command = [sys.executable, "-c", CUT, str(tmp_path)]  # a SIGBUS would end this process
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "was cut short; delete it" in done.stdout


def test_a_replaced_pack_does_not_disturb_a_run(images: Path) -> None:
    found = packed(folder_config(images))
    stream = batches(found, 6, seed=0)
    shutil.rmtree(found.folder)
    assert len(next(stream)[0]) == 6


def test_no_home_is_needed_where_the_data_can_be_written(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_entry(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", no_entry)
    for name in ("HOME", "XDG_CACHE_HOME", "GAN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert len(packed(folder_config(images))) == 6
    shutil.rmtree(images / "packed")
    (images / "packed").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to .*packed; set GAN_CACHE to a folder"):
        packed(folder_config(images))
    with pytest.raises(ValueError, match=r"data.root: ~/x: no such home folder"):
        packed(folder_config(Path("~/x")))


@pytest.mark.parametrize("source", ["folder", "mnist", "synthetic"])
def test_the_home_of_an_unknown_user_is_an_error(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"data.root: ~nobody-here/x: no such home folder"):
        open_source(DataConfig(source=source, root="~nobody-here/x"), download=True)
    assert not list(tmp_path.iterdir())


# damaged packs


JSON = ["{}", "[]", "5", "", "null", '{"images_crc32": 1, "classes": 5}', "[" * 100_000, "\xff"]


@pytest.mark.parametrize("text", JSON)
def test_a_damaged_pack_json_is_a_short_error(images: Path, text: str) -> None:
    meta = packed(folder_config(images)).folder / "pack.json"
    meta.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"pack\.json is damaged; delete") as caught:
        packed(folder_config(images))
    assert len(str(caught.value)) < 400


def test_a_huge_pack_json_is_not_read(images: Path) -> None:
    meta = packed(folder_config(images)).folder / "pack.json"
    os.truncate(meta, 1 << 40)
    with pytest.raises(ValueError, match=r"pack\.json is damaged; delete"):
        packed(folder_config(images))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = ("images_crc32", "labels_crc32", "classes")


@settings(max_examples=300)
@given(
    st.binary(max_size=40)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, json_values)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_any_pack_json_gives_a_pack_or_a_short_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    root = tmp_path_factory.getbasetemp() / "one_pack"
    cfg = DataConfig(source="synthetic", root=str(root), image_size=16, channels=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CACHE", str(root))
        found = list(root.glob("packed/*/pack.json")) or [packed(cfg).folder / "pack.json"]
        found[0].write_bytes(content)
        try:
            packed(cfg)
        except ValueError as error:
            assert str(found[0].parent) in str(error) and len(str(error)) < 400


# zips


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_are_neither_stored_nor_deflated_are_bad(tmp_path: Path, method: int) -> None:
    archive = zip_with(tmp_path / "images.zip", {"a.png": png(1)}, method)
    with pytest.raises(ValueError, match=r"a.png: neither stored nor deflated"):
        packed(folder_config(archive))


def test_a_bz2_bomb_with_a_false_size_is_not_unpacked(tmp_path: Path) -> None:
    bomb = bz2.compress(bytes(1 << 24))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.png", bomb)
        archive.infolist()[0].compress_type = zipfile.ZIP_BZIP2
    with pytest.raises(ValueError, match=r"a.png: neither stored nor deflated"):
        packed(folder_config(tmp_path / "images.zip"))


def test_headers_of_a_bz2_bomb_and_of_a_huge_webp_are_not_read(tmp_path: Path) -> None:
    bomb = bz2.compress(b"\x89PNG\r\n\x1a\n" + bytes(1 << 26))
    archive = zip_with(tmp_path / "images.zip", {"a.png": bomb, "b.png": png(1)})
    data = bytearray(archive.read_bytes())
    for record, method in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.index(record) + method] = zipfile.ZIP_BZIP2
    archive.write_bytes(data)
    huge = tmp_path / "images" / "a.webp"
    huge.parent.mkdir()
    huge.write_bytes(b"RIFF\xff\xff\xff\xffWEBPVP8 ")
    os.truncate(huge, 257 << 20)
    for place, num in ((archive, 1), (huge.parent, 0)):
        source = open_source(folder_config(place))
        tracemalloc.start()
        assert len(read_headers(source)) == num
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000


def test_only_the_first_of_equal_names_in_a_zip_is_used(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for value in (1, 2, 3):
                archive.writestr("a.png", png(value))
            archive.writestr("b.png", png(4))
    cfg = folder_config(tmp_path / "images.zip")
    assert red(packed(cfg)) == [1, 4]
    note = "left out 2 members with the name of an earlier one: a.png, a.png"
    assert note in open_source(cfg).notes


def test_backslashes_in_the_names_of_a_zip_are_folders(tmp_path: Path) -> None:
    members = {"cat\\1.png": png(1), "cat\\2.png": png(2), "dog\\3.png": png(3)}
    found = packed(folder_config(zip_with(tmp_path / "images.zip", members)))
    assert found.classes == ("cat", "dog")
    assert red(found) == [1, 2, 3] and found.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ["", ".", "..", "/", "//", "a/.."])
def test_odd_names_in_a_zip_are_no_images(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a.png", png(1))
        member = zipfile.ZipInfo("x")
        member.filename = name
        with made.open(member, "w"):
            pass
    assert open_source(folder_config(archive)).names == ["a.png"]


def test_a_zip_of_a_later_version_is_a_short_error(tmp_path: Path) -> None:
    archive = zip_with(tmp_path / "images.zip", {"a.png": png(1)})
    data = bytearray(archive.read_bytes())
    data[data.rindex(b"PK\1\2") + 6] = 90
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=r"images\.zip: not a readable zip file \(zip file ver"):
        open_source(folder_config(archive))


def test_a_zip_that_is_replaced_while_it_is_packed_is_an_error(tmp_path: Path) -> None:
    cfg = folder_config(zip_with(tmp_path / "images.zip", {"a.png": png(1)}), on_bad_image="skip")
    source = open_source(cfg)
    for content in ({"b.png": png(1)}, None):
        archive = zip_with(tmp_path / "images.zip", content or {})
        if content is None:
            archive.write_bytes(b"no zip")
        with pytest.raises(ValueError, match=r"not in the files.*\n  a.png: the zip has changed"):
            pack(source, cfg)


WHOLE = io.BytesIO()
with zipfile.ZipFile(WHOLE, "w", zipfile.ZIP_DEFLATED) as made:
    for member in ("cat/1.png", "dog/2.png"):
        made.writestr(member, png(1))


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE.getvalue()) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, 1000),
    st.binary(max_size=30),
)
def test_any_zip_gives_images_or_a_short_error(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[int, int]],
    length: int,
    noise: bytes,
) -> None:
    data = bytearray(WHOLE.getvalue())
    for position, value in changes:
        data[position] = value
    for content in (bytes(data), bytes(data[:length]), noise + data, noise):
        path = tmp_path_factory.mktemp("zip") / "images.zip"
        path.write_bytes(content)
        cfg = folder_config(path)
        try:
            peek(replace(open_source(cfg), parallel=False), cfg, 2)
        except ValueError as error:
            assert str(path) in str(error) and len(str(error)) < 1000


# names that are not UTF-8


def test_names_that_are_not_utf_8_are_named(images: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    shutil.copy(images / "cat" / "0.png", images / "cat" / f"{name}.png")
    with pytest.raises(ValueError, match=r"images: 'cat/caf\\udce9\.png' is not UTF-8; rename"):
        open_source(folder_config(images))
    (images / "cat" / f"{name}.png").unlink()
    (images / name).mkdir()
    (images / f"{name}.txt").write_text("")
    (images / f"{name}.lnk").symlink_to("nowhere")
    config = images.parent / "own.yaml"
    config.write_text(f"data: {{source: folder, image_size: 16, channels: 3, root: {images}}}")
    assert "missing files: caf\\udce9.lnk" in gan("data", config).output


def test_control_characters_in_names_do_not_reach_the_terminal(images: Path) -> None:
    (images / "cat" / "a\x1b[31mred\nforged.png").write_text("no image")
    (images / "\x1b[2J").mkdir()
    shown = gan("data", "configs/folder.yaml", "--set", f"data.root={images}").output
    with pytest.raises(ValueError, match=r"cat/a\\x1b\[31mred\\nforged\.png: ") as refused:
        pack_here(folder_config(images))
    assert "\x1b" not in shown and "\x1b" not in str(refused.value)


def test_a_member_whose_name_is_not_utf_8_is_an_error_that_names_the_zip(tmp_path: Path) -> None:
    archive = zip_with(tmp_path / "images.zip", {"é.png": png(1)})
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(ValueError, match=r"images\.zip: not a readable zip file \('utf-8' codec"):
        open_source(folder_config(archive))


def test_an_array_of_labels_is_not_mapped(images: Path) -> None:
    assert not isinstance(packed(folder_config(images)).labels, np.memmap)
