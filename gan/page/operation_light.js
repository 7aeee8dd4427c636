// What lights up when a cell is pointed at: which cells belong together, and the sum in words.

import { copyOf, sourcesOf } from "./operation_math.js";
import { element, fill } from "./dom.js";
import { number } from "./operation_grid.js";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";

// Maps from "row,col" to {mark, note} for the cells of input, kernel and `full`. A product has the
// same letter at its input element and at its tap.
export function lightOf(target, { setting, x, kernel }) {
  const light = { input: new Map(), kernel: new Map(), full: new Map() };
  if (!target) return light;
  const { row, col } = target;
  light[target.kind].set(`${row},${col}`, { mark: "op-pointed" });
  if (target.isFlying) return light; // its copy has not landed yet
  const plus = (i, j, u, v) => `+${number(x[i][j] * kernel[u][v])}`.replace("+\u2212", "\u2212");
  if (target.kind === "full") {
    sourcesOf(row, col, setting).forEach(({ i, j, u, v }, index) => {
      light.input.set(`${i},${j}`, { mark: "op-lit", note: LETTERS[index] });
      light.kernel.set(`${u},${v}`, { mark: "op-lit", note: LETTERS[index] });
    });
    return light;
  }
  for (const [i, j] of target.kind === "input" ? [[row, col]] : pairs(setting.n)) {
    for (const { row: r, col: c, u, v } of copyOf(i, j, setting)) {
      if (target.kind === "kernel" && (u !== row || v !== col)) continue;
      light.full.set(`${r},${c}`, { mark: "op-lit", note: plus(i, j, u, v) });
      if (target.kind === "input") light.kernel.set(`${u},${v}`, { mark: "op-lit" });
      else light.input.set(`${i},${j}`, { mark: "op-lit" });
    }
  }
  return light;
}

export function pairs(size) {
  return Array.from({ length: size * size }, (_, index) => [
    Math.floor(index / size),
    index % size,
  ]);
}

// A name such as "input (0, 1)", in the colour of its map.
export function named(kind, row, col, app) {
  const text = `${app.t(`op_${kind}`)} (${number(row)}, ${number(col)})`;
  return element("b", { className: `op-text-${kind}` }, text);
}

// The sentence for what is pointed at: {nodes}, with the products of an output element.
export function sentenceOf(target, app) {
  if (!target) return [app.t("op_point_hint")];
  const { setting, x, kernel } = app.state;
  const { row, col } = target;
  if (target.kind === "input") {
    const parts = { input: valued("input", row, col, x, app), row: row * setting.s };
    return fill(app.t("op_point_input"), { ...parts, col: col * setting.s });
  }
  if (target.kind === "kernel") {
    const parts = { kernel: valued("kernel", row, col, kernel, app), s: setting.s };
    return fill(app.t("op_point_kernel"), parts);
  }
  return sumOf(row, col, app);
}

function sumOf(row, col, app) {
  const { state, t } = app;
  const { setting } = state;
  const output = named("output", row - setting.p, col - setting.p, app);
  const sources = sourcesOf(row, col, setting);
  if (!sources.length) return fill(t("op_sum_empty"), { output });
  const isAdded = ({ i, j }) => i * setting.n + j < state.count;
  const products = sources.map((source, index) => product(source, index, isAdded(source), state));
  const value = element("b", { className: "op-text-output" }, number(app.full[row][col]));
  const key = sources.every(isAdded) ? "op_sum" : "op_sum_so_far";
  const line = element("span", {}, ...products.flatMap((node, at) => (at ? [" + ", node] : [node])));
  const nodes = fill(t(key), { output, products: line, sum: value });
  return app.isKept(row, col) ? nodes : [...nodes, ". ", t("op_sum_cropped")];
}

function product({ i, j, u, v }, index, isAdded, { x, kernel }) {
  const factor = (kind, value) => {
    const text = value < 0 ? `(${number(value)})` : number(value);
    return element("b", { className: `op-text-${kind}` }, text);
  };
  const letter = element("sup", { "aria-hidden": "true" }, LETTERS[index]);
  const factors = [letter, factor("input", x[i][j]), "\u2009·\u2009", factor("kernel", kernel[u][v])];
  return element("span", { className: isAdded ? "op-product" : "op-product op-later" }, ...factors);
}

function valued(kind, row, col, values, app) {
  const name = named(kind, row, col, app);
  name.append(` = ${number(values[row][col])}`);
  return name;
}
