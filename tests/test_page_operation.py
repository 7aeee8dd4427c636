"""The section "The operation" of the page, in a real browser, against PyTorch."""

import itertools
import json
import random
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.conftest import BROWSER_MS

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("needs a browser: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs: python -m pip install playwright"
)

PAGE = Path(__file__).parent.parent / "gan" / "page"
MODULES = ("math", "grid", "light", "player", "stage", "views", "controls", "strings")
BOUNDS = {"n": (1, 5), "k": (1, 6), "s": (1, 4), "p": (0, 4), "op": (0, 3), "d": (1, 3)}


def random_setting(draw: random.Random) -> dict[str, int]:
    return {name: draw.randint(*bounds) for name, bounds in BOUNDS.items()}


def transposed(x: Any, kernel: Any, setting: dict[str, int]) -> Tensor:
    """PyTorch's result (out, out); raises RuntimeError for a setting that PyTorch refuses."""
    x, kernel = torch.as_tensor(x).float(), torch.as_tensor(kernel).float()
    return functional.conv_transpose2d(
        x[None],
        kernel[None, None],
        stride=setting["s"],
        padding=setting["p"],
        output_padding=setting["op"],
        dilation=setting["d"],
    )[0]


def is_refused(setting: dict[str, int]) -> bool:
    n, k = setting["n"], setting["k"]
    try:
        return transposed(torch.ones(n, n), torch.ones(k, k), setting).numel() == 0
    except RuntimeError:
        return True


def shell() -> str:
    """A page with nothing but the section."""
    imports = {}
    for name in ("dom", "operation", *(f"operation_{part}" for part in MODULES)):
        text = (PAGE / f"{name}.js").read_text(encoding="utf-8")
        text = re.sub(r'from "\./(\w+)\.js"', r'from "\1"', text)
        imports[name] = "data:text/javascript;base64," + b64encode(text.encode()).decode()
    css = (PAGE / "operation.css").read_text(encoding="utf-8")
    return f"""<!doctype html><meta charset="utf-8"><style>{css}</style>
    <script type="importmap">{json.dumps({"imports": imports})}</script>
    <section id="operation"></section>
    <script type="module">
    import {{ mount }} from "operation";
    import {{ strings }} from "operation_strings";
    import * as math from "operation_math";
    Object.assign(window, {{ math, strings, callbacks: [], lang: "en" }});
    mount(document.getElementById("operation"), {{
      t: (key) => strings[key][lang],
      language: () => lang,
      onLanguage: (callback) => callbacks.push(callback),
      query: location.hash.split("?")[1],
    }});
    window.speak = (language) => {{ window.lang = language; callbacks.forEach((call) => call()); }};
    </script>"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(shell(), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"],
                                            timeout=BROWSER_MS)  # fmt: skip
        context = browser.new_context(reduced_motion="reduce")
        context.set_default_timeout(BROWSER_MS)
        yield context
        browser.close()


class Section:
    """The section, as a reader sees it and acts on it."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def map(self, kind: str) -> Tensor:
        """The numbers shown on the stage; of the output, only what padding keeps."""
        rows = self.page.eval_on_selector_all(
            f".op-stage .op-{kind} tr",
            """rows => rows.map(row => [...row.cells]
                 .filter(cell => !cell.classList.contains("op-cropped"))
                 .map(cell => (cell.querySelector("input") ?? cell.firstChild))
                 .map(node => node.value ?? node.textContent))""",
        )
        return torch.tensor([[number(text) for text in row] for row in rows if row])

    def slide(self, **setting: int) -> None:
        for name, value in setting.items():
            self.page.locator(f".op-slider-{name} input").fill(str(value))

    def setting(self) -> dict[str, int]:
        return {
            name: int(self.page.locator(f".op-slider-{name} input").input_value())
            for name in BOUNDS
        }

    def cell(self, kind: str, row: int, col: int) -> Any:
        where = f"[data-row='{row}'][data-col='{col}']"
        return self.page.locator(f".op-stage .op-{kind} td{where}")

    def lit(self, kind: str, area: str = ".op-stage") -> set[tuple[int, int]]:
        found = self.page.eval_on_selector_all(
            f"{area} .op-{kind} td.op-lit",
            "cells => cells.map(cell => [Number(cell.dataset.row), Number(cell.dataset.col)])",
        )
        return {(row, col) for row, col in found}

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()


def number(text: str) -> float:
    return float(text.replace("\u2212", "-"))


@pytest.fixture
def visit(context: Any, address: str) -> Iterator[Any]:
    """Opens the section at a query; fails if the console reports an error."""
    errors: list[str] = []
    pages = []

    def open_at(query: str = "") -> Section:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        page.goto(f"{address}#operation?{query}")
        page.wait_for_selector(".op-stage .op-output td")
        pages.append(page)
        return Section(page)

    yield open_at
    for page in pages:
        page.close()
    assert errors == []


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    draw = random.Random(0)
    valid = [s for s in (random_setting(draw) for _ in range(120)) if not is_refused(s)][:40]
    # padding beyond the kernel's reach; output padding that adds a window
    valid += [dict(n=4, k=2, s=2, p=2, op=0, d=1), dict(n=2, k=3, s=1, p=0, op=2, d=3)]
    return [
        {
            "setting": setting,
            "x": torch.randn(setting["n"], setting["n"]).tolist(),
            "kernel": torch.randn(setting["k"], setting["k"]).tolist(),
        }
        for setting in valid
    ]


@pytest.fixture(scope="module")
def computed(context: Any, address: str, cases: list) -> list[dict[str, list]]:
    page = context.new_page()
    page.goto(address)
    page.wait_for_function("window.math")
    script = """cases => cases.map(({ x, kernel, setting }) => ({
        sum_of_copies: math.crop(math.addCopies(x, kernel, setting), setting),
        matrix: math.byMatrix(x, kernel, setting),
        spread: math.insertZeros(x, setting),
    }))"""
    results = page.evaluate(script, cases)
    page.close()
    return results


def test_each_way_to_compute_equals_pytorch(cases: list, computed: list) -> None:
    assert len(cases) >= 30
    for case, results in zip(cases, computed, strict=True):
        expected = transposed(case["x"], case["kernel"], case["setting"])
        for result in (results["sum_of_copies"], results["matrix"]):
            torch.testing.assert_close(torch.tensor(result).float(), expected, atol=1e-4, rtol=0)
        flipped = torch.tensor(case["kernel"]).flip(0, 1)[None, None]
        spread = torch.tensor(results["spread"]).float()[None, None]
        convolved = functional.conv2d(spread, flipped, dilation=case["setting"]["d"])[0, 0]
        torch.testing.assert_close(convolved, expected, atol=1e-4, rtol=0)


def test_exactly_the_settings_that_pytorch_refuses_are_invalid(visit: Any) -> None:
    draw = random.Random(1)
    settings = [random_setting(draw) for _ in range(300)]
    found = visit().page.evaluate("s => s.map(each => math.problem(each) !== null)", settings)
    expected = [is_refused(setting) for setting in settings]
    assert set(expected) == {True, False}
    assert found == expected


def test_first_picture_is_the_example_of_the_lesson(visit: Any) -> None:
    section = visit()
    assert section.map("input").tolist() == section.map("kernel").tolist() == [[0, 1], [2, 3]]
    assert section.map("output").tolist() == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]
    captions = section.page.locator(".op-stage caption").all_inner_texts()
    assert captions == ["input 2 × 2", "kernel 2 × 2", "output 3 × 3"]


def test_sliders_and_typed_numbers_change_the_output(visit: Any) -> None:
    section = visit()
    section.slide(n=3, k=4, s=2, p=1)
    setting = section.setting()
    assert setting == {"n": 3, "k": 4, "s": 2, "p": 1, "op": 0, "d": 1}
    section.cell("input", 1, 1).locator("input").fill("-2.5")
    section.cell("kernel", 0, 3).locator("input").fill("7")
    x, kernel = section.map("input"), section.map("kernel")
    assert (x[1, 1], kernel[0, 3]) == (-2.5, 7)
    torch.testing.assert_close(section.map("output"), transposed(x, kernel, setting))
    assert section.text(".op-formula").endswith("= (3 − 1) · 2 + 1 · (4 − 1) + 1 − 2 · 1 + 0 = 6")


def test_text_that_is_no_number_is_reported_and_changes_nothing(visit: Any) -> None:
    section = visit()
    before = section.map("output")
    for text in ("", "x", "100", "1e99"):
        section.cell("input", 0, 1).locator("input").fill(text)
        assert f"“{text}” is not a number" in section.text(".op-trouble")
        assert torch.equal(section.map("output"), before)
    section.cell("input", 0, 1).locator("input").fill("1")
    assert section.text(".op-trouble") == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"op": 1}, "Output padding 1 must be smaller than the stride (1) or the dilation (1)"),
        ({"p": 2}, "The output would have −1 rows"),
    ],
)
def test_invalid_setting_says_why_and_keeps_the_picture(
    visit: Any, change: dict[str, int], reason: str
) -> None:
    section = visit()
    before = section.map("output")
    section.slide(**change)
    assert reason in section.text(".op-trouble")
    assert "still shows n2 k2 s1 p0 op0 d1" in section.text(".op-trouble")
    assert torch.equal(section.map("output"), before)
    section.cell("input", 0, 1).locator("input").fill("3")  # the settings stay invalid
    assert reason in section.text(".op-trouble")
    section.slide(**dict.fromkeys(change, 0))
    assert section.text(".op-trouble") == ""


def test_steps_add_one_copy_after_another(visit: Any) -> None:
    section = visit("n=2&k=3&s=2&p=1&view=zeros")
    x, kernel, setting = section.map("input"), section.map("kernel"), section.setting()
    section.press("Start")
    whole = section.page.locator(".op-panel .op-output td").all_inner_texts()
    assert list(map(number, whole)) == transposed(x, kernel, setting).flatten().tolist()
    for count in range(1, 5):
        section.press("Step")
        section.page.locator(".op-flying").first.wait_for(state="detached")
        assert f"Copy {count} of 4" in section.text(".op-narration")
        some = torch.where(torch.arange(4).view(2, 2) < count, x, 0)
        torch.testing.assert_close(section.map("output"), transposed(some, kernel, setting))
    section.press("Back")
    without_last = x * torch.tensor([[1, 1], [1, 0]])
    torch.testing.assert_close(section.map("output"), transposed(without_last, kernel, setting))
    section.press("End")
    torch.testing.assert_close(section.map("output"), transposed(x, kernel, setting))
    assert "padding has removed a frame of 1" in section.text(".op-narration")


def test_play_runs_to_the_end_and_can_be_paused(visit: Any) -> None:
    section = visit("n=5&k=2")  # 25 copies take longer than a click, even on a slow machine
    section.press("Play")
    section.press("Pause")
    assert section.page.get_by_role("button", name="Play").is_visible()
    section = visit("n=1&k=2")
    section.press("Play")
    section.page.get_by_text("Every copy is added.").wait_for()
    section.page.get_by_role("button", name="Play").wait_for()


@pytest.mark.parametrize("query", ["n=3&k=4&s=2&p=1", "n=2&k=3&s=1&d=2", "n=3&k=2&s=3&p=1&op=2"])
def test_pointing_at_an_output_element_lights_what_feeds_it(visit: Any, query: str) -> None:
    section = visit(query)
    setting = section.setting()
    p = setting["p"]
    x = section.map("input").requires_grad_()
    kernel = section.map("kernel").requires_grad_()
    output = transposed(torch.ones_like(x) * x, kernel, setting)
    row, col = len(output) // 2, len(output) // 2 - 1
    section.cell("output", row + p, col + p).hover()
    # a product x * w feeds the element if its second derivative is not 0
    by_x = torch.autograd.grad(output[row, col], x, create_graph=True, allow_unused=True)[0]
    inputs = {at for at in grid(x) if hessian_row(by_x[at], kernel).any()}
    taps = {at for at in grid(kernel) if any(hessian_row(by_x[i], kernel)[at] for i in inputs)}
    assert (section.lit("input"), section.lit("kernel")) == (inputs, taps)
    words = section.text(".op-sentence")
    assert words.startswith(f"output ({row}, {col}) = ")
    assert number(words.split(" = ")[-1].split(":")[0]) == output[row, col].item()
    factors = re.findall(r"(\d+)\s*·\s*(\d+)", words)
    assert sum(int(a) * int(b) for a, b in factors) == output[row, col].item()
    assert len(factors) == len(inputs) == len(taps)


def grid(map_: Tensor) -> list[tuple[int, int]]:
    return list(itertools.product(range(map_.shape[0]), range(map_.shape[1])))


def hessian_row(first: Tensor, kernel: Tensor) -> Tensor:
    grads = torch.autograd.grad(first, kernel, retain_graph=True, allow_unused=True)[0]
    return torch.zeros_like(kernel) if grads is None else grads != 0


def test_pointing_at_an_input_element_shows_its_copy(visit: Any) -> None:
    section = visit("n=3&k=2&s=2&d=3")
    one = torch.zeros(3, 3)
    one[1, 2] = 1
    copy = transposed(one, torch.ones(2, 2), section.setting())
    section.cell("input", 1, 2).hover()
    assert section.lit("output") == {tuple(at) for at in copy.nonzero().tolist()}
    assert "input (1, 2)" in section.text(".op-sentence")


def test_largest_maps_fit_a_phone(visit: Any) -> None:
    page = visit("n=5&k=6&s=4&op=3&d=3&view=zeros").page
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= 390")


def test_tapped_element_stays_lit_and_typing_reaches_the_field_below(
    context: Any, address: str
) -> None:
    phone = context.browser.new_context(has_touch=True, viewport={"width": 390, "height": 800})
    section = Section(phone.new_page())
    section.page.goto(address)
    section.cell("output", 1, 1).tap()
    assert section.text(".op-sentence").startswith("output (1, 1)")
    section.cell("input", 0, 1).locator("input").tap()
    section.page.keyboard.press("ArrowDown")
    section.page.keyboard.type("5")
    assert section.map("input").tolist() == [[0, 1], [2, 5]]
    phone.close()


def test_arrow_keys_move_through_the_output(visit: Any) -> None:
    section = visit()
    section.page.locator(".op-stage .op-output td[tabindex='0']").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        section.page.keyboard.press(key)
    assert section.text(".op-sentence").startswith("output (1, 1)")


def test_views_follow_the_pointed_element(visit: Any) -> None:
    section = visit("n=2&k=3&s=2&p=1&op=1")
    page = section.page
    section.cell("output", 2, 2).hover()  # the output's (1, 1), for padding 1
    lit = page.locator(".op-matrix tbody tr.op-lit")
    assert lit.locator("th").inner_text() == "1, 1"
    row = [number(text) for text in lit.locator("td.op-tap").all_inner_texts()]
    total = sum(map(number, re.findall(r"·\s*(\d+)", section.text(".op-sentence"))))
    assert sum(row) == total
    page.get_by_role("tab", name="Zero insertion").click()
    section.cell("output", 2, 2).hover()
    assert page.locator(".op-spread td.op-window").count() == 9
    assert section.lit("spread", "") == {(1, 1), (1, 3), (3, 1), (3, 3)}
    page.get_by_role("tab", name="Overlap").click()
    assert "Stride 2 does not divide kernel 3" in section.text(".op-panel")
    ones = transposed(torch.ones(2, 2), torch.ones(3, 3), section.setting())
    shown = page.locator(".op-panel .op-output td:not(.op-cropped)").all_inner_texts()
    assert [int(text) for text in shown] == ones.flatten().tolist()


def test_zero_insertion_names_every_row_of_its_map(visit: Any) -> None:
    section = visit("n=4&k=5&s=2&p=2&op=1&view=zeros")
    text = section.text(".op-panel")
    assert "(kernel − 1) − padding = 2)" in text and "Output padding adds 1 below" in text
    assert "12 × 12" in text  # 4 elements, 3 zeros between them, 2 on each side, 1 more


@pytest.mark.parametrize("query", ["n=2&k=2", "n=2&k=3&s=2&p=1&op=1", "n=2&k=2&s=2&op=2&d=3"])
def test_pytorch_code_of_the_page_computes_the_output_of_the_page(
    visit: Any, query: str, capsys: pytest.CaptureFixture[str]
) -> None:
    section = visit(f"{query}&view=gradient")
    exec(section.text(".op-panel code"), {})
    by_gradient, directly = re.split(r"\n(?=tensor)", capsys.readouterr().out.strip())
    assert by_gradient == directly
    numbers = [float(text) for text in re.findall(r"-?\d+\.", directly)]
    assert numbers == section.map("output").flatten().tolist()


def test_link_keeps_settings_and_view(visit: Any) -> None:
    link = visit("n=3&k=4&s=2&p=1&view=overlap").page.locator(".op-controls a")
    section = visit(link.get_attribute("href").split("?")[1])
    assert section.setting() == {"n": 3, "k": 4, "s": 2, "p": 1, "op": 0, "d": 1}
    assert section.page.locator("[aria-selected='true']").inner_text() == "Overlap"


def links_of(lesson: str) -> list[str]:
    text = (PAGE.parent.parent / "docs" / lesson).read_text(encoding="utf-8")
    return re.findall(r"\(page/index\.html#operation\?([^)]+)\)", text)


def test_links_of_the_lesson_open_valid_settings(visit: Any) -> None:
    links = links_of("transposed_convolution.md")
    assert len(links) == 10
    assert links == links_of("transposed_convolution.zh-CN.md")
    section = visit()
    for link in links:
        section.page.evaluate(
            """query => new Promise(resolve => {
                 addEventListener("hashchange", resolve, { once: true });
                 location.hash = `operation?${query}`; })""",
            link,
        )
        asked = dict(pair.split("=") for pair in link.split("&"))
        view = asked.pop("view", "matrix")
        assert section.page.locator(f"#op-tab-{view}").get_attribute("aria-selected") == "true"
        wanted = {"op": 0, "d": 1} | {name: int(value) for name, value in asked.items()}
        assert section.setting() == wanted
        assert section.text(".op-trouble") == ""


@pytest.mark.parametrize("query", ["n=99&k=x&s=-1&p=0.5", "n=<b>&view=__proto__", "op=3&p=4"])
def test_link_out_of_bounds_keeps_the_example(visit: Any, query: str) -> None:
    section = visit(query)
    assert section.map("output").tolist() == [[0, 0, 1], [0, 4, 6], [4, 12, 9]]


def test_language_changes_every_text_and_no_number(visit: Any) -> None:
    section = visit("n=3&k=3&s=2&view=matrix")
    before = section.map("output")
    section.page.evaluate("speak('zh')")
    assert torch.equal(section.map("output"), before)
    assert section.setting()["n"] == 3
    words = section.text("#operation")
    assert not re.findall(r"\b(input|output|kernel size|copy|Step)\b", words)
    strings = section.page.evaluate("strings")
    for key, texts in strings.items():
        assert set(texts) == {"en", "zh"}, key
        assert names(texts["en"]) == names(texts["zh"]), key


def names(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))
