// A figure of the report, from the View that the report draws: curves that can be zoomed and read, images with the value
// under the pointer and limits of colour. A pointer on one panel marks the same x on all panels that share the axis.
import {TABLES} from "./colourmaps.js";
import {BOX, Image} from "./image.js";
import {css, write} from "./theme.js";
import uPlot from "./vendor/uPlot.esm.js";

const ALONE = 300, STACKED = 170, GRID = 240, IMAGE = 380; // heights of panels [px]
const LABEL = 20; // [px]
const MOST_NAMED = 8; // curves of a family; of more the first and the last are named, as in the report
const NEAR = 40; // [px] from a curve that turns back in x, for its value to be read

/** The panels of a view in `body`. */
export class Figure {
  constructor(body, view) {
    this.body = body;
    this.view = view;
    this.link = new Link();
    this.build();
  }

  /** Draw anew, in the colours of another theme. */
  build() {
    const {view, body} = this;
    this.plots?.forEach((plot) => plot.destroy?.());
    body.replaceChildren();
    const grid = document.createElement("div");
    grid.className = "panels";
    grid.dataset.columns = Math.min(view.columns, 4);
    body.append(grid);
    const curves = view.panels.filter((panel) => panel.kind === "curves").length;
    const tall = view.columns > 1 ? GRID : curves === 1 ? ALONE : STACKED;
    this.link.clear();
    // Beside an image over the same axis the curves keep to its left and right edge.
    const image = view.share_x && view.panels.find((panel) => panel.kind === "image"), frame = image ? image.extent.slice(0, 2) : null;
    let explained = "";
    this.plots = view.panels.map((panel, k) => {
      const box = document.createElement("div");
      box.className = "shown";
      grid.append(box);
      // Panels over one axis of x are linked; in a grid each stands for itself.
      const link = view.share_x ? this.link : new Link();
      if (panel.kind === "image") return new Picture(box, panel, view.columns > 2 ? GRID : IMAGE, link);
      // One axis is labelled once, below the last, and a legend that says the same as the one above it is left out.
      const entries = JSON.stringify(panel.series.map((series) => [series.label, series.role, series.shade])), last = k === view.panels.length - 1;
      const plot = new Plot(box, panel, tall, link, !view.share_x || last, entries !== explained, frame);
      explained = view.share_x ? entries : "";
      return plot;
    });
    this.limits();
  }

  // One pair of limits for all images that share theirs: they are compared by their colours.
  limits() {
    const groups = new Map();
    for (const plot of this.plots) if (plot instanceof Picture && plot.panel.limits) {
      const key = `${plot.panel.value.label} ${plot.panel.limits}`;
      groups.set(key, [...(groups.get(key) ?? []), plot]);
    }
    for (const group of groups.values()) this.body.append(limitsForm(group));
  }
}

// -- what panels of one axis tell each other

class Link {
  clear() { this.members = []; }
  constructor() { this.clear(); }
  add(member) { this.members.push(member); }
  /** The pointer of `source` is at `x`; null: nowhere. */
  point(source, x) { for (const one of this.members) if (one !== source) one.mark(x); }
  /** `source` shows x between these. */
  zoom(source, low, high) { for (const one of this.members) if (one !== source) one.show?.(low, high); }
}

// -- images

class Picture {
  constructor(box, panel, tallest, link) {
    this.panel = panel;
    this.given = panel.limits;
    this.link = link;
    caption(box, panel.note);
    const body = document.createElement("div"), readout = document.createElement("p");
    readout.className = "readout";
    box.append(body, readout);
    this.image = new Image(body, readout, tallest);
    this.layer = document.createElement("canvas");
    this.image.frame.append(this.layer);
    this.x = null;
    link.add(this);
    this.image.canvas.addEventListener("pointermove", (event) => this.link.point(this, this.under(event.offsetX)));
    this.image.canvas.addEventListener("pointerleave", () => this.link.point(this, null));
    this.image.update(panel);
    new ResizeObserver(() => this.overlay()).observe(body);
  }

  colour(limits) { this.panel = {...this.panel, limits}; this.image.update(this.panel); }

  under(px) {
    const {x0, w} = this.image.place, [left, right] = this.panel.extent, share = (px - x0) / w;
    return share < 0 || share > 1 ? null : left + share * (right - left);
  }

  mark(x) { this.x = x; this.overlay(); }

  // The line along which a profile was taken, and the pointer of another panel, on a layer of their own.
  overlay() {
    const {canvas, place} = this.image, [left, right, bottom, top] = this.panel.extent;
    if (!place) return;
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this.layer, {width: canvas.width, height: canvas.height});
    this.layer.style.width = canvas.style.width;
    this.layer.style.height = canvas.style.height;
    const c = this.layer.getContext("2d"), X = (v) => place.x0 + ((v - left) / (right - left)) * place.w, Y = (v) => place.y0 + (1 - (v - bottom) / (top - bottom)) * place.h;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const draw = (x0, y0, x1, y1) => {
      for (const [style, width] of [["#000000", 3.5], ["#ffffff", 1.5]]) { Object.assign(c, {strokeStyle: style, lineWidth: width}); c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke(); }
    };
    if (this.panel.line) { const [x0, y0, x1, y1] = this.panel.line; draw(X(x0), Y(y0), X(x1), Y(y1)); }
    if (this.x !== null && this.x >= Math.min(left, right) && this.x <= Math.max(left, right)) draw(X(this.x), place.y0, X(this.x), place.y0 + place.h);
  }
}

function limitsForm(pictures) {
  const form = document.createElement("form"), [{given, panel}] = pictures;
  form.className = "limits";
  const words = document.createElement("span");
  words.textContent = `colours of ${panel.value.quantity} from`;
  const [low, high] = given.map((value, k) => {
    const input = document.createElement("input");
    Object.assign(input, {type: "number", step: "any", value: value.toPrecision(4)});
    input.setAttribute("aria-label", `${k ? "upper" : "lower"} limit of ${panel.value.quantity}`);
    return input;
  });
  const reset = document.createElement("button");
  reset.type = "button";
  reset.textContent = "as in the report";
  const apply = () => {
    const limits = [low, high].map((input) => Number.parseFloat(input.value)), fit = limits[1] > limits[0];
    form.classList.toggle("wrong", !fit);
    if (fit) pictures.forEach((picture) => picture.colour(limits));
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  reset.addEventListener("click", () => {
    [low, high].forEach((input, k) => { input.value = given[k].toPrecision(4); });
    form.classList.remove("wrong");
    pictures.forEach((picture) => picture.colour(given));
  });
  form.append(words, low, "to", high, panel.value.unit, reset);
  return form;
}

// -- curves

class Plot {
  /** `labelled`: with the name of x below; `explained`: with a legend; `frame`: ends of x of an image to stand above. */
  constructor(box, panel, height, link, labelled, explained, frame) {
    this.panel = panel;
    this.frame = frame;
    this.labelled = labelled;
    this.explained = explained;
    this.height = height + (labelled ? LABEL : 0);
    this.link = link;
    this.series = panel.series.map((series) => ({...series, x: series.x.values, y: series.y.values, rises: rises(series.x.values), dark: shade(series)}));
    this.nearest = this.series.map(() => null);
    caption(box, panel.note);
    if (!this.series.some(({y}) => y.some(Number.isFinite))) { caption(box, `${panel.y.label}: no values`); return; }
    this.readout = document.createElement("p");
    this.readout.className = "readout";
    this.body = document.createElement("div");
    box.append(this.body, this.readout);
    this.busy = false;
    this.plot = new uPlot(this.options(), [null, ...this.series.map(({x, y}) => [x, y])], this.body);
    link.add(this);
    this.resized = new ResizeObserver(() => this.plot.setSize({width: this.width(), height: this.height}));
    this.resized.observe(this.body);
  }

  destroy() { this.resized?.disconnect(); this.plot?.destroy(); }

  width() { return Math.max(240, this.body.clientWidth); }

  options() {
    const {panel} = this, rows = panel.row_names ?? [], named = this.named();
    const axis = {stroke: css("--ink"), grid: {stroke: css("--line"), width: 1}, ticks: {stroke: css("--line"), size: 4}, gap: 3, font: "13px system-ui, sans-serif", labelFont: "13px system-ui, sans-serif", labelSize: 20};
    const numbers = (_, ticks) => ticks.map((v) => String(+v.toPrecision(6)).replace("-", "−"));
    return {
      mode: 2, width: this.width(), height: this.height, padding: this.frame ? [null, BOX.right, null, 0] : undefined,
      scales: {x: {time: false, range: () => this.span("x")}, y: {range: () => this.span("y")}},
      legend: {show: this.explained && named.size > 1, live: false},
      cursor: {
        drag: {x: true, y: true, uni: 30, setScale: true},
        dataIdx: (u, k) => (this.nearest[k - 1] = this.closest(u, this.series[k - 1])),
        points: {size: 8, stroke: (u, k) => this.series[k - 1].dark, fill: () => css("--paper"), width: 2},
      },
      axes: [
        {...axis, label: this.labelled ? panel.x.label : undefined, size: 24, values: numbers},
        {...axis, label: rows.length ? undefined : panel.y.label, size: rows.length ? 110 : this.frame ? BOX.left - 20 : 62, space: 24,
          splits: rows.length ? () => rows.map((_, k) => -k) : undefined, values: rows.length ? () => rows : numbers},
      ],
      series: [null, ...this.series.map((series, k) => ({
        label: series.label || panel.y.quantity, stroke: series.dark, width: 1.5, class: named.has(k) ? "named" : "unnamed", points: {show: false},
        facets: [{scale: "x", auto: true}, {scale: "y", auto: true}],
        paths: (u) => { draw(u, series); return null; },
      }))],
      hooks: {
        setCursor: [(u) => this.read(u)],
        setScale: [(u, key) => {
          const {min, max} = u.scales[key];
          this.body.dataset[key] = `${min} ${max}`;
          if (key === "x" && !this.busy && u.status) this.link.zoom(this, min, max);
        }],
      },
    };
  }

  // The report's legend: a line and the marks on it are one entry, and of a long family the first and last are named.
  named() {
    const first = new Map();
    this.series.forEach((series, k) => { if (series.style !== "named" && series.style !== "bars" && !first.has(series.label)) first.set(series.label, k); });
    const shown = [...first.values()];
    if (shown.length <= MOST_NAMED) return new Set(shown);
    const family = shown.filter((k) => this.series[k].shade !== null);
    return new Set(shown.filter((k) => !family.slice(1, -1).includes(k)));
  }

  // Where an axis ends when all is shown; of y, what stands between the ends of x that are shown now.
  span(key) {
    const {panel} = this, fixed = key === "x" ? this.frame ?? panel.x_limits : panel.y_limits;
    if (fixed) return fixed;
    if (key === "y" && panel.row_names?.length) return [0.6 - panel.row_names.length, 0.6];
    const window = key === "y" && this.plot?.status ? this.plot.scales.x : null;
    let low = Infinity, high = -Infinity;
    for (const {x, y, band} of this.series) {
      const n = x.length, both = band && band.values.length === 2 * n;
      for (let k = 0; k < n; k++) {
        if (Number.isNaN(x[k]) || Number.isNaN(y[k]) || (window && (x[k] < window.min || x[k] > window.max))) continue;
        const v = key === "x" ? x[k] : y[k], under = key === "y" && band ? band.values[k] || 0 : 0, over = key === "y" && band ? band.values[both ? n + k : k] || 0 : 0;
        if (v - under < low) low = v - under;
        if (v + over > high) high = v + over;
      }
    }
    if (low > high) return window ? [this.plot.scales.y.min, this.plot.scales.y.max] : [0, 1];
    const pad = (key === "x" ? 0.02 : 0.06) * (high - low) || 0.05 * Math.abs(high) || 1;
    return [low - pad, high + pad];
  }

  // The point of a series that is read: the nearest in x; of a curve that turns back in x, the nearest on the screen.
  closest(u, {x, y, rises: inOrder}) {
    const at = u.cursor.left, height = u.cursor.top;
    let best = null, least = Infinity;
    if (inOrder) {
      let low = 0, high = x.length - 1;
      const wanted = u.posToVal(at, "x");
      while (high - low > 1) { const middle = (low + high) >> 1; if (x[middle] < wanted) low = middle; else high = middle; }
      for (let k = Math.max(0, low - 2); k <= Math.min(x.length - 1, high + 2); k++) if (!Number.isNaN(y[k]) && Math.abs(x[k] - wanted) < least) { least = Math.abs(x[k] - wanted); best = k; }
      return best;
    }
    const [x0, x1, y0, y1] = [u.scales.x.min, u.scales.x.max, u.scales.y.min, u.scales.y.max], sx = u.over.clientWidth / (x1 - x0), sy = u.over.clientHeight / (y1 - y0);
    for (let k = 0; k < x.length; k++) {
      const distance = ((x[k] - x0) * sx - at) ** 2 + ((y1 - y[k]) * sy - height) ** 2;
      if (distance < least) { least = distance; best = k; }
    }
    return least <= NEAR ** 2 || this.marked ? best : null;
  }

  // What the pointer reads: of few curves each, of a long family the one nearest to it.
  read(u) {
    const away = u.cursor.left < 0;
    if (!this.marked) this.link.point(this, away ? null : u.posToVal(u.cursor.left, "x"));
    if (away) { write(this.readout, ""); return; }
    let read = this.series.map((series, k) => ({series, at: this.nearest[k]})).filter(({series, at}, k) => at !== null && series.style !== "bars" && u.series[k + 1].show);
    if (read.length > MOST_NAMED) {
      const far = ({series, at}) => Math.abs(u.valToPos(series.y[at], "y") - u.cursor.top) + Math.abs(u.valToPos(series.x[at], "x") - u.cursor.left);
      read = [read.reduce((a, b) => (far(b) < far(a) ? b : a))];
    }
    const {x, y} = this.panel, several = this.series.length > 1;
    write(this.readout, read.map(({series, at}) => `${several && series.label ? `${series.label}: ` : ""}${number(series.y[at])} ${y.unit}`.trimEnd() + ` at ${number(series.x[at])} ${x.unit}`.trimEnd()).join(" · "));
  }

  // From the link: the pointer of another panel, and its range of x.
  mark(x) {
    this.marked = true;
    const left = x === null ? -10 : this.plot.valToPos(x, "x");
    this.plot.setCursor({left: left < 0 || left > this.plot.over.clientWidth ? -10 : left, top: left < 0 ? -10 : this.plot.over.clientHeight / 2});
    this.marked = false;
  }

  show(low, high) { this.busy = true; this.plot.setScale("x", {min: low, max: high}); this.busy = false; }
}

function draw(u, {x, y, style, dark, band, label}) {
  const c = u.ctx, ratio = uPlot.pxRatio, X = (v) => u.valToPos(v, "x", true), Y = (v) => u.valToPos(v, "y", true), {left, top, width, height} = u.bbox;
  c.save();
  c.beginPath();
  c.rect(left, top, width, height);
  c.clip();
  Object.assign(c, {strokeStyle: dark, fillStyle: dark, lineWidth: 1.5 * ratio, lineJoin: "round"});
  const n = x.length, under = (k) => band.values[k], over = (k) => band.values[band.values.length === 2 * n ? n + k : k];
  if (band && style === "marks") {
    c.beginPath();
    for (let k = 0; k < n; k++) if (over(k) >= 0) { c.moveTo(X(x[k]), Y(y[k] - under(k))); c.lineTo(X(x[k]), Y(y[k] + over(k))); }
    c.stroke();
  } else if (band) {
    c.globalAlpha = 0.2;
    for (let k = 1; k < n; k++) { // piece by piece: a gap stays one
      if (![x[k - 1], x[k], y[k - 1], y[k], under(k - 1), under(k)].every(Number.isFinite)) continue;
      c.beginPath();
      c.moveTo(X(x[k - 1]), Y(y[k - 1] - under(k - 1)));
      c.lineTo(X(x[k]), Y(y[k] - under(k)));
      c.lineTo(X(x[k]), Y(y[k] + over(k)));
      c.lineTo(X(x[k - 1]), Y(y[k - 1] + over(k - 1)));
      c.fill();
    }
    c.globalAlpha = 1;
  }
  if (style === "points") for (let k = 0; k < n; k++) c.fillRect(X(x[k]) - ratio, Y(y[k]) - ratio, 2.5 * ratio, 2.5 * ratio);
  else if (style === "marks" || style === "named") for (let k = 0; k < n; k++) {
    c.beginPath();
    c.arc(X(x[k]), Y(y[k]), (style === "named" ? 3 : 4) * ratio, 0, 7);
    if (style === "marks") { c.stroke(); continue; }
    c.fill();
    c.font = `${12 * ratio}px system-ui, sans-serif`;
    c.fillText(label, X(x[k]) + 7 * ratio, Y(y[k]) + (k % 2 ? 14 : -6) * ratio);
  } else {
    c.lineWidth = (style === "bars" ? 12 : 1.5) * ratio;
    c.setLineDash(style === "dashed" ? [6 * ratio, 4 * ratio] : []);
    c.beginPath();
    let open = false;
    for (let k = 0; k < n; k++) {
      if (Number.isNaN(x[k]) || Number.isNaN(y[k])) { open = false; continue; }
      open ? c.lineTo(X(x[k]), Y(y[k])) : c.moveTo(X(x[k]), Y(y[k]));
      open = true;
    }
    c.stroke();
  }
  c.restore();
}

function rises(x) {
  for (let k = 1, last = x[0]; k < x.length; k++) { if (x[k] < last) return false; if (!Number.isNaN(x[k])) last = x[k]; }
  return true;
}

// Of a family, viridis by rank: on a dark ground without its darkest quarter.
function shade(series) {
  if (series.shade === null) return css(`--role-${series.role}`);
  const [from, to] = document.documentElement.dataset.theme === "dark" ? [0.28, 1] : [0.08, 0.9];
  const at = 3 * Math.round(255 * (from + (to - from) * series.shade)), [r, g, b] = TABLES.viridis.slice(at, at + 3);
  return `rgb(${r}, ${g}, ${b})`;
}

function number(v) { return String(+v.toPrecision(6)).replace("-", "−"); }

function caption(box, text) {
  if (!text) return;
  const line = document.createElement("p");
  line.className = "caption";
  line.textContent = text;
  box.append(line);
}
