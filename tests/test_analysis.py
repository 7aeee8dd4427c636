"""What a person sees of runs: the table of an evaluation, comparisons, reports, walks."""

import csv
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan.analysis import nearest, report
from gan.analysis.compare import compare
from gan.analysis.nearest import nearest_training
from gan.analysis.report import nearest_pairs
from gan.analysis.runs import read_run
from gan.analysis.table import evaluation_table, number
from gan.analysis.walk import path_ends, save_mp4, save_walk, walk
from gan.config.reader import describe
from gan.data.pack import PackedImages
from gan.pretrained.load import load_generator
from gan.training.loop import train
from tests.conftest import gan, tiny_config

CPU = torch.device("cpu")
RECORD = {
    "values": {"frechet_distance": 0.6, "recall": 0.2, "class_balance": 2.3, "modes": 900},
    "deviation": {"frechet_distance": 0.05, "recall": 0.01, "class_balance": 0.0, "modes": 2},
    "floor": {"frechet_distance": 0.2, "recall": 0.8, "class_balance": 0.0, "modes": 1000},
    "floor_deviation": {"frechet_distance": 0.01, "recall": 0.01, "class_balance": 0, "modes": 0},
    "memorisation": {"nearest_training": 7, "nearest_training_floor": 9, "near_copies": 0.4},
    "network": {"name": "mnist", "sha256": "0"},
    "num_real": 500, "num_generated": 500, "draws": 3,
    "checkpoint": {"file": "step_00000007.pt", "step": 7, "images_seen": 448},
}  # fmt: skip


def with_values(**values: float) -> dict:
    return {**RECORD, "values": {**RECORD["values"], **values}}


def test_table_has_value_deviation_floor_and_which_way_is_better() -> None:
    lines = evaluation_table(RECORD, num_classes=10).splitlines()
    cells = [line.split("  ") for line in lines]
    rows = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in cells}
    assert rows["frechet_distance"] == ["0.6 ± 0.05", "0.2 ± 0.01", "lower"]
    assert rows["recall"] == ["0.2 ± 0.01", "0.8 ± 0.01", "higher"]
    assert rows["nearest_training"] == ["7", "9"]
    assert rows["near_copies"] == ["0.4", "0.01", "lower"]
    assert lines[0] == "step_00000007.pt, step 7, 448 images seen"
    assert max(map(len, lines[3:])) <= 80


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (RECORD, "frechet_distance 0.6: 3 times the floor"),
        (with_values(frechet_distance=0.2), "frechet_distance 0.2: as near as real images"),
        (RECORD, "recall 0.2: the samples lack much of the variety of the real images"),
        (RECORD, "class_balance 2.3: almost one class of 10"),
        # ln 2 from uniform: as varied as half of the classes
        (with_values(class_balance=0.6931), "class_balance 0.693: no more varied than 5.0 of 10"),
        (with_values(modes=800), "modes 800: about 200 classes are missing"),
        (RECORD, "near_copies 0.4: many samples are copies of training images, or"),
    ],
)
def test_telling_values_have_a_line_of_reading(record: dict, line: str) -> None:
    assert f"\n{line}" in evaluation_table(record, num_classes=10)


def test_values_that_tell_nothing_have_no_line() -> None:
    good = with_values(recall=0.7, class_balance=0.01, modes=990)
    good["memorisation"] = {**RECORD["memorisation"], "near_copies": 0.02}
    few = {**good, "num_real": 100, "memorisation": RECORD["memorisation"]}  # 1 % is one image
    for record in (good, few):
        table = evaluation_table(record, num_classes=10)
        assert [line for line in table.splitlines() if ": " in line] == [
            "frechet_distance 0.6: 3 times the floor"
        ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.1234, "0.123"), (12345.6, "12,346"), (999.7, "1e+03"), (1000, "1,000"),
     (-0.0116, "-0.0116"), (0.000012, "1.2e-05")],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes the files of a run without training it."""

    def make(name: str, distance: float, record: dict | None = None, **settings: object) -> Path:
        run = tmp_path / name
        run.mkdir()
        (run / "config.yaml").write_text(describe(tiny_config(tmp_path, train=settings)))
        logs, scores = [], []
        for step in (1, 2, 3):
            at = {"step": step, "images_seen": 8 * step}
            logs.append({**at, "loss/d": 1.0, "loss/g": 2.0, "samples/diversity": 0.9})
            scores.append({**at, "metric/frechet_distance": distance * 3 / step})
        for file, rows in (("metrics.jsonl", logs), ("evaluations.jsonl", scores)):
            (run / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
        if record:
            (run / "evaluation.json").write_text(json.dumps(record))
        return run

    return make


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(newline="")))


def test_runs_that_differ_in_the_seed_alone_are_one(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("a", 1.0), make_run("b", 3.0, seed=1), make_run("$c^$", 7.0, loss="hinge")]
    shown = gan("compare", *runs, "--out", tmp_path / "out")
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["setting", "a,", "b", "$c^$"] in lines
    assert ["train.loss", "non_saturating", "hinge"] in lines
    assert not any(line[:1] == ["train.seed"] for line in lines)
    assert ["a,", "b", "2", "24", "2", "±", "1.4"] in lines and ["$c^$", "1", "24", "7"] in lines
    first, second = read_csv(tmp_path / "out" / "compare.csv")
    assert first["runs"] == "a, b" and first["seeds"] == "0 1" and second["runs"] == "$c^$"
    assert float(first["mean"]) == 2 and float(first["deviation"]) == pytest.approx(2**0.5)
    assert second["train.loss"] == "hinge" and second["floor"] == ""
    with Image.open(tmp_path / "out" / "compare.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    again = gan("compare", *runs, "--out", tmp_path / "out")
    assert again.exit_code == 2 and "overwrite with --force" in again.output
    assert gan("compare", *runs, "--out", tmp_path / "out", "--force").exit_code == 0
    for name in ("a", "b", "$c^$"):
        board = EventAccumulator(str(tmp_path / "out" / "by_step" / name)).Reload()
        assert [event.step for event in board.Scalars("3_loss/d")] == [1, 2, 3]
        assert [event.step for event in board.Scalars("2_distance/frechet_distance")] == [1, 2, 3]


def test_a_run_without_evaluation_is_named(make_run: MakeRun) -> None:
    runs = [make_run("a", 1.0), make_run("b", 3.0, seed=1)]
    (runs[1] / "evaluations.jsonl").write_text("")
    assert f"note: {runs[1]} was not evaluated" in (text := compare(runs))
    assert str(runs[0]) not in text


def test_runs_without_a_record_and_other_data_are_noted(make_run: MakeRun) -> None:
    runs = [make_run("a", 1.0, RECORD), make_run("b", 1.0)]
    text = compare(runs)
    assert f"note: {runs[1]} has no record" in text and "not comparable" not in text
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("source: synthetic", "source: mnist"))
    assert "distances between runs with other data are not comparable" in compare(runs)


def test_a_run_alone_has_no_table_of_settings(make_run: MakeRun) -> None:
    assert compare([make_run("a", 1.0)]).startswith("runs  seeds")
    seeds = [make_run("b", 1.0), make_run("c", 1.0, seed=1)]
    assert compare(seeds).startswith("no setting differs but the seed")


def test_many_runs_are_the_rows_of_the_settings(make_run: MakeRun) -> None:
    shown = gan("compare", *[make_run(f"run{i}", 1.0, batch_size=2 * i) for i in range(1, 9)])
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["runs", "train.batch_size"] in lines and ["run8", "16"] in lines
    assert max(map(len, shown.output.splitlines())) <= 80


def test_tables_of_many_runs_and_settings_fit_a_terminal(make_run: MakeRun) -> None:
    record = {**RECORD, "checkpoint": {"images_seen": 24}}
    recipes = [{"batch_size": 2 * i, "beta1": i / 20, "beta2": 0.9 + i / 100,
                "g_learning_rate": i / 1e4, "d_learning_rate": i / 1e4}
               for i in range(1, 10)]  # fmt: skip
    runs = [make_run(f"a long name {i} {seed}", 1.0, record, **recipe, seed=seed)
            for i, recipe in enumerate(recipes) for seed in range(3)]  # fmt: skip
    lines = compare(runs).splitlines()
    assert max(map(len, lines)) <= 80
    for head in ("train.batch_size", "train.d_learning_rate", "frechet_distance", "modes"):
        heads = [i for i, line in enumerate(lines) if head in line.split()]
        assert len(heads) == 1 and lines[heads[0]].startswith("runs ")
        below = lines[heads[0] + 1 :]
        table = below[: below.index("")]
        assert sum(line.startswith("a long name") for line in table) >= len(recipes)


def test_evaluations_during_a_run_have_floors_too(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("a", 1.0)
    row = {"step": 3, "images_seen": 24, "metric/precision": 0.7, "metric/precision_floor": 0.9}
    (run / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
    text = compare([run], tmp_path)
    assert ["floor", "0.9"] in [line.split() for line in text.splitlines()]
    (found,) = read_csv(tmp_path / "compare.csv")
    assert (found["score"], found["mean"], found["floor"]) == ("precision", "0.7", "0.9")


def test_a_run_that_is_named_twice_is_one(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("a", 1.0)
    monkeypatch.chdir(run)
    lines = [line.split() for line in compare([run, Path()]).splitlines()]
    assert ["a", "1", "24", "1"] in lines


def test_a_record_after_the_last_log_is_of_the_last_step(make_run: MakeRun) -> None:
    record = {**RECORD, "checkpoint": {"images_seen": 28}}  # a signal came after the last log
    assert "not after the last step" not in compare([make_run("a", 9.0, record)])


def test_records_of_evaluations_give_floors(make_run: MakeRun, tmp_path: Path) -> None:
    older = {**RECORD, "checkpoint": {"images_seen": 16}}
    runs = [make_run("a", 9.0, older), make_run("b", 9.0, with_values(frechet_distance=0.8),
                                                 loss="hinge")]  # fmt: skip
    text = compare(runs, tmp_path)
    assert "0.6 ± 0.05" in text and "0.8 ± 0.05" in text
    assert ["floor", "0.2", "0.8", "0", "1,000"] in [line.split() for line in text.splitlines()]
    assert f"{runs[0]} was evaluated at 16 images, not after the last step" in text
    found = {(row["runs"], row["score"]): row for row in read_csv(tmp_path / "compare.csv")}
    assert found["a", "recall"]["floor"] == "0.8"


def test_scores_of_different_protocols_are_not_compared(make_run: MakeRun) -> None:
    other = {**RECORD, "num_real": 100}
    text = compare([make_run("a", 9.0, RECORD), make_run("b", 5.0, other, loss="hinge")])
    assert "different protocols" in text and "0.6" not in text and "\nfloor" not in text


def test_what_is_no_run_is_one_error(make_run: MakeRun, tmp_path: Path) -> None:
    empty, damaged = make_run("empty", 1.0), make_run("damaged", 1.0)
    (empty / "metrics.jsonl").write_text("nonsense\n")
    (damaged / "evaluation.json").write_text('{"values": {"recall": "<b>"}}')
    for place, message in [
        (tmp_path / "none", "not a run directory"),
        (empty, "has not logged anything yet"),
        (damaged, "not a record of gan evaluate"),
    ]:
        shown = gan("compare", place)
        assert shown.exit_code == 1 and message in shown.stderr
        assert shown.stderr.startswith(f"Error: {place}") and shown.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("memorisation", "near_copies"),
        ("memorisation", "nearest_training"),
        ("memorisation", "nearest_training_floor"),
        ("floor", "recall"),
        (None, "num_real"),
        (None, "checkpoint"),
    ],
)
def test_an_incomplete_record_is_one_error(make_run: MakeRun, table: str | None, key: str) -> None:
    record = json.loads(json.dumps(RECORD))
    del (record[table] if table else record)[key]
    shown = gan("report", make_run("a", 1.0, record))
    assert shown.exit_code == 1 and "not a record of gan evaluate; delete it" in shown.stderr


def test_every_run_has_a_name_in_the_figure(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.legend", lambda self, handles, labels, **_: shown.extend(labels)
    )
    assert gan("compare", make_run("_x", 1.0), "--out", tmp_path / "out").exit_code == 0
    assert [name.strip() for name in shown] == ["_x"]


def test_damaged_rows_are_left_out(make_run: MakeRun) -> None:
    run = make_run("a", 1.0)
    row = '{"step": 4, "images_seen": "many"}\n{"step": 5, "images_seen": 9, "loss/d": NaN}\n'
    with (run / "metrics.jsonl").open("a") as file:
        file.write(row + "half")
    assert len(read_run(run).curve("loss/d")[0]) == 3


HOSTILE = ("<script>alert(1)", '"><img src=x onerror=alert(1)>')


class _Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose directory and classes have names that are HTML."""
    root = tmp_path_factory.mktemp("hostile")
    for i, name in enumerate(HOSTILE * 2):
        place = root / "images" / name / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (20 * i, 0, 0)).save(place)
    data = {"source": "folder", "image_size": 16, "channels": 3}
    cfg = tiny_config(root / "images", data=data, model={"conditional": True})
    run = root / "<b>run & 'quotes'"
    train(cfg, run, "cpu")
    return run


def test_report_is_one_file_whose_text_is_escaped(hostile_run: Path, tmp_path: Path) -> None:
    record = with_values(**{"<i>score": 1.0})
    record["floor"] = {**RECORD["floor"], "<i>score": 0.0}
    record["checkpoint"] = {"file": "<i>file", "step": "<i>7"}
    (hostile_run / "evaluation.json").write_text(json.dumps(record))
    out = tmp_path / "report.html"
    assert gan("report", hostile_run, "--out", out).exit_code == 0
    page = _Page(out.read_text())
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "b", "i", "link", "iframe"}
    for tag, attributes in page.tags:
        assert not attributes.keys() - {"lang", "charset", "class", "src"}
        assert tag == "img" or "src" not in attributes
    assert all(a["src"].startswith("data:image/png;base64,") for t, a in page.tags if t == "img")
    assert "http" not in out.read_text() and "url(" not in out.read_text()
    for text in (*HOSTILE, hostile_run.name, "<i>file", "0.2 ± 0.01", "gan sample", "step 4",
                 "model.conditional"):  # fmt: skip
        assert text in page.text


def test_report_without_the_training_images_says_so(finished_run: Path) -> None:
    for pack in finished_run.parent.rglob("*.npy"):
        pack.unlink()
    text = (finished_run / "config.yaml").read_text()
    changed = text.replace("source: synthetic", "source: folder").replace(
        f"root: {finished_run.parent}", "root: nowhere"
    )
    (finished_run / "config.yaml").write_text(changed)
    shown = gan("report", finished_run)
    assert shown.exit_code == 0
    page = _Page((finished_run / "report.html").read_text()).text
    assert "The training images cannot be read" in page and "There is no evaluation.json" in page
    assert gan("report", finished_run).exit_code == 2  # exists


def test_nearest_training_image_of_a_copy_is_its_original(tiny_run: Path) -> None:
    trained = load_generator(tiny_run, CPU)
    samples = trained.images(trained.latents(4, 0))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (report._NUM_PAIRS, 3, 16, 16), dtype=np.uint8)
    images[[3, 9, 5, 0]] = samples
    train = PackedImages(array=images, labels=None, classes=(), checksum="", folder=Path())
    for pair, sample in zip(nearest_pairs(trained, train, 4), samples, strict=True):
        assert np.array_equal(pair.nearest, sample) and np.array_equal(pair.sample, sample)


def test_the_search_for_large_images_takes_little_memory(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With parts of 3 MB, far below the limit; all images at once are 800 MB."""
    monkeypatch.setattr(nearest, "_SEARCH_PIXELS", 1 << 18)
    images = np.broadcast_to(np.zeros((1, 3, 128, 128), np.uint8), (8192, 3, 128, 128))
    train = PackedImages(array=images, labels=None, classes=(), checksum="", folder=Path())
    others = images[:100] + np.uint8(9)
    nearest_training(others, train, np.arange(99))  # the first call takes memory for torch itself
    request.getfixturevalue("little_memory")
    distance, where = nearest_training(others, train, np.arange(4000, 8192))
    assert distance.unique().tolist() == [9] and where.unique().tolist() == [4000]


def test_walk_passes_through_its_latents_and_classes(conditional_run: Path) -> None:
    trained = load_generator(conditional_run, CPU)
    latents, labels = path_ends(trained, points=8, seeds="3,7,12", labels="disc,1")
    assert labels is not None and labels.tolist() == [0, 1, 0]
    ends = [trained.images(trained.latents(1, seed), torch.tensor([label]))[0]
            for seed, label in ((3, 0), (7, 1), (12, 0))]  # fmt: skip
    images = walk(trained, latents, labels, steps=4)
    assert images.shape == (12, 3, 16, 16)
    assert np.abs(images[::4].astype(int) - np.stack(ends)).max() <= 1


def test_class_alone_changes_along_a_walk(conditional_run: Path) -> None:
    trained = load_generator(conditional_run, CPU)
    ends = path_ends(trained, points=8, seeds="3", labels="0,1")
    assert torch.equal(*ends[0])
    images = walk(trained, *ends, steps=3).astype(int)
    changes = np.abs(images - images[0]).mean((1, 2, 3))
    # from one class to the other and back
    assert 0 < changes[1] < changes[2] < changes[3] > changes[4] > changes[5]
    assert trained.generator.embedding.num_embeddings == 2  # as before


def test_walk_without_options_has_latents_of_the_seed(tiny_run: Path) -> None:
    trained = load_generator(tiny_run, CPU)
    latents, labels = path_ends(trained, points=3, seed=5)
    assert torch.equal(latents, trained.latents(3, 5)) and labels is None


@pytest.mark.parametrize(("scale", "side"), [(None, 256), (2, 32)])
def test_films_are_large_by_default(
    tiny_run: Path, tmp_path: Path, scale: int | None, side: int
) -> None:
    trained = load_generator(tiny_run, CPU)
    ends = path_ends(trained, points=2)
    assert save_walk(trained, tmp_path / "a.gif", *ends, steps=2, scale=scale) == 4
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (side, side) and film.n_frames > 1 and film.info["loop"] == 0
    save_walk(trained, tmp_path / "a.png", *ends, steps=3)
    with Image.open(tmp_path / "a.png") as strip:
        assert strip.size == (3 * 18 + 2, 2 * 18 + 2)


def test_mp4_without_ffmpeg_is_one_error(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = gan("walk", tiny_run, "--out", tmp_path / "a.mp4")
    assert shown.exit_code == 1 and "needs the program ffmpeg" in shown.stderr


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_mp4_is_written_for_odd_sides(tmp_path: Path) -> None:
    save_mp4(np.zeros((5, 1, 17, 19), np.uint8), tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


def test_seeds_that_are_no_numbers_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    shown = gan("walk", tiny_run, "--seeds", "3,x", "--out", tmp_path / "a.gif")
    assert shown.exit_code == 2 and "as 3,7,12; got 3,x" in shown.stderr
