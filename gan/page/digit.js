// The section "Draw your own": D's opinion of a drawing, and the latent whose image comes nearest.

import { button, element, fill, number, paintImage, pictureOf, placeIn } from "./dom.js";
import { centred, render } from "./digit_pen.js";
import { pointAt } from "./latents.js";
import { SEARCH_STEPS } from "./tasks.js";

const EXAMPLE = [
  [
    [0.26, 0.2],
    [0.76, 0.2],
    [0.62, 0.45],
    [0.5, 0.85],
  ],
];
const PAUSE = 350; // milliseconds after a stroke until the search starts
const NUM_COMPARED = 100; // generated images that D judges for comparison
const MAX_POINTS = 5000;

export function mount(root, ctx) {
  // `image` is what is searched for
  const state = { strokes: [], image: null, found: null, compared: null };
  let view = null;
  const draw = () => {
    view = null;
    if (!ctx.model?.hasDiscriminator) return root.replaceChildren();
    view = makeView(ctx, state);
    root.replaceChildren(view.node);
    if (state.strokes.length) view.search();
  };
  ctx.onLanguage(draw);
  ctx.onModel(() => {
    Object.assign(state, { strokes: [], image: null, found: null, compared: null });
    draw();
  });
}

function makeView(ctx, state) {
  const { t, model } = ctx;
  const [, height, width] = model.imageShape;
  const isDigit = model.source.startsWith("mnist");
  const pictures = Object.fromEntries(
    ["given", "nearest", "difference"].map((name) => [
      name,
      pictureOf(height, width, { "aria-label": t(`digit_${name}`) }),
    ]),
  );
  const status = element("p", { role: "status" });
  const opinions = makeOpinions(ctx);
  const show = button(t("digit_show"), () => {
    ctx.setPoint({ ...pointAt(state.found.z), label: state.found.label });
    document.getElementById("play").scrollIntoView();
  });
  const results = element(
    "div",
    { className: "digit-results", hidden: true },
    element(
      "div",
      { className: "digit-pictures" },
      ...Object.entries(pictures).map(([name, canvas]) =>
        element("figure", {}, element("figcaption", {}, t(`digit_${name}`)), canvas),
      ),
    ),
    status,
    show,
    opinions.node,
  );
  let timer = 0;
  const paper = makePaper(ctx, state, () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });

  async function search() {
    if (!state.strokes.length) return;
    const strokes = isDigit ? centred(state.strokes, height, width) : state.strokes;
    const image = render(strokes, height, width);
    results.hidden = false;
    opinions.clear();
    paintImage(pictures.given, image, model.imageShape);
    state.image = image;
    let last = null;
    await ctx.ask("search", { image }, (found) => {
      last = found;
      if (state.image === image) report(found, image);
    });
    if (!last || state.image !== image || ctx.model !== model) return;
    state.found = last;
    const { real: mine } = await ctx.ask("judge", { image, label: last.label });
    const { real: nearest } = await ctx.ask("judge", { image: last.drawn, label: last.label });
    if (state.image === image) opinions.show(mine, nearest, state.compared);
    state.compared ??= (await ctx.ask("compare", { num: NUM_COMPARED })).opinions;
    if (state.image === image) opinions.show(mine, nearest, state.compared);
  }

  function report({ drawn, error, step, label }, image) {
    paintImage(pictures.nearest, drawn, model.imageShape);
    const difference = image.map((value, i) => (value - drawn[i]) / 2);
    paintImage(pictures.difference, difference, model.imageShape);
    const parts = {
      step: String(step),
      steps: String(SEARCH_STEPS),
      error: number(127.5 * Math.sqrt(error), 1),
      name: model.classes[label] ?? "",
    };
    status.replaceChildren(
      ...fill(t(model.classes.length ? "digit_status_class" : "digit_status"), parts),
    );
    show.disabled = step < SEARCH_STEPS;
  }

  const tools = element(
    "div",
    { className: "row" },
    button(t("digit_clear"), () => {
      Object.assign(state, { strokes: [], image: null });
      paper.show();
      results.hidden = true;
    }),
    button(t("digit_example"), () => {
      state.strokes = structuredClone(EXAMPLE);
      paper.show();
      search();
    }),
  );
  paper.show();
  return {
    search,
    node: element(
      "div",
      {},
      element("p", {}, t(isDigit ? "digit_intro" : "digit_intro_other")),
      element(
        "div",
        { className: "digit" },
        element("figure", {}, element("figcaption", {}, t("digit_paper")), paper.node, tools),
        results,
      ),
    ),
  };
}

// The canvas to draw on.
function makePaper(ctx, state, onStroke) {
  const [, height, width] = ctx.model.imageShape;
  const canvas = pictureOf(height, width, {
    className: "digit-paper",
    "aria-label": ctx.t("digit_paper"),
  });
  const show = () => paintImage(canvas, render(state.strokes, height, width), [1, height, width]);
  const count = () => state.strokes.reduce((sum, stroke) => sum + stroke.length, 0);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    state.image = null; // a search for the earlier drawing is stale
    state.strokes.push([placeIn(canvas, event)]);
    show();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId) || count() >= MAX_POINTS) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      state.strokes.at(-1).push(placeIn(canvas, each));
    }
    show();
  });
  canvas.addEventListener("lostpointercapture", onStroke);
  return { node: canvas, show };
}

// D's opinions as bars from 0 to 1.
function makeOpinions({ t }) {
  const rows = ["mine", "nearest", "compared"].map((name) => {
    const bar = element("span", { className: `digit-bar digit-bar-${name}` });
    const value = element("td", {});
    const row = element(
      "tr",
      {},
      element("th", { scope: "row" }, t(`digit_d_${name}`)),
      element("td", { className: "digit-track" }, bar),
      value,
    );
    return { row, bar, value };
  });
  const caption = element("caption", {}, t("digit_opinion"));
  const table = element(
    "table",
    { className: "digit-opinions" },
    caption,
    element("tbody", {}, ...rows.map(({ row }) => row)),
  );
  const node = element("div", {}, table, element("p", {}, t("digit_caution")));
  const put = ({ bar, value }, low, high, text) => {
    bar.style.left = `${100 * low}%`;
    bar.style.width = `${Math.max(1, 100 * (high - low))}%`;
    value.textContent = text;
  };
  return {
    node,
    clear: () => (node.hidden = true),
    show(mine, nearest, compared) {
      node.hidden = false;
      put(rows[0], 0, mine, number(mine));
      put(rows[1], 0, nearest, number(nearest));
      rows[2].row.hidden = !compared;
      if (!compared) return;
      const [low, high] = [0.1, 0.9].map((share) => compared[Math.floor(share * compared.length)]);
      put(rows[2], low, high, `${number(low)}\u2013${number(high)}`);
    },
  };
}
