// The prepare page: choose, write, check, start; and the runs that can be opened. Texts of files are shown as text.
import {Completer} from "./completer.js";
import {Curves} from "./curves.js";
import {Editor} from "./editor.js";
import {updateElsewhere} from "./elsewhere.js";
import {setTheme, undirected, write} from "./theme.js";
import {decode, PEOPLE, post} from "./wire.js";
import {Rows} from "./xy.js";

const $ = (id) => document.getElementById(id);
const PAUSE = 500; // [ms] after the last key
const RUNS_EVERY = 5000; // [ms]
const TONES = {running: "good", completed: "good", stopped: "warn", interrupted: "warn", unfinished: "warn", fault: "bad", unreadable: "bad"};
const DRAFT = "opsicm draft"; // of this browser's tab: a page that is loaded anew forgets nothing

let beside = "", loaded = "", people = null, checkedText = null, checking = false, wanted = false, timer = 0, report = null, plan = null;
const editor = new Editor($("editor"), () => { stale(); clearTimeout(timer); timer = setTimeout(check, PAUSE); keep(); });
const rows = new Rows($("plan-body")), curves = new Curves($("plan-curves"), 120, "plan");

async function get(path) {
  const answer = await fetch(path), body = await answer.json();
  if (!answer.ok) throw new Error(`${body.title}: ${body.detail ?? answer.status}`);
  return body;
}

function say(text, tone = "") {
  $("answer").textContent = text;
  $("answer").dataset.tone = tone;
}

function element(name, text, kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// -- files

/** Open a file; an edited text is given up only by who says so. Whether it was opened. */
async function load(name) {
  const lost = $("file-name").textContent;
  if (editor.text !== loaded && !window.confirm(`Open ${name}? The edited text of ${lost} is kept nowhere else and is then lost.`)) return false;
  try {
    const {text} = await get(`api/file?name=${encodeURIComponent(name)}`);
    loaded = text;
    use(name, text, name.split(/[:/]/).at(-1));
    return true;
  } catch (error) { say(error.message, "bad"); return false; }
}

function use(name, text, called) {
  beside = name;
  write($("file-name"), name.slice(name.indexOf(":") + 1));
  editor.text = text;
  $("name").value = called;
  $("replace").checked = false;
  $("replace-label").hidden = true;
  for (const button of $("files").querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.name === name));
  say("");
  stale();
  keep();
  check();
}

function keep() {
  sessionStorage.setItem(DRAFT, JSON.stringify({beside, loaded, text: editor.text, name: $("name").value}));
}

async function listFiles() {
  const {files, rigs, first} = await get("api/files");
  let group = "";
  $("files").replaceChildren(...files.flatMap((file) => {
    const row = element("li", ""), button = element("button", file.label);
    Object.assign(button, {type: "button", onclick: () => load(file.name)});
    button.dataset.name = file.name;
    row.append(button);
    const head = file.group === group ? [] : [element("li", file.group, "group")];
    group = file.group;
    return [...head, row];
  }));
  const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
  if (draft?.text) {
    loaded = draft.loaded;
    use(draft.beside, draft.text, draft.name);
    if (first && draft.beside !== first) await load(first);
  } else await load(first ?? files[0].name);
  editor.completer = new Completer(await get("api/schema"), rigs);
}

// -- runs

async function listRuns() {
  try {
    const {runs, on_show: shown} = await get("api/runs");
    $("runs-wait").hidden = runs.length > 0;
    write($("runs-wait"), "no runs yet");
    const now = JSON.stringify([runs, shown]);
    if ($("runs").dataset.now === now) return;
    $("runs").dataset.now = now;
    $("runs").replaceChildren(...runs.map((run) => {
      const row = element("li", ""), button = element("button", ""), state = element("span", run.state, "state");
      state.dataset.tone = TONES[run.state] ?? "";
      Object.assign(button, {type: "button", title: run.name, onclick: () => open(run.name, "/")});
      button.dataset.run = run.name;
      button.setAttribute("aria-current", String(run.name === shown));
      button.append(element("span", undirected(run.title), "called"), document.createElement("br"), state, element("span", ` ${run.started.slice(0, 16).replace("T", " ")} UTC`, "when"));
      row.append(button);
      if (!["running", "unfinished", "unreadable"].includes(run.state)) {
        const results = element("button", "results", "results");
        Object.assign(results, {type: "button", onclick: () => open(run.name, "/results")});
        row.append(results);
      }
      return row;
    }));
  } catch (error) { write($("runs-wait"), error.message); $("runs-wait").hidden = false; }
}

/** Put a run on show and go to one of its pages. */
async function open(run, page) {
  const {ok, status, body} = await post("api/show", {run});
  if (ok) location.assign(page);
  else say(`${body.title}: ${body.detail ?? status}`, "bad");
}

// -- the check

function stale() {
  if (checkedText === editor.text && report) return;
  checkedText = null;
  allow();
  write($("verdict"), "");
  outdate();
}

/** Check what stands in the editor; once more where it was changed meanwhile. */
async function check() {
  clearTimeout(timer);
  wanted = true;
  if (checking) return;
  checking = true;
  while (wanted) {
    wanted = false;
    const text = editor.text, from = beside;
    write($("verdict"), "checking …");
    $("verdict").dataset.tone = "";
    try {
      const {ok, status, body} = await post("api/check", {text, beside: from, name: $("name").value.trim() || "experiment.yaml"});
      if (status === 429) { await new Promise((done) => setTimeout(done, PAUSE)); wanted = true; continue; }
      if (text !== editor.text || from !== beside) continue; // a check of what stands there now is on its way
      if (ok) show(text, body);
      else { write($("verdict"), `${body.title}: ${body.detail ?? status}`); $("verdict").dataset.tone = "bad"; }
    } catch (error) { write($("verdict"), `not checked: the console does not answer (${error.message})`); $("verdict").dataset.tone = "bad"; }
  }
  checking = false;
}

async function show(text, said) {
  report = said;
  checkedText = text;
  const count = said.problems.length;
  write($("verdict"), said.ok ? "no problems" : count === 1 ? "1 problem" : `${count} problems`);
  $("verdict").dataset.tone = said.ok ? "good" : "bad";
  editor.mark(said.problems.filter((p) => p.line).map((p) => [p.line, `${p.thing}: ${p.limit}`]));
  $("problems").replaceChildren(...said.problems.map((p) => {
    const row = element("li", "");
    if (p.line) {
      const button = element("button", `line ${p.line}`);
      Object.assign(button, {type: "button", onclick: () => editor.show(p.line)});
      row.append(button);
    }
    row.append(element("span", p.file ? `${p.file}: ${p.thing}` : p.thing, "thing"), element("span", `${p.value ? ` is ${p.value}` : ""}; ${p.limit}`), element("span", p.remedy, "remedy"));
    return row;
  }));
  $("forecast").hidden = !said.ok;
  write($("forecast"), said.ok ? said.text : "");
  $("speed-label").hidden = said.ok && said.real_time;
  $("confirm-label").hidden = !(said.ok && said.instruments.length);
  $("confirm").checked = false;
  write($("confirm-text"), said.ok && said.instruments.length ? `instruments will move: ${said.instruments.map((line) => line.trim()).join(" ")}` : "");
  allow();
  outdate();
  if (!said.ok) return;
  const answer = await fetch(`api/plan?checked=${said.checked}`);
  if (!answer.ok || checkedText !== text) return;
  plan = decode(await answer.arrayBuffer()).content;
  write($("plan-note"), `${plan.title}${said.runs > 1 ? `, the first of ${said.runs} runs` : ""}. ${plan.caption}`);
  drawPlan();
}

/** A time line that is not of the text in the editor says so. */
function outdate() {
  const old = plan !== null && !(report?.ok && checkedText === editor.text);
  $("plan").classList.toggle("old", old);
  write($("plan-old"), old ? "of an earlier text" : "");
}

function drawPlan() {
  if (!plan) return;
  $("plan-wait").hidden = true;
  outdate();
  rows.update(plan.panels.at(-1), 0);
  curves.update(plan.panels.slice(0, -1), 0); // the run begins at 0: one cursor goes through all of them
}

/** Whether it may be started; if not, why, beside the button. */
function allow() {
  const others = people?.operator && !people.yours, current = report && checkedText === editor.text;
  const why = others ? `${people.operator} steers: ask ${people.operator} to hand over, or wait until that page is closed`
    : !current ? "not checked yet" : !report.ok ? "the text has problems, see above"
      : !$("confirm-label").hidden && !$("confirm").checked ? "confirm that the instruments may move" : "";
  $("start").disabled = why !== "";
  write($("why-not"), why);
}

// -- start

$("start-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if ($("start").disabled) return;
  $("start").disabled = true;
  say("starting …");
  try {
    if ($("who").value.trim()) {
      const taken = await post("api/operator", {take: true, name: $("who").value});
      if (!taken.ok) { say(`${taken.body.title}: ${taken.body.detail}`, "bad"); return; }
    }
    const {ok, status, body} = await post("api/start", {text: checkedText, beside, name: $("name").value.trim(), speed: $("speed").value, confirmed: $("confirm").checked, replace: $("replace").checked});
    if (ok) { loaded = checkedText; keep(); location.assign("/"); return; } // it is saved
    if (body.title === "The name is taken") $("replace-label").hidden = false;
    say(`${body.title}: ${body.detail ?? status}`, "bad");
  } catch (error) { say(`the console does not answer (${error.message}): look at the list of runs before you start again`, "bad"); }
  finally { allow(); }
});
$("confirm").addEventListener("change", allow);
$("check").addEventListener("click", check);
$("name").addEventListener("input", () => { $("replace-label").hidden = true; $("replace").checked = false; keep(); });
addEventListener("keydown", (event) => { if (event.key === "s" && event.ctrlKey) { event.preventDefault(); check(); } });

// -- who is here

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws?people`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) => {
    const {kind, content} = decode(event.data);
    if (kind !== PEOPLE) return;
    people = content;
    updateElsewhere(people.others);
    const who = people.operator ? (people.yours ? `you steer as ${people.operator}` : `${people.operator} steers`) : "nobody steers";
    write($("people"), `${people.watching} watching, ${who}`);
    $("operate").hidden = !people.yours;
    write($("operate"), "Hand over");
    if ($("on-show").dataset.run !== (people.run ?? "")) {
      $("on-show").dataset.run = people.run ?? "";
      const link = element("a", `on show: ${people.run}`);
      link.href = "/";
      $("on-show").replaceChildren(...(people.run ? [link] : []));
    }
    $("banner").hidden = true;
    allow();
  };
  socket.onclose = () => {
    write($("banner"), "No word from the console: nothing can be checked or started");
    $("banner").hidden = false;
    setTimeout(connect, 1000);
  };
}
$("operate").addEventListener("click", () => post("api/operator", {take: false}));

function theme(name) {
  setTheme(name);
  curves.restyle();
  drawPlan();
}
$("theme").addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", name);
  theme(name);
});
theme(localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));

connect();
listRuns();
setInterval(listRuns, RUNS_EVERY);
listFiles().catch((error) => say(error.message, "bad"));
