// The section "Your own generator": a file of `gan export` replaces the generator.

import { button, element, fill } from "./dom.js";
import { readExport } from "./model.js";

const SENTENCES = ["drop_foreign", "drop_damaged", "drop_format", "drop_too_large"];

export function mount(root, ctx) {
  let answer = { key: null, parts: {} };
  const draw = () => root.replaceChildren(makeView(ctx, answer, choose));
  const say = (key, parts = {}) => {
    answer = { key, parts };
    draw();
  };

  async function choose(file) {
    if (!file) return;
    say("drop_reading", { file: file.name });
    try {
      const generator = await readExport(file);
      await ctx.setModel(generator, null, { name: file.name, source: "unknown" });
    } catch (error) {
      const key = SENTENCES.includes(error.message) ? error.message : "drop_damaged";
      return say(key, { file: file.name });
    }
    say("drop_done", { file: file.name });
    document.getElementById("play").scrollIntoView();
  }

  draw();
  ctx.onLanguage(draw);
  // the whole page takes files; else the browser would leave it for the file
  addEventListener("dragover", (event) => {
    event.preventDefault();
    root.classList.add("drop-over");
  });
  addEventListener("dragleave", () => root.classList.remove("drop-over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("drop-over");
    choose(event.dataTransfer.files[0]);
  });
}

function makeView({ t }, { key, parts }, choose) {
  const field = element("input", { type: "file", accept: ".safetensors", hidden: true });
  field.addEventListener("change", () => choose(field.files[0]));
  const named = Object.fromEntries(
    Object.entries(parts).map(([name, text]) => [name, element("strong", {}, text)]),
  );
  return element(
    "div",
    {},
    element("p", {}, ...fill(t("drop_intro"), { command: element("code", {}, t("drop_command")) })),
    element(
      "div",
      { className: "drop-zone" },
      element("span", {}, t("drop_here")),
      button(t("drop_choose"), () => field.click()),
      field,
    ),
    element("p", { role: "status" }, ...(key ? fill(t(key), named) : [])),
  );
}
