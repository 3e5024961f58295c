// One panel of curves: accuracy over whatever was chosen, with 95 % bands for highlighted methods.
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

// Line and marker of a method, for a button.
function swatch(series) {
  const { colour, marker, dash } = look(series);
  const root = svg("svg", { viewBox: "0 0 34 14", width: 34, height: 14, class: colour, "aria-hidden": "true" });
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
  for (let i = Math.ceil(low / step); i * step <= high * 1.000001; i += 1) found.push(Number((i * step).toPrecision(6)));
  return found;
}

const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

// A function from values to pixels, with its ticks.
function axisOf(scale, low, high, from, to, count) {
  const f = scale === "log" ? Math.log : (value) => value;
  const span = f(high) - f(low) || 1;
  const place = (value) => from + ((f(value) - f(low)) / span) * (to - from);
  place.ticks = ticks(scale, low, high, count);
  return place;
}

const band = (point) => [point.accuracy - (point.half ?? 0), Math.min(100, point.accuracy + (point.half ?? 0))];

// From the lowest mean of a highlighted method to the highest accuracy, with some air.
function accuracyRange(panel, points) {
  const chosen = points.filter((point) => state.methods.has(data.series[point.series]));
  const means = (chosen.length ? chosen : points).map((point) => point.accuracy);
  const all = panel.dense ? [...means, panel.dense] : means;
  const low = Math.min(...all), high = Math.max(...all);
  const air = Math.max(0.5, (high - low) * 0.1);
  return [Math.max(0, low - air), Math.min(100, high + air)];
}

function drawAxes(root, x, y, box, axis) {
  const grid = svg("g", { class: "grid" }, root);
  for (const value of y.ticks) {
    svg("path", { d: `M${box.left} ${y(value)}H${box.right}` }, grid);
    svg("text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, grid, String(value));
  }
  for (const value of x.ticks) {
    svg("path", { d: `M${x(value)} ${box.top}V${box.bottom}` }, grid);
    svg("text", { x: x(value), y: box.bottom + 18, "text-anchor": "middle" }, grid, SHORT.format(value));
  }
  svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 38, "text-anchor": "middle", class: "title" }, grid, axis.title);
  svg("text", { x: 0, y: 12, class: "title" }, grid, "test accuracy %");
}

const whisker = (parent, point, x, y) => svg("path", { class: "whisker", d: `M${x} ${y(band(point)[0])}V${y(band(point)[1])}` }, parent);

// Whether a curve goes one way along the axis; a band around one that turns back would mislead.
function isMonotone(places) {
  const steps = places.slice(1).map((place, i) => Math.sign(place - places[i]));
  return steps.length > 0 && steps.every((step) => step === steps[0]);
}

// A method's curve joins its matched points by target; hollow marks found a density of their own.
function drawSeries(root, points, x, y, key, series) {
  const chosen = state.methods.has(data.series[series]);
  const { colour, marker, dash } = look(series);
  const group = svg("g", { class: chosen ? `series ${colour}` : "series muted", "data-series": series }, root);
  const curve = points.filter((point) => point.kind === "matched").sort((a, b) => a.target - b.target);
  const banded = chosen && isMonotone(curve.map((point) => x(point[key])));
  const path = (list, height) => list.map((point) => `${x(point[key])} ${y(height(point))}`);
  if (banded) {
    const edges = [...path(curve, (point) => band(point)[0]), ...path([...curve].reverse(), (point) => band(point)[1])];
    const opacity = Math.min(0.17, 0.6 / state.methods.size); // many bands lie on each other
    svg("path", { class: "band", "fill-opacity": opacity, d: `M${edges.join("L")}z` }, group);
  }
  if (curve.length > 1) {
    svg("path", { class: "line", "stroke-dasharray": dash, d: `M${path(curve, (point) => point.accuracy).join("L")}` }, group);
  }
  for (const point of points) {
    const hollow = point.kind !== "matched";
    if (chosen && point.half !== null && (hollow || !banded)) whisker(group, point, x(point[key]), y);
    const transform = `translate(${x(point[key])} ${y(point.accuracy)}) scale(${chosen ? 1 : 0.55})`;
    svg("path", { class: hollow ? "mark hollow" : "mark", d: marker, transform }, group);
  }
}

// Draws into an empty holder, and returns the points with their places on the screen.
function drawPanel(holder, panel, axis) {
  const key = axis.key;
  const points = panel.points.filter((point) => point[key] !== null
    && (!state.only || state.methods.has(data.series[point.series])));
  holder.replaceChildren();
  if (!points.length) {
    const reason = document.createElement("p");
    reason.className = "note";
    reason.textContent = `Nothing to draw: no method that is shown has ${axis.name} here.`;
    holder.append(reason);
    return [];
  }
  const width = Math.max(280, holder.clientWidth), height = width < 500 ? 280 : 360;
  const box = { left: 42, right: width - 14, top: 24, bottom: height - 48 };
  const across = points.map((point) => point[key]);
  const [left, right] = [Math.min(...across), Math.max(...across)];
  const air = axis.scale === "log" ? (right / left) ** 0.05 || 1.1 : (right - left) * 0.05 || 1;
  const ends = axis.scale === "log" ? [left / air, right * air] : [Math.max(0, left - air), right + air];
  const x = axisOf(axis.scale, ...ends, box.left, box.right, width < 500 ? 4 : 8);
  if (key === "density") x.ticks = [...new Set(points.map((point) => Number(point.target)))].filter(Number.isFinite);
  const y = axisOf("linear", ...accuracyRange(panel, points), box.bottom, box.top, 6);
  const root = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `Test accuracy over ${axis.name}, ${panel.workload}, ${panel.granularity}, ${panel.track}. `
      + "The table that follows has the same figures.",
  }, holder);
  drawAxes(root, x, y, box, axis);
  const name = `clip-${data.panels.indexOf(panel)}`;
  const clip = svg("clipPath", { id: name }, svg("defs", {}, root));
  svg("rect", { x: box.left, y: box.top - 6, width: box.right - box.left, height: box.bottom - box.top + 12 }, clip);
  const inside = svg("g", { "clip-path": `url(#${name})` }, root);
  if (panel.dense) svg("path", { class: "dense", d: `M${box.left} ${y(panel.dense)}H${box.right}` }, inside);
  const present = [...new Set(points.map((point) => point.series))];
  const muted = (series) => !state.methods.has(data.series[series]);
  for (const series of [...present.filter(muted), ...present.filter((s) => !muted(s)).reverse()]) {
    drawSeries(inside, points.filter((point) => point.series === series), x, y, key, series);
  }
  return points.map((point) => ({ point, x: x(point[key]), y: y(point.accuracy) }));
}
