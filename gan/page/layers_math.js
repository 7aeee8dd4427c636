// Which inputs and taps feed an output of a transposed convolution, and what an input leaves in it.
//
// A layer is { kernel: { shape: [C_in, C_out, kH, kW], values }, bias, stride, padding }.

// Windows that feed output pixel (y, x): pairs of an input pixel and a tap, the same in every channel.
export function sourcesOf(layer, [, height, width], y, x) {
  const pairs = [];
  for (const [row, ty] of sourcesAlong(layer, 0, height, y)) {
    for (const [col, tx] of sourcesAlong(layer, 1, width, x)) pairs.push({ row, col, ty, tx });
  }
  return pairs;
}

function sourcesAlong({ kernel, stride, padding }, axis, length, out) {
  const found = [];
  for (let tap = 0; tap < kernel.shape[axis + 2]; tap++) {
    const place = (out + padding[axis] - tap) / stride[axis];
    if (Number.isInteger(place) && place >= 0 && place < length) found.push([place, tap]);
  }
  return found;
}

// Output pixels that input pixel (row, col) adds to, with the tap of each.
export function stampOf({ kernel, stride, padding }, [, height, width], row, col) {
  const stamp = [];
  for (let ty = 0; ty < kernel.shape[2]; ty++) {
    for (let tx = 0; tx < kernel.shape[3]; tx++) {
      const y = row * stride[0] - padding[0] + ty;
      const x = col * stride[1] - padding[1] + tx;
      if (y >= 0 && y < height && x >= 0 && x < width) stamp.push({ y, x, ty, tx });
    }
  }
  return stamp;
}

export function tapOf({ kernel }, from, to, ty, tx) {
  const [, channels, height, width] = kernel.shape;
  return kernel.values[((from * channels + to) * height + ty) * width + tx];
}

// The products that make one output: for each input channel their sum, and the terms of a channel.
export function productsOf(layer, inShape, maps, to, y, x) {
  const [channels, height, width] = inShape;
  const sources = sourcesOf(layer, inShape, y, x);
  const termsOf = (from) =>
    sources.map(({ row, col, ty, tx }) => ({
      input: maps[(from * height + row) * width + col],
      tap: tapOf(layer, from, to, ty, tx),
    }));
  const sums = Float64Array.from({ length: channels }, (_, from) =>
    termsOf(from).reduce((sum, { input, tap }) => sum + input * tap, 0),
  );
  const total = sums.reduce((a, b) => a + b, 0);
  return { sources, termsOf, sums, total, bias: layer.bias[to] };
}
