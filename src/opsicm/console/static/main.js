// The page: messages in, figures out, one frame of the screen at a time.
import {onMoment, pointed} from "./cursor.js";
import {Curves} from "./curves.js";
import {stopElsewhere, updateElsewhere} from "./elsewhere.js";
import {ageGauges, updateGauges} from "./gauges.js";
import {Image} from "./image.js";
import {addFacts} from "./log.js";
import {updateProgress} from "./progress.js";
import {beginSettings, keepLevelling, shown, takeSettings} from "./settings.js";
import {begin, stop, toggleProbe, updateSteering} from "./steering.js";
import {setTheme, undirected, write} from "./theme.js";
import {decode, FACTS, PEOPLE, SETTINGS, STATUS, VIEW} from "./wire.js";
import {legend, Plane, Rows} from "./xy.js";

const $ = (id) => document.getElementById(id);
const SILENT = 3000; // [ms] without a word: the server speaks twice a second
const TONES = {running: "good", playing: "good", completed: "good", replay: "", stopped: "warn", interrupted: "warn", "no process": "bad", fault: "bad", vanished: "bad", "no answer": "warn", starting: ""};
const IN_ORDER = ["completed", "stopped", "interrupted", "fault"]; // of such an end nothing is stale
const OVER = new Set([...IN_ORDER, "no process", "vanished"]);
const views = new Map(); // slot → {number, content, fresh}
let socket = null, news = true, heard = 0, status = null, people = null, asked = false, frames = 0, playing = true, seeking = false;

const map = new Image($("map-body"), $("map-readout"), 460, profile), before = new Image($("before-body"), $("map-readout"), 230);
const profiles = [new Plane($("profile-x"), 150), new Plane($("profile-y"), 150)];
const point = new Curves($("map-curves"), 200, "time"), time = new Curves($("time-body"), 136, "time"), hop = new Curves($("hop-body"), 110, "hop");
const sections = [0, 1].map(() => new Image($("section-body"), $("section-readout"), 200)), sectionCurves = new Plane($("section-body"), 240);
const against = new Plane($("cell-body"), 260, {role: "cell", present: true, readout: $("cell-readout")}), approach = new Plane($("approach-body"), 240);
const rows = new Rows($("plan-body"));

// -- messages

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { $("facts").replaceChildren(); views.clear(); resume(); };
  socket.onmessage = (event) => {
    heard = performance.now();
    const {kind, follow, number, content} = decode(event.data);
    news ||= kind !== VIEW;
    if (kind === VIEW) views.set(content.slot, {number, content, fresh: true});
    else if (kind === STATUS) { status = {...content, t_s: content.t_s ?? status?.t_s ?? 0}; updateGauges($("gauges"), content.gauges); }
    else if (kind === FACTS) { if (content.anew) $("facts").replaceChildren(); addFacts($("facts"), content.facts); }
    else if (kind === PEOPLE) people = content;
    else if (kind === SETTINGS) { const wanted = takeSettings(content); if ($("levelling").value !== wanted) { $("levelling").value = wanted; say({levelling: wanted}); } }
    if (!follow) schedule(); // views of one moment are drawn together: a frame costs the browser the same for one or all
  };
  socket.onclose = (event) => {
    if (event.code === 4001) return location.reload(); // another run is on show
    heard = 0; setTimeout(connect, 1000);
    renew();
  };
}

// A connection that was lost is not noticed by a replay: it goes on from where it was, as the controls stand.
function resume() {
  const replayed = status?.mode === "replay" ? {seek: status.t_s, playing} : {};
  say({levelling: $("levelling").value, speed: 10 ** Number($("speed").value), ...replayed});
}

function say(content) { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(content)); }

function schedule() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

function renew() { news = true; schedule(); } // words are looked at after a message of words, and twice a second: not in every frame

// -- figures

function draw() {
  let drawn = 0;
  for (const [slot, view] of views) if (view.fresh) { view.fresh = false; PLACES[slot]?.(view.content); drawn = Math.max(drawn, view.number); }
  if (news || drawn) places();
  if (news) { news = false; words(); }
  if (drawn) { frames += 1; say({drawn}); }
}

function redraw() { for (const view of views.values()) view.fresh = true; schedule(); }

const PLACES = {
  map(view) {
    const panels = view.panels.map(shown), images = panels.filter((panel) => panel.kind === "image"), present = images.at(-1);
    const series = view.name === "image_series", earlier = series && images.length > 1 ? images[0] : null;
    const {pixels, begin: zero} = view.times;
    write($("map-title"), series ? `${view.title}, ${present.note}` : view.title);
    $("levelling-label").hidden = !series;
    write($("map-note"), view.caption);
    $("before-title").hidden = before.frame.hidden = !earlier;
    if (earlier) { write($("before-title"), earlier.note); before.update(earlier, pixels[0]); }
    map.frame.hidden = $("profile").hidden = !present;
    $("map").dataset.image = present ? "yes" : "no"; // from afar the curves stand in for it
    if (present) { map.update(present, pixels.at(-1) ?? null, zero); profile(map.under()); }
    // A tower's currents at three heights are nowhere else; those of a line are the panels against time.
    const curves = present ? (view.name === "tower" ? panels.filter((panel) => panel.kind !== "image" && panel.series.length > 1) : []) : panels;
    $("map-curves").hidden = curves.length === 0;
    if (curves.length) point.update(curves, zero);
  },
  time(view) { time.update(view.panels.map(shown), view.times.begin); },
  cell(view) { against.update(shown(view.panels[0]), view.times.points); },
  hop(view) { write($("hop-title"), view.title); hop.update(view.panels.map(shown)); },
  approach(view) {
    write($("approach-title"), view.title);
    write($("approach-note"), view.caption);
    const [panel] = view.panels.map(shown);
    approach.frame.hidden = $("approach-legend").hidden = !panel;
    if (panel) { approach.update(panel); legend($("approach-legend"), panel); }
  },
  section(view) {
    write($("section-title"), view.title);
    const notes = view.panels.map((panel, k) => (view.panels.length > 1 ? `${k ? "below" : "above"}: ${panel.note}` : panel.note));
    write($("section-note"), [...notes, view.caption].filter(Boolean).join("; "));
    const panels = view.panels.map(shown), images = panels.filter((panel) => panel.kind === "image");
    sections.forEach((one, k) => { one.frame.hidden = !images[k]; if (images[k]) one.update(images[k], view.times.pixels[k] ?? null); });
    const curves = images.length ? null : panels[0];
    sectionCurves.frame.hidden = $("section-legend").hidden = !curves;
    if (curves) { sectionCurves.update(curves, view.times.points); legend($("section-legend"), curves); }
  },
  plan(view) { rows.update(view.panels.at(-1), status?.t_s ?? 0); },
};

/** Places of which the server has nothing now are hidden: of a replay that was set back, what is still to come. */
function places() {
  const there = status?.places ?? [...views.keys()], has = (slot) => views.has(slot) && there.includes(slot);
  for (const [slot, wait] of [["map", "map-wait"], ["time", "time-wait"], ["cell", "cell-wait"]]) {
    $(wait).hidden = has(slot);
    for (const part of $(wait).parentElement.children) if (part !== $(wait) && part.tagName === "DIV" && part.id.endsWith("-body")) part.hidden = !has(slot);
  }
  if (!has("map")) for (const id of ["profile", "before-title", "map-curves", "levelling-label"]) $(id).hidden = true;
  $("section").hidden = !has("section");
  $("approach").hidden = !has("approach") && !has("hop");
  $("hop-title").hidden = $("hop-body").hidden = !has("hop");
  $("plan-wait").hidden = views.has("plan");
}

/** Sections along x and y through a pixel of the map: that under the pointer, else the one that was hopped last. */
function profile(pixel) {
  const panel = map.panel;
  if (!panel) return;
  const [count, columns] = panel.values.shape, at = pixel ?? last(map) ?? {row: count >> 1, column: columns - 1};
  const [x, y] = map.centre(at), values = panel.values.values, level = $("levelling").value;
  const text = (v, axis) => `${axis.quantity} = ${v.toPrecision(4)} ${axis.unit}`;
  const levelled = $("levelling-label").hidden ? "" : level === "none" ? "; not levelled" : `; levelled by ${level === "plane" ? "its plane" : "its parabola"}`;
  write($("profile-title"), `Profiles through ${text(x, panel.x)}, ${text(y, panel.y)}, ${pixel ? "under the pointer" : last(map) ? "the last pixel" : "the last column"}${levelled}`);
  const centres = (n, low, high) => Float64Array.from({length: n}, (_, k) => low + ((k + 0.5) * (high - low)) / n);
  const [left, right, bottom, top] = panel.extent;
  const along = {values: centres(columns, left, right)}, up = {values: centres(count, bottom, top)};
  const row = {values: values.slice(at.row * columns, (at.row + 1) * columns)};
  const column = {values: Float64Array.from({length: count}, (_, k) => values[k * columns + at.column])};
  const curve = (axis, xs, ys) => ({x: axis, y: panel.value, series: [{label: "profile", role: "height", style: "line", shade: null, x: xs, y: ys}], x_limits: null, y_limits: null});
  profiles[0].update(curve(panel.x, along, row));
  profiles[1].update(curve(panel.y, up, column));
}

function last(image) {
  const times = image.times?.values, columns = image.panel.values.shape[1];
  if (!times || image.times.shape.length === 1) return null;
  let at = -1;
  for (let k = 0; k < times.length; k++) if (!Number.isNaN(times[k]) && (at < 0 || times[k] > times[at])) at = k;
  return at < 0 ? null : {row: Math.floor(at / columns), column: at % columns};
}

/** What was made at the moment under the cursor: which image, which row. */
function moment() {
  const t = pointed(), view = views.get("map")?.content, begins = view?.times.images?.values;
  if (t === null || !view) return write($("moment"), "");
  const pixel = map.panel && map.frame.isConnected ? map.pixelAt(t) ?? (before.panel && before.pixelAt(t)) : null;
  const number = begins ? begins.findLastIndex((start) => start <= t) + 1 : 0;
  const where = pixel && pixel.row !== null ? `, row ${pixel.row + 1}, pixel ${pixel.column + 1}` : "";
  write($("moment"), `cursor at ${clock(t)}${number ? `: image ${number}${where}` : ""}`);
}
onMoment(() => moment());

// -- words

function words() {
  const contact = heard > 0 && performance.now() - heard < SILENT;
  if (status) {
    const state = contact ? status.state : "no contact";
    const paused = Object.entries(status.tracks ?? {}).filter(([, track]) => track.paused).map(([name]) => name);
    const running = state === "running" && paused.length ? `${paused.join(" and ")} paused` : state;
    write($("state"), running);
    $("state").dataset.tone = contact ? (paused.length && state === "running" ? "warn" : (TONES[status.state] ?? "")) : "bad";
    if (status.title) write($("title"), undirected(status.title));
    const pace = status.mode === "live" && status.speed && Math.abs(status.speed - 1) > 0.05 ? `, ${status.speed.toPrecision(3)} × real time` : "";
    write($("clock"), `${clock(status.t_s)}${status.total_s ? ` of ${clock(status.total_s)}` : ""}${pace}`);
    write($("left"), status.state === "starting" ? "it compiles, on a machine's first run for up to a minute" : status.left_s == null ? "" : `${clock(status.left_s)} left`);
    updateProgress($("progress"), status.tracks ?? {}, views.get("plan")?.content, status.t_s, status.mode === "replay" ? false : OVER.has(status.state));
    $("replay").hidden = status.mode !== "replay";
    $("results").hidden = !(status.mode === "replay" || IN_ORDER.includes(status.state));
    if (status.mode === "replay" && contact) { playing = status.state === "playing"; write($("play-word"), playing ? "Pause" : "Play"); }
    if (status.mode === "replay" && !seeking) { $("seek").max = status.total_s; $("seek").value = status.t_s; }
    write($("plan-wait"), status.forecast === false ? "of this run no forecast can be made" : "forecasting");
    rows.now(status.t_s);
    updateSteering({probePaused: !!status.tracks?.probe.paused, cellPaused: !!status.tracks?.cell.paused, live: contact && status.mode === "live" && !OVER.has(status.state), stoppable: status.mode === "live" && (!OVER.has(status.state) || !!status.stoppable), stored: status.mode === "replay"});
  }
  if (people) {
    const who = people.operator ? (people.yours ? `you steer as ${people.operator}` : `${people.operator} steers`) : "nobody steers";
    write($("people"), `${people.watching} watching${people.stored ? "" : `, ${who}`}${people.dropped ? `, ${people.dropped} frames left out` : ""}`);
    updateElsewhere(people.others);
    updateSteering({yours: people.yours, taken: people.operator !== null, stored: people.stored});
  }
  const banner = !contact && heard === 0 && !status ? "" : !contact ? "No word from the console: nothing on this page is live" : ["vanished", "no process"].includes(status?.state) ? status.message : "";
  $("banner").hidden = !banner;
  write($("banner"), banner);
  ageGauges(contact || !status, status?.mode === "replay" || IN_ORDER.includes(status?.state));
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds)), two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

// -- keys and controls

addEventListener("keydown", (event) => {
  const writing = event.target.matches?.("input:not([type=range]), select, textarea");
  if (event.key === "Escape") {
    if (writing) event.target.blur();
    else if (!$("stop").disabled && !$("steering").hidden) { event.preventDefault(); if (!event.repeat) stop(); }
    else if (!event.repeat && stopElsewhere()) event.preventDefault();
  } else if (event.key === " " && !writing && !event.target.matches?.("button, summary")) {
    event.preventDefault();
    if (event.repeat) return;
    if (status?.mode === "replay") play(!playing);
    else if (!$("probe").disabled && !$("steering").hidden) toggleProbe();
  } else if (event.key === "f" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey) $("far").click();
});

function play(wanted) {
  playing = wanted;
  write($("play-word"), playing ? "Pause" : "Play");
  say({playing});
}
$("play").addEventListener("click", () => { $("play").blur(); play(!playing); });
$("seek").addEventListener("input", () => { seeking = true; say({seek: Number($("seek").value)}); });
$("seek").addEventListener("change", () => { seeking = false; });
$("speed").addEventListener("input", () => {
  const speed = 10 ** Number($("speed").value);
  write($("speed-text"), `${speed < 10 ? speed.toFixed(1) : speed.toFixed(0)} ×`);
  say({speed});
});
$("levelling").addEventListener("change", () => { $("levelling").blur(); say({levelling: $("levelling").value}); keepLevelling($("levelling").value); });
beginSettings(say, redraw);

function theme(name) {
  setTheme(name);
  [time, hop, point].forEach((curves) => curves.restyle());
  redraw();
}
$("theme").addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", name);
  theme(name);
});
theme(localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));

function afar(wanted) {
  document.documentElement.dataset.far = wanted ? "yes" : "no";
  $("far").setAttribute("aria-pressed", String(wanted));
  localStorage.setItem("far", wanted ? "yes" : "no");
}
$("far").addEventListener("click", () => { $("far").blur(); afar(document.documentElement.dataset.far !== "yes"); });
afar(localStorage.getItem("far") === "yes");

setInterval(renew, 500);
setInterval(() => { write($("frames"), `${frames} frames/s drawn`); frames = 0; }, 1000);
begin();
connect();
