// The buttons that add the copies one after another, and the copies on their way.

import { copyOf } from "./operation_math.js";
import { element } from "./dom.js";
import { number } from "./operation_grid.js";

const LONGEST_MS = 900; // one copy on its way; with many copies, as short as SHORTEST_MS
const SHORTEST_MS = 260;
const PLAY_MS = 6000; // about what a whole run takes

// state.count copies are added; one more than there are stands for the end, after padding.
export function makePlayer(app, maps) {
  const { t, state } = app;
  let isPlaying = false;
  let flight = null;

  // Ends what is under way; a copy that is still flying has not been added.
  const stop = () => {
    isPlaying = app.flying = false;
    flight?.cancel();
    flight = null;
  };
  const goTo = (count) => {
    stop();
    state.count = count;
    app.changed();
  };
  const advance = () => {
    if (state.count >= app.total) return goTo(app.total + 1);
    const { pause, duration } = pace(app.total);
    app.flying = true;
    state.pointed = null;
    app.changed();
    flight = fly(app, maps, duration, () => {
      app.flying = false;
      state.count += 1;
      flight = isPlaying ? later(pause, advance) : null;
      app.changed();
    });
    return undefined;
  };
  const start = () => {
    stop();
    isPlaying = true;
    if (state.count > app.total) state.count = 0;
    advance();
  };
  const step = () => {
    stop();
    advance();
  };

  const buttons = makeButtons(t, {
    first: () => goTo(0),
    back: () => goTo(Math.max(0, state.count - 1)),
    play: () => (isPlaying ? goTo(state.count) : start()),
    step,
    last: () => goTo(app.total + 1),
  });
  const paint = () => {
    const [isStart, isEnd] = [state.count === 0 && !isPlaying, state.count > app.total];
    buttons.play.textContent = t(isPlaying ? "op_pause" : "op_play");
    buttons.first.disabled = buttons.back.disabled = isStart;
    buttons.step.disabled = buttons.last.disabled = isEnd;
  };
  const role = { className: "op-player", role: "group", "aria-label": t("op_steps") };
  return { node: element("div", role, ...Object.values(buttons)), stop, paint };
}

function makeButtons(t, acts) {
  const buttons = Object.entries(acts).map(([name, onclick]) => {
    const properties = { type: "button", className: `op-${name}`, onclick };
    return [name, element("button", properties, t(`op_${name}`))];
  });
  return Object.fromEntries(buttons);
}

function pace(total) {
  const duration = Math.max(SHORTEST_MS, Math.min(LONGEST_MS, PLAY_MS / total / 2));
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  return { duration: isStill ? 0 : duration, pause: duration };
}

function later(milliseconds, act) {
  const timer = setTimeout(act, milliseconds);
  return { cancel: () => clearTimeout(timer) };
}

// Every tap of the kernel, times the next input element, moves to its place in the output.
function fly(app, { board, kernel, output }, duration, onLanding) {
  const { setting, x, kernel: taps, count } = app.state;
  const [i, j] = [Math.floor(count / setting.n), count % setting.n];
  const origin = board.getBoundingClientRect();
  const places = copyOf(i, j, setting).map(({ row, col, u, v }) => ({
    text: number(x[i][j] * taps[u][v]),
    from: kernel.cell(u, v).getBoundingClientRect(),
    to: output.cell(row, col).getBoundingClientRect(),
  }));
  const boxes = places.map((place) => makeFlying(place, origin));
  board.append(...boxes);
  const flights = boxes.map((box, index) => {
    const { from, to } = places[index];
    const shift = `translate(${from.left - to.left}px, ${from.top - to.top}px)`;
    const start = `${shift} scale(${from.width / to.width})`;
    const motion = [{ transform: start }, { transform: start, offset: 0.2 }, { transform: "none" }];
    return box.animate(motion, { duration, easing: "ease-in-out" });
  });
  const clear = () => boxes.forEach((box) => box.remove());
  flights[0].onfinish = () => {
    clear();
    onLanding();
  };
  return {
    cancel() {
      flights[0].onfinish = null;
      clear();
    },
  };
}

function makeFlying({ text, to }, origin) {
  const box = element("span", { className: "op-flying", "aria-hidden": "true" }, text);
  const [left, top] = [to.left - origin.left, to.top - origin.top];
  for (const [name, value] of Object.entries({ left, top, width: to.width, height: to.height })) {
    box.style.setProperty(name, `${value}px`);
  }
  return box;
}
