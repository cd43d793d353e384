// The page: messages in, figures out, one frame of the screen at a time.
import {Curves} from "./curves.js";
import {ageGauges, updateGauges} from "./gauges.js";
import {Image} from "./image.js";
import {addFacts} from "./log.js";
import {begin, stop, toggleProbe, updateSteering} from "./steering.js";
import {setTheme, write} from "./theme.js";
import {decode, FACTS, PEOPLE, STATUS, VIEW} from "./wire.js";
import {drawCurves, drawRows} from "./xy.js";

const $ = (id) => document.getElementById(id);
const SILENT = 3000; // [ms] without a word: the server speaks twice a second
const TONES = {running: "good", playing: "good", completed: "good", replay: "", stopped: "warn", interrupted: "warn", "no process": "bad", fault: "bad", vanished: "bad", "no answer": "warn"};
const OVER = new Set(["completed", "stopped", "fault", "interrupted", "no process", "vanished"]);
const views = new Map(); // slot → {number, content, fresh}
let socket = null, news = true, heard = 0, status = null, people = null, asked = false, frames = 0, playing = true, seeking = false;

const map = new Image($("map-body"), $("map-readout"), 460), before = new Image($("before-body"), $("map-readout"), 230);
const mapCurves = new Curves($("map-body"), 300, "time");
const time = new Curves($("time-body"), 136, "time");
const hop = new Curves($("hop-body"), 110, "hop");
const planCanvas = document.createElement("canvas"), cellCanvas = document.createElement("canvas");
$("plan-body").append(planCanvas);
$("cell-body").append(cellCanvas);

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
  if (news) { news = false; words(); }
  if (drawn) { frames += 1; say({drawn}); }
}

const PLACES = {
  map(view) {
    const images = view.panels.filter((panel) => panel.kind === "image"), present = images.at(-1);
    const series = view.name === "image_series", earlier = series && images.length > 1 ? images[0] : null;
    $("map-wait").hidden = true;
    write($("map-title"), series ? `${view.title}, ${present.note}` : view.title);
    $("levelling-label").hidden = !series;
    write($("map-note"), view.caption);
    $("before-title").hidden = !earlier;
    before.frame.hidden = !earlier;
    if (earlier) { write($("before-title"), earlier.note); before.update(earlier); }
    if (present) { map.update(present); mapCurves.restyle(); }
    else { map.frame.remove(); mapCurves.update(view.panels); }
  },
  time(view) { $("time-wait").hidden = true; time.update(view.panels); },
  cell(view) { $("cell-wait").hidden = true; drawCurves($("cell-body"), cellCanvas, view.panels[0]); },
  hop(view) { $("hop-title").hidden = false; write($("hop-title"), view.title); hop.update(view.panels); },
  plan(view) { $("plan-wait").hidden = true; drawPlan(view); },
};

let planned = null;
const UNITS = {s: 1, min: 60, h: 3600};
function drawPlan(view) {
  const panel = view.panels[view.panels.length - 1];
  planned = status?.t_s ?? null;
  drawRows($("plan-body"), planCanvas, panel, status ? status.t_s / (UNITS[panel.x.unit] ?? 1) : null);
}

// -- words

function words() {
  const contact = heard > 0 && performance.now() - heard < SILENT;
  if (status) {
    const state = contact ? status.state : "no contact";
    const paused = Object.entries(status.tracks ?? {}).filter(([, track]) => track.paused).map(([name]) => name);
    const running = state === "running" && paused.length ? `${paused.join(" and ")} paused` : state;
    write($("state"), running);
    $("state").dataset.tone = contact ? (paused.length && state === "running" ? "warn" : (TONES[status.state] ?? "")) : "bad";
    if (status.title) write($("title"), status.title);
    const pace = status.mode === "live" && status.speed && Math.abs(status.speed - 1) > 0.05 ? `, ${status.speed.toPrecision(3)} × real time` : "";
    write($("clock"), `${clock(status.t_s)}${status.total_s ? ` of ${clock(status.total_s)}` : ""}${pace}`);
    write($("left"), status.left_s == null ? "" : `${clock(status.left_s)} left`);
    write($("tracks"), Object.entries(status.tracks ?? {}).map(([name, track]) => `${name}: ${track.step || "no step"}${track.paused ? " (paused)" : ""}`).join(" · "));
    $("replay").hidden = status.mode !== "replay";
    $("results").hidden = !(status.mode === "replay" || ["completed", "stopped", "interrupted", "fault"].includes(status.state));
    if (status.mode === "replay" && contact) { playing = status.state === "playing"; write($("play-word"), playing ? "Pause" : "Play"); }
    if (status.mode === "replay" && !seeking) { $("seek").max = status.total_s; $("seek").value = status.t_s; }
    write($("plan-wait"), status.forecast === false ? "of this run no forecast can be made" : "forecasting");
    const plan = views.get("plan");
    if (plan && planned !== status.t_s) drawPlan(plan.content);
    updateSteering({probePaused: !!status.tracks?.probe.paused, cellPaused: !!status.tracks?.cell.paused, live: contact && status.mode === "live" && !OVER.has(status.state), stored: status.mode === "replay"});
  }
  if (people) {
    const who = people.operator ? (people.yours ? `you steer as ${people.operator}` : `${people.operator} steers`) : "nobody steers";
    write($("people"), `${people.watching} watching${people.stored ? "" : `, ${who}`}${people.dropped ? `, ${people.dropped} frames left out` : ""}`);
    updateSteering({yours: people.yours, taken: people.operator !== null, stored: people.stored});
  }
  const banner = !contact && heard === 0 && !status ? "" : !contact ? "No word from the console: nothing on this page is live" : status?.state === "vanished" ? status.message : "";
  $("banner").hidden = !banner;
  write($("banner"), banner);
  ageGauges(contact || !status, status?.mode === "replay" || OVER.has(status?.state));
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds)), two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

// -- keys and controls

addEventListener("keydown", (event) => {
  const writing = event.target.matches("input:not([type=range]), select, textarea");
  if (event.key === "Escape") {
    if (writing) event.target.blur();
    else if (!$("stop").disabled && !$("steering").hidden) { event.preventDefault(); if (!event.repeat) stop(); }
  } else if (event.key === " " && !writing && !event.target.matches("button")) {
    event.preventDefault();
    if (event.repeat) return;
    if (status?.mode === "replay") play(!playing);
    else if (!$("probe").disabled && !$("steering").hidden) toggleProbe();
  }
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
$("levelling").addEventListener("change", () => { $("levelling").blur(); say({levelling: $("levelling").value}); });

function theme(name) {
  setTheme(name);
  [time, hop, mapCurves].forEach((curves) => curves.restyle());
  for (const view of views.values()) { PLACES[view.content.slot]?.(view.content); }
}
$("theme").addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", name);
  theme(name);
});
theme(localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));

addEventListener("resize", () => { for (const slot of ["cell", "plan"]) { const view = views.get(slot); if (view) PLACES[slot](view.content); } });
setInterval(renew, 500);
setInterval(() => { write($("frames"), `${frames} frames/s drawn`); frames = 0; }, 1000);
begin();
connect();
