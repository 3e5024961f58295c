// Connects controls, charts and tables. `change` updates the state, `show` displays it.
const articles = [...document.querySelectorAll("article")];
const charts = new Map();

const chipsOf = (panel) => [...new Set(panel.points.map((point) => point.series))].sort((a, b) => a - b);

function chip(series) {
  const method = data.series[series];
  const button = document.createElement("button");
  button.type = "button";
  button.className = "chip";
  button.dataset.method = method;
  button.append(swatch(series), method);
  button.addEventListener("click", () => {
    const methods = new Set(state.methods);
    if (!methods.delete(method)) methods.add(method);
    change({ methods });
  });
  return button;
}

// Fills a figure: the drawing, the tooltip, and one button per method.
function prepare(article, panel) {
  const figure = article.querySelector("figure");
  const drawing = document.createElement("div");
  const tip = document.createElement("div");
  const legend = document.createElement("figcaption");
  drawing.className = "drawing";
  tip.className = "tip";
  tip.hidden = true;
  legend.append("Highlight: ", ...chipsOf(panel).map(chip), key());
  figure.append(drawing, tip, legend);
  figure.hidden = false;
  const chart = { panel, drawing, tip, places: [], article };
  drawing.addEventListener("pointermove", (event) => point(chart, event));
  drawing.addEventListener("pointerdown", (event) => point(chart, event));
  drawing.addEventListener("pointerleave", () => { tip.hidden = true; });
  charts.set(article, chart);
}

function key() {
  const note = document.createElement("p");
  note.className = "note";
  note.textContent = "Band or bar: 95 % interval. Dashed grey: unpruned. Hollow: emergent "
    + "density, or a matched run at it. Methods that are not highlighted may lie outside the frame.";
  return note;
}

// Shows the tooltip of the point nearest to the pointer.
function point(chart, event) {
  const frame = chart.drawing.getBoundingClientRect();
  const [px, py] = [event.clientX - frame.left, event.clientY - frame.top];
  const away = (place) => Math.hypot(place.x - px, place.y - py)
    + (state.methods.has(data.series[place.point.series]) ? 0 : 8);
  const [nearest] = [...chart.places].sort((a, b) => away(a) - away(b));
  chart.tip.hidden = !nearest || away(nearest) > 40;
  if (chart.tip.hidden) return;
  const { point: p } = nearest;
  const half = p.half === null ? "" : ` ± ${p.half.toFixed(2)}`;
  const axes = data.axes.filter((one) => one.at_targets || one.key === state.x);
  chart.tip.textContent = [
    `${data.series[p.series]}, ${p.target}`,
    `${p.accuracy.toFixed(2)}${half} %, ${p.seeds} seeds`,
    ...axes.map(({ key, name }) => `${name} ${p[key] === null ? "–" : SHORT.format(p[key])}`),
  ].join("\n");
  const right = Math.max(0, Math.min(nearest.x + 12, frame.width - chart.tip.offsetWidth));
  chart.tip.style.translate = `${right}px ${Math.max(0, nearest.y - chart.tip.offsetHeight - 10)}px`;
}

function draw(chart) {
  chart.places = drawPanel(chart.drawing, chart.panel, data.axes.find((one) => one.key === state.x));
}

function show() {
  if (state.theme) document.documentElement.dataset.theme = state.theme;
  else delete document.documentElement.dataset.theme;
  for (const name of [...CHOICES, "text"]) control(name).value = state[name];
  control("only").checked = state.only;
  for (const holder of document.querySelectorAll(".workload, .card > .scroll, .histories")) {
    holder.hidden = holder.dataset.workload !== state.workload;
  }
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  let rows = 0;
  for (const article of articles) {
    const { workload, track, granularity } = article.dataset;
    article.hidden = workload !== state.workload || (state.track && track !== state.track)
      || (state.granularity && granularity !== state.granularity);
    if (!article.hidden) rows += filterTable(article.querySelector("table"), words);
  }
  for (const table of document.querySelectorAll("table.sortable")) sortTable(table, state.sort);
  for (const chart of charts.values()) if (!chart.article.hidden) draw(chart);
  for (const button of document.querySelectorAll(".chip")) {
    button.setAttribute("aria-pressed", state.methods.has(button.dataset.method));
  }
  control("permalink").href = `#${writeState() || "board"}`;
  const sorted = state.sort && `, sorted by ${state.sort.replace(":", ", ")}`;
  control("said").value = `${rows} rows${sorted}`;
}

function change(what) {
  Object.assign(state, what);
  const fragment = writeState();
  history.replaceState(null, "", fragment ? `#${fragment}` : location.href.split("#")[0]);
  show();
}

for (const name of CHOICES) {
  control(name).addEventListener("change", (event) => change({ [name]: event.target.value }));
}
control("text").addEventListener("input", (event) => change({ text: event.target.value }));
control("only").addEventListener("change", (event) => change({ only: event.target.checked }));
control("reset").addEventListener("click", () => change({ ...defaults(), theme: state.theme }));
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
for (const head of document.querySelectorAll(".sortable thead th")) {
  head.querySelector("button").addEventListener("click", () => change({ sort: nextSort(head) }));
}
for (const cell of document.querySelectorAll(".bar")) {
  const share = Number(cell.textContent);
  if (!Number.isNaN(share)) cell.style.setProperty("--share", `${100 * share}%`);
}
for (const panel of data.panels) {
  const article = articles.find(({ dataset }) => dataset.workload === panel.workload
    && dataset.track === panel.track && dataset.granularity === panel.granularity);
  if (article) prepare(article, panel);
}
// A fragment without "=" is the anchor of a heading, not a view.
const isView = () => location.hash.includes("=");
window.addEventListener("hashchange", () => { if (isView()) { state = readState(location.hash); show(); } });
if (isView()) state = readState(location.hash);
document.documentElement.classList.add("scripted");
let width = 0;
new ResizeObserver(() => {
  if (width === document.body.clientWidth) return;
  width = document.body.clientWidth;
  for (const chart of charts.values()) if (!chart.article.hidden) draw(chart);
}).observe(document.body);
show();
if (isView()) control("board").scrollIntoView();
