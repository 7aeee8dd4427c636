// Input, kernel and output side by side; the copies added one after another.

import { copyOf } from "./operation_math.js";
import { element, fill, makeGrid, measureWidth, number } from "./operation_grid.js";
import { named, sentenceOf } from "./operation_light.js";

const LONGEST_MS = 900; // one copy on its way; with many copies, as short as SHORTEST_MS
const SHORTEST_MS = 260;
const MOST_IN_A_ROW = 26;
const PLAY_MS = 6000; // about what a whole run takes

// The parts of the stage that other views show too: `look` functions for makeGrid.paint.
export function looks(app) {
  const { state, light, t } = app;
  const shade = shading(app.full);
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
    const text = number(app.full[row][col]);
    const isKept = app.isKept(row, col);
    return {
      text,
      label: isKept ? text : fill(t("op_cell_cropped"), { value: text }).join(""),
      classes: [isKept ? "" : "op-cropped", lit?.mark ?? ""].join(" ").trim(),
      note: lit?.note,
      shade: shade(app.full[row][col]),
    };
  };
  return { input: cell("input", state.x), kernel: cell("kernel", state.kernel), full };
}

function shading(map) {
  const largest = Math.max(1e-9, ...map.flat().map(Math.abs));
  return (value) => value / largest;
}

// A grid whose cells are pointed at as cells of input, kernel or `full`.
export function pointable(kind, target, app, onEdit = null) {
  const onPoint = (row, col) => app.point(row === null ? null : { kind: target, row, col });
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

export function makeStage(app) {
  const { t } = app;
  const onEdit = (name) => (row, col, text, field) => app.edit(name, row, col, text, field);
  const input = pointable("input", "input", app, onEdit("x"));
  const kernel = pointable("kernel", "kernel", app, onEdit("kernel"));
  const output = pointable("output", "full", app);
  const sign = (text) => element("span", { className: "op-sign", "aria-hidden": "true" }, text);
  const sources = element("div", { className: "op-sources" }, input.node, sign("×"), kernel.node);
  const frameNote = element("p", { className: "op-frame-note" }, t("op_frame_note"));
  const result = element("div", { className: "op-result" }, output.node, frameNote);
  const board = element("div", { className: "op-board" }, sources, sign("→"), result);
  const step = element("p", { className: "op-step", role: "status" });
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
      const look = looks(app);
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
  if (state.count === 0) return fill(t("op_at_start"), { total });
  if (state.count <= total) {
    const [i, j] = [Math.floor((state.count - 1) / n), (state.count - 1) % n];
    const input = named("input", i, j, app);
    input.append(` = ${number(state.x[i][j])}`);
    const parts = { count: state.count, total, input, row: i * s, col: j * s, i, j };
    return fill(t("op_at_copy"), parts);
  }
  const end = fill(t(p ? "op_at_end_padding" : "op_at_end"), { p });
  return op ? [...end, " ", ...fill(t("op_at_end_output_padding"), { op })] : end;
}

// The buttons, and the copies that fly from the kernel to their place in the output.
function makePlayer(app, { board, kernel, output }) {
  const { t, state } = app;
  let isPlaying = false;
  let flight = null;

  const button = (key, act) => element("button", { type: "button", onclick: act }, t(key));
  const goTo = (count) => {
    stop();
    state.count = count;
    app.changed();
  };
  const first = button("op_first", () => goTo(0));
  const back = button("op_back", () => goTo(Math.max(0, state.count - 1)));
  const play = button("op_play", () => (isPlaying ? goTo(state.count) : start()));
  const step = button("op_step", () => {
    stop();
    advance();
  });
  const last = button("op_last", () => goTo(app.total + 1));
  play.classList.add("op-play");

  // Ends what is under way; a copy that is still flying has not been added.
  function stop() {
    isPlaying = false;
    flight?.cancel();
    flight = null;
    app.flying = false;
  }

  function start() {
    stop();
    isPlaying = true;
    if (state.count > app.total) state.count = 0;
    app.changed();
    advance();
  }

  function advance() {
    if (state.count >= app.total) return goTo(app.total + 1);
    const { pause, duration } = pace(app.total);
    app.flying = true;
    app.point(null);
    flight = fly(app, { board, kernel, output }, duration, () => {
      flight = null;
      app.flying = false;
      state.count += 1;
      app.changed();
      if (isPlaying) flight = later(pause, advance);
    });
    return undefined;
  }

  return {
    node: element("div", { className: "op-player", role: "group", "aria-label": t("op_steps") },
      first, back, play, step, last),
    stop,
    paint() {
      play.textContent = t(isPlaying ? "op_pause" : "op_play");
      first.disabled = back.disabled = state.count === 0 && !isPlaying;
      step.disabled = last.disabled = state.count > app.total;
    },
  };
}

function pace(total) {
  const duration = Math.max(SHORTEST_MS, Math.min(LONGEST_MS, PLAY_MS / total / 2));
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  return { duration: isStill ? 0 : duration, pause: duration };
}

function later(milliseconds, act) {
  const timer = setTimeout(act, milliseconds);
  return { cancel: () => clearTimeout(timer) };
}

// Every tap of the kernel, times the next input element, moves to its place in the output.
function fly(app, { board, kernel, output }, duration, onLanding) {
  const { setting, x, kernel: taps, count } = app.state;
  const [i, j] = [Math.floor(count / setting.n), count % setting.n];
  const origin = board.getBoundingClientRect();
  const boxes = copyOf(i, j, setting).map(({ row, col, u, v }) => {
    const from = kernel.cell(u, v).getBoundingClientRect();
    const to = output.cell(row, col).getBoundingClientRect();
    const box = element("span", { className: "op-flying", "aria-hidden": "true" });
    box.textContent = number(x[i][j] * taps[u][v]);
    Object.assign(box.style, {
      left: `${to.left - origin.left}px`,
      top: `${to.top - origin.top}px`,
      width: `${to.width}px`,
      height: `${to.height}px`,
    });
    board.append(box);
    const shift = `translate(${from.left - to.left}px, ${from.top - to.top}px)`;
    const start = `${shift} scale(${from.width / to.width})`;
    const motion = [{ transform: start }, { transform: start, offset: 0.2 }, { transform: "none" }];
    return { box, animation: box.animate(motion, { duration, easing: "ease-in-out" }) };
  });
  const clear = () => boxes.forEach(({ box }) => box.remove());
  const landing = boxes.at(-1).animation;
  landing.onfinish = () => {
    clear();
    onLanding();
  };
  return {
    cancel() {
      landing.onfinish = null;
      clear();
    },
  };
}
