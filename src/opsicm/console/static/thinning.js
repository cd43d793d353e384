// Of a curve with more points than the screen has columns, those that are seen: the lowest and the highest of each column.

/** [x, y] of at most `most` points, x rising; NaN and null in y stay gaps. Every point is one of the curve's own. */
export function thinned(x, y, most) {
  const n = x.length, columns = Math.max(1, Math.floor(most / 3));
  if (n <= 3 * columns) return [x, y];
  const xs = [], ys = [];
  for (let column = 0; column < columns; column++) {
    const first = Math.floor((column * n) / columns), stop = Math.floor(((column + 1) * n) / columns);
    let low = -1, high = -1, gap = -1;
    for (let k = first; k < stop; k++) {
      const v = y[k];
      if (v === null || Number.isNaN(v)) { gap = k; continue; }
      if (low < 0 || v < y[low]) low = k;
      if (high < 0 || v > y[high]) high = k;
    }
    for (const k of [...new Set([low, high, gap])].filter((one) => one >= 0).sort((a, b) => a - b)) { xs.push(x[k]); ys.push(y[k]); }
  }
  return [xs, ys];
}
