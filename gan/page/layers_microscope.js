// One output pixel of one layer: the input pixels and kernel taps that feed it, their products and the
// sum; or one input pixel and its stamp.

import { element, fill, number, placeIn } from "./dom.js";
import { productsOf, stampOf, tapOf } from "./layers_math.js";

const DIGITS = 3;

// Returns { node, show }. `onFrom(channel)` chooses an input channel; `onInput({ y, x })` points at an
// input pixel, `onOutput({ y, x })` at an output pixel.
export function makeMicroscope(ctx, { onFrom, onInput, onOutput }) {
  const { t } = ctx;
  const title = element("h3", { role: "status" });
  const input = makeMap("input", onInput);
  const kernel = element(
    "table",
    { className: "micro-kernel" },
    element("caption"),
    element("tbody"),
  );
  const output = makeMap("output", onOutput);
  const sentence = element("p", { className: "micro-sentence" });
  const sums = makeSums(onFrom, t);
  const total = element("p", { className: "micro-sentence" });
  const node = element(
    "div",
    {},
    title,
    element("div", { className: "micro-maps" }, input.node, output.node),
    element("div", { className: "micro-products" }, kernel, sentence),
    sums.node,
    total,
  );

  // `at` is { level, channel, y, x, from, stamp }: `from` is the input channel, null for that which adds
  // most; with `stamp` (row, col) the input pixel is shown and not the output's sources.
  function show(at, maps) {
    const layer = ctx.model.layers[at.level - 1];
    const [inShape, outShape] = [ctx.model.shapes[at.level - 1], ctx.model.shapes[at.level]];
    const [before, after] = [maps[at.level - 1], maps[at.level]];
    const products = productsOf(layer, inShape, before, at.channel, at.y, at.x);
    const from = at.from ?? largest(products.sums);
    const lit = at.stamp
      ? litByStamp(layer, outShape, at.stamp)
      : litBySources(products.sources, at);
    const isOutput = (y, x) => lit.outputs.has(`${y},${x}`);
    title.textContent = fillText(t("micro_title"), { level: at.level, channel: at.channel });
    input.show(channelOf(before, inShape, from), inShape, (y, x) => lit.inputs.has(`${y},${x}`));
    const isImage = at.level === ctx.model.layers.length;
    output.show(channelOf(after, outShape, at.channel), outShape, isOutput, isImage);
    input.caption.textContent = fillText(t("micro_input"), {
      channel: from,
      size: sizeOf(inShape),
    });
    output.caption.textContent = fillText(t("micro_output"), {
      channel: at.channel,
      size: sizeOf(outShape),
    });
    showKernel(kernel, layer, from, at.channel, lit.taps, t);
    if (at.stamp) {
      const value = before[(from * inShape[1] + at.stamp.y) * inShape[2] + at.stamp.x];
      const parts = {
        row: at.stamp.y,
        col: at.stamp.x,
        value: number(value, DIGITS),
        num: lit.outputs.size,
      };
      sentence.replaceChildren(...fill(t("micro_stamp"), withText(parts)));
      total.textContent = "";
      sums.node.hidden = true;
      return { from, lit };
    }
    sums.node.hidden = false;
    sums.show(products.sums, from);
    sentence.replaceChildren(
      ...productSentence(products.termsOf(from), products.sums[from], from, t),
    );
    const value = after[(at.channel * outShape[1] + at.y) * outShape[2] + at.x];
    const ends = ctx.off[at.level]?.has(at.channel) ? "off" : layer.activation;
    total.replaceChildren(...totalSentence(products, value, ends, inShape[0], at, t));
    return { from, lit };
  }
  return { node, show };
}

function litBySources(sources, { y, x }) {
  return {
    inputs: new Set(sources.map(({ row, col }) => `${row},${col}`)),
    taps: new Set(sources.map(({ ty, tx }) => `${ty},${tx}`)),
    outputs: new Set([`${y},${x}`]),
  };
}

function litByStamp(layer, outShape, { y: row, x: col }) {
  const stamp = stampOf(layer, outShape, row, col);
  return {
    inputs: new Set([`${row},${col}`]),
    taps: new Set(stamp.map(({ ty, tx }) => `${ty},${tx}`)),
    outputs: new Set(stamp.map(({ y, x }) => `${y},${x}`)),
  };
}

function largest(sums) {
  return sums.reduce((best, sum, i) => (Math.abs(sum) > Math.abs(sums[best]) ? i : best), 0);
}

function channelOf(maps, [, height, width], channel) {
  return maps.subarray(channel * height * width, (channel + 1) * height * width);
}

function sizeOf([, height, width]) {
  return `${height}\u00a0×\u00a0${width}`;
}

function withText(parts) {
  return Object.fromEntries(Object.entries(parts).map(([name, value]) => [name, String(value)]));
}

function fillText(text, parts) {
  return fill(text, withText(parts)).join("");
}

// A map, enlarged, with frames around the lit pixels.
function makeMap(kind, onPoint) {
  const canvas = element("canvas", { className: `micro-map micro-${kind}`, role: "img" });
  const caption = element("figcaption", { className: `text-${kind}` });
  let size = [1, 1];
  const point = (event) => {
    const [x, y] = placeIn(canvas, event);
    onPoint({ y: clip(y, size[0]), x: clip(x, size[1]) });
  };
  const clip = (share, length) => Math.max(0, Math.min(length - 1, Math.floor(share * length)));
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  return {
    node: element("figure", {}, caption, canvas),
    caption,
    // Black is 0, purple below; in an image black is -1.
    show(map, [, height, width], isLit, isImage = false) {
      size = [height, width];
      const side = Math.max(1, Math.floor(160 / Math.max(height, width)));
      Object.assign(canvas, { width: width * side, height: height * side });
      canvas.setAttribute("aria-label", caption.textContent);
      const brush = canvas.getContext("2d");
      const top = map.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
      map.forEach((value, i) => {
        const grey = Math.round(isImage ? 127.5 * (value + 1) : (255 * Math.abs(value)) / top);
        brush.fillStyle =
          value < 0 && !isImage
            ? `rgb(${grey * 0.8} ${grey >> 2} ${grey * 0.8})`
            : `rgb(${grey} ${grey} ${grey})`;
        brush.fillRect((i % width) * side, Math.floor(i / width) * side, side, side);
      });
      brush.strokeStyle = getComputedStyle(canvas).color;
      brush.lineWidth = Math.max(1.5, side / 6);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          if (isLit(y, x)) brush.strokeRect(x * side + 1, y * side + 1, side - 2, side - 2);
        }
      }
    },
  };
}

function showKernel(table, layer, from, to, taps, t) {
  const [, , height, width] = layer.kernel.shape;
  table.caption.textContent = fillText(t("micro_kernel"), {
    from,
    to,
    size: `${height} × ${width}`,
  });
  const rows = Array.from({ length: height }, (_, ty) =>
    element(
      "tr",
      {},
      ...Array.from({ length: width }, (_, tx) => {
        const className = taps.has(`${ty},${tx}`) ? "lit" : "";
        return element("td", { className }, number(tapOf(layer, from, to, ty, tx), DIGITS));
      }),
    ),
  );
  table.tBodies[0].replaceChildren(...rows);
}

// What each input channel adds to the output, as bars; pointing at one chooses it.
function makeSums(onFrom, t) {
  const canvas = element("canvas", {
    className: "micro-sums",
    height: 48,
    tabIndex: 0,
    role: "application",
    "aria-label": t("micro_sums"),
  });
  let chosen = 0;
  let length = 1;
  const choose = (event) => {
    const index = Math.floor(placeIn(canvas, event)[0] * length);
    onFrom(Math.max(0, Math.min(length - 1, index)));
  };
  canvas.addEventListener("pointermove", choose);
  canvas.addEventListener("pointerdown", choose);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    onFrom((chosen + step + length) % length);
  });
  return {
    node: element("figure", {}, element("figcaption", {}, t("micro_sums")), canvas),
    show(sums, from) {
      [chosen, length] = [from, sums.length];
      canvas.width = Math.max(320, sums.length);
      const brush = canvas.getContext("2d");
      const style = getComputedStyle(canvas);
      const bar = canvas.width / length;
      const top = sums.reduce((most, sum) => Math.max(most, Math.abs(sum)), 1e-9);
      sums.forEach((sum, i) => {
        const size = (Math.abs(sum) / top) * 23;
        brush.fillStyle = i === from ? style.color : style.borderColor;
        brush.fillRect(
          i * bar,
          sum > 0 ? 24 - size : 24,
          Math.max(1, bar * 0.8),
          Math.max(1, size),
        );
      });
    },
  };
}

function productSentence(terms, sum, from, t) {
  if (!terms.length) return [t("micro_none")];
  const pieces = terms.map(({ input, tap }, i) =>
    element(
      "span",
      { className: "micro-product" },
      i ? "+ " : "",
      element("span", { className: "text-input" }, number(input, DIGITS)),
      " · ",
      element("span", { className: "text-kernel" }, number(tap, DIGITS)),
    ),
  );
  return [
    ...fill(t("micro_from"), { channel: String(from) }),
    ...pieces,
    `= ${number(sum, DIGITS)}`,
  ];
}

function totalSentence({ total, bias }, value, activation, channels, at, t) {
  const result = element("strong", { className: "text-output" }, number(value, DIGITS));
  return fill(t(`micro_total_${activation}`), {
    ...withText({ channels, row: at.y, col: at.x }),
    total: number(total, DIGITS),
    bias: number(bias, DIGITS),
    sum: number(total + bias, DIGITS),
    value: result,
  });
}
