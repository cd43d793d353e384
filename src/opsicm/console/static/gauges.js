// Gauges. One that was not renewed is struck through with its age, whatever the server last said of it.
import {write} from "./theme.js";

const STALE = 5; // [s], as in console/gauges.py
const shown = new Map();

export function updateGauges(section, gauges) {
  const now = performance.now();
  const present = new Set(gauges.map((gauge) => gauge.key));
  for (const [key, one] of shown) if (!present.has(key)) { one.box.remove(); shown.delete(key); }
  for (const gauge of gauges) {
    const one = shown.get(gauge.key) ?? make(section, gauge);
    Object.assign(one, {gauge, received: now});
    write(one.label, gauge.label);
    write(one.number, gauge.value === null ? "–" : number(gauge.value));
    write(one.unit, ` ${gauge.unit}`);
    one.box.title = gauge.note;
    one.box.classList.toggle("warns", gauge.warns);
    one.box.classList.toggle("unknown", gauge.value === null);
  }
  ageGauges(true, false);
}

/** Every half second: `contact` says whether the server speaks, `frozen` that nothing is live (a replay, an end). */
export function ageGauges(contact, frozen) {
  const now = performance.now();
  for (const {gauge, received, box, age} of shown.values()) {
    const old = frozen && contact ? 0 : gauge.age_s + (now - received) / 1000;
    const stale = !contact || gauge.stale || old > STALE;
    box.classList.toggle("stale", stale);
    const unknown = gauge.why ? `: ${gauge.why}` : "";
    const u = gauge.value !== null && gauge.u !== null ? `± ${number(gauge.u)} ${gauge.unit}, ` : "";
    write(age, stale ? `stale: ${Math.round(old)} s old` : `${u}at ${gauge.t_s.toFixed(1)} s${unknown}`);
  }
}

function make(section, gauge) {
  const box = document.createElement("div");
  box.className = "gauge";
  box.dataset.key = gauge.key;
  const parts = {};
  for (const name of ["label", "number", "age"]) {
    parts[name] = document.createElement("div");
    parts[name].className = name;
  }
  const value = document.createElement("span");
  parts.unit = document.createElement("span");
  parts.unit.className = "unit";
  value.className = "value";
  parts.number.append(value, parts.unit);
  box.append(parts.label, parts.number, parts.age);
  section.append(box);
  const one = {box, ...parts, number: value};
  shown.set(gauge.key, one);
  return one;
}

/** Three digits, but no more than four places. */
function number(value) {
  const places = value === 0 ? 0 : Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toFixed(places).replace("-", "−");
}
