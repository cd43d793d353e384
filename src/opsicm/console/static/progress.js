// How far each track is, by the forecast, and whether it is in the step that was forecast for now.
import {SECONDS} from "./cursor.js";
import {write} from "./theme.js";

const ROLE = {cell: "cell", probe: "pipette"};

/** {cell, probe}: {share, forecast} by the bars of the forecast's time line at `t` [s]; forecast is the step's path. */
export function shares(view, t) {
  const panel = view.panels.at(-1), unit = SECONDS[panel.x.unit] ?? 1, found = {};
  for (const [track, role] of Object.entries(ROLE)) {
    let all = 0, done = 0, forecast = "";
    for (const series of panel.series.filter((one) => one.role === role)) {
      const x = series.x.values;
      for (let j = 0; j + 1 < x.length; j += 3) {
        const a = x[j] * unit, b = x[j + 1] * unit;
        all += b - a;
        done += Math.min(Math.max(t - a, 0), b - a);
        if (a <= t && t < b) forecast = series.label;
      }
    }
    if (all > 0) found[track] = {share: done / all, forecast};
  }
  return found;
}

export function updateProgress(section, tracks, view, t, over) {
  const found = view ? shares(view, t) : {};
  for (const [track, {step, paused}] of Object.entries(tracks)) {
    const one = found[track], row = section.querySelector(`[data-track="${track}"]`) ?? make(section, track);
    const share = one ? Math.floor(100 * one.share + 1e-9) : null;
    const other = one && !over && one.forecast !== step ? `, forecast for now: ${one.forecast || "no step"}` : "";
    write(row.querySelector(".step"), `${track}: ${step || "no step"}${paused ? ", paused" : ""}`);
    write(row.querySelector(".share"), share === null ? "" : `${share} % of the forecast${other}`);
    row.querySelector("progress").value = share ?? 0;
    row.querySelector("progress").hidden = share === null;
  }
}

function make(section, track) {
  const row = document.createElement("div"), bar = document.createElement("progress");
  row.dataset.track = track;
  const [step, share] = ["step", "share"].map((name) => Object.assign(document.createElement("span"), {className: name}));
  bar.max = 100;
  bar.setAttribute("aria-label", `progress of the ${track} track`);
  row.append(step, bar, share);
  section.append(row);
  return row;
}
