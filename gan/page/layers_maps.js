// All maps of one level in one canvas, a pixel for each number, and which number a pointer is at.

import { element, pictureOf, placeIn } from "./dom.js";

const GAP = 1; // pixels between maps

// Returns { node, canvas, paint }. `onPoint` and `onClick` get { channel, y, x }.
export function makeLevel({ shape, head, label, aspect, isImage, onPoint, onClick }) {
  const [channels, height, width] = shape;
  const columns = columnsFor(channels, Math.sqrt(channels * aspect));
  const rows = Math.ceil(channels / columns);
  const canvas = pictureOf(rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, {
    className: "level-maps",
    tabIndex: 0,
    role: "application",
    "aria-label": label,
  });
  const brush = canvas.getContext("2d");
  const pixels = brush.createImageData(canvas.width, canvas.height);
  const colours = new Uint32Array(pixels.data.buffer);
  let cursor = { channel: 0, y: 0, x: 0 };

  const originOf = (channel) =>
    Math.floor(channel / columns) * (height + GAP) * canvas.width +
    (channel % columns) * (width + GAP);

  const numberAt = (event) => {
    const [x, y] = placeIn(canvas, event).map((share, axis) =>
      Math.floor(share * (axis ? canvas.height : canvas.width)),
    );
    const channel = Math.floor(y / (height + GAP)) * columns + Math.floor(x / (width + GAP));
    const [inY, inX] = [y % (height + GAP), x % (width + GAP)];
    const isNumber = x >= 0 && y >= 0 && channel < channels && inY < height && inX < width;
    return isNumber ? { channel, y: inY, x: inX } : null;
  };

  canvas.addEventListener("pointermove", (event) => {
    const number = numberAt(event);
    if (number) onPoint((cursor = number));
  });
  canvas.addEventListener("click", (event) => {
    const number = numberAt(event);
    if (number) onClick((cursor = number));
  });
  canvas.addEventListener("keydown", (event) => {
    const moved = movedBy(event.key, cursor, shape, columns);
    if (moved) onPoint((cursor = moved));
    else if (event.key === "Enter" || event.key === " ") onClick(cursor);
    else return;
    event.preventDefault();
  });

  return {
    node: element("figure", { className: "level" }, element("figcaption", {}, ...head), canvas),
    // `marks` is a list of { channel (all if undefined), y, x, colour }; channels in `off` are crossed.
    paint(maps, { scale, off, marks }) {
      colours.fill(0);
      const area = height * width;
      for (let channel = 0; channel < channels; channel++) {
        const origin = originOf(channel);
        for (let y = 0; y < height; y++) {
          for (let x = 0; x < width; x++) {
            const value = maps[channel * area + y * width + x];
            const share = isImage ? (value + 1) / 2 : value / scale;
            colours[origin + y * canvas.width + x] = isImage ? grey(share) : shade(share);
          }
        }
      }
      const put = (channel, y, x, colour) => {
        const place = originOf(channel) + y * canvas.width + x;
        colours[place] = mixed(colours[place], colour);
      };
      for (const { channel, y, x, colour } of marks) {
        if (channel !== undefined) put(channel, y, x, colour);
        else for (let each = 0; each < channels; each++) put(each, y, x, colour);
      }
      brush.putImageData(pixels, 0, 0);
      for (const channel of off ?? []) cross(brush, originOf(channel), canvas.width, width, height);
    },
  };
}

// Where an arrow key leads: to the next number, in the next map at an edge.
function movedBy(key, { channel, y, x }, [channels, height, width], columns) {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (!steps[key]) return null;
  const [dy, dx] = steps[key];
  const rows = Math.ceil(channels / columns) * height;
  const row = Math.floor(channel / columns) * height + y + dy;
  const col = (channel % columns) * width + x + dx;
  const next = Math.floor(row / height) * columns + Math.floor(col / width);
  const isInside = row >= 0 && row < rows && col >= 0 && col < columns * width && next < channels;
  return isInside ? { channel: next, y: row % height, x: col % width } : { channel, y, x };
}

// As many columns as divide the channels into full rows, near to the number that is wanted.
function columnsFor(channels, wanted) {
  let best = 1;
  for (let columns = 1; columns <= channels; columns++) {
    const isNearer = Math.abs(Math.log(columns / wanted)) < Math.abs(Math.log(best / wanted));
    if (channels % columns === 0 && isNearer) best = columns;
  }
  return best;
}

// Black for 0, white for 1, purple below 0; the root makes small numbers visible.
function shade(share) {
  const level = Math.sqrt(Math.min(1, Math.abs(share)));
  return share >= 0 ? grey(level) : rgb(200 * level, 60 * level, 200 * level);
}

function grey(share) {
  return rgb(255 * share, 255 * share, 255 * share);
}

function rgb(red, green, blue) {
  return (255 << 24) | (blue << 16) | (green << 8) | red;
}

// The number's own brightness stays visible under the colour of a mark.
function mixed(below, [red, green, blue]) {
  const light = 0.55 + 0.45 * ((below & 255) / 255);
  return rgb(red * light, green * light, blue * light);
}

function cross(brush, origin, stride, width, height) {
  const [left, top] = [origin % stride, Math.floor(origin / stride)];
  brush.fillStyle = "#c22";
  brush.fillRect(left, top, width, height);
}
