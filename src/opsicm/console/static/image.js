// An image on a canvas of its own with axes, colour bar and scale bar; above it, on another, what the cursor marks.
import {TABLES} from "./colourmaps.js";
import {onMoment, momentAt, nearest, placeOf, point, pointed} from "./cursor.js";
import {css, write} from "./theme.js";
import {surface, ticks, widthOf} from "./xy.js";

export const BOX = {left: 60, top: 26, below: 44, right: 92};

export class Image {
  /** In `body`, at most `tallest` px high; `readout` gets the value under the cursor, `onPixel` what it belongs to. */
  constructor(body, readout, tallest, onPixel = () => {}) {
    Object.assign(this, {body, readout, tallest, onPixel});
    this.pixels = document.createElement("canvas"); // one pixel of the image, one of the canvas
    this.canvas = document.createElement("canvas");
    this.over = document.createElement("canvas");
    this.strip = document.createElement("canvas");
    this.barOf = null;
    const frame = document.createElement("div");
    frame.className = "image";
    frame.append(this.canvas, this.over);
    this.frame = frame;
    this.panel = null;
    this.at = null;
    this.listener = () => this.mark();
    onMoment(this.listener);
    this.canvas.addEventListener("pointermove", (event) => { this.at = [event.offsetX, event.offsetY]; this.read(); });
    this.canvas.addEventListener("pointerleave", () => { this.at = null; this.read(); });
    new ResizeObserver(() => this.panel && this.draw()).observe(body);
  }

  /** Draw `panel`; `times` of its pixels or columns, or `begin` of its axis of time, say when what it shows was so. */
  update(panel, times = null, begin = null) {
    Object.assign(this, {panel, times, begin});
    if (!this.frame.isConnected) this.body.append(this.frame);
    this.draw();
  }

  draw() {
    const panel = this.panel, [rows, columns] = panel.values.shape, [left, right, bottom, top] = panel.extent;
    this.paint(panel, rows, columns);
    const room = Math.max(160, widthOf(this.body)) - BOX.left - BOX.right;
    const equal = panel.x.unit === panel.y.unit;
    let w = room, h = equal ? (w * (top - bottom)) / (right - left) : 0.7 * this.tallest;
    if (h > this.tallest) { w *= equal ? this.tallest / h : 1; h = this.tallest; }
    const tall = h + BOX.top + BOX.below, [c] = surface(this.body, this.canvas, tall);
    this.tall = tall;
    const x0 = BOX.left, y0 = BOX.top;
    this.place = {x0, y0, w, h};
    c.imageSmoothingEnabled = false;
    c.drawImage(this.pixels, x0, y0, w, h);
    c.strokeStyle = css("--line");
    c.strokeRect(x0, y0, w, h);
    c.fillStyle = css("--ink");
    const along = ticks(Math.min(left, right), Math.max(left, right), 5), up = ticks(Math.min(bottom, top), Math.max(bottom, top), 5);
    c.textAlign = "center";
    for (const v of along.values) c.fillText(along.text(v), x0 + ((v - left) / (right - left)) * w, y0 + h + 16);
    c.fillText(panel.x.label, x0 + w / 2, y0 + h + 36);
    c.textAlign = "right";
    for (const v of up.values) c.fillText(up.text(v), x0 - 6, y0 + h - ((v - bottom) / (top - bottom)) * h + 4);
    c.textAlign = "left";
    c.fillText(panel.y.label, 4, 14);
    this.bar(c, panel, x0 + w + 14, y0, h);
    if (panel.scale_bar) this.scale(c, panel, x0, y0, w, h, right - left);
    this.mark();
    if (this.at) this.read();
  }

  // The first row of values is the lowest one.
  paint(panel, rows, columns) {
    const table = TABLES[panel.shows === "height" || panel.shows === "current" ? "viridis" : "RdBu_r"];
    const [low, high] = panel.limits ?? [0, 1], missing = rgb(css("--missing"));
    this.pixels.width = columns;
    this.pixels.height = rows;
    const context = this.pixels.getContext("2d"), data = context.createImageData(columns, rows), values = panel.values.values;
    for (let r = 0; r < rows; r++) for (let k = 0; k < columns; k++) {
      const v = values[r * columns + k], at = 4 * ((rows - 1 - r) * columns + k);
      const index = 3 * Math.max(0, Math.min(255, Math.floor((256 * (v - low)) / (high - low || 1))));
      for (let j = 0; j < 3; j++) data.data[at + j] = Number.isNaN(v) ? missing[j] : table[index + j];
      data.data[at + 3] = 255;
    }
    context.putImageData(data, 0, 0);
  }

  bar(c, panel, x, y, h) {
    if (!panel.limits) return;
    const table = TABLES[panel.shows === "height" || panel.shows === "current" ? "viridis" : "RdBu_r"], [low, high] = panel.limits;
    if (this.barOf !== table) { // 256 pixels, drawn once
      this.barOf = table;
      Object.assign(this.strip, {width: 1, height: 256});
      const context = this.strip.getContext("2d"), data = context.createImageData(1, 256);
      for (let k = 0; k < 256; k++) data.data.set([table[765 - 3 * k], table[766 - 3 * k], table[767 - 3 * k], 255], 4 * k);
      context.putImageData(data, 0, 0);
    }
    c.drawImage(this.strip, x, y, 14, h);
    c.fillStyle = css("--ink");
    c.textAlign = "left";
    if (high > low) { const along = ticks(low, high, 5); for (const v of along.values) c.fillText(along.text(v), x + 18, y + h - ((v - low) / (high - low)) * h + 4); }
    c.textAlign = "right"; // above the bar, and to the left if it is long
    c.fillText(panel.value.label, x + 78, 14);
  }

  scale(c, panel, x0, y0, w, h, span) {
    const length = (panel.scale_bar / Math.abs(span)) * w, x = x0 + 0.06 * w, y = y0 + h - 0.07 * h;
    const text = `${panel.scale_bar} ${panel.x.unit}`;
    c.textAlign = "left";
    c.font = "bold 15px system-ui, sans-serif";
    c.lineJoin = "round";
    for (const [style, thick] of [["#000000", 6], ["#ffffff", 3]]) {
      c.strokeStyle = style;
      c.lineWidth = thick;
      c.beginPath();
      c.moveTo(x, y);
      c.lineTo(x + length, y);
      c.stroke();
      c.lineWidth = 3;
      if (thick === 6) c.strokeText(text, x, y - 8); else { c.fillStyle = style; c.fillText(text, x, y - 8); }
    }
    c.lineWidth = 1;
  }

  read() {
    const pixel = this.under();
    if (pixel || this.said) write(this.readout, pixel ? this.words(pixel) : "");
    this.said = pixel !== null;
    this.onPixel(pixel);
    point(pixel && this.momentOf(pixel), this.listener);
    this.mark();
  }

  /** {row, column} under the pointer; null outside. */
  under() {
    if (!this.at || !this.panel) return null;
    const {x0, y0, w, h} = this.place, [rows, columns] = this.panel.values.shape;
    const column = Math.floor(((this.at[0] - x0) / w) * columns), row = Math.floor((1 - (this.at[1] - y0) / h) * rows);
    return column < 0 || row < 0 || column >= columns || row >= rows ? null : {row, column};
  }

  centre({row, column}) {
    const [rows, columns] = this.panel.values.shape, [left, right, bottom, top] = this.panel.extent;
    return [left + ((column + 0.5) * (right - left)) / columns, bottom + ((row + 0.5) * (top - bottom)) / rows];
  }

  words({row, column}) {
    const panel = this.panel, v = panel.values.values[row * panel.values.shape[1] + column], [x, y] = this.centre({row, column});
    const said = Number.isNaN(v) ? (panel.shows === "height" ? "not reached" : "no value") : `${v.toPrecision(6)} ${panel.value.unit}`;
    return `${panel.value.quantity} ${said} at ${x.toPrecision(4)} ${panel.x.unit}, ${y.toPrecision(4)} ${panel.y.unit}`;
  }

  /** When a pixel was hopped, or its column was so [s]; null where nobody knows. */
  momentOf({row, column}) {
    if (!this.times) return momentAt(this.panel.x, this.begin, this.centre({row, column})[0]);
    const {values, shape} = this.times, t = values[shape.length === 1 ? column : row * shape[1] + column];
    return Number.isNaN(t) ? null : t;
  }

  /** The pixel that was hopped at `t`, or the column (row is null) that was so then; null for none. */
  pixelAt(t) {
    const [, columns] = this.panel.values.shape, [left, right] = this.panel.extent;
    if (this.times) {
      const k = nearest(this.times.values, t);
      if (k < 0) return null;
      return this.times.shape.length === 1 ? {row: null, column: k} : {row: Math.floor(k / columns), column: k % columns};
    }
    const x = placeOf(this.panel.x, this.begin, t), column = x === null ? -1 : Math.floor(((x - left) / (right - left)) * columns);
    return column < 0 || column >= columns ? null : {row: null, column};
  }

  /** What the cursor points at in any figure. */
  mark() {
    if (!this.panel || !this.frame.isConnected) return;
    const [c] = surface(this.body, this.over, this.tall), {x0, y0, w, h} = this.place, [rows, columns] = this.panel.values.shape;
    const t = pointed(), pixel = t === null ? null : this.pixelAt(t);
    if (!pixel) return;
    const wide = Math.max(w / columns, 5), x = x0 + ((pixel.column + 0.5) * w) / columns - wide / 2;
    const tall = pixel.row === null ? h : Math.max(h / rows, 5), y = pixel.row === null ? y0 : y0 + h - ((pixel.row + 0.5) * h) / rows - tall / 2;
    for (const [style, thick] of [["#000000", 4], ["#ffffff", 2]]) { // seen on any colour
      c.strokeStyle = style;
      c.lineWidth = thick;
      c.strokeRect(x, y, wide, tall);
    }
  }
}

function rgb(hex) { return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)); }
