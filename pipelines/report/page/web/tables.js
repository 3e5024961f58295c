// Sorts tables by a column, and hides rows.
function sortKey(row, index) {
  const cell = row.cells[index];
  const value = cell.dataset.value ?? cell.textContent;
  if (value === "") return null;
  const number = Number(value.replace(/,/g, ""));
  return Number.isNaN(number) ? value : number;
}

// Compares two sort keys: missing values come last in both directions, numbers before words.
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
}

// Sorts the rows, or restores their original order; the unpruned network stays on top.
function sortTable(table, sort) {
  const [key, direction] = sort.split(":");
  const heads = [...table.tHead.rows[0].cells];
  const index = heads.findIndex((head) => head.dataset.key === key);
  heads.forEach((head, i) => {
    if (i === index) head.setAttribute("aria-sort", direction);
    else head.removeAttribute("aria-sort");
  });
  const body = table.tBodies[0];
  table.built ??= [...body.rows];
  const rows = table.built.filter((row) => !row.classList.contains("reference"));
  if (index >= 0) {
    const sign = direction === "ascending" ? 1 : -1;
    const keys = new Map(rows.map((row) => [row, sortKey(row, index)]));
    rows.sort((a, b) => compare(keys.get(a), keys.get(b), sign));
  }
  body.append(...rows);
}

// The sort after a click: descending, ascending, original order. Words start ascending.
function nextSort(head) {
  const first = head.classList.contains("number") ? "descending" : "ascending";
  const second = first === "descending" ? "ascending" : "descending";
  const now = head.getAttribute("aria-sort");
  const next = now === null ? first : now === first ? second : "";
  return next && `${head.dataset.key}:${next}`;
}

// Hides the rows that do not match the filter, and returns the number of the others.
function filterTable(table, words) {
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const method = row.dataset.method;
    const chosen = state.methods.has(method);
    const text = row.textContent.toLowerCase();
    const reference = row.classList.contains("reference");
    row.hidden = !reference
      && ((state.only && !chosen) || !words.every((word) => text.includes(word)));
    row.classList.toggle("chosen", chosen);
    if (!row.hidden && !reference) shown += 1;
  }
  return shown;
}
