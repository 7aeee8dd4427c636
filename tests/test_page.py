"""The page: its networks against PyTorch, and every section, in a real browser."""

import base64
import gzip
import json
import re
import shutil
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from gan.nn.discriminator import Discriminator
from gan.page.build import content_of, page_of
from gan.page.history import thinned
from gan.page.weights import discriminator_of, quantise
from gan.pretrained.load import load_generator
from gan.training.loop import train
from tests.conftest import BROWSER_MS, gan, tiny_config

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("needs a browser: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs: python -m pip install playwright"
)

CPU = torch.device("cpu")
HOSTILE = "</script><img src=x onerror=alert(1)>@@worker@@"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run of grey images with classes; tests only read it."""
    root = tmp_path_factory.mktemp("grey")
    model = {"conditional": True, "kernel": 5, "d_border": "black"}
    cfg = tiny_config(root, data={"channels": 1}, model=model)
    train(cfg, root / "run", "cpu")
    return root / "run"


@pytest.fixture(scope="module")
def content(run: Path) -> dict[str, Any]:
    return content_of(run, run / "page.html")


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"],
                                            timeout=BROWSER_MS)  # fmt: skip
        context = browser.new_context(
            reduced_motion="reduce", has_touch=True, locale="en-US", color_scheme="light"
        )
        context.set_default_timeout(BROWSER_MS)
        yield context
        browser.close()


@pytest.fixture
def visit(context: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens a page; fails if the console reports an error or anything but the file is requested."""
    errors: list[str] = []
    requested: list[str] = []
    pages = []

    def open_page(content: dict[str, Any], section: str = "") -> Any:
        file = tmp_path / "page.html"
        file.write_text(page_of(content), encoding="utf-8")
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        page.on("request", lambda request: requested.append(request.url.split("#")[0]))
        page.goto(f"{file.as_uri()}#{section}")
        until(page, "gan.last")
        pages.append((page, file))
        return page

    yield open_page
    for page, file in pages:
        page.close()
        local = (file.as_uri(), "data:", "blob:")
        assert [url for url in requested if not url.startswith(local)] == []
    assert errors == []


def until(page: Any, script: str, argument: Any = None) -> None:
    """Waits for a condition; playwright's own function uses `eval`, which the page forbids."""
    end = time.monotonic() + BROWSER_MS / 1000
    while not page.evaluate(script, argument):
        assert time.monotonic() < end, script
        page.wait_for_timeout(20)


def unpacked(packed: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors that the page has, read from its data without its code."""
    data = gzip.decompress(base64.b64decode(packed["data"]))
    floats = np.frombuffer(data, "<f4", packed["num_floats"])
    codes = np.frombuffer(data, "i1", offset=4 * packed["num_floats"])
    tensors = {}
    for name, entry in packed["tensors"].items():
        shape, start = entry["shape"], entry["floats"]
        if "codes" not in entry:
            values = floats[start : start + np.prod(shape)].reshape(shape)
        else:
            axis = entry["axis"]
            scale = floats[start : start + shape[axis]]
            place = entry["codes"]
            values = codes[place : place + np.prod(shape)].reshape(shape)
            values = values * scale.reshape([-1 if i == axis else 1 for i in range(4)])
        tensors[name] = torch.tensor(values)
    return tensors


def generated(tensors: dict[str, Tensor], layers: list[dict], z: Tensor, label: int) -> Tensor:
    """The image (C, H, W) of exported tensors by PyTorch."""
    if "class_vectors" in tensors:
        z = torch.cat([z, tensors["class_vectors"][label]])
    x = z[None, :, None, None]
    for i, layer in enumerate(layers):
        x = conv_transpose2d(
            x,
            tensors[f"layers.{i}.weight"],
            tensors[f"layers.{i}.bias"],
            layer["stride"],
            layer["padding"],
            layer["output_padding"],
        )
        x = x.relu() if layer["activation"] == "relu" else x.tanh()
    return x[0]


def drawn(page: Any, z: Tensor, labels: list[int]) -> Tensor:
    """The page's images (N, C * H * W)."""
    script = """([latents, labels]) => Promise.all(latents.map(async (z, i) =>
        [...(await gan.ask("image", { z: Float32Array.from(z), label: labels[i] })).image]))"""
    return torch.tensor(page.evaluate(script, [z.tolist(), labels]))


def grey_levels(images: Tensor) -> Tensor:
    return ((images + 1) * 127.5).round()


def test_images_in_the_browser_are_those_of_pytorch_to_one_grey_level(
    visit: Any, content: dict[str, Any]
) -> None:
    page = visit(content)
    z, labels = torch.randn(10, 8), [i % 2 for i in range(10)]
    tensors, layers = unpacked(content["generator"]), content["generator"]["layers"]
    expected = torch.stack(
        [generated(tensors, layers, z[i], labels[i]).flatten() for i in range(10)]
    )
    images = drawn(page, z, labels)
    assert images.std() > 0.01
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)
    assert (grey_levels(images) - grey_levels(expected)).abs().max() <= 1


def test_opinion_in_the_browser_is_that_of_pytorch(visit: Any, content: dict[str, Any]) -> None:
    page = visit(content)
    x = torch.randn(1, 1, 16, 16).clamp(-1, 1)
    logits = judged(content["discriminator"], x)[0]
    script = """async ([image, labels]) => Promise.all(labels.map(async (label) =>
        (await gan.ask("judge", { image: Float32Array.from(image), label })).real))"""
    found = torch.tensor(page.evaluate(script, [x.flatten().tolist(), list(range(len(logits)))]))
    torch.testing.assert_close(found, logits.sigmoid(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [((4, 4), (2, 2), (1, 1), (0, 0)), ((5, 3), (2, 1), (2, 0), (1, 0)), ((2, 3), (3, 2), (0, 1),
     (1, 1))],
)  # fmt: skip
def test_layers_and_their_gradient_are_those_of_pytorch(
    context: Any, kernel: tuple, stride: tuple, padding: tuple, extra: tuple
) -> None:
    weights = [torch.randn(6, 5, 4, 3), torch.randn(5, 7, *kernel) / 3]
    biases = [torch.randn(5), torch.randn(7)]
    layers = [
        {"stride": [1, 1], "padding": [0, 0], "output_padding": [0, 0], "activation": "relu"},
        {"stride": stride, "padding": padding, "output_padding": extra, "activation": "tanh"},
    ]
    tensors = {f"layers.{i}.weight": weights[i] for i in range(2)}
    tensors |= {f"layers.{i}.bias": biases[i] for i in range(2)}
    z = torch.randn(6, requires_grad=True)
    image = generated(tensors, layers, z, 0)
    out = torch.randn_like(image)
    (image * out).sum().backward()
    engine = Path("gan/page/engine.js").read_bytes()
    script = """async ([source, model, z, out]) => {
        const engine = await import("data:text/javascript;base64," + source);
        for (const tensor of Object.values(model.tensors)) {
          tensor.values = Float32Array.from(tensor.values.flat(3));
        }
        const generator = engine.makeGenerator(model);
        const maps = engine.forward(generator, Float32Array.from(z), 0);
        const gradient = engine.backward(generator, maps, Float32Array.from(out));
        return [[...maps.at(-1)], [...gradient]]; }"""
    given = {k: {"shape": list(v.shape), "values": v.tolist()} for k, v in tensors.items()}
    model = {"z_dim": 6, "z_dist": "normal", "image_shape": list(image.shape), "classes": []}
    model |= {"layers": layers, "tensors": given}
    arguments = [base64.b64encode(engine).decode(), model, z.tolist(), out.flatten().tolist()]
    page = context.new_page()
    values, gradient = page.evaluate(script, arguments)
    page.close()
    torch.testing.assert_close(torch.tensor(values), image.flatten(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.tensor(gradient), z.grad, atol=1e-5, rtol=1e-4)


def test_discriminator_of_the_page_judges_generated_images_as_in_training(run: Path) -> None:
    trained = load_generator(run, CPU)
    # the statistics in a checkpoint are of real and generated images in turn; these are of neither
    d = {k: v + 1 if "running" in k else v for k, v in trained.checkpoint.d.items()}
    packed = discriminator_of(replace(trained, checkpoint=replace(trained.checkpoint, d=d)))
    assert packed is not None
    labels = trained.labels(512, seed=3)
    images = trained.images(trained.latents(512, seed=3), labels)
    x = torch.from_numpy(images).float() / 127.5 - 1
    network = Discriminator(trained.cfg.model, (1, 16, 16), 2)
    network.load_state_dict(trained.checkpoint.d)
    with torch.no_grad():
        expected = network.train()(x, labels).logits  # as in training: statistics of the batch
    found = judged(packed, x)[torch.arange(512), labels]
    assert (found - expected).abs().mean() < 0.25 * expected.std()


def judged(packed: dict[str, Any], x: Tensor) -> Tensor:
    """The logits (N, K) of a packed discriminator by PyTorch."""
    tensors = unpacked(packed)
    features = x = x + packed["offset"]
    for i, layer in enumerate(packed["layers"]):
        features = x
        weight, bias = tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]
        x = leaky_relu(conv2d(x, weight, bias, layer["stride"], layer["padding"]), layer["slope"])
    return x.flatten(1) + features.sum((2, 3)) @ tensors["class_vectors"].T


def test_codes_are_within_half_a_step_of_the_weights() -> None:
    weight = torch.randn(6, 5, 4, 4) * torch.logspace(-3, 2, 5).view(1, 5, 1, 1)
    weight[:, 2] = 0
    codes, scale = quantise(weight, 1)
    error = (codes * scale.view(1, -1, 1, 1) - weight).abs().amax((0, 2, 3))
    assert codes.dtype == torch.int8
    assert (error <= scale / 2 * (1 + 1e-5)).all()


def test_curves_are_means_of_neighbours() -> None:
    x = np.arange(1000.0)
    thin_x, thin_y = thinned((x, 2 * x))
    assert len(thin_x) == 200
    assert thin_x[:2] == [2.0, 7.0]
    assert thin_y == [2 * value for value in thin_x]
    assert thinned((np.empty(0), np.empty(0))) == [[], []]


def test_every_section_works_and_reports_no_error(visit: Any, content: dict[str, Any]) -> None:
    page = visit(content)
    image = page.locator(".play-image")

    def changes(action: Any) -> None:
        before = page.evaluate("[...gan.last.maps.at(-1)].join()")
        action()
        until(page, "old => [...gan.last.maps.at(-1)].join() !== old", before)

    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    # Play: by button, key, class, pad, number, walk, grid
    changes(lambda: page.locator("#play").get_by_role("button", name="New latent").click())
    changes(lambda: page.keyboard.press("n"))
    changes(lambda: page.keyboard.press("1"))
    assert image.get_attribute("aria-label").endswith(content["generator"]["classes"][1])
    pad = page.locator("#play .pad")
    changes(lambda: pad.hover(position={"x": 20, "y": 30}))
    changes(lambda: page.touchscreen.tap(*middle(pad)))
    pad.focus()
    changes(lambda: page.keyboard.press("ArrowLeft"))
    changes(lambda: page.locator("#play .bars").click(position={"x": 30, "y": 3}))
    page.keyboard.press("ArrowRight")  # the click gave the bars the focus
    changes(lambda: page.keyboard.press("ArrowDown"))
    press("Other directions")
    changes(lambda: press("Walk"))
    press("Stop")
    press("64 at once")
    changes(lambda: page.locator(".play-grid").click(position={"x": 9, "y": 9}))
    changes(lambda: page.keyboard.press("ArrowRight"))
    frame = page.locator(".play-grid span")
    place = frame.get_attribute("style")
    # Language and colours
    press("中文")
    assert frame.is_visible() and frame.get_attribute("style") == place
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    assert page.locator("#play-title").inner_text() == "玩一玩"
    press("English")
    press("Dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    press("Light")
    assert dark != page.evaluate("getComputedStyle(document.body).backgroundColor")
    # The operation
    page.locator("#operation .op-output td").first.hover()
    # Training
    page.locator(".training-tools input").fill("0")
    first = page.locator(".training-grid").get_attribute("src")
    press("Play the training")
    until(page, "src => document.querySelector('.training-grid').src !== src", first)
    # Your own digit
    page.locator(".digit-paper").scroll_into_view_if_needed()
    x, y = middle(page.locator(".digit-paper"))
    page.mouse.move(x, y - 60)
    page.mouse.down()
    page.mouse.move(x + 9, y + 60, steps=5)
    page.mouse.up()
    page.get_by_text("Step 200 of 200").wait_for()
    page.get_by_text("100 of G").wait_for()
    changes(lambda: press("Continue with this latent"))


def middle(locator: Any) -> tuple[float, float]:
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_search_comes_nearer_to_an_image_of_the_generator(
    visit: Any, content: dict[str, Any]
) -> None:
    page = visit(content)
    # from random starts: most searches end near the image, some in another minimum; a fixed image,
    # because to some all four searches may end in others
    script = """async () => {
        const z = Float32Array.of(1, -1, 1, -1, 1, -1, 1, -1);
        const { image } = await gan.ask("image", { z, label: 0 });
        const searches = [];
        for (let i = 0; i < 4; i++) {
          const errors = [];
          await gan.ask("search", { image }, ({ error, step }) => errors.push([step, error]));
          searches.push(errors);
        }
        return searches; }"""
    ratios = []
    for errors in page.evaluate(script):
        start = min(error for step, error in errors if step == 0)
        assert errors[-1][0] == 200
        ratios.append(errors[-1][1] / start)
    assert max(ratios) < 1 / 2 and min(ratios) < 1 / 10


def test_pointing_shows_the_products_that_make_a_number(
    visit: Any, content: dict[str, Any]
) -> None:
    page = visit(content, "layers")
    canvas = page.locator(".level-maps").nth(2)
    canvas.scroll_into_view_if_needed()
    canvas.click(position={"x": 40, "y": 12})
    until(page, "document.querySelector('.microscope h3').textContent")
    shown = page.locator(".micro-sentence").first.inner_text().replace("\u2212", "-")
    terms, total = shown.split("adds")[1].split("=")
    products = [np.prod([float(f) for f in term.split("·")]) for term in terms.split("+")]
    lit = page.locator(".micro-kernel td.lit").all_inner_texts()
    assert len(lit) == len(products)
    assert abs(sum(products) - float(total)) < 0.02 * len(products)
    # every sum of the layer by PyTorch: what all channels add, with the bias, is the number
    whole = page.locator(".micro-sentence").nth(1).inner_text().replace("\u2212", "-")
    numbers = [float(word) for word in re.findall(r"-?\d+(?:\.\d+)?", whole)]
    row, col = int(numbers[-2]), int(numbers[-1])
    maps = [torch.tensor(m) for m in page.evaluate("gan.last.maps.map(map => [...map])")]
    tensors, layer = unpacked(content["generator"]), content["generator"]["layers"][1]
    shapes = page.evaluate("gan.model.shapes")
    title = page.locator(".microscope h3").first.inner_text()
    channel = int(title.split("channel ")[1])
    expected = conv_transpose2d(
        maps[1].view(1, *shapes[1]),
        tensors["layers.1.weight"],
        tensors["layers.1.bias"],
        layer["stride"],
        layer["padding"],
        layer["output_padding"],
    )[0, channel, row, col]
    assert abs(numbers[-3] - max(0, float(expected))) <= 0.011
    after = maps[2].view(*shapes[2])[channel, row, col]
    torch.testing.assert_close(after, expected.relu(), atol=1e-4, rtol=1e-4)


def test_sources_and_stamps_are_those_of_the_gradient(context: Any) -> None:
    weight = torch.randn(1, 1, 5, 4)
    setting = {"stride": [2, 3], "padding": [1, 2]}
    x = torch.zeros(1, 1, 4, 3, requires_grad=True)
    out = conv_transpose2d(x, weight, None, **setting)
    source = base64.b64encode(Path("gan/page/layers_math.js").read_bytes()).decode()
    script = """async ([source, layer, inShape, outShape]) => {
        const math = await import("data:text/javascript;base64," + source);
        const each = ([, h, w], f) => Array.from({ length: h * w }, (_, i) =>
            f(Math.floor(i / w), i % w));
        return [each(outShape, (y, x) => math.sourcesOf(layer, inShape, y, x)),
                each(inShape, (y, x) => math.stampOf(layer, outShape, y, x))]; }"""
    layer = {**setting, "kernel": {"shape": list(weight.shape)}}
    page = context.new_page()
    shapes = [list(x.shape[1:]), list(out.shape[1:])]
    sources, stamps = page.evaluate(script, [source, layer, *shapes])
    page.close()
    jacobian = torch.stack([
        torch.autograd.grad(value, x, retain_graph=True)[0].flatten() for value in out.flatten()
    ])  # fmt: skip
    found = torch.zeros_like(jacobian)
    for i, pairs in enumerate(sources):
        for pair in pairs:
            found[i, pair["row"] * 3 + pair["col"]] = weight[0, 0, pair["ty"], pair["tx"]]
    assert torch.equal(found, jacobian)
    by_stamps = torch.zeros_like(jacobian)
    for j, stamp in enumerate(stamps):
        for tap in stamp:
            row = tap["y"] * out.shape[-1] + tap["x"]
            by_stamps[row, j] = weight[0, 0, tap["ty"], tap["tx"]]
    assert torch.equal(by_stamps, jacobian)


def test_channel_that_is_off_draws_nothing(visit: Any, content: dict[str, Any]) -> None:
    page = visit(content, "layers")
    page.get_by_role("button", name="switches the channel off").click()
    page.locator(".level-maps").nth(1).click(position={"x": 8, "y": 8})
    until(page, "gan.last.whole")
    maps = torch.tensor(page.evaluate("[...gan.last.maps[1]]"))
    assert (maps.view(page.evaluate("gan.model.shapes[1]"))[0] == 0).all()
    page.get_by_role("button", name="All channels on").click()
    until(page, "!gan.last.whole")


def test_number_of_a_channel_that_is_off_is_explained(visit: Any, content: dict[str, Any]) -> None:
    page = visit(content, "layers")
    page.get_by_role("button", name="switches the channel off").click()
    page.locator(".level-maps").nth(1).click(position={"x": 8, "y": 8})
    until(page, "gan.last.whole")
    page.locator(".level-maps").nth(1).hover(position={"x": 8, "y": 8})
    page.get_by_text("the channel is off, so it is 0.000 at").wait_for()


def test_image_in_the_microscope_is_black_where_it_is_minus_1(
    visit: Any, content: dict[str, Any]
) -> None:
    page = visit(content, "layers")
    page.locator(".level-maps").last.hover(position={"x": 8, "y": 8})
    until(page, "document.querySelector('.micro-output')")
    script = """() => {
        const canvas = document.querySelector(".micro-output");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const side = canvas.width / gan.model.shapes.at(-1)[2];
        const [x, y] = [canvas.width - side / 2, canvas.height - side / 2].map(Math.floor);
        return [...pixels.slice(4 * (y * canvas.width + x), 4 * (y * canvas.width + x) + 3)]; }"""
    shape = page.evaluate("gan.model.shapes.at(-1)")
    value = page.evaluate(f"gan.last.maps.at(-1)[{shape[1] * shape[2] - 1}]")
    assert page.evaluate(script) == pytest.approx([127.5 * (value + 1)] * 3, abs=1)


def test_a_link_works_again_after_the_setting_has_changed(
    visit: Any, content: dict[str, Any]
) -> None:
    page = visit(content, "layers")
    link = page.locator("#layers a[href^='#operation']").first
    for _ in range(2):
        link.click()
        field = page.locator("#operation input").nth(1)
        kernel = field.input_value()
        field.fill("1")
    assert kernel != "1"


def test_another_section_ends_the_walk(visit: Any, content: dict[str, Any]) -> None:
    page = visit(content)
    page.get_by_role("button", name="Walk", exact=True).click()
    before = page.evaluate("[...gan.point.z].join()")
    until(page, "z => [...gan.point.z].join() !== z", before)
    page.evaluate("gan.setPoint({ z: gan.point.z.map(() => 0.5) })")
    page.get_by_role("button", name="Walk", exact=True).wait_for()
    assert set(page.evaluate("[...gan.point.z]")) == {0.5}


def test_an_export_dropped_during_a_walk_is_drawn(
    visit: Any, content: dict[str, Any], tmp_path: Path
) -> None:
    train(tiny_config(tmp_path, model={"z_dim": 4}), tmp_path / "run", "cpu")
    file = tmp_path / "small.safetensors"
    assert gan("export", tmp_path / "run", "--out", file).exit_code == 0
    page = visit(content)
    page.get_by_role("button", name="Walk", exact=True).click()
    page.locator("#drop input").set_input_files(file)
    page.get_by_text("Reload it to go back").wait_for()
    until(page, "gan.last && gan.last.point.z.length === 4")


def test_dropped_export_replaces_the_generator(
    visit: Any, content: dict[str, Any], tiny_run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine <b>.safetensors"
    assert gan("export", tiny_run, "--out", file).exit_code == 0
    page = visit(content)
    page.locator("#drop input").set_input_files(file)
    page.get_by_text("Reload it to go back").wait_for()
    assert page.locator("#about strong").inner_text() == file.name
    assert not page.locator("#digit").is_visible()
    assert not page.locator("#training").is_visible()
    header = file.read_bytes()[8:]
    description = json.loads(json.loads(header[: header.index(b"}}") + 2])["__metadata__"]["gan"])
    import safetensors.torch

    tensors = safetensors.torch.load_file(file)
    z = torch.randn(3, 8)
    expected = [generated(tensors, description["layers"], each, 0).flatten() for each in z]
    torch.testing.assert_close(drawn(page, z, [0] * 3), torch.stack(expected), atol=1e-5, rtol=0)


def damaged(good: bytes) -> dict[str, bytes]:
    """Files that are not, or no longer, exports."""
    length = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + length])
    body = good[8 + length :]

    def rebuilt(change: Any, body: bytes = body) -> bytes:
        other = json.loads(json.dumps(header))
        description = json.loads(other["__metadata__"]["gan"])
        change(other, description)
        other["__metadata__"]["gan"] = json.dumps(description)
        text = json.dumps(other).encode()
        return struct.pack("<Q", len(text)) + text + body

    first = "layers.0.weight"
    return {
        "empty": b"",
        "text": b"hello, this is no file of weights",
        "header too long": struct.pack("<Q", 1 << 60) + good[8:],
        "cut": good[: len(good) // 2],
        "no description": struct.pack("<Q", 2) + b"{}" + body,
        "tensor missing": rebuilt(lambda h, d: h.pop(first)),
        "shape": rebuilt(lambda h, d: h[first]["shape"].reverse()),
        "offsets": rebuilt(lambda h, d: h[first].update(data_offsets=[0, 1 << 40])),
        "stride": rebuilt(lambda h, d: d["layers"][1].update(stride=[10**9, 10**9])),
        "padding": rebuilt(lambda h, d: d["layers"][1].update(padding=["1", None])),
        "activation": rebuilt(lambda h, d: d["layers"][0].update(activation="eval")),
        "layers": rebuilt(lambda h, d: d.update(layers=None)),
        "image": rebuilt(lambda h, d: d.update(image_shape=[3, 4096, 4096])),
        "classes": rebuilt(lambda h, d: d.update(classes=[{}])),
        "more classes": rebuilt(lambda h, d: d.update(classes=["a"] * 3)),
        "null": rebuilt(lambda h, d: (h.update({first: None}), d.clear())),
        "format": rebuilt(lambda h, d: d.update(format=9)),
        "overlapping": rebuilt(lambda h, d: h.update({f"more{i}": h[first] for i in range(99)})),
        "not finite": rebuilt(lambda h, d: None, struct.pack("<f", float("nan")) + body[4:]),
    }


def test_foreign_and_damaged_files_get_one_sentence(
    visit: Any, content: dict[str, Any], tiny_run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "good.safetensors"
    assert gan("export", tiny_run, "--out", file).exit_code == 0
    page = visit(content)
    field = page.locator("#drop input")
    for name, data in damaged(file.read_bytes()).items():
        named = {"name": f"{name} {HOSTILE}", "mimeType": "", "buffer": data}
        page.locator("#drop input").set_input_files(named)
        page.get_by_text(f"{name} {HOSTILE}").wait_for()
        until(page, "!document.querySelector('#drop').innerText.includes('Reading')")
        sentence = page.locator("#drop [role=status]").inner_text()
        assert sentence.startswith(f"{name} {HOSTILE} "), name
        assert "unchanged" in sentence or "another version" in sentence, name
        assert page.evaluate("gan.model.name") == content["name"], name
    assert field.count() == 1


def test_names_are_text_and_never_markup(visit: Any, content: dict[str, Any]) -> None:
    classes = [f"{HOSTILE}{i}" for i in range(2)]
    generator = {**content["generator"], "classes": classes}
    page = visit({**content, "name": HOSTILE, "generator": generator, "source": "constructor"})
    assert page.locator("#about strong").inner_text() == HOSTILE
    assert page.locator(".play-labels button").first.inner_text() == classes[0]
    assert page.locator("img[src=x]").count() == 0
    assert HOSTILE in page.title()


def test_policy_forbids_the_network_and_other_scripts(
    context: Any, content: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    file.write_text(page_of(content), encoding="utf-8")
    page = context.new_page()
    page.goto(file.as_uri())
    script = """async () => {
        const violated = [];
        addEventListener("securitypolicyviolation", (e) => violated.push(e.effectiveDirective));
        const image = new Image();
        image.src = "http://127.0.0.1:9/x.png";
        const script = document.createElement("script");
        script.textContent = "window.wasRun = true";
        document.body.append(script);
        await fetch("http://127.0.0.1:9/").catch(() => {});
        try { new Worker("data:text/javascript,0"); } catch {}
        for (let i = 0; i < 10_000 && violated.length < 3; i++)
          await new Promise((resolve) => setTimeout(resolve, 20));
        return [violated.sort(), window.wasRun]; }"""
    violated, was_run = page.evaluate(script)
    page.close()
    assert was_run is None
    assert {"connect-src", "img-src", "script-src-elem"} <= set(violated)


def test_links_open_a_section_with_its_settings_and_language(
    visit: Any, content: dict[str, Any]
) -> None:
    page = visit(content, "operation?n=3&k=4&s=2&p=1&lang=zh")
    page.locator("#operation .op-stage").wait_for()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    assert page.locator(".op-slider-k input").input_value() == "4"
    until(page, "scrollY > 300")


def test_page_of_a_checkpoint_has_no_training(visit: Any, run: Path) -> None:
    checkpoint = next((run / "checkpoints").glob("step_*.pt"))
    page = visit(content_of(checkpoint, checkpoint.with_suffix(".html")))
    assert not page.locator("#training").is_visible()
    assert page.locator("#digit").is_visible()


def test_ready_page_is_small_and_has_the_code_of_this_version() -> None:
    def code(page: str) -> str:
        return re.sub(r'(id="content">).*?(</script>)', r"\1\2", page, flags=re.DOTALL)

    ready = Path("docs/page/index.html").read_text(encoding="utf-8")
    assert len(ready.encode()) < 2_500_000
    assert code(ready) == code(page_of({})), "run gan page mnist --out docs/page/index.html --force"


@pytest.mark.parametrize("width", [390, 768, 1200])
def test_page_fits_the_width_of_a_screen(visit: Any, content: dict[str, Any], width: int) -> None:
    page = visit(content)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_text_is_in_both_languages(visit: Any, content: dict[str, Any]) -> None:
    page = visit(content)
    texts = page.evaluate("gan.strings")
    assert len(texts) > 100
    for key, languages in texts.items():
        assert set(languages) == {"en", "zh"}, key
        assert all(languages.values()), key


def test_command_writes_the_same_page_again(run: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    done = gan("page", run, "--out", first)
    assert done.exit_code == 0
    assert done.output == f"{first}: {first.stat().st_size:,} bytes\n"
    assert gan("page", run, "--out", second).exit_code == 0
    assert first.read_bytes() == second.read_bytes()
    assert gan("page", run, "--out", first).exit_code == 2
    assert gan("page", run, "--out", tmp_path / "page.txt").exit_code == 2


def test_generator_with_other_layers_is_refused_and_nothing_written(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, model={"upsample": "resize"}, train={"num_steps": 1})
    train(cfg, tmp_path / "run", "cpu")
    done = gan("page", tmp_path / "run", "--out", tmp_path / "page.html")
    assert done.exit_code == 2
    assert "model.upsample is resize" in done.output
    assert not (tmp_path / "page.html").exists()
