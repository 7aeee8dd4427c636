// Small pieces that the sections share: elements, buttons, pictures of maps.

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Nodes for a text with {names}; each is replaced by the text or node that `parts` has for it.
export function fill(text, parts) {
  return text.split(/\{(\w+)\}/).map((piece, index) => (index % 2 ? parts[piece] : piece));
}

export function button(text, onclick, properties = {}) {
  return element("button", { type: "button", onclick, ...properties }, text);
}

// A canvas of height x width pixels, which CSS enlarges.
export function pictureOf(height, width, properties = {}) {
  return element("canvas", { width, height, role: "img", ...properties });
}

// Paints an image (C, H, W) in [-1, 1] at (x, y) of a canvas.
export function paintImage(canvas, image, [channels, height, width], x = 0, y = 0) {
  const pixels = new ImageData(width, height);
  const area = height * width;
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = grey(image[channels < 3 ? i : c * area + i]);
    }
    pixels.data[4 * i + 3] = channels === 4 ? grey(image[3 * area + i]) : 255;
  }
  canvas.getContext("2d").putImageData(pixels, x, y);
}

// [-1, 1] to 0..255, as gan.sampling.to_uint8.
export function grey(value) {
  return Math.max(0, Math.min(255, Math.round((value + 1) * 127.5)));
}

// The place of a pointer in an element, each coordinate from 0 to 1.
export function placeIn(node, event) {
  const box = node.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

// A number with a real minus sign.
export function number(value, digits = 2) {
  return value.toFixed(digits).replace("-", "\u2212");
}
