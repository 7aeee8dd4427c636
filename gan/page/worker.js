// The worker: computes without holding up the page.

import { TASKS } from "./tasks.js";

const PAUSE_EVERY = 20; // milliseconds

const newest = {}; // number of the newest request of each kind; older ones are stale

onmessage = async ({ data: { kind, number, request } }) => {
  newest[kind] = number;
  let paused = performance.now();
  // messages are only read between tasks, so a long task lets them in now and then
  const isStale = async () => {
    if (performance.now() - paused > PAUSE_EVERY) {
      await new Promise((resolve) => setTimeout(resolve));
      paused = performance.now();
    }
    return newest[kind] !== number;
  };
  const report = (result) => postMessage({ number, result });
  try {
    postMessage({ number, result: await TASKS[kind](request, report, isStale), isLast: true });
  } catch (error) {
    postMessage({ number, error: String(error), isLast: true });
  }
};
