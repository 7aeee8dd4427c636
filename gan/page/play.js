// The section "Play": one image, and the ways to move through the latents.

import { button, element, fill, number, paintImage, pictureOf, placeIn } from "./dom.js";
import { between, drawLatent, freshPoint, pointAt } from "./latents.js";
import { makeBars, makePad, turn } from "./pad.js";

const LEG = 2500; // milliseconds from one latent to the next
const GRID = 64;
const MAX_BUTTONS = 20; // of classes; more are a list
const GAP = 2; // pixels between the images of the grid

export function mount(root, ctx) {
  const walk = makeWalk(ctx);
  let view = null;
  const draw = () => {
    if (!ctx.model) return;
    view = makeView(ctx, walk);
    root.replaceChildren(view.node);
    if (ctx.point) view.show(ctx.point);
    if (ctx.last) view.paint(ctx.last);
  };
  ctx.onLanguage(draw);
  ctx.onModel(() => {
    walk.stop();
    draw();
  });
  ctx.onPoint((point) => {
    if (walk.z && point.z !== walk.z) walk.stop(); // another section has chosen one
    view.show(point);
  });
  ctx.onDrawing((drawing) => view.paint(drawing));
  walk.onChange = () => view.showWalk();
  addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    view?.press(event.key.toLowerCase());
  });
}

// Goes from latent to latent, a leg each; calls onChange when it starts and stops.
function makeWalk(ctx) {
  let frame = 0;
  const walk = {
    get isOn() {
      return frame !== 0;
    },
    onChange: () => {},
    stop() {
      if (!frame) return;
      cancelAnimationFrame(frame);
      frame = 0;
      walk.onChange();
    },
    start() {
      walk.z = null;
      let [from, to, start] = [ctx.point.z, drawLatent(ctx.model), performance.now()];
      const step = (now) => {
        let share = Math.max(0, (now - start) / LEG);
        if (share >= 1) [from, to, start, share] = [to, drawLatent(ctx.model), now, 0];
        walk.z = between(ctx.model, from, to, share);
        ctx.setPoint(pointAt(walk.z));
        frame = requestAnimationFrame(step);
      };
      frame = requestAnimationFrame(step);
      walk.onChange();
    },
  };
  return walk;
}

function makeView(ctx, walk) {
  const { t, model } = ctx;
  const [, height, width] = model.imageShape;
  const picture = pictureOf(height, width, { className: "play-image" });
  const pad = makePad(ctx, walk.stop);
  const bars = makeBars(ctx, walk.stop);
  const speed = element("small", { className: "play-speed" });
  const grid = makeGrid(ctx, walk);
  const labels = makeLabels(ctx);
  const actions = {
    n: () => {
      walk.stop();
      ctx.setPoint(freshPoint(model));
    },
    w: () => (walk.isOn ? walk.stop() : walk.start()),
    g: grid.draw,
  };
  const walkButton = button("", actions.w);
  const buttons = element(
    "div",
    { className: "row" },
    button(t("play_new"), actions.n, { className: "main", "aria-keyshortcuts": "n" }),
    walkButton,
    button(t("play_grid"), actions.g, { "aria-keyshortcuts": "g" }),
  );
  const keys = ["N", "W", "G"].map((key) => element("kbd", {}, key));
  const hint = fill(t(model.classes.length ? "play_keys_class" : "play_keys"), {
    n: keys[0],
    w: keys[1],
    g: keys[2],
  });
  const node = element(
    "div",
    {},
    element("p", {}, t(model.classes.length ? "play_intro_class" : "play_intro")),
    element(
      "div",
      { className: "play" },
      element(
        "figure",
        {},
        element("figcaption", { className: "text-output" }, t("play_image")),
        picture,
        speed,
      ),
      element(
        "div",
        { className: "play-controls" },
        buttons,
        element("small", { className: "play-keys" }, ...hint),
        labels.node,
        element(
          "div",
          { className: "play-latent" },
          element(
            "figure",
            {},
            element("figcaption", {}, t("play_pad")),
            pad.node,
            button(t("play_turn"), () => turn(ctx)),
          ),
          element(
            "figure",
            { className: "text-input" },
            element(
              "figcaption",
              { className: "text-input" },
              ...fill(t("play_bars"), { num: String(model.zDim) }),
            ),
            bars.node,
          ),
        ),
      ),
    ),
    grid.node,
  );
  const view = {
    node,
    show(point) {
      pad.show(point);
      bars.show(point);
      labels.show(point.label);
    },
    paint({ maps, milliseconds, point }) {
      paintImage(picture, maps.at(-1), model.imageShape);
      const name = model.classes[point.label];
      picture.setAttribute("aria-label", name ? `${t("play_image")}: ${name}` : t("play_image"));
      speed.textContent = fill(t("play_speed"), { ms: number(milliseconds, 1) }).join("");
    },
    showWalk() {
      walkButton.textContent = t(walk.isOn ? "play_stop" : "play_walk");
      walkButton.setAttribute("aria-pressed", String(walk.isOn));
    },
    press(key) {
      if (Object.hasOwn(actions, key)) actions[key]();
      else if (/^\d$/.test(key) && Number(key) < model.classes.length) {
        ctx.setPoint({ label: Number(key) });
      }
    },
  };
  view.showWalk();
  return view;
}

// One button for each class, if the class is an input of the generator.
function makeLabels(ctx) {
  const { classes } = ctx.model;
  if (!classes.length) return { node: "", show() {} };
  if (classes.length > MAX_BUTTONS) return makeLabelList(ctx);
  const buttons = classes.map((name, label) => button(name, () => ctx.setPoint({ label })));
  const node = element(
    "div",
    { className: "row play-labels", role: "group" },
    element("span", { className: "text-input" }, ctx.t("play_class")),
    ...buttons,
  );
  node.setAttribute("aria-label", ctx.t("play_class"));
  return {
    node,
    show: (chosen) =>
      buttons.forEach((each, label) => each.setAttribute("aria-pressed", String(label === chosen))),
  };
}

function makeLabelList(ctx) {
  const options = ctx.model.classes.map((name, value) => element("option", { value }, name));
  const list = element("select", {}, ...options);
  list.addEventListener("change", () => ctx.setPoint({ label: Number(list.value) }));
  const node = element("label", { className: "row text-input" }, ctx.t("play_class"), list);
  return { node, show: (chosen) => (list.value = chosen) };
}

// 64 random images; a click takes the latent of one.
function makeGrid(ctx, walk) {
  const { model, t } = ctx;
  const [, height, width] = model.imageShape;
  const side = Math.sqrt(GRID);
  const canvas = pictureOf(side * (height + GAP) - GAP, side * (width + GAP) - GAP, {
    className: "play-grid",
    "aria-label": t("play_grid_label"),
  });
  const figure = element(
    "figure",
    { hidden: true },
    element(
      "figcaption",
      {},
      t(model.classes.length ? "play_grid_caption_class" : "play_grid_caption"),
    ),
    canvas,
  );
  let points = [];
  const place = (index) => [
    (index % side) * (width + GAP),
    Math.floor(index / side) * (height + GAP),
  ];
  canvas.addEventListener("click", (event) => {
    const [x, y] = placeIn(canvas, event);
    const index =
      Math.min(side - 1, Math.floor(y * side)) * side + Math.min(side - 1, Math.floor(x * side));
    walk.stop();
    ctx.setPoint({ ...pointAt(points[index].z), label: points[index].label });
  });
  return {
    node: figure,
    draw() {
      figure.hidden = false;
      const drawLabel = () => Math.floor(Math.random() * Math.max(1, model.classes.length));
      points = Array.from({ length: GRID }, () => ({ z: drawLatent(model), label: drawLabel() }));
      ctx.ask("images", { points }, ({ index, image }) =>
        paintImage(canvas, image, model.imageShape, ...place(index)),
      );
    },
  };
}
