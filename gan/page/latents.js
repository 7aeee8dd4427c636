// Latents: drawing, moving and joining them. A latent is a Float32Array (Z).

// Standard normal by Box and Muller.
export function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

export function drawLatent({ zDim, zDist }) {
  const draw = zDist === "normal" ? normal : () => 2 * Math.random() - 1;
  return Float32Array.from({ length: zDim }, draw);
}

export function lengthOf(z) {
  return Math.sqrt(z.reduce((sum, value) => sum + value * value, 0));
}

export function scaled(z, factor) {
  return z.map((value) => value * factor);
}

// Two directions at right angles, as long as a latent.
export function drawDirections(model) {
  const length = lengthOf(drawLatent(model));
  const first = Float32Array.from({ length: model.zDim }, normal);
  const second = Float32Array.from({ length: model.zDim }, normal);
  const shared = dot(first, second) / dot(first, first);
  const square = second.map((value, i) => value - shared * first[i]);
  return [first, square].map((direction) => scaled(direction, length / (lengthOf(direction) || 1)));
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

// The latent at (x, y) of the pad. It has the length of `centre`: G has only seen latents of about
// that length.
export function moved(model, centre, [first, second], x, y) {
  const z = centre.map((value, i) => value + x * first[i] + y * second[i]);
  return bounded(model, scaled(z, lengthOf(centre) / (lengthOf(z) || 1)));
}

// Between two latents, with a length between theirs.
export function between(model, from, to, share) {
  const z = from.map((value, i) => (1 - share) * value + share * to[i]);
  const length = (1 - share) * lengthOf(from) + share * lengthOf(to);
  return bounded(model, scaled(z, length / (lengthOf(z) || 1)));
}

function bounded({ zDist }, z) {
  return zDist === "uniform" ? z.map((value) => Math.max(-1, Math.min(1, value))) : z;
}
