// The section "Play": one image, and the ways to move through the latents.

import { button, element, fill, number, paintImage, pictureOf, placeIn } from "./dom.js";
import { between, drawLatent, freshPoint, pointAt } from "./latents.js";
import { makeBars, makePad, onArrows, turn } from "./pad.js";

const LEG = 2500; // milliseconds from one latent to the next
const GRID = 64;
const MAX_BUTTONS = 20; // of classes; more are a list
const GAP = 2; // pixels between the images of the grid

export function mount(root, ctx) {
  const walk = makeWalk(ctx);
  let view = null;
  let shown = nothingShown();
  const draw = () => {
    if (!ctx.model) return;
    view = makeView(ctx, walk, shown);
    root.replaceChildren(view.node);
    if (ctx.point) view.show(ctx.point);
    if (ctx.last) view.paint(ctx.last);
  };
  ctx.onLanguage(draw);
  ctx.onModel(() => {
    walk.stop();
    shown = nothingShown();
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

function makeView(ctx, walk, shown) {
  const { t, model } = ctx;
  const [, height, width] = model.imageShape;
  const picture = pictureOf(height, width, { className: "play-image" });
  const pad = makePad(ctx, walk.stop);
  const bars = makeBars(ctx, walk.stop);
  const speed = element("small", { className: "play-speed" });
  const grid = makeGrid(ctx, walk, shown);
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
      grid.show(point);
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

// The points of the grid, and the index of the one that was taken.
const nothingShown = () => ({ points: [], chosen: null });

// 64 random images; a click or the arrow keys take the latent of one. `shown` outlives the view.
function makeGrid(ctx, walk, shown) {
  const { model, t } = ctx;
  const [, height, width] = model.imageShape;
  const side = Math.sqrt(GRID);
  const canvas = pictureOf(side * (height + GAP) - GAP, side * (width + GAP) - GAP);
  const frame = element("span", { hidden: true });
  frame.style.width = `${(100 * width) / canvas.width}%`;
  frame.style.height = `${(100 * height) / canvas.height}%`;
  const grid = element(
    "div",
    { className: "play-grid", "aria-label": t("play_grid_label") },
    canvas,
    frame,
  );
  const caption = t(model.classes.length ? "play_grid_caption_class" : "play_grid_caption");
  const figure = element("figure", {}, element("figcaption", {}, caption), grid);
  const place = (index) => [
    (index % side) * (width + GAP),
    Math.floor(index / side) * (height + GAP),
  ];
  const show = (point) => {
    frame.hidden = !point || shown.points[shown.chosen]?.z !== point.z;
    if (frame.hidden) return;
    const [x, y] = place(shown.chosen);
    frame.style.left = `${(100 * x) / canvas.width}%`;
    frame.style.top = `${(100 * y) / canvas.height}%`;
  };
  const take = (column, row) => {
    const [x, y] = [column, row].map((value) => Math.max(0, Math.min(side - 1, value)));
    shown.chosen = y * side + x;
    walk.stop();
    const { z, label } = shown.points[shown.chosen];
    ctx.setPoint({ ...pointAt(z), label });
  };
  canvas.addEventListener("click", (event) =>
    take(...placeIn(canvas, event).map((share) => Math.floor(share * side))),
  );
  onArrows(grid, (dx, dy) => {
    if (shown.chosen === null) take(0, 0);
    else take((shown.chosen % side) + dx, Math.floor(shown.chosen / side) + dy);
  });
  const paint = () => {
    figure.hidden = !shown.points.length;
    show(ctx.point);
    if (figure.hidden) return;
    ctx.ask("images", { points: shown.points }, ({ index, image }) =>
      paintImage(canvas, image, model.imageShape, ...place(index)),
    );
  };
  paint();
  return {
    node: figure,
    show,
    draw() {
      const drawLabel = () => Math.floor(Math.random() * Math.max(1, model.classes.length));
      shown.points = Array.from({ length: GRID }, () => ({
        z: drawLatent(model),
        label: drawLabel(),
      }));
      shown.chosen = null;
      paint();
    },
  };
}
