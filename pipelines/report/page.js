"use strict";
// Charts take the page's colours, in light and dark.
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function draw() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const line = style.getPropertyValue("--line").trim();
  const text = { labelColor: ink, titleColor: ink };
  const config = {
    background: "transparent",
    axis: { ...text, gridColor: line, domainColor: line, tickColor: line },
    legend: text, header: text, title: { color: ink }, view: { stroke: line }, rule: { color: ink },
  };
  for (const holder of document.querySelectorAll(".chart")) {
    vegaEmbed(holder, figures[holder.dataset.figure], { actions: false, renderer: "svg", config });
  }
}
draw();
dark.addEventListener("change", draw);

// A click on a heading sorts its table; the dense reference stays on top.
function key(row, index) {
  const value = row.cells[index].dataset.value;
  const number = Number(value);
  return value === "" ? -Infinity : Number.isNaN(number) ? value : number;
}
for (const head of document.querySelectorAll("th")) {
  head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const index = head.cellIndex;
    const rows = [...body.rows].filter((row) => !row.classList.contains("reference"));
    rows.sort((a, b) => {
      const x = key(a, index), y = key(b, index);
      const order = typeof x === typeof y ? (x > y) - (x < y) : typeof x === "string" ? -1 : 1;
      return up ? order : -order;
    });
    body.append(...rows);
  });
}
