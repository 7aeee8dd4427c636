// The page: starts the network, mounts the sections, switches language and colours.

import { latestOnly, startWorker } from "./compute.js";
import { element, fill } from "./dom.js";
import { freshPoint } from "./latents.js";
import { unpack } from "./model.js";
import * as play from "./play.js";
import * as layers from "./layers.js";
import * as operation from "./operation.js";
import * as training from "./training.js";
import * as digit from "./digit.js";
import * as drop from "./drop.js";
import { strings as shellStrings } from "./shell_strings.js";
import { strings as playStrings } from "./play_strings.js";
import { strings as layersStrings } from "./layers_strings.js";
import { strings as operationStrings } from "./operation_strings.js";
import { strings as trainingStrings } from "./training_strings.js";
import { strings as digitStrings } from "./digit_strings.js";
import { strings as dropStrings } from "./drop_strings.js";

const SECTIONS = { play, layers, operation, training, digit, drop };
const STRINGS = Object.assign(
  {},
  shellStrings,
  playStrings,
  layersStrings,
  operationStrings,
  trainingStrings,
  digitStrings,
  dropStrings,
);

const node = (id) => document.getElementById(id);
const content = JSON.parse(node("content").textContent);
let ask = null;

const state = {
  language: navigator.language.startsWith("zh") ? "zh" : "en",
  model: null,
  point: null, // the latent and class that the page shows
  last: null, // drawing
  off: [], // for each level, the channels that are switched off
};
const listeners = { language: [], model: [], point: [], drawing: [] };
const tell = (kind, value) => listeners[kind].forEach((callback) => callback(value));

const redraw = latestOnly(async (point) => {
  const { model, off } = state;
  let result;
  try {
    result = await ask("draw", { z: point.z, label: point.label, off });
  } catch (error) {
    if (model === state.model) throw error; // else the latent was of the model before
  }
  if (model !== state.model) return;
  state.last = { ...result, point };
  tell("drawing", state.last);
});

const ctx = {
  content,
  strings: STRINGS,
  ask: (...request) => ask(...request),
  t: (key) => STRINGS[key]?.[state.language] ?? key,
  language: () => state.language,
  onLanguage: (callback) => listeners.language.push(callback),
  get query() {
    return location.hash.split("?")[1];
  },
  get model() {
    return state.model;
  },
  onModel: (callback) => listeners.model.push(callback),
  get point() {
    return state.point;
  },
  // Shows another latent or class.
  setPoint(change) {
    state.point = { ...state.point, ...change };
    tell("point", state.point);
    redraw(state.point);
  },
  onPoint: (callback) => listeners.point.push(callback),
  get off() {
    return state.off;
  },
  // Switches channels off and on: a Set for each level.
  setOff(off) {
    state.off = off;
    redraw(state.point);
  },
  // Calls back with { maps, whole, milliseconds, point } after each pass through the network.
  onDrawing: (callback) => listeners.drawing.push(callback),
  get last() {
    return state.last; // drawing, null before the first of a model
  },
  // Replaces the networks; `about` is { name, source } and says where they come from.
  async setModel(generator, discriminator, about) {
    await ask("load", { generator, discriminator });
    state.model = describe(generator, discriminator, about);
    state.off = [];
    state.last = null;
    state.point = { ...freshPoint(state.model), label: 0 };
    tell("model", state.model);
    ctx.setPoint({});
  },
};

// What the sections know of a model. `shapes` are those of all levels, from the input to the image.
function describe(generator, discriminator, about) {
  const { z_dim: zDim, z_dist: zDist, image_shape: imageShape, classes, tensors } = generator;
  const layers = generator.layers.map((setting, index) => ({
    ...setting,
    kernel: tensors[`layers.${index}.weight`],
    bias: tensors[`layers.${index}.bias`].values,
  }));
  const shapes = [[zDim * (classes.length ? 2 : 1), 1, 1]];
  for (const { kernel, stride, padding, output_padding: extra } of layers) {
    const size = [0, 1].map(
      (a) =>
        (shapes.at(-1)[a + 1] - 1) * stride[a] + kernel.shape[a + 2] - 2 * padding[a] + extra[a],
    );
    shapes.push([kernel.shape[1], ...size]);
  }
  const hasDiscriminator = Boolean(discriminator);
  return { ...about, zDim, zDist, imageShape, classes, layers, shapes, hasDiscriminator };
}

function showTexts() {
  const { t } = ctx;
  document.documentElement.lang = state.language === "zh" ? "zh-CN" : "en";
  for (const each of document.querySelectorAll("[data-text]"))
    each.textContent = t(each.dataset.text);
  for (const each of document.querySelectorAll("[data-label]")) {
    each.setAttribute("aria-label", t(each.dataset.label));
  }
  node("language").textContent = state.language === "en" ? "中文" : "English";
  node("language").lang = state.language === "en" ? "zh-CN" : "en";
  node("theme").textContent = t(isDark() ? "theme_light" : "theme_dark");
  node("theme").title = t("theme_label");
  showAbout();
}

function showAbout() {
  const { t } = ctx;
  const { model } = state;
  if (!model) return;
  document.title = `${t("title")}: ${model.name}`;
  const [, height, width] = model.imageShape;
  const key = `source_${model.source}`;
  const parts = {
    name: element("strong", {}, model.name),
    numbers: String(model.zDim),
    layers: String(model.layers.length),
    height: String(height),
    width: String(width),
    source: t(Object.hasOwn(STRINGS, key) ? key : "source_other"),
  };
  node("about").replaceChildren(...fill(t("about"), parts), " ");
  if (content.lesson) {
    const file =
      state.language === "zh" ? content.lesson.replace(/md$/, "zh-CN.md") : content.lesson;
    node("about").append(element("a", { href: file }, t("lesson")));
  }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function speak(language) {
  state.language = language;
  showTexts();
  tell("language", language);
}

// The part of the address after # names a section and its settings: #operation?k=4&lang=zh
function follow() {
  const [section, query] = location.hash.slice(1).split("?");
  const language = new URLSearchParams(query ?? "").get("lang");
  if (["en", "zh"].includes(language) && language !== state.language) speak(language);
  if (Object.hasOwn(SECTIONS, section)) node(section).scrollIntoView();
}

function markSectionInView() {
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const link = document.querySelector(`nav a[href="#${target.id}"]`);
        if (isIntersecting) {
          link.setAttribute("aria-current", "true");
          const { parentElement: nav } = link; // scrolls sideways on a narrow screen
          nav.scrollLeft = link.offsetLeft - nav.offsetLeft - nav.clientWidth / 2;
        } else link.removeAttribute("aria-current");
      }
    },
    { rootMargin: "-30% 0px -69% 0px" },
  );
  for (const name of Object.keys(SECTIONS)) observer.observe(node(name));
}

function hideEmptySections() {
  const { model } = state;
  const isOwn = model?.isOwn;
  const hidden = { training: !content.history || !isOwn, digit: !model?.hasDiscriminator };
  for (const [name, isHidden] of Object.entries(hidden)) {
    node(name).hidden = isHidden;
    document.querySelector(`nav a[href="#${name}"]`).hidden = isHidden;
  }
}

async function start() {
  node("language").onclick = () => speak(state.language === "en" ? "zh" : "en");
  node("theme").onclick = () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    showTexts();
  };
  listeners.model.push(showAbout, hideEmptySections);
  hideEmptySections();
  showTexts();
  for (const [name, section] of Object.entries(SECTIONS)) {
    section.mount(node(name).querySelector("div"), ctx);
  }
  markSectionInView();
  addEventListener("hashchange", follow);
  addEventListener("click", ({ target }) => {
    const link = target.closest('a[href^="#"]');
    // the browser reports no change if the address is the same
    if (link?.hash === location.hash) dispatchEvent(new HashChangeEvent("hashchange"));
  });
  try {
    ask = startWorker(node("worker").textContent);
    const generator = await unpack(content.generator);
    const discriminator = content.discriminator && (await unpack(content.discriminator));
    const { name, source } = content;
    await ctx.setModel(generator, discriminator, { name, source, isOwn: true });
  } catch (error) {
    node("about").append(...fill(ctx.t("broken"), { reason: error.message }));
    throw error;
  }
  follow(); // when every section has its height
}

globalThis.gan = ctx; // for the console
start();
