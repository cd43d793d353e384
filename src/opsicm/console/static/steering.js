// Commands: each is a POST that the run answers; the answer is shown with how long it took.
import {post} from "./wire.js";

const $ = (id) => document.getElementById(id);
const SETTINGS = ["probe.setpoint_pct", "probe.fall_nm_per_ms", "probe.amplitude_nm"];
const UNITS = {pct: "%", nm_per_ms: "nm/ms", nm: "nm"}; // by the end of a key
const NUMBER = /^[-+]?\d+(\.\d+)?([eE][-+]?\d+)?$/; // whole: what is cut off is not seen, and a tip is driven by the rest
const state = {probePaused: false, cellPaused: false, live: false, stoppable: false, stored: false, yours: false, taken: false};

/** Send a command; whether the run accepted it. */
export async function command(body) {
  const from = performance.now();
  show(`${body.command} …`, "");
  try {
    const {ok, status, body: said} = await post("api/command", body);
    const took = `${(performance.now() - from).toFixed(0)} ms`;
    if (!ok) show(`${said.title}: ${said.detail ?? status}`, "bad");
    else show(`${said.command}: ${said.accepted ? "" : "refused, "}${said.message} (${took})`, said.accepted ? "" : "bad");
    return ok && said.accepted;
  } catch (error) {
    show(`${body.command} was NOT sent: the console does not answer (${error.message}). Use opsicm command, or the rig's own switch.`, "bad");
    return false;
  }
}

function show(text, tone) {
  $("answer").textContent = text;
  $("answer").dataset.tone = tone;
}

export const stop = () => command({command: "stop"});
export const toggleProbe = () => command({command: state.probePaused ? "resume-probe" : "pause-probe"});

/** What the tracks do and who steers: labels, and which buttons can be used. */
export function updateSteering(changes) {
  Object.assign(state, changes);
  $("steering").hidden = state.stored;
  $("probe").firstChild.textContent = state.probePaused ? "Resume probe " : "Pause probe ";
  $("cell").textContent = state.cellPaused ? "Resume cell" : "Pause cell";
  const others = state.taken && !state.yours;
  for (const id of ["probe", "cell", "skip-probe", "skip-cell"]) $(id).disabled = !state.live || others;
  for (const form of ["note-form", "set-form"]) for (const part of $(form).elements) part.disabled = !state.live || others;
  // Not greyed for a console that has lost the run, or is silent: a stop that does not arrive says what to do.
  $("stop").disabled = !state.stoppable;
  $("operate").hidden = state.stored || !state.live;
  $("operate").textContent = state.yours ? "Hand over" : "Take control";
}

export function begin(settable = SETTINGS) {
  for (const key of settable) $("key").append(new Option(key.replace("probe.", ""), key));
  const click = (id, work) => $(id).addEventListener("click", () => { $(id).blur(); work(); });
  click("stop", stop);
  click("probe", toggleProbe);
  click("cell", () => command({command: state.cellPaused ? "resume-cell" : "pause-cell"}));
  click("skip-probe", () => command({command: "skip", track: "probe"}));
  click("skip-cell", () => command({command: "skip", track: "cell"}));
  click("operate", async () => {
    const name = state.yours ? "" : window.prompt("Your name, for the facts and for the others");
    if (name === null) return; // cancelled
    const {ok, body} = await post("api/operator", {take: !state.yours, name});
    show(ok ? "" : `${body.title}: ${body.detail}`, ok ? "" : "bad");
  });
  $("note-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    document.activeElement.blur(); // the next space is for the probe
    const text = $("note").value;
    if (!text.trim()) return;
    const kept = await command({command: "note", text});
    if (kept && $("note").value === text) $("note").value = "";
  });
  $("set-form").addEventListener("submit", (event) => {
    event.preventDefault();
    document.activeElement.blur();
    const key = $("key").value, written = $("value").value.trim(), unit = UNITS[Object.keys(UNITS).find((end) => key.endsWith(`_${end}`))];
    if (NUMBER.test(written)) command({command: "set", key, value: Number(written)});
    else show(`set was not sent: "${written}" is no number. Write ${key.replace("probe.", "")} in ${unit}, without the unit and with a point, as 2.5`, "bad");
  });
}
