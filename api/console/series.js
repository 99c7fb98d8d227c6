// SPDX-License-Identifier: MIT
// series - what counters did between two scrapes, and the past of each figure.

// As Prometheus: a counter that fell began again at 0.
export const increase = (before, after) => (after < before ? after : after - before);

// The quantile of what fell into cumulative buckets between two scrapes, by
// linear interpolation as histogram_quantile(); NaN when nothing did.
export function quantile(q, before, after) {
  const reset = before.length !== after.length ||
    (after.at(-1)?.[1] ?? 0) < (before.at(-1)?.[1] ?? 0);
  const counts = after.map(([le, count], i) => [le, reset ? count : count - before[i][1]]);
  const total = counts.at(-1)?.[1] ?? 0;
  if (!(total > 0)) return NaN;
  const rank = q * total;
  const i = counts.findIndex(([, count]) => count >= rank);
  const [below, belowCount] = i > 0 ? counts[i - 1] : [0, 0];
  const [le, count] = counts[i];
  if (le === Infinity) return below;
  return below + ((le - below) * (rank - belowCount)) / (count - belowCount);
}

// The last `size` values of some named figures, oldest first, with their time.
export class History {
  constructor(size) {
    this.size = size;
    this.times = [];
    this.values = new Map();
  }

  // A figure that is not there, or not known, is a gap.
  push(time, figures) {
    for (const name of Object.keys(figures)) {
      if (!this.values.has(name)) this.values.set(name, this.times.map(() => null));
    }
    this.times.push(time);
    for (const [name, values] of this.values) {
      const value = figures[name];
      values.push(Number.isFinite(value) ? value : null);
      if (values.length > this.size) values.shift();
    }
    if (this.times.length > this.size) this.times.shift();
  }

  of(names) {
    return [this.times, ...names.map((name) => this.values.get(name) ?? this.times.map(() => null))];
  }
}

// The scrapes of the last `seconds`: rates are taken over that long.
export class Window {
  constructor(seconds) {
    this.seconds = seconds;
    this.scrapes = [];
  }

  push(time, scrape) {
    this.scrapes.push({ time, scrape });
    while (this.scrapes.length > 2 && this.scrapes[1].time <= time - this.seconds)
      this.scrapes.shift();
  }

  clear() {
    this.scrapes = [];
  }

  get before() { return this.scrapes[0]; }
  get now() { return this.scrapes.at(-1); }

  // Per second; NaN until there are two scrapes.
  rate(name, where) {
    const { before, now } = this;
    if (!now || now === before) return NaN;
    return increase(before.scrape.sum(name, where), now.scrape.sum(name, where)) /
      (now.time - before.time);
  }

  quantile(q, name, where) {
    const { before, now } = this;
    if (!now || now === before) return NaN;
    return quantile(q, before.scrape.buckets(name, where), now.scrape.buckets(name, where));
  }
}
