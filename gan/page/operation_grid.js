// A map of numbers as a table with a caption: painted cell by cell, pointed at by mouse, touch and
// keyboard, and editable where asked.

import { element } from "./dom.js";
import { zeros } from "./operation_math.js";

// Two decimals at most, with a real minus sign.
export function number(value) {
  const rounded = Math.round(value * 100) / 100 || 0; // no -0
  return String(rounded).replace("-", "\u2212");
}

// Keeps the width of a node in its variable --width. (Container units would do it in CSS alone, but
// then every pointer move recomputes the style of every cell.)
export function measureWidth(node) {
  const observer = new ResizeObserver(([{ contentRect }]) =>
    requestAnimationFrame(() => node.style.setProperty("--width", `${contentRect.width}px`)),
  );
  observer.observe(node);
  return node;
}

// A grid calls onPoint(row, col), or onPoint(null) when the pointer leaves; with onEdit its cells are
// fields, and onEdit(row, col, text, field) gets what is typed.
export function makeGrid({ kind, onPoint, onEdit = null }) {
  const caption = element("caption");
  const body = element("tbody");
  const role = { className: `op-grid op-${kind}`, role: "grid" }; // arrow keys move in it
  const table = element("table", role, caption, body);
  const node = element("div", { className: "op-scroll" }, table);
  const grid = {
    node,
    cells: [],
    cell: (row, col) => grid.cells[row][col].node,
    // The caption takes no room in the table, which it would stretch; CSS makes room around it.
    describe(text) {
      caption.textContent = text;
      node.dataset.caption = text;
    },
    resize(size) {
      grid.cells = zeros(size).map((line, row) =>
        line.map((_, col) => makeCell(row, col, Boolean(onEdit))),
      );
      const lines = grid.cells.map((line) => element("tr", {}, ...line.map((cell) => cell.node)));
      body.replaceChildren(...lines);
      if (!onEdit) grid.cell(0, 0).tabIndex = 0;
      table.style.setProperty("--cells", size);
      table.classList.toggle("op-many", size > 16);
      table.classList.toggle("op-dense", size > 24);
    },
    // look(row, col) is {text, classes, note, shade, label}; note is small, in the corner; shade
    // from -1 to 1 colours the cell.
    paint(look) {
      grid.cells.forEach((line, row) =>
        line.forEach((cell, col) => paintCell(cell, look(row, col))),
      );
    },
  };
  listenToPointer(table, onPoint);
  table.addEventListener("keydown", (event) => moveByArrow(event, grid.cells));
  if (onEdit) listenToFields(table, grid, onEdit);
  return grid;
}

function listenToPointer(table, onPoint) {
  const point = (event) => {
    const cell = event.target.closest("td");
    if (cell) onPoint(Number(cell.dataset.row), Number(cell.dataset.col));
  };
  table.addEventListener("pointerover", point);
  table.addEventListener("focusin", point);
  table.addEventListener("pointerleave", (event) => {
    // a finger that is lifted leaves too; what it touched stays lit until the next touch
    if (event.pointerType === "mouse") onPoint(null);
  });
}

function listenToFields(table, grid, onEdit) {
  table.addEventListener("input", ({ target }) => {
    const { row, col } = target.closest("td").dataset;
    onEdit(Number(row), Number(col), target.value, target);
  });
  // what was typed and refused gives way to the number that is used
  table.addEventListener("focusout", ({ target }) => {
    const { row, col } = target.closest("td").dataset;
    target.value = grid.cells[row][col].text;
    target.removeAttribute("aria-invalid");
  });
}

function makeCell(row, col, isEditable) {
  const value = isEditable
    ? element("input", { type: "text", autocomplete: "off", maxLength: 6 })
    : element("span");
  const note = element("small", { "aria-hidden": "true" });
  const node = element("td", {}, value, note);
  if (!isEditable) node.tabIndex = -1;
  Object.assign(node.dataset, { row, col });
  return { node, value, note };
}

// Writes what differs from the last look only: a pointer that moves changes few of many cells.
function paintCell(cell, look) {
  const { node, value, note } = cell;
  const { text = "", classes = "", shade = 0, label = "" } = look;
  const mark = look.note ?? "";
  const key = [text, classes, shade, label, mark].join("|");
  if (key === cell.key) return;
  Object.assign(cell, { key, text });
  if (value.tagName !== "INPUT") value.textContent = text;
  else if (document.activeElement !== value) value.value = text; // the reader may be typing
  if (label) (value.tagName === "INPUT" ? value : node).setAttribute("aria-label", label);
  note.textContent = mark;
  node.className = classes;
  node.classList.toggle("op-long", text.length > 3);
  node.classList.toggle("op-negative", shade < 0);
  node.style.setProperty("--shade", `${Math.round(60 * Math.abs(shade))}%`);
}

const ARROWS = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

// Moves the focus to the neighbouring cell; inside a number, left and right move the cursor.
function moveByArrow(event, cells) {
  const step = ARROWS[event.key];
  const from = event.target.closest("td");
  if (!step || !from) return;
  const field = event.target;
  if (field.tagName === "INPUT" && step[1]) {
    const end = step[1] < 0 ? 0 : field.value.length;
    if (field.selectionStart !== end || field.selectionEnd !== end) return;
  }
  const to = cells[Number(from.dataset.row) + step[0]]?.[Number(from.dataset.col) + step[1]];
  if (!to) return;
  event.preventDefault();
  if (to.value.tagName === "INPUT") {
    to.value.focus();
    to.value.select();
  } else {
    from.tabIndex = -1;
    to.node.tabIndex = 0;
    to.node.focus();
  }
}
