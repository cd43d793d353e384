// Panels of curves over a rising x, drawn by uPlot. The y range stays until the curves leave it or shrink to half of it.
import {onMoment, momentAt, placeOf, point, pointed} from "./cursor.js";
import {css, write} from "./theme.js";
import {thinned} from "./thinning.js";
import {steady, widthOf} from "./xy.js";
import uPlot from "./vendor/uPlot.esm.js";

/** One uPlot for each panel of a view, in `body`; `update` draws a new view in them. */
export class Curves {
  constructor(body, height, key) {
    this.body = body;
    this.height = height;
    this.key = key;
    this.plots = [];
    this.captions = [];
    this.shape = "";
    this.begin = null;
    this.listener = (t) => this.mark(t);
    onMoment(this.listener);
    new ResizeObserver(() => this.resize()).observe(body);
  }

  /** `begin` [s] of the run is the zero of an axis of time; null for another axis. */
  update(panels, begin = null) {
    this.begin = begin;
    const shape = JSON.stringify(panels.map((p) => [p.x.label, p.y.label, p.series.map((s) => [s.label, s.role, s.style])]));
    if (shape !== this.shape) this.build(panels, shape);
    this.whole = together(panels);
    panels.forEach((panel, k) => {
      panel.series.forEach((series, j) => { this.plots[k].series[j + 1].width = width(series); });
      this.plots[k].setData(tables(panel, this.width()));
      write(this.captions[k], panel.note ? `${panel.y.label}; ${panel.note}` : panel.y.label);
    });
    if (pointed() !== null) this.mark(pointed());
  }

  /** The cursor at a moment that another figure shows. */
  mark(t) {
    this.plots.forEach((plot, k) => {
      if (plot.over.matches(":hover")) return;
      const x = t === null ? null : placeOf(this.axis, this.begin, t), {min, max} = plot.scales.x;
      const outside = x === null || x < min || x > max;
      plot.setCursor({left: outside ? -10 : plot.valToPos(x, "x"), top: outside ? -10 : plot.over.clientHeight / 2}, false, false);
    });
  }

  listen(plot) {
    plot.over.addEventListener("mousemove", () => point(momentAt(this.axis, this.begin, plot.posToVal(plot.cursor.left, "x")), this.listener));
    plot.over.addEventListener("mouseleave", () => point(null, this.listener));
  }

  /** The colours of another theme. */
  restyle() { this.shape = ""; }

  build(panels, shape) {
    this.plots.forEach((plot) => plot.destroy());
    this.body.replaceChildren();
    this.shape = shape;
    this.axis = panels[0]?.x;
    this.whole = together(panels);
    this.captions = panels.map(() => Object.assign(document.createElement("p"), {className: "caption"}));
    this.plots = panels.map((panel, k) => {
      this.body.append(this.captions[k]);
      const plot = new uPlot(this.options(panel, k === panels.length - 1), tables(panel, this.width()), this.body);
      this.listen(plot);
      return plot;
    });
  }

  options(panel, last) {
    const axis = {stroke: css("--ink"), grid: {stroke: css("--line"), width: 1}, ticks: {stroke: css("--line"), size: 4}, gap: 3, font: "13px system-ui, sans-serif"};
    return {
      width: this.width(), height: this.height + (last ? 24 : 0),
      scales: {x: {time: false, range: (plot, low, high) => this.along(plot, low, high)}, y: {range: rangeOf()}},
      legend: {show: true},
      cursor: {sync: {key: this.key, setSeries: false}, drag: {x: true, y: false}},
      axes: [
        {...axis, label: last ? panel.x.label : undefined, labelSize: 20, size: 24, labelFont: "13px system-ui, sans-serif"},
        {...axis, size: 66, space: 24, values: (_, ticks) => ticks.map((v) => String(+v.toPrecision(6)).replace("-", "−"))},
      ],
      series: [{label: panel.x.label, value: (_, v) => (v == null ? "–" : v.toPrecision(6))}, ...panel.series.map(line)],
    };
  }

  /** Panels above one another show the same range, unless somebody has drawn a narrower one with the pointer. */
  along(plot, low, high) {
    const x = plot.data[0];
    return x.length && low === x[0] && high === x[x.length - 1] ? this.whole : [low ?? 0, high ?? 1];
  }

  width() { return Math.max(200, widthOf(this.body)); }

  resize() {
    this.plots.forEach((plot, k) => plot.setSize({width: this.width(), height: this.height + (k === this.plots.length - 1 ? 24 : 0)}));
  }
}

// Curves of many points are drawn thin: without a graphics card broad ones cost a frame of three a fifth of its time.
const MANY = 2000;
const width = (series) => (series.x.values.length > MANY ? 1 : series.style === "dashed" ? 1.2 : 1.8);

function line(series) {
  const stroke = css(`--role-${series.role}`);
  const dots = series.style === "points" || series.style === "marks";
  return {
    label: series.label, stroke, width: width(series),
    dash: series.style === "dashed" ? [6, 4] : undefined,
    paths: dots ? () => null : undefined,
    points: dots ? {show: true, size: series.style === "marks" ? 8 : 3, fill: stroke, stroke} : {show: false},
    value: (_, v) => (v == null ? "–" : v.toPrecision(6)),
  };
}

const POINTS_PER_PIXEL = 1.5; // a column of the screen shows no more of a curve, and a frame of three costs the browser half

// uPlot wants one x for all: `join` merges theirs; null is a gap, undefined no point of this series.
function tables(panel, width) {
  const each = panel.series.map((series) => thinned(series.x.values, gaps(series.y.values), POINTS_PER_PIXEL * width));
  if (each.length === 0) return [[]];
  if (each.length === 1) return each[0];
  return uPlot.join(each, each.map(() => [1]));
}

function gaps(values) {
  return values.some(Number.isNaN) ? Array.from(values, (v) => (Number.isNaN(v) ? null : v)) : values;
}

/** The range of x of all panels; x of each curve rises. */
function together(panels) {
  let low = Infinity, high = -Infinity;
  for (const panel of panels) for (const {x: {values}} of panel.series) if (values.length) { low = Math.min(low, values[0]); high = Math.max(high, values[values.length - 1]); }
  return low < high ? [low, high] : low === high ? [low - 0.5, high + 0.5] : [0, 1];
}

function rangeOf() {
  const range = steady(0.12);
  let shown = [0, 1];
  return (_, low, high) => (low == null || high == null ? shown : (shown = range(low, high)));
}
