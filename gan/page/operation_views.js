// The four views below the stage: matrix, zero insertion, gradient, overlap.

import * as math from "./operation_math.js";
import { element, fill } from "./dom.js";
import { makeGrid, number } from "./operation_grid.js";
import { allowOneRow, caption, looks, pointable } from "./operation_stage.js";
import { pairs } from "./operation_light.js";

const LARGEST_TABLE = 600; // entries of a matrix that is shown with its numbers
const ONES = 8; // size of the map that shows the pattern of overlaps

export const VIEWS = {
  matrix: makeMatrix,
  zeros: makeZeroInsertion,
  gradient: makeGradient,
  overlap: makeOverlap,
};

function paragraph(text) {
  return element("p", {}, text);
}

function row(...nodes) {
  return element("div", { className: "op-row" }, ...nodes);
}

// A picture of a map without numbers: one path for each value, the stronger the larger.
function picture(map, { kind, label }) {
  const [height, width] = [map.length, map[0].length];
  const paths = new Map();
  map.forEach((line, y) =>
    line.forEach((value, x) => {
      if (value !== null) paths.set(value, `${paths.get(value) ?? ""}M${x} ${y}h1v1h-1z`);
    }),
  );
  const largest = Math.max(1e-9, ...[...paths.keys()].map(Math.abs));
  const svg = vector("svg", {
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none",
    class: `op-picture op-${kind}`,
    role: "img",
    "aria-label": label,
  });
  for (const [value, d] of paths) {
    svg.append(vector("path", { d, opacity: 0.12 + (0.88 * Math.abs(value)) / largest }));
  }
  return svg;
}

function vector(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function makeMatrix(app) {
  const holder = element("div");
  let shown;
  return {
    node: element("div", {}, paragraph(app.t("op_matrix_text")), holder),
    build() {
      const { n } = app.state.setting;
      const isSmall = app.size ** 2 * n * n <= LARGEST_TABLE;
      shown = isSmall ? matrixTable(app) : matrixPicture(app);
      holder.replaceChildren(shown.node);
    },
    paint: () => shown.paint(),
  };
}

function matrixCaption(app) {
  const parts = { rows: app.size ** 2, cols: app.state.setting.n ** 2 };
  return fill(app.t("op_matrix_caption"), parts).join("");
}

function matrixBox(...nodes) {
  return element("div", { className: "op-scroll op-matrix-box", tabIndex: 0 }, ...nodes);
}

function matrixTable(app) {
  const { n, p } = app.state.setting;
  const heads = pairs(n).map(([i, j]) => {
    const name = element("th", { scope: "col", className: "op-text-input" }, `${i}, ${j}`);
    const value = element("td", { className: "op-text-input" });
    name.onpointerover = () => app.point({ kind: "input", row: i, col: j });
    return { name, value };
  });
  const times = element("th", { scope: "row" }, app.t("op_times"));
  const result = element("th", { scope: "col", className: "op-text-output" }, app.t("op_output"));
  const head = element("thead", {},
    element("tr", {}, element("td"), ...heads.map(({ name }) => name), result),
    element("tr", {}, times, ...heads.map(({ value }) => value), element("td")),
  );
  const lines = pairs(app.size).map(([r, c]) => {
    const name = element("th", { scope: "row", className: "op-text-output" }, `${r}, ${c}`);
    const taps = heads.map(() => element("td"));
    const sum = element("td", { className: "op-text-output" });
    const node = element("tr", {}, name, ...taps, sum);
    node.onpointerover = () => app.point({ kind: "full", row: r + p, col: c + p });
    return { node, taps, sum, r, c };
  });
  const title = element("caption", {}, matrixCaption(app));
  const body = element("tbody", {}, ...lines.map(({ node }) => node));
  const table = element("table", { className: "op-matrix" }, title, head, body);
  table.onpointerleave = (event) => event.pointerType === "mouse" && app.point(null);
  return { node: matrixBox(table), paint: () => paintMatrix(app, heads, lines) };
}

function paintMatrix(app, heads, lines) {
  const { x, kernel, setting } = app.state;
  const { target } = app;
  const matrix = math.transpose(math.convolutionMatrix(kernel, setting));
  const values = math.byMatrix(x, kernel, setting);
  const column = target?.kind === "input" ? target.row * setting.n + target.col : -1;
  heads.forEach(({ name, value }, index) => {
    value.textContent = number(x.flat()[index]);
    name.classList.toggle("op-lit", index === column);
  });
  for (const [index, { node, taps, sum, r, c }] of lines.entries()) {
    const isPointed = target?.kind === "full" && target.row === r + setting.p;
    const isLit = isPointed && target.col === c + setting.p;
    node.classList.toggle("op-lit", isLit);
    if (isLit) bringIntoView(node);
    sum.textContent = `= ${number(values[r][c])}`;
    taps.forEach((cell, at) => {
      const tap = matrix[index][at];
      cell.textContent = tap === null ? "·" : number(tap);
      cell.className = tap === null ? "op-no-tap" : "op-tap";
      cell.classList.toggle("op-lit", at === column);
    });
  }
}

// Scrolls the box around the matrix, never the page.
function bringIntoView(line) {
  const box = line.closest(".op-scroll");
  if (box.matches(":hover")) return;
  const [outer, inner] = [box.getBoundingClientRect(), line.getBoundingClientRect()];
  if (inner.top < outer.top) box.scrollTop += inner.top - outer.top;
  if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom;
}

function matrixPicture(app) {
  const holder = matrixBox();
  const note = paragraph(app.t("op_matrix_large"));
  const pointAt = (event) => {
    const { p } = app.state.setting;
    const box = holder.firstChild.getBoundingClientRect();
    const index = Math.floor(((event.clientY - box.top) / box.height) * app.size ** 2);
    const [r, c] = [Math.floor(index / app.size), index % app.size];
    if (r >= 0 && r < app.size) app.point({ kind: "full", row: r + p, col: c + p });
  };
  holder.onpointermove = pointAt;
  holder.onpointerleave = (event) => event.pointerType === "mouse" && app.point(null);
  return {
    node: element("div", {}, paragraph(matrixCaption(app)), note, holder),
    paint() {
      const { kernel, setting } = app.state;
      const matrix = math.transpose(math.convolutionMatrix(kernel, setting));
      const svg = picture(matrix, { kind: "kernel", label: matrixCaption(app) });
      const lit = litOf(app.target, app);
      if (lit) svg.append(lit);
      svg.style.setProperty("--rows", matrix.length);
      holder.replaceChildren(svg);
      if (app.target?.kind === "full" && lit) bringIntoView(lit);
    },
  };
}

// A frame around the row of an output element, or around the column of an input element.
function litOf(target, { state, size, isKept }) {
  const { n, p } = state.setting;
  const frame = (x, y, width, height) =>
    vector("rect", { x, y, width, height, class: "op-row-lit" });
  if (target?.kind === "full" && isKept(target.row, target.col)) {
    return frame(0, (target.row - p) * size + target.col - p, n * n, 1);
  }
  return target?.kind === "input" ? frame(target.row * n + target.col, 0, 1, size * size) : null;
}

function makeZeroInsertion(app) {
  const text = element("p");
  const spread = makeGrid({
    kind: "spread",
    onPoint(r, c) {
      const at = r === null ? null : math.inputAt(r, c, app.state.setting);
      app.point(at && { kind: "input", row: at.i, col: at.j });
    },
  });
  const flipped = makeGrid({
    kind: "kernel",
    onPoint(u, v) {
      const last = app.state.setting.k - 1;
      app.point(u === null ? null : { kind: "kernel", row: last - u, col: last - v });
    },
  });
  const output = pointable("output", "full", app, { offset: () => app.state.setting.p });
  const maps = row(spread.node, flipped.node, output.node);
  return {
    node: element("div", {}, text, maps),
    build() {
      const { t } = app;
      const { setting } = app.state;
      const size = app.size + math.copySize(setting) - 1;
      text.replaceChildren(...zerosSentence(setting, t));
      spread.resize(size);
      spread.describe(fill(t("op_caption_spread"), { size }).join(""));
      flipped.resize(setting.k);
      flipped.describe(t("op_caption_flipped"));
      output.resize(app.size);
      output.describe(caption("op_caption_output", app));
      allowOneRow(maps, size + setting.k + app.size);
    },
    paint() {
      const look = looks(app, app.sum);
      const { k, p } = app.state.setting;
      spread.paint(spreadLook(app));
      flipped.paint((u, v) => look.kernel(k - 1 - u, k - 1 - v));
      output.paint((r, c) => look.full(r + p, c + p));
    },
  };
}

function zerosSentence(setting, t) {
  const frame = math.frameWidth(setting);
  const nodes = fill(t("op_zeros_text"), { gap: setting.s - 1, frame: number(frame) });
  if (frame < 0) nodes.push(" ", ...fill(t("op_zeros_crop"), { cut: -frame }));
  if (setting.op > 0) nodes.push(" ", ...fill(t("op_zeros_extra"), { op: setting.op }));
  return nodes;
}

// The window of the pointed output element is outlined tap by tap.
function spreadLook(app) {
  const { setting, x } = app.state;
  const { target, light } = app;
  const values = math.insertZeros(x, setting);
  const isWindow = target?.kind === "full" && app.isKept(target.row, target.col);
  const isTap = (at, start) => {
    const u = (at - (start - setting.p)) / setting.d;
    return Number.isInteger(u) && u >= 0 && u < setting.k;
  };
  const first = math.frameWidth(setting);
  const isBetween = (at) => at >= first && at <= first + (setting.n - 1) * setting.s;
  return (r, c) => {
    const at = math.inputAt(r, c, setting);
    const lit = at && light.input.get(`${at.i},${at.j}`);
    const zero = isBetween(r) && isBetween(c) ? "op-inserted" : "op-framed";
    const classes = [at ? "op-is-input" : zero, lit?.mark ?? ""];
    if (isWindow && isTap(r, target.row) && isTap(c, target.col)) classes.push("op-window");
    return { text: number(values[r][c]), classes: classes.join(" ").trim(), note: lit?.note };
  };
}

function makeGradient(app) {
  const dy = pointable("input", "input", app);
  const kernel = pointable("kernel", "kernel", app);
  const dx = pointable("output", "full", app);
  const maps = row(dy.node, kernel.node, dx.node);
  const code = element("code");
  const listing = element("pre", { tabIndex: 0 }, code);
  return {
    node: element("div", {}, paragraph(app.t("op_gradient_text")),
      maps,
      element("h4", {}, app.t("op_code")), listing),
    build() {
      dy.resize(app.state.setting.n);
      kernel.resize(app.state.setting.k);
      dx.resize(app.full.length);
      allowOneRow(maps, app.state.setting.n + app.state.setting.k + app.full.length);
      dy.describe(caption("op_caption_dy", app));
      kernel.describe(caption("op_caption_kernel", app));
      dx.describe(caption("op_caption_dx", app));
    },
    paint() {
      const look = looks(app, app.sum);
      dy.paint(look.input);
      kernel.paint(look.kernel);
      dx.paint(look.full);
      code.textContent = torchCode(app.state);
    },
  };
}

// The same two computations in PyTorch, with the present numbers.
export function torchCode({ setting, x, kernel }) {
  const { n, s, p, op, d } = setting;
  const size = math.outputSize(setting);
  const list = (map) => `[${map.map((line) => `[${line.join(", ")}]`).join(", ")}]`;
  const crop = op >= s ? `[..., :${n}, :${n}]` : ""; // such output padding adds a window
  return `import torch
from torch.nn import functional as F

dy = torch.tensor([${list(x)}], dtype=torch.float32)
kernel = torch.tensor([[${list(kernel)}]], dtype=torch.float32)

x = torch.zeros(1, ${size}, ${size}, requires_grad=True)
y = F.conv2d(x, kernel, stride=${s}, padding=${p}, dilation=${d})${crop}
y.backward(dy)
print(x.grad)

print(F.conv_transpose2d(dy, kernel, stride=${s}, padding=${p}, output_padding=${op}, dilation=${d}))
`;
}

function makeOverlap(app) {
  const text = element("p");
  const counts = pointable("output", "full", app);
  const large = element("figure", { className: "op-large" });
  return {
    node: element("div", {}, text, row(counts.node, large)),
    build() {
      const { setting } = app.state;
      text.replaceChildren(...overlapSentence(app));
      counts.resize(app.full.length);
      counts.describe(app.t("op_caption_counts"));
      const many = { ...setting, n: ONES };
      const label = fill(app.t("op_caption_large"), { n: ONES }).join("");
      const map = math.crop(math.overlap(many), many);
      const title = element("figcaption", {}, label);
      large.replaceChildren(title, picture(map, { kind: "output", label }));
    },
    paint() {
      const map = math.overlap(app.state.setting);
      const largest = Math.max(1, ...map.flat());
      const look = looks(app, app.sum).full;
      counts.paint((r, c) => {
        const text = number(map[r][c]);
        return { ...look(r, c), text, label: text, shade: map[r][c] / largest, note: "" };
      });
    },
  };
}

function overlapSentence(app) {
  const { t } = app;
  const { setting } = app.state;
  const axis = math.overlapByRemainder(setting);
  const products = axis.flatMap((a) => axis.map((b) => a * b));
  const values = [...new Set(products)].sort((a, b) => a - b);
  const counts = values.map(number).join(", ");
  const key = values.length === 1 ? "op_even" : "op_uneven";
  const nodes = fill(t(setting.d > 1 ? `${key}_dilated` : key), { ...setting, counts });
  return values.includes(0) ? [...nodes, " ", t("op_gaps")] : nodes;
}
