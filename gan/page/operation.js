// The section "The operation": a transposed convolution of small maps, with every number in sight.

import * as math from "./operation_math.js";
import { LESSON, makeControls, pattern, valuesOf } from "./operation_controls.js";
import { element, fill } from "./dom.js";
import { measureWidth } from "./operation_grid.js";
import { lightOf } from "./operation_light.js";
import { makeStage } from "./operation_stage.js";
import { VIEWS } from "./operation_views.js";

const LARGEST = 99; // of a number that is typed
const FIRST_VIEW = "matrix";

export function mount(root, ctx) {
  const state = {
    setting: LESSON,
    wanted: LESSON, // what the sliders say; differs from `setting` while it is invalid
    numbers: valuesOf(pattern),
    count: Infinity,
    pointed: null,
    view: FIRST_VIEW,
  };
  const app = makeApp(state, ctx);
  const draw = () => {
    app.parts?.stage.stop();
    app.parts = makeParts(app);
    root.replaceChildren(app.parts.node);
    app.rebuild();
  };
  const read = (query) => {
    const { wanted, view } = fromQuery(query);
    app.set(wanted);
    app.parts.views.show(view);
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

// Settings and view of a link; what is missing or out of bounds is that of the lesson's example.
function fromQuery(query) {
  const given = new URLSearchParams(query ?? "");
  const setting = { ...LESSON };
  for (const [name, [low, high]] of Object.entries(math.BOUNDS)) {
    const value = /^\d+$/.test(given.get(name)) ? Number(given.get(name)) : NaN;
    if (value >= low && value <= high) setting[name] = value;
  }
  const view = given.get("view");
  return { wanted: setting, view: Object.hasOwn(VIEWS, view) ? view : FIRST_VIEW };
}

// What the parts share: the state, what follows from it, and the ways to change it.
function makeApp(state, ctx) {
  const app = {
    state,
    t: ctx.t,
    flying: false, // a copy is on its way
    isKept: (row, col) => math.isKept(row, col, state.setting),

    // New settings: valid ones change the picture, others only say why not.
    set(wanted) {
      state.wanted = wanted;
      if (!math.problem(wanted)) {
        app.parts.stage.stop();
        Object.assign(state, { setting: wanted, count: Infinity, pointed: null });
      }
      app.rebuild();
    },
    rebuild() {
      derive(app);
      for (const part of app.parts.list) part.build();
      app.changed();
    },
    // New numbers, step or pointer: the same cells with other contents.
    changed() {
      derive(app);
      for (const part of app.parts.list) part.paint();
    },
    point(target) {
      if (JSON.stringify(target) === JSON.stringify(state.pointed)) return;
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
  return app;
}

function derive(app) {
  const { state } = app;
  const { n, k } = state.setting;
  const part = (map, size) => map.slice(0, size).map((line) => line.slice(0, size));
  app.total = n * n;
  app.size = math.outputSize(state.setting);
  state.count = Math.min(state.count, app.total + 1);
  state.x = part(state.numbers.x, n);
  state.kernel = part(state.numbers.kernel, k);
  const added = Math.min(state.count, app.total);
  app.full = math.addCopies(state.x, state.kernel, state.setting, added);
  app.sum = math.addCopies(state.x, state.kernel, state.setting);
  app.target = state.pointed ?? currentCopy(app);
  app.light = lightOf(app.target, state);
}

// The input element whose copy is on its way or was added last.
function currentCopy({ state, total, flying }) {
  const index = flying ? state.count : state.count - 1;
  if (index < 0 || index >= total) return null;
  const [row, col] = [Math.floor(index / state.setting.n), index % state.setting.n];
  return { kind: "input", row, col, isFlying: flying };
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

function makeViews(app) {
  const { t, state } = app;
  const names = Object.keys(VIEWS);
  const panel = element("div", { className: "op-panel", role: "tabpanel", id: "op-panel" });
  const tabs = names.map((name) => makeTab(name, t, () => show(name)));
  const role = { className: "op-tabs", role: "tablist", "aria-label": t("op_views") };
  const bar = element("div", role, ...tabs);
  let current;

  const make = () => {
    current = VIEWS[state.view](app);
    panel.replaceChildren(current.node);
    panel.setAttribute("aria-labelledby", `op-tab-${state.view}`);
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(names[index] === state.view));
      tab.tabIndex = names[index] === state.view ? 0 : -1;
    });
  };
  const show = (name) => {
    state.view = name;
    make();
    app.rebuild();
  };
  bar.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (names.indexOf(state.view) + step + names.length) % names.length;
    show(names[next]);
    tabs[next].focus();
  };
  make();
  return {
    node: measureWidth(element("div", { className: "op-views" }, bar, panel)),
    show,
    build: () => current.build(),
    paint: () => current.paint(),
  };
}

function makeTab(name, t, onclick) {
  const role = { type: "button", role: "tab", id: `op-tab-${name}`, "aria-controls": "op-panel" };
  return element("button", { ...role, onclick }, t(`op_tab_${name}`));
}
