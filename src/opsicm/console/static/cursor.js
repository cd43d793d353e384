// One moment of the run, in seconds, under the cursor of whatever figure the pointer is in: all others show it too.
export const SECONDS = {s: 1, min: 60, h: 3600}; // of a unit of an axis of time

const listeners = new Set();
let moment = null, holder = null;

/** Let `listener(t)` know of every moment that another than itself sets; t is null when there is none. */
export function onMoment(listener) { listeners.add(listener); }

/** The moment from now on, as `source` (its own listener) shows it; only who set it can take it away. */
export function point(t, source) {
  if (t === null && holder !== source) return;
  if (t === moment) return;
  moment = t;
  holder = source;
  for (const listener of listeners) if (listener !== source) listener(t);
}

export const pointed = () => moment;

/** Seconds of the run at `x` on an axis of time; null for another axis. */
export function momentAt(axis, begin, x) {
  return begin === null || begin === undefined || !(axis.unit in SECONDS) ? null : begin + x * SECONDS[axis.unit];
}

/** Where the moment `t` lies on an axis of time; null for another axis. */
export function placeOf(axis, begin, t) {
  return begin === null || begin === undefined || !(axis.unit in SECONDS) ? null : (t - begin) / SECONDS[axis.unit];
}

/** Index of the time nearest to `t`; -1 where that is farther away than two usual steps between the times. */
export function nearest(times, t) {
  let at = -1, best = Infinity, low = Infinity, high = -Infinity, count = 0;
  for (let k = 0; k < times.length; k++) {
    const away = Math.abs(times[k] - t); // NaN is never less
    if (away < best) { best = away; at = k; }
    if (times[k] < low) low = times[k];
    if (times[k] > high) high = times[k];
    if (!Number.isNaN(times[k])) count += 1;
  }
  return best <= Math.max((2 * (high - low)) / Math.max(count - 1, 1), 1e-9) ? at : -1;
}
