// Strokes of a pen as an image in [-1, 1]. A stroke is a list of points [x, y], each from 0 to 1.

const RADIUS = 1.35; // pixels: MNIST's pens are two to three pixels wide
const DIGIT = 20; // pixels of the longer side of MNIST's digits, in any frame

// Returns the image (H, W) of strokes.
export function render(strokes, height, width) {
  const image = new Float32Array(height * width).fill(-1);
  for (const stroke of strokes) {
    stroke.forEach(([x, y], i) => {
      const [fromX, fromY] = stroke[Math.max(0, i - 1)];
      drawLine(image, width, [fromX * width, fromY * height], [x * width, y * height]);
    });
  }
  return image;
}

function drawLine(image, width, from, to) {
  const height = image.length / width;
  const reach = RADIUS + 1;
  const [top, bottom] = range(from[1], to[1], reach, height);
  const [left, right] = range(from[0], to[0], reach, width);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const ink = RADIUS + 0.5 - distance([x + 0.5, y + 0.5], from, to);
      const value = 2 * Math.max(0, Math.min(1, ink)) - 1;
      image[y * width + x] = Math.max(image[y * width + x], value);
    }
  }
}

function range(a, b, reach, length) {
  return [
    Math.max(0, Math.floor(Math.min(a, b) - reach)),
    Math.min(length, Math.ceil(Math.max(a, b) + reach)),
  ];
}

// From a point to the line between two others.
function distance([x, y], [fromX, fromY], [toX, toY]) {
  const [dx, dy] = [toX - fromX, toY - fromY];
  const squared = dx * dx + dy * dy;
  const along = squared ? ((x - fromX) * dx + (y - fromY) * dy) / squared : 0;
  const share = Math.max(0, Math.min(1, along));
  return Math.hypot(x - fromX - share * dx, y - fromY - share * dy);
}

// Strokes scaled and moved as MNIST's digits are: the longer side is DIGIT pixels, the middle of the
// ink in the middle of the image.
export function centred(strokes, height, width) {
  const points = strokes.flat();
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const longest = Math.max(
    Math.max(...xs) - Math.min(...xs),
    Math.max(...ys) - Math.min(...ys),
    0.1,
  );
  const scale = (DIGIT - 2 * RADIUS) / width / longest;
  const scaled = strokes.map((stroke) => stroke.map(([x, y]) => [x * scale, y * scale]));
  const middle = [0, 1].map((axis) => middleOfBox(scaled.flat().map((point) => point[axis])));
  const moved = shift(scaled, 0.5 - middle[0], 0.5 - middle[1]);
  const [x, y] = middleOfInk(render(moved, height, width), width);
  return shift(moved, 0.5 - x / width, 0.5 - y / height);
}

function middleOfBox(values) {
  return (Math.min(...values) + Math.max(...values)) / 2;
}

function shift(strokes, dx, dy) {
  return strokes.map((stroke) => stroke.map(([x, y]) => [x + dx, y + dy]));
}

function middleOfInk(image, width) {
  let [total, sumX, sumY] = [0, 0, 0];
  image.forEach((value, i) => {
    const ink = (value + 1) / 2;
    total += ink;
    sumX += ink * ((i % width) + 0.5);
    sumY += ink * (Math.floor(i / width) + 0.5);
  });
  return [sumX / total, sumY / total];
}
