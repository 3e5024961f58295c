"use strict";
// The state of the page: what the reader chose. It is kept in the address, so a view can be shared.
const data = JSON.parse(document.getElementById("chart-data").textContent);
const control = (name) => document.getElementById(name);
const values = (name) => [...control(name).options].map((option) => option.value);

for (const axis of data.axes) control("x").add(new Option(axis.name, axis.key));

const defaults = () => ({
  workload: values("workload")[0], track: "", granularity: "", x: data.axes[0].key, theme: "",
  text: "", only: false, sort: "", methods: new Set(data.highlighted),
});
const CHOICES = ["workload", "track", "granularity", "x", "theme"];
let state = defaults();

// Reads the state from an address; a missing or invalid value gets its default.
function readState(fragment) {
  const found = new URLSearchParams(fragment.replace(/^#/, ""));
  const read = defaults();
  for (const name of CHOICES) {
    if (values(name).includes(found.get(name))) read[name] = found.get(name);
  }
  read.text = found.get("text") ?? "";
  read.only = found.get("only") === "1";
  const sort = found.get("sort") ?? "";
  if (/^[a-z0-9-]+:(ascending|descending)$/.test(sort)) read.sort = sort;
  if (found.has("method")) {
    read.methods = new Set(found.getAll("method").filter((name) => data.series.includes(name)));
  }
  return read;
}

// Writes the state as the fragment of an address: only what differs from the defaults.
function writeState() {
  const start = defaults();
  const out = new URLSearchParams();
  for (const name of [...CHOICES, "text", "sort"]) {
    if (state[name] !== start[name]) out.set(name, state[name]);
  }
  if (state.only) out.set("only", "1");
  const chosen = data.series.filter((method) => state.methods.has(method));
  if (JSON.stringify(chosen) !== JSON.stringify(data.highlighted)) {
    for (const method of chosen.length ? chosen : [""]) out.append("method", method);
  }
  return out.toString();
}
