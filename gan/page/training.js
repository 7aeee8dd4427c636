// The section "Training": the grids that a run saved, beside the curves of its discriminator.

import { button, element, fill } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MARGIN] = [600, 300, 34];
const FRAME = 250; // milliseconds of one grid when the training plays

export function mount(root, ctx) {
  const { history } = ctx.content;
  if (!history) return;
  const state = { index: history.grids.length - 1, timer: 0 };
  const draw = () => {
    stop(state);
    root.replaceChildren(makeView(ctx, history, state));
  };
  draw();
  ctx.onLanguage(draw);
}

function stop(state) {
  clearInterval(state.timer);
  state.timer = 0;
}

function makeView(ctx, { grids, curves, images_per_step: perStep }, state) {
  const { t } = ctx;
  const image = element("img", { className: "training-grid" });
  const caption = element("figcaption", { className: "text-output", role: "status" });
  const chart = makeChart(curves, t);
  const slider = element("input", {
    type: "range",
    min: 0,
    max: grids.length - 1,
    value: state.index,
    "aria-label": t("training_slider"),
  });
  const play = button("", () => {
    if (state.timer) return void (stop(state), show());
    if (state.index === grids.length - 1) state.index = -1;
    state.timer = setInterval(advance, FRAME);
    advance();
  });

  function advance() {
    state.index += 1;
    if (state.index >= grids.length - 1) stop(state);
    show();
  }
  function show() {
    const { step, image: source } = grids[state.index];
    const parts = {
      step: step.toLocaleString("en"),
      images: (step * perStep).toLocaleString("en"),
    };
    image.src = source;
    caption.textContent = fill(t("training_caption"), parts).join("");
    image.alt = caption.textContent;
    slider.value = state.index;
    slider.setAttribute("aria-valuetext", caption.textContent);
    play.textContent = t(state.timer ? "training_pause" : "training_play");
    chart.mark(step * perStep);
  }
  slider.addEventListener("input", () => {
    stop(state);
    state.index = Number(slider.value);
    show();
  });
  show();
  return element(
    "div",
    {},
    element("p", {}, t("training_intro")),
    element("div", { className: "row training-tools" }, play, slider),
    element(
      "div",
      { className: "training" },
      element("figure", {}, caption, image),
      element(
        "figure",
        {},
        element(
          "figcaption",
          {},
          ...fill(t("training_curves"), {
            real: element("span", { className: "curve-real" }, t("training_real")),
            fake: element("span", { className: "curve-fake" }, t("training_fake")),
          }),
        ),
        chart.node,
        element("p", {}, t("training_reading")),
      ),
    ),
  );
}

// Curves between 0 and 1, over the images seen. Returns { node, mark }.
function makeChart({ real, fake }, t) {
  const last = Math.max(1, ...real[0], ...fake[0]);
  const x = (images) => MARGIN + (images / last) * (WIDTH - MARGIN - 6);
  const y = (value) => HEIGHT - MARGIN + 8 - value * (HEIGHT - MARGIN - 4);
  const node = vector("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    class: "training-chart",
    role: "img",
    "aria-label": t("training_chart"),
  });
  for (const value of [0, 0.5, 1]) {
    node.append(
      vector("line", { x1: MARGIN, x2: WIDTH, y1: y(value), y2: y(value), class: "axis" }),
      vector("text", { x: MARGIN - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)),
    );
  }
  const end = fill(t("training_images"), { num: last.toLocaleString("en") }).join("");
  node.append(
    vector("text", { x: MARGIN, y: HEIGHT - 4 }, "0"),
    vector("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, end),
  );
  for (const [name, [images, values]] of Object.entries({ real, fake })) {
    const points = images
      .map((at, i) => `${x(at).toFixed(1)},${y(values[i]).toFixed(1)}`)
      .join(" ");
    node.append(vector("polyline", { points, class: `curve curve-${name}` }));
  }
  const line = vector("line", { y1: y(1), y2: y(0), class: "now" });
  node.append(line);
  return {
    node,
    mark(images) {
      line.setAttribute("x1", x(Math.min(images, last)));
      line.setAttribute("x2", x(Math.min(images, last)));
    },
  };
}

function vector(tag, attributes, text = "") {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}
