// The section "Layer by layer": every map of every level, from the latent to the image.

import { button, element, fill, paintImage, pictureOf } from "./dom.js";
import { freshPoint } from "./latents.js";
import { latestOnly } from "./compute.js";
import { BOUNDS } from "./operation_math.js";
import { makeLevel } from "./layers_maps.js";
import { makeMicroscope } from "./layers_microscope.js";
import { makePad } from "./pad.js";

const INPUT = [90, 165, 255];
const OUTPUT = [255, 150, 40];
const PHONE = 600; // pixels
const ASPECTS = { phone: { point: 6, map: 1.8 }, desktop: { point: 16, map: 4.5 } };

export function mount(root, ctx) {
  let view = null;
  const draw = () => {
    if (!ctx.model) return;
    view = makeView(ctx, view?.model === ctx.model ? view.state : firstState(ctx.model));
    root.replaceChildren(view.node);
    if (ctx.point) view.pad.show(ctx.point);
    if (ctx.last) view.paint(ctx.last);
  };
  ctx.onLanguage(draw);
  ctx.onModel(draw);
  ctx.onPoint((point) => view.pad.show(point));
  const isPhone = matchMedia(`(max-width: ${PHONE}px)`);
  isPhone.addEventListener("change", draw);
  // maps out of sight are painted when they come into sight
  let isVisible = false;
  new IntersectionObserver(([entry]) => {
    isVisible = entry.isIntersecting;
    if (isVisible && ctx.last) view?.paint(ctx.last);
  }).observe(root);
  ctx.onDrawing((drawing) => isVisible && view.paint(drawing));
}

// The middle of the second layer, which has maps that are easy to read.
function firstState(model) {
  const level = Math.min(2, model.layers.length);
  return {
    at: { level, channel: null, y: 0, x: 0, from: null, stamp: null },
    isKept: false,
    isSwitching: false,
  };
}

function makeView(ctx, state) {
  const { t, model } = ctx;
  const pad = makePad(ctx);
  const microscope = makeMicroscope(ctx, {
    onFrom: (from) => look({ from, stamp: null }),
    onInput: (stamp) => look({ from: view.from, stamp }),
    onOutput: ({ y, x }) => look({ y, x, stamp: null }),
  });
  const drew = makeDrew(ctx, state);
  const levels = model.shapes.map((shape, level) =>
    makeLevelOf(ctx, level, {
      onPoint: (number) => state.isKept || pointAt(level, number),
      onClick: (number) => {
        if (state.isSwitching) return toggle(ctx, level, number.channel);
        state.isKept = true;
        pointAt(level, number);
      },
    }),
  );
  const tools = makeTools(ctx, state, () => drew.request());
  const view = {
    model,
    state,
    pad,
    from: 0,
    node: element(
      "div",
      {},
      element("p", {}, ...fill(t("layers_intro"), colours(t))),
      element(
        "div",
        { className: "layers" },
        element("div", { className: "levels" }, ...levels.map((level) => level.node)),
        element(
          "aside",
          { className: "microscope", "aria-label": t("micro_label") },
          tools.node,
          microscope.node,
          drew.node,
          element("details", {}, element("summary", {}, t("layers_move")), pad.node),
        ),
      ),
    ),
    paint(drawing) {
      if (state.at.channel === null)
        Object.assign(state.at, largestOf(model, state.at.level, drawing));
      const { from, lit } = microscope.show(state.at, drawing.maps);
      view.from = from;
      levels.forEach((level, index) => {
        const maps = drawing.maps[index];
        const scale = maps.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
        level.paint(maps, {
          scale,
          off: ctx.off[index],
          marks: marksAt(index, state.at, lit, from),
        });
      });
      tools.show();
      drew.request();
    },
  };

  function look(change) {
    Object.assign(state.at, change);
    if (ctx.last) view.paint(ctx.last);
  }
  function pointAt(level, { channel, y, x }) {
    // the latent is no layer's output: its numbers are shown by their stamps
    if (level === 0)
      look({ level: 1, channel: onLevel(1), y: 0, x: 0, from: channel, stamp: { y, x } });
    else look({ level, channel, y, x, from: null, stamp: null });
  }
  function onLevel(level) {
    return state.at.level === level ? state.at.channel : 0;
  }
  return view;
}

// The largest number of a level.
function largestOf({ shapes }, level, { maps }) {
  const index = maps[level].reduce((best, value, i) => (value > maps[level][best] ? i : best), 0);
  const [, height, width] = shapes[level];
  const inMap = index % (height * width);
  return {
    channel: Math.floor(index / (height * width)),
    y: Math.floor(inMap / width),
    x: inMap % width,
  };
}

function colours(t) {
  return Object.fromEntries(
    ["input", "output", "kernel"].map((name) => [
      name,
      element("span", { className: `text-${name}` }, t(`layers_${name}`)),
    ]),
  );
}

// Numbers of a level that are marked: the inputs in every channel, the outputs in one.
function marksAt(level, at, { inputs, outputs }, from) {
  const pixels = (set, rest) =>
    [...set].map((text) => {
      const [y, x] = text.split(",").map(Number);
      return { y, x, ...rest };
    });
  if (level === at.level) return pixels(outputs, { channel: at.channel, colour: OUTPUT });
  if (level !== at.level - 1) return [];
  return pixels(inputs, { channel: at.stamp ? from : undefined, colour: INPUT });
}

function makeLevelOf(ctx, level, actions) {
  const { t, model } = ctx;
  const shape = model.shapes[level];
  const isPoint = shape[1] * shape[2] === 1;
  const aspects = ASPECTS[matchMedia(`(max-width: ${PHONE}px)`).matches ? "phone" : "desktop"];
  const layer = model.layers[level - 1];
  const channels = fill(t(shape[0] === 1 ? "layers_one" : "layers_many"), {
    num: String(shape[0]),
  }).join("");
  const parts = { level, channels, height: shape[1], width: shape[2] };
  if (layer) {
    Object.assign(parts, {
      kernel: layer.kernel.shape[2],
      stride: layer.stride[0],
      padding: layer.padding[0],
      activation: { relu: "ReLU", tanh: "tanh" }[layer.activation],
      numbers: layer.kernel.values.length.toLocaleString("en"),
    });
  }
  const texts = Object.fromEntries(
    Object.entries(parts).map(([key, value]) => [key, String(value)]),
  );
  const key = layer
    ? "layers_level"
    : model.classes.length
      ? "layers_input_class"
      : "layers_input_level";
  const head = fill(t(key), texts);
  if (layer && shape[1] > 1 && parts.kernel <= BOUNDS.k[1]) {
    const query = `n=${Math.min(3, model.shapes[level - 1][1])}&k=${parts.kernel}&s=${parts.stride}&p=${parts.padding}&op=${layer.output_padding[0]}`;
    head.push(" ", element("a", { href: `#operation?${query}` }, t("layers_link")));
  }
  return makeLevel({
    shape,
    head,
    label: fill(t("layers_level_label"), texts).join(""),
    aspect: isPoint ? aspects.point : aspects.map,
    isImage: level === model.layers.length,
    ...actions,
  });
}

// Switches a channel of a level off or on.
function toggle(ctx, level, channel) {
  const off = ctx.model.shapes.map((_, index) => new Set(ctx.off[index]));
  if (!off[level].delete(channel)) off[level].add(channel);
  ctx.setOff(off);
}

function makeTools(ctx, state, onChange) {
  const { t } = ctx;
  const choice = (isSwitching, key) =>
    button(t(key), () => {
      state.isSwitching = isSwitching;
      state.isKept = false;
      show();
    });
  const examine = choice(false, "layers_examine");
  const switches = choice(true, "layers_switch");
  const release = button(t("layers_release"), () => {
    state.isKept = false;
    show();
  });
  const one = button("", () => toggle(ctx, state.at.level, state.at.channel));
  const all = button(t("layers_all_on"), () => ctx.setOff([]));
  const node = element(
    "div",
    { className: "layers-tools" },
    element(
      "div",
      { className: "row", role: "group", "aria-label": t("layers_click") },
      element("span", {}, t("layers_click")),
      examine,
      switches,
    ),
    element(
      "div",
      { className: "row" },
      button(t("play_new"), () => ctx.setPoint(freshPoint(ctx.model))),
      one,
      all,
      release,
    ),
  );
  function show() {
    examine.setAttribute("aria-pressed", String(!state.isSwitching));
    switches.setAttribute("aria-pressed", String(state.isSwitching));
    release.hidden = !state.isKept;
    all.hidden = !ctx.off.some((channels) => channels.size);
    const isOff = ctx.off[state.at.level]?.has(state.at.channel);
    const key = isOff ? "layers_on" : "layers_off";
    one.textContent = fill(t(key), { channel: String(state.at.channel) }).join("");
    onChange();
  }
  return { node, show };
}

// What the channels that are off, or else the channel in the microscope, drew: the image with and
// without them, and the difference.
function makeDrew(ctx, state) {
  const { t, model } = ctx;
  const [, height, width] = model.imageShape;
  const figures = ["with", "without", "difference"].map((name) => {
    const canvas = pictureOf(height, width, { "aria-label": t(`drew_${name}`) });
    return {
      canvas,
      node: element("figure", {}, element("figcaption", {}, t(`drew_${name}`)), canvas),
    };
  });
  const title = element("h3", {});
  const send = latestOnly(async () => {
    if (!ctx.last) return; // another model has replaced this one
    const { point, whole, maps } = ctx.last;
    const isOff = ctx.off.some((channels) => channels.size);
    const { level, channel } = state.at;
    const off = model.shapes.map((_, index) => (index === level ? new Set([channel]) : new Set()));
    const image = whole ?? maps.at(-1);
    const without = isOff ? maps.at(-1) : (await ctx.ask("image", { ...plain(point), off })).image;
    if (ctx.model !== model) return;
    title.textContent = fill(t(isOff ? "drew_title_off" : "drew_title"), {
      level: String(level),
      channel: String(channel),
    }).join("");
    const difference = image.map((value, i) => (value - without[i]) / 2);
    [image, without, difference].forEach((each, i) =>
      paintImage(figures[i].canvas, each, model.imageShape),
    );
  });
  return {
    node: element(
      "div",
      {},
      title,
      element("div", { className: "drew" }, ...figures.map((figure) => figure.node)),
    ),
    request: () => ctx.last && send(),
  };
}

function plain({ z, label }) {
  return { z, label };
}
