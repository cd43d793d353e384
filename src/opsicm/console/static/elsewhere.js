// Runs in progress that are not the one on show: each can be stopped and put on show by everybody, from every page.
import {write} from "./theme.js";
import {post} from "./wire.js";

const $ = (id) => document.getElementById(id);

/** `names` of the runs; the answer to a stop stays after its run has gone. */
export function updateElsewhere(names) {
  const list = $("others"), now = JSON.stringify(names);
  if (list.dataset.now === now) return;
  list.dataset.now = now;
  list.replaceChildren(...names.map((name) => {
    const row = document.createElement("li"), text = document.createElement("span");
    text.textContent = `in progress: ${name}`;
    row.append(button("Stop", "stop", () => stopElsewhere(name)), text, button("show it", "", () => showElsewhere(name)));
    return row;
  }));
  $("elsewhere").hidden = names.length === 0 && !$("elsewhere-answer").textContent;
}

function button(text, kind, work) {
  const made = Object.assign(document.createElement("button"), {type: "button", textContent: text, className: kind});
  made.addEventListener("click", () => { made.blur(); work(); });
  return made;
}

/** Stop the run called `name`; without a name the first of the list. Whether there was one. */
export function stopElsewhere(name = JSON.parse($("others").dataset.now ?? "[]")[0]) {
  if (name === undefined) return false;
  tell(`stopping ${name} …`, "");
  post("api/command", {command: "stop", run: name}).then(
    ({ok, status, body}) => (ok ? tell(`stop of ${body.run}: ${body.accepted ? "" : "refused, "}${body.message}`, body.accepted ? "" : "bad") : tell(`${body.title}: ${body.detail ?? status}`, "bad")),
    (error) => tell(`stop was NOT sent: the console does not answer (${error.message}). Use opsicm command, or the rig's own switch.`, "bad"),
  );
  return true;
}

async function showElsewhere(run) {
  try {
    const {ok, status, body} = await post("api/show", {run});
    if (ok) location.assign("/");
    else tell(`${body.title}: ${body.detail ?? status}`, "bad");
  } catch (error) { tell(`the console does not answer (${error.message})`, "bad"); }
}

function tell(text, tone) {
  write($("elsewhere-answer"), text);
  $("elsewhere-answer").dataset.tone = tone;
  $("elsewhere").hidden = false;
}
