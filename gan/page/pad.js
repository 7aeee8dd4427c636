// The pad that moves the latent along two directions, and the latent's numbers as bars.

import { element, number, pictureOf, placeIn } from "./dom.js";
import { drawDirections, moved, pointAt } from "./latents.js";

const STEP = 0.1; // of an arrow key; the pad reaches from -1 to 1
const LARGEST = 3; // number at the edge of the bars
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Calls onArrow(dx, dy) for each arrow key that is pressed on a node, which can have the focus.
export function onArrows(node, onArrow) {
  node.tabIndex = 0;
  node.setAttribute("role", "application");
  node.addEventListener("keydown", (event) => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    onArrow(...ARROWS[event.key]);
  });
}

// Returns { node, show }; `onUse` is called when the reader moves the pad.
export function makePad(ctx, onUse = () => {}) {
  const dot = element("span", { className: "pad-dot" });
  const node = element("div", { className: "pad", "aria-label": ctx.t("pad_label") }, dot);
  const move = (x, y) => {
    onUse();
    const { centre, directions } = ctx.point;
    [x, y] = [x, y].map((value) => Math.max(-1, Math.min(1, value)));
    ctx.setPoint({ x, y, z: moved(ctx.model, centre, directions, x, y) });
  };
  const follow = (event) => {
    const [x, y] = placeIn(node, event);
    move(2 * x - 1, 2 * y - 1);
  };
  node.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" || event.buttons) follow(event);
  });
  node.addEventListener("pointerdown", follow);
  onArrows(node, (dx, dy) => move(ctx.point.x + STEP * dx, ctx.point.y + STEP * dy));
  const show = ({ x, y }) => {
    dot.style.left = `${50 * (x + 1)}%`;
    dot.style.top = `${50 * (y + 1)}%`;
  };
  if (ctx.point) show(ctx.point);
  return { node, show };
}

// New directions for the pad, from where it is.
export function turn(ctx) {
  ctx.setPoint({ ...pointAt(ctx.point.z), directions: drawDirections(ctx.model) });
}

// The numbers of the latent as bars, to drag or to change by arrow keys. Returns { node, show }.
export function makeBars(ctx, onUse = () => {}) {
  const { zDim } = ctx.model;
  const canvas = pictureOf(64, zDim, { className: "bars", "aria-label": ctx.t("bars_label") });
  const limit = ctx.model.zDist === "uniform" ? 1 : LARGEST;
  let chosen = null; // index of the number that the arrow keys change
  const choose = (index) => {
    chosen = Math.max(0, Math.min(zDim - 1, index));
  };
  const set = (value) => {
    onUse();
    const z = ctx.point.z.slice();
    z[chosen] = limit * Math.max(-1, Math.min(1, value));
    canvas.title = `z[${chosen}] = ${number(z[chosen])}`;
    ctx.setPoint(pointAt(z));
  };
  const pull = (event) => {
    const [x, y] = placeIn(canvas, event);
    choose(Math.floor(x * zDim));
    set(1 - 2 * y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pull(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && pull(event));
  const show = ({ z }) => {
    const brush = canvas.getContext("2d");
    const { height, width } = canvas;
    brush.clearRect(0, 0, width, height);
    brush.fillStyle = getComputedStyle(canvas).color;
    if (chosen !== null) {
      brush.globalAlpha = 0.25;
      brush.fillRect(chosen, 0, 1, height);
      brush.globalAlpha = 1;
    }
    z.forEach((value, i) => {
      const length = Math.min(1, Math.abs(value) / limit) * (height / 2);
      brush.fillRect(i, value > 0 ? height / 2 - length : height / 2, 0.8, Math.max(1, length));
    });
  };
  onArrows(canvas, (dx, dy) => {
    choose((chosen ?? -dx) + dx);
    if (dy) set(ctx.point.z[chosen] / limit - STEP * dy);
    else show(ctx.point);
  });
  return { node: canvas, show };
}
