// Draws one panel: accuracy over the chosen axis, with 95 % bands for the highlighted methods.
const COLOURS = 7;
const MARKERS = [
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M-3.6-3.6h7.2v7.2h-7.2z", "M0-4.8L4.6 3.6h-9.2z",
  "M0-5L5 0L0 5L-5 0z", "M0 4.8L4.6-3.6h-9.2z",
];
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];

function svg(tag, attributes = {}, parent = null, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

const look = (series) => ({
  colour: `c${series % COLOURS}`,
  marker: MARKERS[series % MARKERS.length],
  dash: DASHES[Math.floor(series / COLOURS) % DASHES.length],
});

// Line and marker of a method, shown on its button.
function swatch(series) {
  const { colour, marker, dash } = look(series);
  const size = { viewBox: "0 0 34 14", width: 34, height: 14 };
  const root = svg("svg", { ...size, class: colour, "aria-hidden": "true" });
  svg("path", { d: "M1 7H33", class: "line", "stroke-dasharray": dash }, root);
  svg("path", { d: marker, transform: "translate(17 7)", class: "mark" }, root);
  return root;
}

// Multiples of 1, 2 or 5 for a linear axis; 1, 2 and 5 times powers of ten for a logarithmic one.
function ticks(scale, low, high, count) {
  if (scale === "log") {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const digit of [1, 2, 5]) found.push(Number(`${digit}e${power}`));
    }
    const inside = found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
    if (inside.length > 1) return inside;
  }
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high * 1.000001; i += 1) {
    found.push(Number((i * step).toPrecision(6)));
  }
  return found;
}

const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

// Returns a function from values to pixels; its property `ticks` holds the ticks.
function axisOf(scale, low, high, from, to, count) {
  const f = scale === "log" ? Math.log : (value) => value;
  const span = f(high) - f(low) || 1;
  const place = (value) => from + ((f(value) - f(low)) / span) * (to - from);
  place.ticks = ticks(scale, low, high, count);
  return place;
}

const lowEnd = (point) => point.accuracy - (point.half ?? 0);
const highEnd = (point) => Math.min(100, point.accuracy + (point.half ?? 0));

// Range of the accuracy axis: all means of the highlighted methods, and their intervals, unless an
// interval is so long that it would press the means together.
function accuracyRange(panel, points) {
  const chosen = points.filter((point) => state.methods.has(data.series[point.series]));
  const looked = chosen.length ? chosen : points;
  const means = looked.map((point) => point.accuracy);
  if (panel.dense) means.push(panel.dense);
  const low = Math.min(...means), high = Math.max(...means);
  const air = Math.max(0.5, (high - low) * 0.1);
  const lowest = Math.max(Math.min(...looked.map(lowEnd)), low - (high - low) / 2);
  return [Math.max(0, Math.min(low, lowest) - air), Math.min(100, high + air)];
}

function drawAxes(root, x, y, box, axis) {
  const grid = svg("g", { class: "grid" }, root);
  const write = (text, across, down, more) => svg("text", { x: across, y: down, ...more }, grid, text);
  const middle = { "text-anchor": "middle" };
  for (const value of y.ticks) {
    svg("path", { d: `M${box.left} ${y(value)}H${box.right}` }, grid);
    write(String(value), box.left - 8, y(value) + 4, { "text-anchor": "end" });
  }
  for (const value of x.ticks) {
    svg("path", { d: `M${x(value)} ${box.top}V${box.bottom}` }, grid);
    write(SHORT.format(value), x(value), box.bottom + 18, middle);
  }
  const title = { class: "title" };
  write(axis.title, (box.left + box.right) / 2, box.bottom + 38, { ...middle, ...title });
  write("test accuracy %", 0, 12, title);
}

// Whether a curve never turns back along the axis; a band around one that does would mislead.
function isMonotone(places) {
  const steps = places.slice(1).map((place, i) => Math.sign(place - places[i]));
  return steps.length > 0 && steps.every((step) => step === steps[0]);
}

// Draws one method: its curve joins the points at target densities; emergent points and matched runs
// have hollow marks.
function drawSeries(root, points, x, y, key, series) {
  const chosen = state.methods.has(data.series[series]);
  const { colour, marker, dash } = look(series);
  const group = svg("g", { class: chosen ? colour : "muted", "data-series": series }, root);
  const requested = points.filter((point) => point.kind === "at target");
  const curve = requested.sort((a, b) => a.target - b.target);
  const banded = chosen && isMonotone(curve.map((point) => x(point[key])));
  const path = (list, height) => list.map((point) => `${x(point[key])} ${y(height(point))}`);
  if (banded) {
    const edges = [...path(curve, lowEnd), ...path([...curve].reverse(), highEnd)];
    const opacity = Math.min(0.17, 0.6 / state.methods.size); // bands may overlap
    svg("path", { class: "band", "fill-opacity": opacity, d: `M${edges.join("L")}z` }, group);
  }
  if (curve.length > 1) {
    const line = path(curve, (point) => point.accuracy).join("L");
    svg("path", { class: "line", "stroke-dasharray": dash, d: `M${line}` }, group);
  }
  for (const point of points) {
    const hollow = point.kind !== "at target";
    const across = x(point[key]);
    if (chosen && point.half !== null && (hollow || !banded)) {
      svg("path", { class: "whisker", d: `M${across} ${y(lowEnd(point))}V${y(highEnd(point))}` }, group);
    }
    const transform = `translate(${across} ${y(point.accuracy)}) scale(${chosen ? 1 : 0.55})`;
    svg("path", { class: hollow ? "mark hollow" : "mark", d: marker, transform }, group);
  }
}

// Positions of the axes, and the functions from values to pixels.
function layOut(panel, points, axis, width, height) {
  const box = { left: 42, right: width - 14, top: 24, bottom: height - 48 };
  const across = points.map((point) => point[axis.key]);
  const [left, right] = [Math.min(...across), Math.max(...across)];
  const wide = axis.scale === "log" ? (right / left) ** 0.05 : (right - left) * 0.05;
  const ends = axis.scale === "log"
    ? [left / Math.max(1.02, wide), right * Math.max(1.02, wide)]
    : [Math.max(0, left - (wide || 1)), right + (wide || 1)];
  const x = axisOf(axis.scale, ...ends, box.left, box.right, width < 500 ? 4 : 8);
  const targets = [...new Set(points.map((point) => Number(point.target)))].filter(Number.isFinite);
  if (axis.at_targets && targets.length) x.ticks = targets;
  return { box, x, y: axisOf("linear", ...accuracyRange(panel, points), box.bottom, box.top, 6) };
}

// Returns a group that is clipped to the area between the axes.
function clipped(root, box, name) {
  const clip = svg("clipPath", { id: name }, svg("defs", {}, root));
  const size = { width: box.right - box.left, height: box.bottom - box.top + 12 };
  svg("rect", { x: box.left, y: box.top - 6, ...size }, clip);
  return svg("g", { "clip-path": `url(#${name})` }, root);
}

function explainEmpty(holder, axis) {
  const reason = document.createElement("p");
  reason.className = "note";
  reason.textContent = `Nothing to draw: no method shown here has ${axis.name}.`;
  holder.append(reason);
}

// Draws a panel into `holder`, and returns its points with their positions in pixels. Highlighted
// methods are drawn above the others, the first one on top.
function drawPanel(holder, panel, axis) {
  const muted = (series) => !state.methods.has(data.series[series]);
  const points = panel.points.filter((point) => point[axis.key] !== null
    && !(state.only && muted(point.series)));
  holder.replaceChildren();
  if (!points.length) {
    explainEmpty(holder, axis);
    return [];
  }
  const width = Math.max(280, holder.clientWidth), height = width < 500 ? 280 : 360;
  const { box, x, y } = layOut(panel, points, axis, width, height);
  const label = `Test accuracy over ${axis.name}, ${panel.workload}, ${panel.granularity}, `
    + `${panel.track}. The table that follows has the same figures.`;
  const size = { viewBox: `0 0 ${width} ${height}`, width, height };
  const root = svg("svg", { ...size, role: "img", "aria-label": label }, holder);
  drawAxes(root, x, y, box, axis);
  const inside = clipped(root, box, `clip-${data.panels.indexOf(panel)}`);
  if (panel.dense) {
    svg("path", { class: "dense", d: `M${box.left} ${y(panel.dense)}H${box.right}` }, inside);
  }
  const present = [...new Set(points.map((point) => point.series))].sort((a, b) => b - a);
  const order = [...present.filter(muted), ...present.filter((series) => !muted(series))];
  for (const series of order) {
    drawSeries(inside, points.filter((point) => point.series === series), x, y, axis.key, series);
  }
  return points.map((point) => ({ point, x: x(point[axis.key]), y: y(point.accuracy) }));
}
