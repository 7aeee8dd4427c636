// Networks from text in the page or from a dropped file, checked before use.

const MAX_FILE = 120e6; // bytes
const MAX_HEADER = 1e6;
const MAX_LAYERS = 16;
const MAX_CHANNELS = 4096;
const MAX_SIDE = 512; // pixels
const MAX_NUMBERS = 1 << 24; // of all maps of a level
const MAX_CLASSES = 1000;
const ACTIVATIONS = ["relu", "tanh"];

// Reverses `pack` in weights.py: returns the description with `tensors`, each {shape, values}.
export async function unpack({ data, tensors, num_floats, ...description }) {
  const bytes = await decompress(Uint8Array.from(atob(data), (char) => char.charCodeAt(0)));
  const floats = new Float32Array(bytes, 0, num_floats);
  const codes = new Int8Array(bytes, 4 * num_floats);
  const unpacked = {};
  for (const [name, entry] of Object.entries(tensors)) {
    unpacked[name] = { shape: entry.shape, values: valuesOf(entry, floats, codes) };
  }
  return { ...description, tensors: unpacked };
}

async function decompress(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function valuesOf({ shape, floats: start, codes: place, axis }, floats, codes) {
  const length = product(shape);
  if (place === undefined) return floats.slice(start, start + length);
  const inner = product(shape.slice(axis + 1));
  const values = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    values[i] = codes[place + i] * floats[start + (Math.floor(i / inner) % shape[axis])];
  }
  return values;
}

function product(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

// Reads a .safetensors file of `gan export`. Throws an Error whose message is the key of a sentence.
export async function readExport(file) {
  if (file.size > MAX_FILE) throw new Error("drop_too_large");
  const bytes = await file.arrayBuffer();
  const view = new DataView(bytes);
  if (bytes.byteLength < 8) throw new Error("drop_foreign");
  const length = Number(view.getBigUint64(0, true));
  if (!(length > 1 && length <= MAX_HEADER && 8 + length <= bytes.byteLength)) {
    throw new Error("drop_foreign");
  }
  const { description, header } = parseHeader(new Uint8Array(bytes, 8, length));
  const body = bytes.slice(8 + length);
  const tensors = {};
  let used = 0;
  for (const [name, entry] of Object.entries(header)) {
    tensors[name] = tensorOf(entry, body);
    used += tensors[name].values.byteLength;
    require(used <= body.byteLength); // else they overlap, and take many times the file's memory
  }
  check(description, tensors);
  const { z_dim, z_dist, image_shape, classes, layers } = description;
  return { z_dim, z_dist, image_shape, classes, layers, tensors };
}

function parseHeader(bytes) {
  try {
    const { __metadata__: metadata, ...header } = JSON.parse(new TextDecoder().decode(bytes));
    return { description: JSON.parse(metadata.gan), header };
  } catch {
    throw new Error("drop_foreign");
  }
}

function tensorOf({ dtype, shape, data_offsets: offsets }, body) {
  require(dtype === "F32" && isSizes(shape) && shape.length <= 4 && Array.isArray(offsets));
  const [start, end] = offsets;
  require(Number.isInteger(start) && start >= 0 && end <= body.byteLength);
  require(end - start === 4 * product(shape));
  const values = new Float32Array(body.slice(start, end));
  require(values.every(Number.isFinite));
  return { shape, values };
}

// A file of another program, or a damaged one, must not reach the engine.
function check({ format, z_dim, z_dist, image_shape, classes, layers }, tensors) {
  if (format !== 1) throw new Error("drop_format");
  require(isSizes([z_dim]) && z_dim <= MAX_CHANNELS && ["normal", "uniform"].includes(z_dist));
  require(isSizes(image_shape) && image_shape.length === 3 && [1, 3, 4].includes(image_shape[0]));
  require(Array.isArray(classes) && classes.length <= MAX_CLASSES);
  require(classes.every((name) => typeof name === "string"));
  require(Array.isArray(layers) && layers.length >= 1 && layers.length <= MAX_LAYERS);
  let shape = [classes.length ? 2 * z_dim : z_dim, 1, 1];
  layers.forEach((layer, index) => (shape = checkedOutput(layer, index, tensors, shape)));
  require(shape.join() === image_shape.join() && layers.at(-1).activation === "tanh");
  if (classes.length) require(tensors.class_vectors?.shape.join() === `${classes.length},${z_dim}`);
}

function checkedOutput(layer, index, tensors, [channels, ...size]) {
  const { stride, padding, output_padding: extra, activation } = layer ?? {};
  const kernel = tensors[`layers.${index}.weight`];
  const bias = tensors[`layers.${index}.bias`];
  require(ACTIVATIONS.includes(activation) && kernel && bias && kernel.shape.length === 4);
  require([stride, padding, extra].every((pair) => Array.isArray(pair) && pair.length === 2));
  require([...padding, ...extra].every((value) => Number.isInteger(value) && value >= 0));
  require(isSizes(stride) && [...stride, ...padding, ...extra].every((value) => value <= 16));
  require(kernel.shape[0] === channels && bias.shape.join() === String(kernel.shape[1]));
  require(kernel.shape.every((length) => length <= MAX_CHANNELS));
  const out = [0, 1].map(
    (a) => (size[a] - 1) * stride[a] + kernel.shape[2 + a] - 2 * padding[a] + extra[a],
  );
  require(out.every((side) => side >= 1 && side <= MAX_SIDE));
  require(kernel.shape[1] * out[0] * out[1] <= MAX_NUMBERS);
  return [kernel.shape[1], ...out];
}

function isSizes(values) {
  return Array.isArray(values) && values.every((value) => Number.isInteger(value) && value >= 1);
}

function require(condition) {
  if (!condition) throw new Error("drop_damaged");
}
