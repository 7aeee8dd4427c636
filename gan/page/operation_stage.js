// Input, kernel and output side by side; the copies added one after another.

import { element, fill } from "./dom.js";
import { makeGrid, measureWidth, number } from "./operation_grid.js";
import { named, sentenceOf } from "./operation_light.js";
import { makePlayer } from "./operation_player.js";

const MOST_IN_A_ROW = 26;

// What input, kernel and output look like, for makeGrid.paint; `map` is app.full, the copies added
// so far, or app.sum, all of them.
export function looks(app, map) {
  const { state, light, t } = app;
  const shade = shading(map);
  const cell = (kind, values) => (row, col) => {
    const lit = light[kind].get(`${row},${col}`);
    const parts = { row, col };
    return {
      text: number(values[row][col]),
      label: fill(t(`op_cell_${kind}`), parts).join(""),
      classes: lit?.mark,
      note: lit?.note,
    };
  };
  const full = (row, col) => {
    const lit = light.full.get(`${row},${col}`);
    const text = number(map[row][col]);
    const isKept = app.isKept(row, col);
    return {
      text,
      label: isKept ? text : fill(t("op_cell_cropped"), { value: text }).join(""),
      classes: [isKept ? "" : "op-cropped", lit?.mark ?? ""].join(" ").trim(),
      note: lit?.note,
      shade: shade(map[row][col]),
    };
  };
  return { input: cell("input", state.x), kernel: cell("kernel", state.kernel), full };
}

function shading(map) {
  const largest = Math.max(1e-9, ...map.flat().map(Math.abs));
  return (value) => value / largest;
}

// A grid whose cells are pointed at as cells of input, kernel or `full`; offset() is the place of
// its first cell in that map.
export function pointable(kind, target, app, { onEdit = null, offset = () => 0 } = {}) {
  const onPoint = (row, col) =>
    app.point(row === null ? null : { kind: target, row: row + offset(), col: col + offset() });
  return makeGrid({ kind, onPoint, onEdit });
}

export function caption(key, app) {
  return fill(app.t(key), { ...app.state.setting, size: app.size }).join("");
}

// Maps with `cells` columns in all may stand in one row of a wide page.
export function allowOneRow(node, cells) {
  node.classList.toggle("op-one-row", cells <= MOST_IN_A_ROW);
  node.style.setProperty("--all", cells + 5); // 5 for the gaps
}

function sign(text) {
  return element("span", { className: "op-sign", "aria-hidden": "true" }, text);
}

export function makeStage(app) {
  const { t } = app;
  const onEdit = (name) => (row, col, text, field) => app.edit(name, row, col, text, field);
  const input = pointable("input", "input", app, { onEdit: onEdit("x") });
  const kernel = pointable("kernel", "kernel", app, { onEdit: onEdit("kernel") });
  const output = pointable("output", "full", app);
  const sources = element("div", { className: "op-sources" }, input.node, sign("×"), kernel.node);
  const frameNote = element("p", { className: "op-frame-note" }, t("op_frame_note"));
  const result = element("div", { className: "op-result" }, output.node, frameNote);
  const board = element("div", { className: "op-board" }, sources, sign("→"), result);
  const step = element("p", { className: "op-narration", role: "status" });
  const sentence = element("p", { className: "op-sentence", role: "status" });
  const player = makePlayer(app, { board, kernel, output });

  return {
    node: measureWidth(
      element("div", { className: "op-stage" }, player.node, board, step, sentence),
    ),
    stop: player.stop,
    build() {
      const { n, k, p } = app.state.setting;
      input.resize(n);
      kernel.resize(k);
      sources.style.setProperty("--sources", n + k + 2); // side by side, on a phone too
      allowOneRow(board, n + k + app.full.length);
      output.resize(app.full.length);
      input.describe(caption("op_caption_input", app));
      kernel.describe(caption("op_caption_kernel", app));
      output.describe(caption("op_caption_output", app));
      frameNote.hidden = p === 0;
    },
    paint() {
      const { state } = app;
      const look = looks(app, app.full);
      input.paint(look.input);
      kernel.paint(look.kernel);
      output.paint(look.full);
      output.node.classList.toggle("op-finished", state.count > app.total);
      step.replaceChildren(...narration(app));
      sentence.replaceChildren(...sentenceOf(state.pointed, app));
      player.paint();
    },
  };
}

// The sentence for the present step.
function narration(app) {
  const { t, total, state } = app;
  const { n, s, p, op } = state.setting;
  const count = state.count + Number(app.flying);
  if (count === 0) return fill(t("op_at_start"), { total });
  if (count <= total) {
    const [i, j] = [Math.floor((count - 1) / n), (count - 1) % n];
    const input = named("input", i, j, app);
    input.append(` = ${number(state.x[i][j])}`);
    const parts = { count, total, input, row: i * s, col: j * s, i, j };
    return fill(t("op_at_copy"), parts);
  }
  const end = fill(t(p ? "op_at_end_padding" : "op_at_end"), { p });
  return op ? [...end, " ", ...fill(t("op_at_end_output_padding"), { op })] : end;
}
