// Networks in plain JavaScript: transposed convolutions forwards and backwards, and convolutions.
//
// A map is a Float32Array (C, H, W). All layers are computed in the same way: the input gets a frame
// of zeros, the windows that feed the outputs are gathered as columns, and the kernel, as a matrix, is
// multiplied with them. A transposed convolution of stride s is s * s such products, one for each
// remainder of the output's row and column: outputs of one remainder are fed by the same taps, so no
// product with an inserted zero is computed.

const TILE = 4; // rows and columns of a product that are summed at a time

// Returns a generator ready to use. `tensors` maps names to Float32Arrays.
export function makeGenerator({ z_dim, z_dist, image_shape, classes, layers, tensors }) {
  const made = [];
  let shape = [z_dim * (classes.length ? 2 : 1), 1, 1];
  layers.forEach((setting, index) => {
    const kernel = tensors[`layers.${index}.weight`];
    const layer = transposedLayer(shape, kernel, tensors[`layers.${index}.bias`].values, setting);
    made.push(layer);
    shape = layer.outShape;
  });
  const classVectors = tensors.class_vectors?.values;
  const latent = { zDim: z_dim, zDist: z_dist };
  return { ...latent, imageShape: image_shape, classes, classVectors, layers: made };
}

// Returns a discriminator ready to use.
export function makeDiscriminator({ layers, tensors, offset }, imageShape) {
  const made = [];
  let shape = imageShape;
  layers.forEach((setting, index) => {
    const kernel = tensors[`layers.${index}.weight`];
    const layer = convolutionLayer(shape, kernel, tensors[`layers.${index}.bias`].values, setting);
    made.push(layer);
    shape = layer.outShape;
  });
  return { layers: made, classVectors: tensors.class_vectors, offset };
}

// Returns the input of the first layer: the latent and, with classes, the vector of the class.
export function inputOf(generator, z, label) {
  const { zDim, classVectors, classes } = generator;
  const x = new Float32Array(zDim * (classes.length ? 2 : 1));
  x.set(z);
  if (classes.length) x.set(classVectors.subarray(label * zDim, (label + 1) * zDim), zDim);
  return x;
}

// Returns the maps of every level, from the input to the image. Channels in `off[level]`, a Set, are
// set to zero.
export function forward(generator, z, label, off = []) {
  const maps = [inputOf(generator, z, label)];
  silence(maps[0], off[0], 1);
  generator.layers.forEach((layer, index) => {
    const y = apply(layer.products, layer.frame, maps[index], layer.outShape, layer.bias);
    activate(y, layer.activation);
    silence(y, off[index + 1], layer.outShape[1] * layer.outShape[2]);
    maps.push(y);
  });
  return maps;
}

export function imageOf(generator, z, label) {
  return forward(generator, z, label).at(-1);
}

// Returns the gradient with respect to z, given the maps of `forward` and the gradient with respect to
// the image. The gradient of a transposed convolution is a convolution with the same kernel.
export function backward(generator, maps, imageGradient) {
  let gradient = imageGradient;
  for (let index = generator.layers.length - 1; index >= 0; index--) {
    const layer = generator.layers[index];
    const before = derivative(maps[index + 1], gradient, layer.activation);
    layer.adjoint ??= adjointOf(layer);
    gradient = apply(layer.adjoint.products, layer.adjoint.frame, before, layer.inShape, null);
  }
  return gradient.subarray(0, generator.zDim);
}

// Returns D's logits of an image: one for each class that it may be told, or one alone.
export function judge(discriminator, image) {
  const { layers, classVectors, offset } = discriminator;
  let x = image.map((value) => value + offset);
  let features = x;
  for (const layer of layers) {
    features = x;
    x = apply(layer.products, layer.frame, x, layer.outShape, layer.bias);
    for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] *= layer.slope;
  }
  if (!classVectors) return [x[0]];
  const [channels, height, width] = layers.at(-1).inShape;
  const sums = sumMaps(features, channels, height * width);
  return Array.from({ length: classVectors.shape[0] }, (_, label) =>
    sums.reduce((total, sum, c) => total + sum * classVectors.values[label * channels + c], x[0]),
  );
}

function sumMaps(maps, channels, area) {
  return Array.from({ length: channels }, (_, c) =>
    maps.subarray(c * area, (c + 1) * area).reduce((total, value) => total + value, 0),
  );
}

// Size of the output along one axis.
export function transposedSize(size, kernel, stride, padding, outputPadding) {
  return (size - 1) * stride + kernel - 2 * padding + outputPadding;
}

function transposedLayer(inShape, kernel, bias, setting) {
  const { stride, padding, output_padding: extra, activation } = setting;
  const [, channels, ...size] = kernel.shape;
  const out = [0, 1].map((axis) =>
    transposedSize(inShape[axis + 1], size[axis], stride[axis], padding[axis], extra[axis]),
  );
  const outShape = [channels, ...out];
  const layer = { inShape, outShape, bias, activation, kernel, stride, padding };
  const axes = [0, 1].map((axis) => {
    // from one pixel every stride gives the same output, and this one gathers no zeros
    const step = inShape[axis + 1] === 1 ? size[axis] : stride[axis];
    return transposedAxis(out[axis], size[axis], step, padding[axis]);
  });
  const area = size[0] * size[1];
  const tap = (row, c, t) => (c * channels + row) * area + t;
  return Object.assign(layer, plan(inShape, outShape, kernel, axes, tap));
}

function convolutionLayer(inShape, kernel, bias, { stride, padding, slope }) {
  const [channels, , ...size] = kernel.shape;
  const out = [0, 1].map(
    (axis) => Math.floor((inShape[axis + 1] + 2 * padding - size[axis]) / stride) + 1,
  );
  const axes = [0, 1].map((axis) => convolutionAxis(out[axis], size[axis], stride, padding));
  const area = size[0] * size[1];
  const tap = (row, c, t) => (row * inShape[0] + c) * area + t;
  const outShape = [channels, ...out];
  return { inShape, outShape, bias, slope, ...plan(inShape, outShape, kernel, axes, tap) };
}

// The convolution that is the adjoint of a transposed convolution: from its output to its input.
function adjointOf({ inShape, outShape, kernel, stride, padding }) {
  const size = kernel.shape.slice(2);
  const axes = [0, 1].map((axis) =>
    convolutionAxis(inShape[axis + 1], size[axis], stride[axis], padding[axis]),
  );
  const area = size[0] * size[1];
  const tap = (row, c, t) => (row * outShape[0] + c) * area + t;
  return plan(outShape, inShape, kernel, axes, tap);
}

// Groups of outputs along one axis that are fed by the same taps; `at(out, tap)` is the input's index.
function transposedAxis(length, kernel, stride, padding) {
  return range(stride).map((remainder) => ({
    outs: range(length).filter((out) => (out + padding) % stride === remainder),
    taps: range(kernel).filter((tap) => tap % stride === remainder),
    at: (out, tap) => (out + padding - tap) / stride,
  }));
}

function convolutionAxis(length, kernel, stride, padding) {
  const at = (out, tap) => out * stride - padding + tap;
  return [{ outs: range(length), taps: range(kernel), at }];
}

function range(length) {
  return Array.from({ length }, (_, index) => index);
}

// Prepares the matrix products of a layer: for each group of outputs the kernel as a matrix, and where
// the columns are gathered and the results go.
function plan(inShape, outShape, kernel, [rows, cols], tap) {
  const frame = frameOf(inShape, rows, cols);
  const products = [];
  for (const y of rows) {
    for (const x of cols) {
      if (y.outs.length && x.outs.length) {
        products.push(productOf(inShape, outShape, kernel, y, x, tap, frame));
      }
    }
  }
  return { frame, products };
}

// The input with zeros around it, wide enough for every window.
function frameOf([channels, height, width], rows, cols) {
  const [top, bottom] = reach(rows, height);
  const [left, right] = reach(cols, width);
  const size = [height + top + bottom, width + left + right];
  return { channels, height, width, top, left, size };
}

function reach(groups, length) {
  const all = groups.flatMap(({ outs, taps, at }) =>
    outs.length ? taps.flatMap((tap) => [at(outs[0], tap), at(outs.at(-1), tap)]) : [],
  );
  return [Math.max(0, -Math.min(...all)), Math.max(0, Math.max(...all) - length + 1)];
}

function productOf([channels], [numRows, , outWidth], kernel, y, x, tap, frame) {
  const [height, width] = frame.size;
  const kernelWidth = kernel.shape[3];
  const taps = y.taps.flatMap((ty) => x.taps.map((tx) => [ty, tx]));
  const outs = y.outs.flatMap((oy) => x.outs.map((ox) => [oy, ox]));
  const at = (oy, ox, ty, tx) => (y.at(oy, ty) + frame.top) * width + x.at(ox, tx) + frame.left;
  const depth = channels * taps.length;
  const matrix = new Float64Array(Math.ceil(numRows / TILE) * depth * TILE);
  const offsets = new Int32Array(depth);
  for (let c = 0; c < channels; c++) {
    taps.forEach(([ty, tx], t) => {
      const k = c * taps.length + t;
      offsets[k] = c * height * width + at(...outs[0], ty, tx);
      for (let row = 0; row < numRows; row++) {
        const place = (Math.floor(row / TILE) * depth + k) * TILE + (row % TILE);
        matrix[place] = kernel.values[tap(row, c, ty * kernelWidth + tx)];
      }
    });
  }
  const shift = ([oy, ox]) => at(oy, ox, ...taps[0]) - at(...outs[0], ...taps[0]);
  return {
    numRows,
    depth,
    matrix,
    offsets,
    shifts: Int32Array.from(outs, taps.length ? shift : () => 0),
    places: Int32Array.from(outs, ([oy, ox]) => oy * outWidth + ox),
  };
}

let columns = new Float64Array(0); // gathered windows, reused

function apply(products, frame, x, outShape, bias) {
  const framed = addFrame(x, frame);
  const area = outShape[1] * outShape[2];
  const y = new Float32Array(outShape[0] * area);
  for (const product of products) multiply(product, framed, y, area, bias);
  return y;
}

function addFrame(x, { channels, height, width, top, left, size }) {
  const framed = new Float32Array(channels * size[0] * size[1]);
  for (let c = 0; c < channels; c++) {
    for (let row = 0; row < height; row++) {
      const from = (c * height + row) * width;
      framed.set(x.subarray(from, from + width), (c * size[0] + row + top) * size[1] + left);
    }
  }
  return framed;
}

// Multiplies the kernel's matrix with the gathered columns, TILE columns at a time.
function multiply({ numRows, depth, matrix, offsets, shifts, places }, framed, y, area, bias) {
  if (columns.length < depth * TILE) columns = new Float64Array(depth * TILE);
  for (let first = 0; first < shifts.length; first += TILE) {
    const num = Math.min(TILE, shifts.length - first);
    for (let j = 0; j < TILE; j++) {
      const shift = shifts[first + Math.min(j, num - 1)];
      for (let k = 0; k < depth; k++) columns[k * TILE + j] = framed[offsets[k] + shift];
    }
    for (let row = 0; row < numRows; row += TILE) {
      multiplyTile(matrix, row * depth, columns, depth);
      const numTile = Math.min(TILE, numRows - row);
      for (let i = 0; i < numTile; i++) {
        const shift = bias ? bias[row + i] : 0;
        for (let j = 0; j < num; j++) {
          y[(row + i) * area + places[first + j]] = sums[i * TILE + j] + shift;
        }
      }
    }
  }
}

const sums = new Float64Array(TILE * TILE);

function multiplyTile(matrix, start, columns, depth) {
  let s00 = 0, s01 = 0, s02 = 0, s03 = 0;
  let s10 = 0, s11 = 0, s12 = 0, s13 = 0;
  let s20 = 0, s21 = 0, s22 = 0, s23 = 0;
  let s30 = 0, s31 = 0, s32 = 0, s33 = 0;
  for (let k = 0, a = start; k < depth * TILE; k += TILE, a += TILE) {
    const b0 = columns[k], b1 = columns[k + 1], b2 = columns[k + 2], b3 = columns[k + 3];
    const a0 = matrix[a], a1 = matrix[a + 1], a2 = matrix[a + 2], a3 = matrix[a + 3];
    s00 += a0 * b0; s01 += a0 * b1; s02 += a0 * b2; s03 += a0 * b3;
    s10 += a1 * b0; s11 += a1 * b1; s12 += a1 * b2; s13 += a1 * b3;
    s20 += a2 * b0; s21 += a2 * b1; s22 += a2 * b2; s23 += a2 * b3;
    s30 += a3 * b0; s31 += a3 * b1; s32 += a3 * b2; s33 += a3 * b3;
  }
  sums[0] = s00; sums[1] = s01; sums[2] = s02; sums[3] = s03;
  sums[4] = s10; sums[5] = s11; sums[6] = s12; sums[7] = s13;
  sums[8] = s20; sums[9] = s21; sums[10] = s22; sums[11] = s23;
  sums[12] = s30; sums[13] = s31; sums[14] = s32; sums[15] = s33;
}

function activate(y, activation) {
  if (activation === "relu") for (let i = 0; i < y.length; i++) y[i] = Math.max(0, y[i]);
  else for (let i = 0; i < y.length; i++) y[i] = Math.tanh(y[i]);
}

// Gradient before the activation, given its output and the gradient after it.
function derivative(y, gradient, activation) {
  if (activation === "relu") return gradient.map((value, i) => (y[i] > 0 ? value : 0));
  return gradient.map((value, i) => value * (1 - y[i] * y[i]));
}

function silence(maps, channels, area) {
  for (const channel of channels ?? []) maps.fill(0, channel * area, (channel + 1) * area);
}
