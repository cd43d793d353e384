// Unit and colour limits of each channel, and the levelling: kept beside the run, or in this browser where that cannot be.
import {write} from "./theme.js";

const FACTOR = {"": 1, m: 1e-3, µ: 1e-6, n: 1e-9, p: 1e-12};
const scale = (unit) => FACTOR[unit.slice(0, -1)] ?? 1;
const ALIAS = {current: "cell current", "current less that far away": "pipette current"};

let units = {}, channels = {}, levelling = "none", run = "", kept = "run", say = () => {}, redraw = () => {}, rows = {};
const seen = {}; // channel → the unit and the limits that it was drawn with

const $ = (id) => document.getElementById(id);
const channelOf = (axis) => { const name = ALIAS[axis.quantity] ?? axis.quantity; return Object.hasOwn(units, name) ? name : null; };

/** `send` hands a text to the server, `draw` draws all figures anew. */
export function beginSettings(send, draw) { say = send; redraw = draw; }

/** What the server says of the run's settings; returns the levelling that they ask for. */
export function takeSettings(told) {
  ({units, run, kept} = told);
  write($("channels-kept"), told.problem
    ? `Refused: ${told.problem}`
    : kept === "run" ? "Kept with the run, in view.json beside it." : "The run's folder cannot be written to: kept in this browser.");
  $("channels-kept").dataset.tone = told.problem ? "bad" : "";
  if (told.answers) { // to what this page has: what was typed since then stays
    if (kept === "browser" && !told.problem) remember();
    return levelling;
  }
  ({channels, levelling} = (kept === "browser" && !told.problem ? remembered() : null) ?? told.settings);
  build();
  redraw();
  return levelling;
}

function remembered() {
  try {
    const own = JSON.parse(localStorage.getItem(`view ${run}`));
    const sound = ([name, one]) => units[name]?.includes(one.unit) && (one.limits === null || (one.limits.every(Number.isFinite) && one.limits[0] < one.limits[1]));
    return own && Object.entries(own.channels).every(sound) ? own : null;
  } catch { return null; }
}

function remember() { localStorage.setItem(`view ${run}`, JSON.stringify(record())); }
const record = () => ({opsicm_view: 1, levelling, channels});

function keep() {
  if (kept === "browser") remember();
  say({settings: record()});
  build();
  redraw();
}

export function keepLevelling(name) { levelling = name; keep(); }

/** A panel in the units of its channels, and with the colour limits that somebody has set. */
export function shown(panel) {
  if (panel.kind === "image") return image(panel);
  const name = channelOf(panel.y), unit = name && channels[name]?.unit;
  if (name) seen[name] = {...seen[name], unit: unit ?? panel.y.unit};
  if (!unit || unit === panel.y.unit) return panel;
  const factor = scale(panel.y.unit) / scale(unit);
  const series = panel.series.map((one) => ({...one, y: times(one.y, factor)}));
  return {...panel, y: axis(panel.y, unit), series, y_limits: panel.y_limits?.map((v) => v * factor) ?? null};
}

function image(panel) {
  const name = channelOf(panel.value), unit = (name && channels[name]?.unit) || panel.value.unit;
  const factor = scale(panel.value.unit) / scale(unit);
  const limits = (name && channels[name]?.limits) || panel.limits?.map((v) => v * factor) || null;
  if (name) { seen[name] = {unit, limits}; placeholders(name); }
  return factor === 1 ? {...panel, limits} : {...panel, value: axis(panel.value, unit), values: times(panel.values, factor), limits};
}

const axis = (one, unit) => ({...one, unit, label: `${one.quantity} (${unit})`});
const times = (array, factor) => ({...array, values: array.values.map((v) => v * factor)});

// -- the fields

function build() {
  if (Object.keys(rows).length === 0) for (const name of Object.keys(units)) rows[name] = row(name);
  for (const [name, fields] of Object.entries(rows)) {
    const one = channels[name];
    const values = {unit: one?.unit ?? "", low: one?.limits?.[0] ?? "", high: one?.limits?.[1] ?? ""};
    for (const [key, value] of Object.entries(values)) if (fields[key] !== document.activeElement) fields[key].value = value;
    fields.error.textContent = "";
    placeholders(name);
  }
}

function placeholders(name) {
  const fields = rows[name], limits = seen[name]?.limits;
  if (!fields || !limits) return;
  fields.low.placeholder = (+limits[0].toPrecision(3)).toString();
  fields.high.placeholder = (+limits[1].toPrecision(3)).toString();
}

function row(name) {
  const line = document.createElement("div"), label = document.createElement("span"), error = document.createElement("span");
  const unit = document.createElement("select"), low = document.createElement("input"), high = document.createElement("input");
  const auto = document.createElement("button");
  line.className = "channel";
  line.dataset.channel = name;
  label.textContent = name;
  unit.append(new Option("unit: auto", ""), ...units[name].map((one) => new Option(one, one)));
  unit.setAttribute("aria-label", `unit of ${name}`);
  for (const [input, side] of [[low, "lower"], [high, "upper"]]) {
    Object.assign(input, {size: 7, inputMode: "decimal", autocomplete: "off"});
    input.setAttribute("aria-label", `${side} colour limit of ${name}`);
    input.addEventListener("change", () => setLimits(name));
  }
  auto.type = "button";
  auto.textContent = "auto";
  auto.setAttribute("aria-label", `automatic colour limits of ${name}`);
  auto.addEventListener("click", () => { auto.blur(); setAutomatic(name); });
  unit.addEventListener("change", () => { unit.blur(); setUnit(name, unit.value); });
  error.className = "error";
  line.append(label, unit, ...(name === "cell current" ? [] : [low, high, auto]), error);
  $("channel-rows").append(line);
  return {unit, low, high, error};
}

function setUnit(name, unit) {
  const before = channels[name], {[name]: _, ...others} = channels;
  channels = others;
  if (unit) {
    const factor = before ? scale(before.unit) / scale(unit) : 1;
    channels[name] = {unit, limits: before?.limits?.map((v) => +(v * factor).toPrecision(12)) ?? null};
  }
  keep();
}

function setAutomatic(name) {
  if (!channels[name]?.limits) return build();
  channels = {...channels, [name]: {...channels[name], limits: null}};
  keep();
}

// An empty field is filled with the limit that the figure has now: one limit alone is none.
function setLimits(name) {
  if (rows[name].low.value.trim() === "" && rows[name].high.value.trim() === "") return setAutomatic(name);
  const fields = rows[name], now = seen[name] ?? {unit: units[name][0], limits: null};
  const limits = [fields.low, fields.high].map((field, k) => (field.value.trim() === "" ? now.limits?.[k] : Number(field.value.replace("−", "-"))));
  if (!limits.every(Number.isFinite) || limits[0] >= limits[1]) {
    write(fields.error, "two numbers, the lower one first");
    return;
  }
  channels = {...channels, [name]: {unit: channels[name]?.unit ?? now.unit, limits}};
  if ([fields.low, fields.high].includes(document.activeElement)) document.activeElement.blur(); // the next space is for the probe
  keep();
}
