// Panels that uPlot does not draw: a curve that turns back in x, and rows of bars over time.

import {TABLES} from "./colourmaps.js";
import {onMoment, nearest, point, pointed, SECONDS} from "./cursor.js";
import {css, write} from "./theme.js";

/** Tick values between two numbers, at 1, 2 or 5 times a power of ten. */
export function ticks(low, high, most = 6) {
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const out = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) out.push(Math.abs(v) < 1e-9 * step ? 0 : v);
  return {values: out, text: (v) => (+v.toPrecision(10)).toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))).replace("-", "−")};
}

// Widths as the browser has laid them out: to ask for one while it draws makes it lay out the page there and then.
const widths = new WeakMap();
const observer = new ResizeObserver((entries) => { for (const entry of entries) widths.set(entry.target, entry.contentRect.width); });

/** The width of `body` [px] inside its padding. */
export function widthOf(body) {
  if (!widths.has(body)) { widths.set(body, body.clientWidth); observer.observe(body); }
  return widths.get(body);
}

/** A canvas of `height` px in `body`, its context scaled to the screen's pixels: [context, width]. */
export function surface(body, canvas, height) {
  const width = Math.max(160, widthOf(body)), ratio = window.devicePixelRatio || 1;
  const wide = Math.round(width * ratio), high = Math.round(height * ratio);
  if (canvas.width !== wide || canvas.height !== high) { // a new size makes a new canvas
    Object.assign(canvas, {width: wide, height: high});
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "13px system-ui, sans-serif";
  return [context, width];
}

/** A range for an axis that stays until the values leave it or shrink to half of it. */
export function steady(pad = 0.06) {
  let shown = null;
  return (low, high) => {
    const span = high - low || Math.abs(high) || 1;
    const inside = shown && low >= shown[0] && high <= shown[1] && high - low > 0.5 * (shown[1] - shown[0]);
    if (!inside && !(shown && low === high && low > shown[0] && high < shown[1])) shown = [low - pad * span, high + pad * span];
    return shown;
  };
}

const NEAR = 40; // [px] from the pointer to a point that it takes
const POINTS = new Set(["points", "marks", "named"]);

/** Curves of one panel, whatever the order of their x, with a layer of its own for the cursor. */
export class Plane {
  /** In `body`, `height` px high. `points` of `update`: the time of each point of the first curve. */
  constructor(body, height, options = {}) {
    Object.assign(this, {body, height, options, ranges: null, panel: null, times: null});
    this.canvas = document.createElement("canvas");
    this.over = document.createElement("canvas");
    this.frame = document.createElement("div");
    this.frame.className = "image";
    this.frame.append(this.canvas, this.over);
    this.listener = () => this.mark();
    onMoment(this.listener);
    this.canvas.addEventListener("pointermove", (event) => this.pick(event.offsetX, event.offsetY));
    this.canvas.addEventListener("pointerleave", () => { point(null, this.listener); this.mark(); });
    new ResizeObserver(() => this.panel && this.frame.isConnected && this.draw()).observe(body);
  }

  update(panel, times = null) {
    const kind = `${panel.x.label} ${panel.y.label}`;
    if (kind !== this.kind) Object.assign(this, {kind, ranges: [steady(), steady()]});
    Object.assign(this, {panel, times});
    if (!this.frame.isConnected) this.body.append(this.frame);
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${panel.y.label} against ${panel.x.label}. ${panel.series.map(inWords).join("; ")}`);
    this.draw();
  }

  draw() {
    const {panel, options} = this, [c, width] = surface(this.body, this.canvas, this.height), limits = panel.x_limits;
    const x = limits ?? span(panel.series.map((s) => s.x)), y = panel.y_limits ?? span(panel.series.map((s) => s.y), limits && panel.series.map((s) => s.x), limits);
    if (!x || !y) return;
    const xs = limits ?? this.ranges[0](...x), ys = panel.y_limits ?? this.ranges[1](...y);
    const box = {left: 62, right: width - 10, top: 26, bottom: this.height - 40};
    const X = (v) => box.left + ((v - xs[0]) / (xs[1] - xs[0])) * (box.right - box.left);
    const Y = (v) => box.bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (box.bottom - box.top);
    Object.assign(this, {X, Y});
    axes(c, box, xs, ys, X, Y, panel);
    c.save();
    c.beginPath();
    c.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    c.clip();
    for (const series of panel.series) stroke(c, series, X, Y, options.role);
    c.restore();
    if (options.present && panel.series[0]?.x.values.length) { // where it is now
      const {x: along, y: up} = panel.series[0];
      dot(c, X(along.values.at(-1)), Y(up.values.at(-1)), css("--ink"));
    }
    this.mark();
  }

  pick(px, py) {
    if (!this.times || !this.X) return;
    const {x, y} = this.panel.series[0];
    let best = NEAR ** 2, at = -1;
    for (let k = 0; k < x.values.length; k++) {
      const away = (this.X(x.values[k]) - px) ** 2 + (this.Y(y.values[k]) - py) ** 2;
      if (away < best) { best = away; at = k; }
    }
    point(at < 0 ? null : this.times.values[at], this.listener);
    this.mark();
  }

  mark() {
    if (!this.panel || !this.X || !this.frame.isConnected) return;
    const [c] = surface(this.body, this.over, this.height), t = pointed(), k = t === null || !this.times ? -1 : nearest(this.times.values, t);
    const {x, y} = this.panel.series[0], value = (v, axis) => `${v.toPrecision(4)} ${axis.unit}`;
    if (this.options.readout) write(this.options.readout, k < 0 ? "" : `at the cursor ${value(x.values[k], this.panel.x)}, ${value(y.values[k], this.panel.y)}`);
    if (k < 0) return;
    dot(c, this.X(x.values[k]), this.Y(y.values[k]), css("--accent"), 7);
  }
}

/** A curve for who does not see it. */
function inWords({label, y: {values}}) {
  let low = Infinity, high = -Infinity, first = null, last = null, count = 0;
  for (const v of values) if (!Number.isNaN(v)) { low = Math.min(low, v); high = Math.max(high, v); first ??= v; last = v; count += 1; }
  const text = (v) => String(+v.toPrecision(6));
  return count ? `${label}: ${count} points from ${text(first)} to ${text(last)}, lowest ${text(low)}, highest ${text(high)}` : `${label}: no points`;
}

function dot(c, x, y, colour, radius = 4) {
  c.fillStyle = colour;
  c.beginPath();
  c.arc(x, y, radius, 0, 7);
  c.fill();
}

function span(arrays, along = null, limits = null) {
  let low = Infinity, high = -Infinity;
  arrays.forEach(({values}, j) => {
    for (let k = 0; k < values.length; k++) {
      const v = values[k], x = along?.[j].values[k];
      if (Number.isNaN(v) || (limits && (x < limits[0] || x > limits[1]))) continue;
      if (v < low) low = v;
      if (v > high) high = v;
    }
  });
  return low > high ? null : [low, high];
}

function colour(series) {
  if (series.shade === null) return css(`--role-${series.role}`);
  // The end of the scale that the ground would swallow is left out.
  const dark = document.documentElement.dataset.theme === "dark", table = TABLES.viridis, at = 3 * Math.floor((dark ? 95 : 0) + (dark ? 160 : 200) * series.shade);
  return `rgb(${table[at]}, ${table[at + 1]}, ${table[at + 2]})`;
}

function stroke(c, series, X, Y, role) {
  const x = series.x.values, y = series.y.values;
  c.strokeStyle = c.fillStyle = role ? css(`--role-${role}`) : colour(series);
  if (POINTS.has(series.style)) {
    const size = series.style === "points" ? 2 : 9;
    for (let k = 0; k < x.length; k++) if (!Number.isNaN(y[k])) c.fillRect(X(x[k]) - size / 2, Y(y[k]) - size / 2, size, size);
    return;
  }
  c.lineWidth = 1.8;
  c.setLineDash(series.style === "dashed" ? [6, 4] : []);
  c.beginPath();
  let open = false;
  for (let k = 0; k < x.length; k++) {
    if (Number.isNaN(x[k]) || Number.isNaN(y[k])) { open = false; continue; }
    open ? c.lineTo(X(x[k]), Y(y[k])) : c.moveTo(X(x[k]), Y(y[k]));
    open = true;
  }
  c.stroke();
  c.setLineDash([]);
}

/** The curves' names in their colours, as a line of text below a plane. */
export function legend(body, panel) {
  const names = panel.series.map((series) => `${series.label}|${colour(series)}`).join();
  if (body.dataset.names === names) return;
  body.dataset.names = names;
  body.replaceChildren(...panel.series.map((series) => {
    const item = document.createElement("span"), key = document.createElement("i");
    key.style.background = colour(series);
    item.append(key, series.label);
    return item;
  }));
}

function axes(c, box, xs, ys, X, Y, panel) {
  c.strokeStyle = css("--line");
  c.fillStyle = css("--ink");
  c.lineWidth = 1;
  c.textAlign = "center";
  const along = ticks(...xs, Math.max(3, Math.floor((box.right - box.left) / 70))), up = ticks(...ys, Math.max(3, Math.floor((box.bottom - box.top) / 40)));
  for (const v of along.values) { grid(c, X(v), box.top, X(v), box.bottom); c.fillText(along.text(v), X(v), box.bottom + 16); }
  c.textAlign = "right";
  for (const v of up.values) { grid(c, box.left, Y(v), box.right, Y(v)); c.fillText(up.text(v), box.left - 6, Y(v) + 4); }
  c.textAlign = "center";
  c.fillText(panel.x.label, (box.left + box.right) / 2, box.bottom + 34);
  c.textAlign = "left"; // above its axis: beside it a long name is cut off
  c.fillText(panel.y.label, 4, 14);
}

function grid(c, x0, y0, x1, y1) { c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke(); }

/** The rows of a time line, with the present time and the moment under the cursor on a layer of their own. */
export class Rows {
  constructor(body) {
    Object.assign(this, {body, panel: null, t: 0, drawn: null});
    this.canvas = document.createElement("canvas");
    this.over = document.createElement("canvas");
    this.frame = document.createElement("div");
    this.frame.className = "image";
    this.frame.append(this.canvas, this.over);
    body.append(this.frame);
    this.listener = () => this.mark();
    onMoment(this.listener);
    this.canvas.addEventListener("pointermove", (event) => {
      const t = this.backwards ? this.backwards(event.offsetX) : null;
      point(t !== null && t >= 0 ? t : null, this.listener);
      this.mark();
    });
    this.canvas.addEventListener("pointerleave", () => { point(null, this.listener); this.mark(); });
    new ResizeObserver(() => this.draw()).observe(body);
  }

  update(panel, t) { Object.assign(this, {panel, t}); this.draw(); }

  /** The present time [s]. */
  now(t) { if (this.panel && t !== this.drawn) { this.t = t; this.draw(); } }

  draw() {
    if (!this.panel) return;
    const {panel} = this, now = this.t / SECONDS[panel.x.unit], names = panel.row_names, row = 26, height = names.length * row + 44;
    const [c, width] = surface(this.body, this.canvas, height), xs = span(panel.series.map((s) => s.x));
    if (!xs) return;
    this.drawn = this.t;
    const high = 1.02 * Math.max(xs[1], now), left = 16 + Math.max(60, ...names.map((name) => c.measureText(name).width));
    const X = (v) => left + (v / high) * (width - left - 12);
    Object.assign(this, {X, height, backwards: (px) => ((px - left) / (width - left - 12)) * high * SECONDS[panel.x.unit]});
    c.strokeStyle = css("--line");
    c.fillStyle = css("--ink");
    const along = ticks(0, high, Math.max(3, Math.floor(width / 130)));
    c.textAlign = "center";
    for (const v of along.values) { grid(c, X(v), 4, X(v), height - 38); c.fillText(along.text(v), X(v), height - 24); }
    c.fillText(panel.x.label, (left + width) / 2, height - 6);
    panel.series.forEach((series, k) => {
      c.textAlign = "right";
      c.fillStyle = css("--ink");
      c.fillText(names[k] ?? "", left - 8, k * row + 20);
      const x = series.x.values;
      for (let j = 0; j + 1 < x.length; j += 3) {
        const a = X(x[j]), b = X(x[j + 1]), done = Math.min(Math.max(X(now), a), b);
        c.globalAlpha = 0.3;
        c.fillStyle = css(`--role-${series.role}`);
        c.fillRect(a, k * row + 6, Math.max(1, b - a), row - 8);
        c.globalAlpha = 1;
        c.fillRect(a, k * row + 6, done - a, row - 8);
      }
    });
    c.strokeStyle = css("--ink");
    c.lineWidth = 2;
    grid(c, X(now), 2, X(now), height - 38);
    this.mark();
  }

  mark() {
    if (!this.X) return;
    const [c] = surface(this.body, this.over, this.height), t = pointed();
    if (t === null) return;
    const x = this.X(t / SECONDS[this.panel.x.unit]);
    c.strokeStyle = css("--accent");
    c.lineWidth = 2;
    c.setLineDash([5, 4]);
    grid(c, x, 2, x, this.height - 38);
    c.setLineDash([]);
  }
}
