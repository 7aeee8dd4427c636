// The transposed convolution of one square channel, computed in several ways; no DOM.
//
// A setting is {n, k, s, p, op, d}: sizes of input and kernel, stride, padding, output padding,
// dilation. Maps are arrays of rows. `full` is the sum of all copies before padding removes its
// frame; an element of `full` at (row, col) is the output's element at (row - p, col - p).

export const BOUNDS = { n: [1, 5], k: [1, 6], s: [1, 4], p: [0, 4], op: [0, 3], d: [1, 3] };

export function outputSize({ n, k, s, p, op, d }) {
  return (n - 1) * s + d * (k - 1) + 1 - 2 * p + op;
}

// The extent of one copy: dilation spreads the taps apart.
export function copySize({ k, d }) {
  return d * (k - 1) + 1;
}

// Output padding larger than padding reaches beyond the last copy, so `full` gets longer.
export function fullSize(setting) {
  const copies = (setting.n - 1) * setting.s + copySize(setting);
  return Math.max(copies, setting.p + outputSize(setting));
}

// What PyTorch would refuse: "op", "size", or null for a valid setting.
export function problem(setting) {
  if (setting.op >= Math.max(setting.s, setting.d)) return "op";
  return outputSize(setting) < 1 ? "size" : null;
}

export function zeros(rows, cols = rows) {
  return Array.from({ length: rows }, () => new Array(cols).fill(0));
}

// True where an element of `full` is part of the output.
export function isKept(row, col, setting) {
  const end = setting.p + outputSize(setting);
  return Math.min(row, col) >= setting.p && Math.max(row, col) < end;
}

export function crop(full, setting) {
  const end = setting.p + outputSize(setting);
  return full.slice(setting.p, end).map((line) => line.slice(setting.p, end));
}

// By definition: every input element adds a copy of the kernel. Here the first `count` copies, in
// the order of the input's rows.
export function addCopies(x, kernel, setting, count = setting.n ** 2) {
  const full = zeros(fullSize(setting));
  for (let index = 0; index < count; index++) {
    const [i, j] = [Math.floor(index / setting.n), index % setting.n];
    for (const { row, col, u, v } of copyOf(i, j, setting)) full[row][col] += x[i][j] * kernel[u][v];
  }
  return full;
}

// The elements of `full` that input element (i, j) writes, each with its tap (u, v).
export function copyOf(i, j, { k, s, d }) {
  const written = [];
  for (let u = 0; u < k; u++) {
    for (let v = 0; v < k; v++) written.push({ row: i * s + u * d, col: j * s + v * d, u, v });
  }
  return written;
}

// The input elements (i, j) and taps (u, v) whose products make the element (row, col) of `full`.
export function sourcesOf(row, col, { n, k, s, d }) {
  const sources = [];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const [u, v] = [(row - i * s) / d, (col - j * s) / d];
      const isTap = [u, v].every((tap) => Number.isInteger(tap) && tap >= 0 && tap < k);
      if (isTap) sources.push({ i, j, u, v });
    }
  }
  return sources;
}

// The elements that an ordinary convolution reads for its result (a, b): positions in its image,
// which lie outside of it where the convolution's padding is read.
function windowAt(a, b, { k, s, p, d }) {
  const read = [];
  for (let u = 0; u < k; u++) {
    for (let v = 0; v < k; v++) read.push({ row: a * s + u * d - p, col: b * s + v * d - p, u, v });
  }
  return read;
}

// The matrix (n * n, out * out) of the convolution with this kernel, stride, padding and dilation
// from an image of the output's size; `null` where no tap lies.
export function convolutionMatrix(kernel, setting) {
  const size = outputSize(setting);
  const matrix = [];
  for (let a = 0; a < setting.n; a++) {
    for (let b = 0; b < setting.n; b++) {
      const line = new Array(size * size).fill(null);
      for (const { row, col, u, v } of windowAt(a, b, setting)) {
        const inside = Math.min(row, col) >= 0 && Math.max(row, col) < size;
        if (inside) line[row * size + col] = kernel[u][v];
      }
      matrix.push(line);
    }
  }
  return matrix;
}

export function transpose(matrix) {
  return matrix[0].map((_, col) => matrix.map((line) => line[col]));
}

// By the transposed matrix of the convolution, times the flattened input.
export function byMatrix(x, kernel, setting) {
  const flat = x.flat();
  const products = transpose(convolutionMatrix(kernel, setting)).map((line) =>
    line.reduce((sum, tap, index) => sum + (tap ?? 0) * flat[index], 0),
  );
  const size = outputSize(setting);
  return zeros(size).map((_, row) => products.slice(row * size, (row + 1) * size));
}

// The width of the frame around the spread input; below 0, that many rows are cut off instead.
export function frameWidth(setting) {
  return copySize(setting) - 1 - setting.p;
}

// What lies at (row, col) of the map that the flipped kernel is convolved with: {i, j} of an input
// element, or null for a zero.
export function inputAt(row, col, setting) {
  const frame = frameWidth(setting);
  const [i, j] = [(row - frame) / setting.s, (col - frame) / setting.s];
  const isInput = [i, j].every((at) => Number.isInteger(at) && at >= 0 && at < setting.n);
  return isInput ? { i, j } : null;
}

// The input with s - 1 zeros between its elements, framed by zeros; op more at the far ends.
export function insertZeros(x, setting) {
  const size = outputSize(setting) + copySize(setting) - 1;
  return zeros(size).map((line, row) =>
    line.map((_, col) => {
      const at = inputAt(row, col, setting);
      return at ? x[at.i][at.j] : 0;
    }),
  );
}

// How often each element of `full` is written.
export function overlap(setting) {
  const ones = (size) => zeros(size).map((line) => line.fill(1));
  return addCopies(ones(setting.n), ones(setting.k), setting);
}

// How often an element far from the border is written along one axis, for each remainder of its
// position by the stride. The pattern is even if all are equal; if d = 1, if s divides k.
export function overlapByRemainder({ k, s, d }) {
  const counts = new Array(s).fill(0);
  for (let u = 0; u < k; u++) counts[(u * d) % s]++;
  return counts;
}
