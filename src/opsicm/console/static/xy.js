// Panels that uPlot does not draw: a curve that turns back in x, and rows of bars over time.

import {css} from "./theme.js";

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

function extent(arrays, least = 0) {
  let low = Infinity, high = -Infinity;
  for (const {values} of arrays) for (const v of values) if (!Number.isNaN(v)) { if (v < low) low = v; if (v > high) high = v; }
  if (low > high) return null;
  const pad = Math.max(0.06 * (high - low), least) || Math.abs(high) || 1;
  return [low - pad, high + pad];
}

/** Curves of one panel, whatever the order of their x. */
export function drawCurves(body, canvas, panel, height = 260) {
  const [c, width] = surface(body, canvas, height);
  const xs = panel.x_limits ?? extent(panel.series.map((s) => s.x)), ys = panel.y_limits ?? extent(panel.series.map((s) => s.y));
  if (!xs || !ys) return;
  const box = {left: 62, right: width - 10, top: 8, bottom: height - 40};
  const X = (v) => box.left + ((v - xs[0]) / (xs[1] - xs[0])) * (box.right - box.left);
  const Y = (v) => box.bottom - ((v - ys[0]) / (ys[1] - ys[0])) * (box.bottom - box.top);
  axes(c, box, xs, ys, X, Y, panel);
  for (const series of panel.series) {
    c.strokeStyle = series.shade === null ? css(`--role-${series.role}`) : css("--role-cell");
    c.lineWidth = 1.8;
    c.beginPath();
    let open = false;
    const x = series.x.values, y = series.y.values;
    for (let k = 0; k < x.length; k++) {
      if (Number.isNaN(x[k]) || Number.isNaN(y[k])) { open = false; continue; }
      open ? c.lineTo(X(x[k]), Y(y[k])) : c.moveTo(X(x[k]), Y(y[k]));
      open = true;
    }
    c.stroke();
    if (x.length) { // where the cell is now
      c.fillStyle = css("--ink");
      c.beginPath();
      c.arc(X(x[x.length - 1]), Y(y[y.length - 1]), 4, 0, 7);
      c.fill();
    }
  }
}

function axes(c, box, xs, ys, X, Y, panel) {
  c.strokeStyle = css("--line");
  c.fillStyle = css("--ink");
  c.lineWidth = 1;
  c.textAlign = "center";
  const along = ticks(...xs), up = ticks(...ys, 5);
  for (const v of along.values) { grid(c, X(v), box.top, X(v), box.bottom); c.fillText(along.text(v), X(v), box.bottom + 16); }
  c.textAlign = "right";
  for (const v of up.values) { grid(c, box.left, Y(v), box.right, Y(v)); c.fillText(up.text(v), box.left - 6, Y(v) + 4); }
  c.textAlign = "center";
  c.fillText(panel.x.label, (box.left + box.right) / 2, box.bottom + 34);
  c.save();
  c.translate(13, (box.top + box.bottom) / 2);
  c.rotate(-Math.PI / 2);
  c.fillText(panel.y.label, 0, 0);
  c.restore();
}

function grid(c, x0, y0, x1, y1) { c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke(); }

/** The rows of a time line with the present time, `now` in the unit of x; null hides it. */
export function drawRows(body, canvas, panel, now) {
  const names = panel.row_names, row = 26, height = names.length * row + 44;
  const [c, width] = surface(body, canvas, height);
  const xs = extent(panel.series.map((s) => s.x));
  if (!xs) return;
  const low = 0, high = Math.max(xs[1], now ?? 0);
  const left = 16 + Math.max(60, ...names.map((name) => c.measureText(name).width));
  const X = (v) => left + ((v - low) / (high - low)) * (width - left - 12);
  c.strokeStyle = css("--line");
  c.fillStyle = css("--ink");
  const along = ticks(low, high, Math.max(3, Math.floor(width / 130)));
  c.textAlign = "center";
  for (const v of along.values) { grid(c, X(v), 4, X(v), height - 38); c.fillText(along.text(v), X(v), height - 24); }
  c.fillText(panel.x.label, (left + width) / 2, height - 6);
  panel.series.forEach((series, k) => {
    c.textAlign = "right";
    c.fillStyle = css("--ink");
    c.fillText(names[k] ?? "", left - 8, k * row + 20);
    const x = series.x.values;
    for (let j = 0; j + 1 < x.length; j += 3) {
      const a = X(x[j]), b = X(x[j + 1]), done = now === null ? a : Math.min(Math.max(X(now), a), b);
      c.globalAlpha = 0.3;
      c.fillStyle = css(`--role-${series.role}`);
      c.fillRect(a, k * row + 6, Math.max(1, b - a), row - 8);
      c.globalAlpha = 1;
      c.fillRect(a, k * row + 6, done - a, row - 8);
    }
  });
  if (now !== null) {
    c.strokeStyle = css("--ink");
    c.lineWidth = 2;
    grid(c, X(now), 2, X(now), height - 38);
  }
}
