// What the worker computes: one function for each kind of request. `report` sends a result before the
// last one; `isStale` tells that the page no longer wants the rest.

import { backward, forward, imageOf, judge, makeDiscriminator, makeGenerator } from "./engine.js";
import { drawLatent, lengthOf, scaled } from "./latents.js";

const CANDIDATES = 100; // random latents from which the search starts with the nearest
const STEPS = 200;
const LEARNING_RATE = 0.1;

let generator = null;
let discriminator = null;

export const TASKS = {
  // Replaces the networks.
  load({ generator: first, discriminator: second }) {
    generator = makeGenerator(first);
    discriminator = second && makeDiscriminator(second, first.image_shape);
  },

  // All maps of one latent; `whole` is the image of G when nothing is switched off.
  draw({ z, label, off }) {
    const start = performance.now();
    const maps = forward(generator, z, label, off);
    const milliseconds = performance.now() - start;
    const isWhole = !off || off.every((channels) => !channels.size);
    return { maps, milliseconds, whole: isWhole ? null : imageOf(generator, z, label) };
  },

  // The image alone, with some channels switched off.
  image({ z, label, off }) {
    return { image: forward(generator, z, label, off).at(-1) };
  },

  async images({ points }, report, isStale) {
    for (const [index, { z, label }] of points.entries()) {
      if (await isStale()) return;
      report({ index, image: imageOf(generator, z, label) });
    }
  },

  // D's probability that an image is real, told its class.
  judge({ image, label }) {
    return { real: opinion(image, label) };
  },

  // D's opinions of random images of G, from the least real.
  compare({ num }) {
    const labels = Array.from({ length: num }, (_, i) => i % Math.max(1, generator.classes.length));
    const opinions = labels.map((label) =>
      opinion(imageOf(generator, drawLatent(generator), label), label),
    );
    return { opinions: opinions.sort((a, b) => a - b) };
  },

  // Gradient descent to the latent whose image is nearest to the given one (mean square).
  async search({ image }, report, isStale) {
    let best = null;
    for (let i = 0; i < CANDIDATES; i++) {
      if (await isStale()) return;
      const point = { z: drawLatent(generator), label: i % Math.max(1, generator.classes.length) };
      const drawn = imageOf(generator, point.z, point.label);
      const error = meanSquare(drawn, image);
      if (!best || error < best.error) report((best = { ...point, drawn, error, step: 0 }));
    }
    const adam = makeAdam(best.z.length);
    for (let step = 1; step <= STEPS; step++) {
      if (await isStale()) return;
      const maps = forward(generator, best.z, best.label);
      const drawn = maps.at(-1);
      report({ z: best.z, label: best.label, drawn, error: meanSquare(drawn, image), step });
      const gradient = drawn.map((value, i) => (2 * (value - image[i])) / image.length);
      best.z = nearOrigin(adam(best.z, backward(generator, maps, gradient)));
    }
  },
};

export const SEARCH_STEPS = STEPS;

function opinion(image, label) {
  const logits = judge(discriminator, image);
  return 1 / (1 + Math.exp(-logits[logits.length > 1 ? label : 0]));
}

function meanSquare(a, b) {
  return a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;
}

// G knows latents of the length that random ones have; longer ones draw what no training image was.
function nearOrigin(z) {
  const longest = Math.sqrt(z.length / (generator.zDist === "normal" ? 1 : 3));
  const length = lengthOf(z);
  return length > longest ? scaled(z, longest / length) : z;
}

// Adam (Kingma and Ba, 2015) as a function from a latent and its gradient to the next latent.
function makeAdam(length) {
  const [first, second] = [new Float64Array(length), new Float64Array(length)];
  let step = 0;
  return (z, gradient) => {
    step += 1;
    return z.map((value, i) => {
      first[i] = 0.9 * first[i] + 0.1 * gradient[i];
      second[i] = 0.999 * second[i] + 0.001 * gradient[i] ** 2;
      const mean = first[i] / (1 - 0.9 ** step);
      const deviation = Math.sqrt(second[i] / (1 - 0.999 ** step));
      return value - (LEARNING_RATE * mean) / (deviation + 1e-8);
    });
  };
}
