// The controls of the section: examples, sliders, numbers, and the formula with its complaints.

import * as math from "./operation_math.js";
import { element, fill } from "./dom.js";
import { number } from "./operation_grid.js";

// The lesson's example comes first; the others say in what they differ from it.
export const LESSON = { n: 2, k: 2, s: 1, p: 0, op: 0, d: 1 };
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
export const pattern = (i, j) => (2 * i + j + (i >> 1)) % 4;
const NUMBERS = {
  pattern,
  ones: () => 1,
  random: () => Math.floor(Math.random() * 7) - 3,
};

// The largest maps; a smaller input or kernel is their upper left part, so that a slider that is
// moved there and back loses no number.
export function valuesOf(rule) {
  const fillMap = (size) => math.zeros(size).map((line, i) => line.map((_, j) => rule(i, j)));
  return { x: fillMap(math.BOUNDS.n[1]), kernel: fillMap(math.BOUNDS.k[1]) };
}

export function makeControls(app) {
  const { t, state } = app;
  const sliders = Object.keys(math.BOUNDS).map((name) => makeSlider(name, app));
  const link = element("a", {}, t("op_link"));
  const formula = element("p", { className: "op-formula" });
  const trouble = element("p", { className: "op-trouble", role: "alert" });
  let ofSettings = ""; // stays while the settings are invalid
  const complain = (text) => {
    trouble.textContent = text || ofSettings;
    trouble.hidden = !trouble.textContent;
  };
  const settings = element("fieldset", {}, element("legend", {}, t("op_settings")));
  settings.append(...sliders.map(({ node }) => node));
  return {
    presets: makePresets(app),
    node: element("div", { className: "op-controls" }, settings, makeNumbers(app, complain), link),
    top: element("div", { className: "op-top" }, formula, trouble),
    complain,
    build() {
      const fault = math.problem(state.wanted);
      for (const slider of sliders) slider.show(fault);
      formula.replaceChildren(...formulaNodes(state.wanted, t));
      formula.classList.toggle("op-is-invalid", Boolean(fault));
      ofSettings = fault ? explain(fault, state, t) : "";
      complain("");
    },
    paint() {
      link.href = `#operation?${toQuery(state.setting, state.view)}`;
    },
  };
}

function toQuery(setting, view) {
  return new URLSearchParams({ ...setting, view }).toString();
}

function makePresets(app) {
  const buttons = Object.entries(PRESETS).map(([name, setting]) => {
    const onclick = () => app.set({ ...LESSON, ...setting });
    return element("button", { type: "button", onclick }, app.t(`op_preset_${name}`));
  });
  return group("op_presets", "op-presets", buttons, app.t);
}

function makeNumbers(app, complain) {
  const buttons = Object.entries(NUMBERS).map(([name, rule]) => {
    const onclick = () => {
      app.state.numbers = valuesOf(rule);
      complain("");
      app.changed();
    };
    return element("button", { type: "button", onclick }, app.t(`op_${name}`));
  });
  return group("op_numbers", "op-numbers", buttons, app.t);
}

function group(key, className, buttons, t) {
  const role = { className: `op-buttons ${className}`, role: "group", "aria-label": t(key) };
  return element("div", role, element("span", {}, t(key)), ...buttons);
}

function explain(fault, { wanted, setting }, t) {
  const parts = { ...wanted, size: number(math.outputSize(wanted)) };
  const { n, k, s, p, op, d } = setting;
  const still = { setting: `n${n} k${k} s${s} p${p} op${op} d${d}` };
  return [...fill(t(`op_invalid_${fault}`), parts), " ", ...fill(t("op_still"), still)].join("");
}

// The formula in words, and with the present numbers.
function formulaNodes(setting, t) {
  const kinds = { n: "input", k: "kernel", size: "output" };
  const all = { ...setting, size: math.outputSize(setting) };
  const parts = (textOf) =>
    Object.fromEntries(
      Object.entries(all).map(([name, value]) => {
        const text = textOf(name, value);
        const className = `op-text-${kinds[name]}`;
        return [name, name in kinds ? element("b", { className }, text) : text];
      }),
    );
  const words = parts((name) => t(name === "size" ? "op_output" : `op_${name}`));
  const numbers = parts((name, value) => number(value));
  return [
    element("span", {}, ...fill(t("op_formula_words"), words)),
    element("span", {}, ...fill(t("op_formula"), numbers)),
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

