// The section "The operation": a transposed convolution of small maps, with every number in sight.

import * as math from "./operation_math.js";
import { element, fill, measureWidth, number } from "./operation_grid.js";
import { lightOf } from "./operation_light.js";
import { makeStage } from "./operation_stage.js";
import { VIEWS } from "./operation_views.js";

const LARGEST = 99; // of a number that is typed

// The lesson's example comes first; a preset's settings that are not named are those of it.
const LESSON = { n: 2, k: 2, s: 1, p: 0, op: 0, d: 1 };
const PRESETS = {
  lesson: {},
  stride: { s: 2 },
  gaps: { s: 3 },
  double: { n: 3, k: 4, s: 2, p: 1 },
  checkerboard: { n: 4, k: 3, s: 2 },
  dcgan: { n: 4, k: 5, s: 2, p: 2, op: 1 },
  dilation: { n: 2, k: 3, d: 2 },
};

// Numbers 0 to 3, each once in a row and a column of 4 x 4; the first 2 x 2 are the lesson's.
const pattern = (i, j) => (2 * i + j + (i >> 1)) % 4;
const NUMBERS = {
  pattern,
  ones: () => 1,
  random: () => Math.floor(Math.random() * 7) - 3,
};

export function mount(root, ctx) {
  const state = {
    setting: LESSON,
    wanted: LESSON, // what the sliders say; differs from `setting` while it is invalid
    numbers: valuesOf(pattern),
    count: Infinity,
    pointed: null,
    view: "matrix",
  };
  const app = makeApp(state, ctx);
  const draw = () => {
    app.parts?.stage.stop();
    app.parts = makeParts(app);
    root.replaceChildren(app.parts.node);
    app.rebuild();
  };
  const read = (query) => {
    Object.assign(state, fromQuery(query, state));
    app.set(state.wanted);
    app.parts?.views.show(state.view);
  };
  root.classList.add("operation");
  draw();
  read(ctx.query);
  ctx.onLanguage(draw);
  addEventListener("hashchange", () => {
    const [section, query] = location.hash.slice(1).split("?");
    if (section === "operation" && query) read(query);
  });
}

// The largest maps; a smaller input or kernel is their upper left part, so that a slider that is
// moved there and back loses no number.
function valuesOf(rule) {
  const fillMap = (size) => math.zeros(size).map((line, i) => line.map((_, j) => rule(i, j)));
  return { x: fillMap(math.BOUNDS.n[1]), kernel: fillMap(math.BOUNDS.k[1]) };
}

// Settings and view of a link; what is missing or out of bounds keeps its value.
export function fromQuery(query, { wanted, view }) {
  const given = new URLSearchParams(query ?? "");
  const setting = { ...wanted };
  for (const [name, [low, high]] of Object.entries(math.BOUNDS)) {
    const value = /^\d+$/.test(given.get(name)) ? Number(given.get(name)) : NaN;
    if (value >= low && value <= high) setting[name] = value;
  }
  const wish = given.get("view");
  return { wanted: setting, view: Object.hasOwn(VIEWS, wish) ? wish : view };
}

export function toQuery(setting, view) {
  return new URLSearchParams({ ...setting, view }).toString();
}

// What the parts share: the state, what follows from it, and the ways to change it.
function makeApp(state, ctx) {
  const part = (map, size) => map.slice(0, size).map((line) => line.slice(0, size));
  const app = {
    state,
    t: ctx.t,
    flying: false,
    isKept: (row, col) => math.isKept(row, col, state.setting),

    // New settings: valid ones change the picture, others only say why not.
    set(wanted) {
      state.wanted = wanted;
      if (!math.problem(wanted)) {
        app.parts.stage.stop();
        state.setting = wanted;
        state.count = Infinity;
        state.pointed = null;
      }
      app.rebuild();
    },
    rebuild() {
      derive();
      for (const each of Object.values(app.parts.list)) each.build();
      app.changed();
    },
    // New numbers, step or pointer: the same cells with other contents.
    changed() {
      derive();
      for (const each of Object.values(app.parts.list)) each.paint();
    },
    point(target) {
      if (JSON.stringify(target) === JSON.stringify(state.pointed)) {
        if (!app.flying) return;
      }
      state.pointed = target;
      app.changed();
    },
    edit(name, row, col, text, field) {
      const value = Number(text.replace("\u2212", "-").replace(",", "."));
      const isGood = text.trim() !== "" && Math.abs(value) <= LARGEST;
      field.setAttribute("aria-invalid", String(!isGood));
      app.parts.complain(isGood ? "" : fill(ctx.t("op_bad_number"), { text }).join(""));
      if (!isGood) return;
      state.numbers[name][row][col] = value;
      app.changed();
    },
  };

  function derive() {
    const { setting } = state;
    app.total = setting.n ** 2;
    app.size = math.outputSize(setting);
    state.count = Math.min(state.count, app.total + 1);
    state.x = part(state.numbers.x, setting.n);
    state.kernel = part(state.numbers.kernel, setting.k);
    const added = Math.min(state.count, app.total);
    app.full = math.addCopies(state.x, state.kernel, setting, added);
    app.target = state.pointed ?? currentCopy();
    app.light = lightOf(app.target, state);
  }

  // The input element whose copy is on its way or was added last.
  function currentCopy() {
    const index = app.flying ? state.count : state.count - 1;
    if (index < 0 || index >= app.total) return null;
    const [row, col] = [Math.floor(index / state.setting.n), index % state.setting.n];
    return { kind: "input", row, col, isFlying: app.flying };
  }
  return app;
}

function makeParts(app) {
  const { t } = app;
  const intro = fill(t("op_intro"), colouredNames(t));
  const controls = makeControls(app);
  const stage = makeStage(app);
  const views = makeViews(app);
  const node = element("div", {},
    element("p", { className: "op-intro" }, ...intro),
    controls.presets,
    element("div", { className: "op-main" }, controls.node,
      element("div", {}, controls.top, stage.node)),
    element("h3", {}, t("op_views")), views.node,
  );
  return { node, stage, views, complain: controls.complain, list: [controls, stage, views] };
}

function colouredNames(t) {
  const name = (kind) => element("b", { className: `op-text-${kind}` }, t(`op_${kind}`));
  return { input: name("input"), kernel: name("kernel"), output: name("output") };
}

function makeControls(app) {
  const { t, state } = app;
  const sliders = Object.keys(math.BOUNDS).map((name) => makeSlider(name, app));
  const button = (key, act) => element("button", { type: "button", onclick: act }, t(key));
  const presets = Object.entries(PRESETS).map(([name, setting]) =>
    button(`op_preset_${name}`, () => app.set({ ...LESSON, ...setting })),
  );
  const numbers = Object.entries(NUMBERS).map(([name, rule]) =>
    button(`op_${name}`, () => {
      state.numbers = valuesOf(rule);
      complain("");
      app.changed();
    }),
  );
  const group = (key, nodes) =>
    element("div", { className: `op-buttons ${key.replace("_", "-")}`, role: "group", "aria-label": t(key) },
      element("span", {}, t(key)), ...nodes);
  const link = element("a", {}, t("op_link"));
  const formula = element("p", { className: "op-formula" });
  const trouble = element("p", { className: "op-trouble", role: "alert" });
  const complain = (text) => {
    trouble.textContent = text;
    trouble.hidden = !text;
  };
  return {
    presets: group("op_presets", presets),
    node: element("div", { className: "op-controls" },
      element("fieldset", {}, element("legend", {}, t("op_settings")),
        ...sliders.map(({ node }) => node)),
      group("op_numbers", numbers), link),
    top: element("div", { className: "op-top" }, formula, trouble),
    complain,
    build() {
      const fault = math.problem(state.wanted);
      for (const slider of sliders) slider.show(fault);
      formula.replaceChildren(...formulaNodes(state.wanted, t));
      formula.classList.toggle("op-is-invalid", Boolean(fault));
      complain(fault ? explain(fault, state, t) : "");
    },
    paint() {
      link.href = `#operation?${toQuery(state.setting, state.view)}`;
    },
  };
}

function explain(fault, { wanted, setting }, t) {
  const parts = { ...wanted, size: number(math.outputSize(wanted)) };
  const { n, k, s, p, op, d } = setting;
  const still = { setting: `n${n} k${k} s${s} p${p} op${op} d${d}` };
  return [...fill(t(`op_invalid_${fault}`), parts), " ", ...fill(t("op_still"), still)].join("");
}

function formulaNodes(setting, t) {
  const text = t("op_formula");
  const kinds = { n: "input", k: "kernel", size: "output" };
  const coloured = (name, value) =>
    name in kinds ? element("b", { className: `op-text-${kinds[name]}` }, value) : value;
  const all = { ...setting, size: math.outputSize(setting) };
  const entries = Object.entries(all);
  const inWords = (name) => t(name === "size" ? "op_output" : `op_${name}`);
  const words = Object.fromEntries(entries.map(([name]) => [name, coloured(name, inWords(name))]));
  const values = Object.fromEntries(entries.map(([name, value]) => [name, coloured(name, number(value))]));
  return [
    element("span", {}, ...fill(t("op_formula_words"), words)),
    element("span", {}, ...fill(t("op_formula"), values)),
  ];
}

function makeSlider(name, app) {
  const { t } = app;
  const [min, max] = math.BOUNDS[name];
  const value = element("output");
  const range = element("input", { type: "range", min, max, step: 1 });
  const hint = element("small", {}, t(`op_${name}_hint`));
  range.oninput = () => app.set({ ...app.state.wanted, [name]: Number(range.value) });
  return {
    node: element("label", { className: `op-slider op-slider-${name}` },
      element("span", {}, t(`op_${name}`), " ", value), range, hint),
    show(fault) {
      range.value = value.textContent = app.state.wanted[name];
      const isWrong = (fault === "op" && name === "op") || (fault === "size" && name === "p");
      range.setAttribute("aria-invalid", String(isWrong));
    },
  };
}

function makeViews(app) {
  const { t, state } = app;
  const panel = element("div", { className: "op-panel", role: "tabpanel", id: "op-panel" });
  const names = Object.keys(VIEWS);
  let current;
  const tabs = names.map((name) =>
    element("button", {
      type: "button", role: "tab", id: `op-tab-${name}`, "aria-controls": "op-panel",
      onclick: () => show(name),
    }, t(`op_tab_${name}`)),
  );
  const bar = element("div", { className: "op-tabs", role: "tablist", "aria-label": t("op_views") },
    ...tabs);
  bar.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (names.indexOf(state.view) + step + names.length) % names.length;
    show(names[next]);
    tabs[next].focus();
  };

  function show(name) {
    state.view = name;
    make();
    app.rebuild();
  }
  function make() {
    current = VIEWS[state.view](app);
    panel.replaceChildren(current.node);
    panel.setAttribute("aria-labelledby", `op-tab-${state.view}`);
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(names[index] === state.view));
      tab.tabIndex = names[index] === state.view ? 0 : -1;
    });
  }
  make();
  return {
    node: measureWidth(element("div", { className: "op-views" }, bar, panel)),
    show,
    build: () => current.build(),
    paint: () => current.paint(),
  };
}
