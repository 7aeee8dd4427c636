// The pad that moves the latent along two directions, and the latent's numbers as bars.

import { element, number, pictureOf, placeIn } from "./dom.js";
import { drawDirections, moved, pointAt } from "./latents.js";

const STEP = 0.1; // of an arrow key; the pad reaches from -1 to 1
const LARGEST = 3; // number at the edge of the bars

// Returns { node, show }; `onUse` is called when the reader moves the pad.
export function makePad(ctx, onUse = () => {}) {
  const dot = element("span", { className: "pad-dot" });
  const node = element(
    "div",
    { className: "pad", tabIndex: 0, role: "application", "aria-label": ctx.t("pad_label") },
    dot,
  );
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
  node.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!step[event.key]) return;
    event.preventDefault();
    const [dx, dy] = step[event.key];
    move(ctx.point.x + STEP * dx, ctx.point.y + STEP * dy);
  });
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

// The numbers of the latent as bars, which can be dragged. Returns { node, show }.
export function makeBars(ctx, onUse = () => {}) {
  const { zDim } = ctx.model;
  const canvas = pictureOf(64, zDim, { className: "bars", "aria-label": ctx.t("bars_label") });
  const limit = ctx.model.zDist === "uniform" ? 1 : LARGEST;
  const pull = (event) => {
    onUse();
    const [x, y] = placeIn(canvas, event);
    const z = ctx.point.z.slice();
    const index = Math.max(0, Math.min(zDim - 1, Math.floor(x * zDim)));
    z[index] = limit * Math.max(-1, Math.min(1, 1 - 2 * y));
    canvas.title = `z[${index}] = ${number(z[index])}`;
    ctx.setPoint(pointAt(z));
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
    z.forEach((value, i) => {
      const length = Math.min(1, Math.abs(value) / limit) * (height / 2);
      brush.fillRect(i, value > 0 ? height / 2 - length : height / 2, 0.8, Math.max(1, length));
    });
  };
  return { node: canvas, show };
}
