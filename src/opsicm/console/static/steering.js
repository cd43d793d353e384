// Commands: each is a POST that the run answers; the answer is shown with how long it took.
const $ = (id) => document.getElementById(id);
const SETTINGS = ["probe.setpoint_pct", "probe.fall_nm_per_ms", "probe.amplitude_nm"];
const state = {probePaused: false, cellPaused: false, live: false, stored: false, yours: false, taken: false};

async function post(path, body) {
  const answer = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
  return {ok: answer.ok, status: answer.status, body: await answer.json()};
}

export async function command(body) {
  const from = performance.now();
  show(`${body.command} …`, "");
  try {
    const {ok, status, body: said} = await post("api/command", body);
    const took = `${(performance.now() - from).toFixed(0)} ms`;
    if (!ok) show(`${said.title}: ${said.detail ?? status}`, "bad");
    else show(`${said.command}: ${said.accepted ? "" : "refused, "}${said.message} (${took})`, said.accepted ? "" : "bad");
  } catch (error) {
    show(`${body.command} was NOT sent: the console does not answer (${error.message}). Use opsicm command, or the rig's own switch.`, "bad");
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
  $("stop").disabled = !state.live;
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
    const name = state.yours ? "" : (window.prompt("Your name, for the facts and for the others") ?? "");
    const {ok, body} = await post("api/operator", {take: !state.yours, name});
    show(ok ? "" : `${body.title}: ${body.detail}`, ok ? "" : "bad");
  });
  $("note-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    document.activeElement.blur(); // the next space is for the probe
    if (!$("note").value.trim()) return;
    await command({command: "note", text: $("note").value});
    $("note").value = "";
  });
  $("set-form").addEventListener("submit", (event) => {
    event.preventDefault();
    document.activeElement.blur();
    command({command: "set", key: $("key").value, value: Number.parseFloat($("value").value)});
  });
}
