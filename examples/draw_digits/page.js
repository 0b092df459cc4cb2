// Strokes go to the server as an image; what the network makes of it comes back and is painted.

const PEN = 0.08; // of the drawing's side: strokes about as thick as the training digits'

const element = (id) => document.getElementById(id);
const board = element("board");
const colours = matchMedia("(prefers-color-scheme: dark)");

let model; // what the network was trained on, and for which classes
let strokes = []; // each a list of points [x, y] from 0 to 1
let earlier = []; // what `strokes` was before each change
let answer = null; // of the server, to the last drawing

let pointer = null; // that draws; of several fingers the first

function change(next) {
  earlier.push(strokes);
  strokes = next;
  changed();
}

function clear() {
  pointer = null; // what it was drawing is gone
  if (strokes.length) change([]);
}

function undo() {
  pointer = null;
  if (earlier.length) {
    strokes = earlier.pop();
    changed();
  }
}

function changed() {
  element("clear").disabled = !strokes.length;
  element("undo").disabled = !earlier.length;
  paintBoard();
  look();
}

function trace(context, side, ink) {
  Object.assign(context, { lineWidth: PEN * side, lineCap: "round", lineJoin: "round", strokeStyle: ink });
  for (const [first, ...others] of strokes) {
    context.beginPath();
    context.moveTo(first[0] * side, first[1] * side);
    // A line of no length leaves no dot.
    for (const [x, y] of others.length ? others : [[first[0] + 1e-4, first[1]]]) context.lineTo(x * side, y * side);
    context.stroke();
  }
}

function paintBoard() {
  const side = Math.round(board.clientWidth * devicePixelRatio);
  board.width = board.height = side;
  const context = board.getContext("2d");
  if (!strokes.length) {
    const font = `${side / 14}px system-ui, sans-serif`;
    Object.assign(context, { font, fillStyle: themed("--soft"), textAlign: "center" });
    context.fillText("draw here", side / 2, side / 2);
  }
  trace(context, side, themed("--text"));
}

function pixels() {
  const canvas = new OffscreenCanvas(model.side, model.side);
  const context = canvas.getContext("2d");
  context.fillRect(0, 0, model.side, model.side);
  trace(context, model.side, "white");
  const { data } = context.getImageData(0, 0, model.side, model.side);
  return Uint8Array.from({ length: data.length / 4 }, (_, i) => data[4 * i]);
}

function point(event) {
  const { left, top, width, height } = board.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height];
}

board.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  pointer = event.pointerId;
  board.setPointerCapture(pointer);
  change([...strokes, [point(event)]]);
});

board.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const seen = event.getCoalescedEvents?.() ?? [];
  strokes.at(-1).push(...(seen.length ? seen : [event]).map(point));
  changed();
});

for (const end of ["pointerup", "pointercancel"]) {
  board.addEventListener(end, (event) => {
    if (event.pointerId === pointer) pointer = null;
  });
}

element("clear").addEventListener("click", clear);
element("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
  else if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") undo();
  else return;
  event.preventDefault();
});

let wanted = false;
let asking = false;

async function look() {
  wanted = true;
  if (asking || !model) return; // one question at a time; the next one is about what is drawn by then
  asking = true;
  try {
    while (wanted) {
      wanted = false;
      await lookOnce();
    }
  } finally {
    asking = false;
  }
}

async function lookOnce() {
  try {
    const found = strokes.length ? await ask("look", { method: "POST", body: pixels() }) : null;
    answer = strokes.length ? found : null; // it may have been cleared meanwhile
    complain("");
  } catch (error) {
    answer = null;
    complain(error.message);
  }
  show();
}

async function ask(path, options) {
  const response = await fetch(path, options).catch(() => {
    throw new Error("The server does not answer. Was it ended?");
  });
  const found = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(`The server refused (${response.status}): ${found.error}`);
  return found;
}

function complain(text) {
  element("error").textContent = text;
  element("error").hidden = !text;
}

function show() {
  const best = answer ? answer.probabilities.indexOf(Math.max(...answer.probabilities)) : -1;
  const read = answer ? model.classes[best] : "nothing yet";
  if (element("prediction").textContent !== read) element("prediction").textContent = read; // else it is read out again
  [...element("bars").children].forEach((row, k) => {
    const value = answer ? answer.probabilities[k] : 0;
    row.className = k === best ? "first" : "";
    row.querySelector(".bar").style.width = `${100 * value}%`;
    row.querySelector(".value").textContent = answer ? `${(100 * value).toFixed(1)} %` : "";
  });
  showInput();
  showClassMaps(best);
  showLayers();
}

function showInput() {
  const canvas = element("input");
  if (!answer) {
    canvas.width = canvas.height = 1;
    return;
  }
  const [, height, width] = answer.image.shape;
  canvas.setAttribute("aria-label", `The image that the network sees, ${height} by ${width} pixels`);
  paint(canvas, height, width, (i, j) => Array(3).fill((at(answer.image, 0, i, j) / 127) * 255));
}

function showClassMaps(best) {
  if (answer) element("class-maps").parentElement.hidden = false;
  if (answer?.no_class_maps) {
    element("class-maps-note").textContent = `This model has none: class activation maps ${answer.no_class_maps}.`;
    return;
  }
  const figures = filled(element("class-maps"), answer ? model.classes : []);
  const [ink, scale, image] = [rgb("--text"), ramp(), answer?.image];
  figures.forEach(([figure, caption, canvas], k) => {
    const maps = answer.class_maps;
    const [, rows, columns] = maps.shape;
    const [, height, width] = image.shape;
    figure.className = k === best ? "first" : "";
    caption.textContent = model.classes[k];
    canvas.setAttribute("aria-label", `Class activation map of ${model.classes[k]}`);
    // The digit, drawn into the map that lies under it.
    paint(canvas, height, width, (i, j) => {
      const under = scale(at(maps, k, Math.floor((i * rows) / height), Math.floor((j * columns) / width)));
      return mixed(under, ink, (0.75 * at(image, 0, i, j)) / 127);
    });
  });
}

function showLayers() {
  if (answer) element("layers").parentElement.hidden = false;
  const scale = ramp();
  filled(element("layers"), answer?.layers ?? []).forEach(([, caption, canvas], n) => {
    const layer = answer.layers[n];
    const [count, height, width] = layer.shape;
    const text = height * width > 1 ? `${count} maps of ${height} x ${width}` : `${count} numbers`;
    const size = document.createElement("small");
    size.textContent = ` ${text}, up to ±${layer.largest.toPrecision(3)}`;
    caption.replaceChildren(`${layer.path} ${layer.name}`, size);
    canvas.setAttribute("aria-label", `Output of ${layer.name}, layer ${layer.path}: ${text}`);
    const across = abreast(count);
    const zoom = Math.ceil(8 / height); // small maps are enlarged, beside gaps of one pixel
    const [down, right] = [height * zoom + 1, width * zoom + 1];
    paint(canvas, (count / across) * down - 1, across * right - 1, (i, j) => {
      const map = Math.floor(i / down) * across + Math.floor(j / right);
      const [row, column] = [Math.floor((i % down) / zoom), Math.floor((j % right) / zoom)];
      return row < height && column < width ? scale(at(layer, map, row, column)) : null;
    });
  });
}

// As many figures as items, each with a caption and a canvas; those that are there are used again.
function filled(place, items) {
  while (place.children.length > items.length) place.lastChild.remove();
  while (place.children.length < items.length) {
    const [figure, caption, canvas] = ["figure", "figcaption", "canvas"].map((name) => document.createElement(name));
    canvas.setAttribute("role", "img");
    figure.append(caption, canvas);
    place.append(figure);
  }
  return [...place.children].map((figure) => [figure, ...figure.children]);
}

// The smallest divisor of `count` with which rows of so many are at least twice as wide as high.
function abreast(count) {
  let columns = Math.ceil(Math.sqrt(2 * count));
  while (count % columns) columns += 1;
  return Math.min(columns, count);
}

function paint(canvas, height, width, colour) {
  Object.assign(canvas, { height, width });
  const image = new ImageData(width, height);
  for (let i = 0, k = 0; i < height; i += 1) {
    for (let j = 0; j < width; j += 1, k += 4) {
      const found = colour(i, j);
      if (found) image.data.set([...found, 255], k);
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// A value from -127 to 127 of maps (C, H, W) that came as base64.
function at(maps, channel, row, column) {
  maps.bytes ??= new Int8Array(Uint8Array.from(atob(maps.values), (letter) => letter.charCodeAt(0)).buffer);
  const [, height, width] = maps.shape;
  return maps.bytes[(channel * height + row) * width + column];
}

const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = (name) => [1, 3, 5].map((start) => parseInt(themed(name).slice(start, start + 2), 16));
const mixed = (from, to, part) => from.map((value, k) => value + (to[k] - value) * part);

// From a value to its colour.
function ramp() {
  const [negative, zero, positive] = ["--negative", "--zero", "--positive"].map(rgb);
  const colour = (value) => mixed(zero, value < 0 ? negative : positive, Math.abs(value) / 127);
  const table = Array.from({ length: 255 }, (_, k) => colour(k - 127));
  return (value) => table[value + 127];
}

function begin(about) {
  model = about;
  const [, height, width] = model.shape;
  element("model").textContent =
    `Model ${model.name}, trained on ${model.data} (${height} x ${width} pixels). Nothing leaves this machine.`;
  for (const name of model.classes) {
    const row = document.createElement("li");
    const [label, track, bar, value] = ["label", "track", "bar", "value"].map((part) => {
      const made = document.createElement("span");
      made.className = part;
      return made;
    });
    label.textContent = name;
    track.append(bar);
    row.append(label, track, value);
    element("bars").append(row);
  }
  changed();
}

colours.addEventListener("change", () => {
  paintBoard();
  show();
});
new ResizeObserver(paintBoard).observe(board);
ask("model").then(begin, (error) => complain(error.message));
