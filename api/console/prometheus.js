// SPDX-License-Identifier: MIT
// prometheus - reads the text format 0.0.4 of /actuator/prometheus.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

function number(text) {
  if (text === "+Inf") return Infinity;
  return text === "-Inf" ? -Infinity : Number(text);
}

function labels(text = "") {
  const result = {};
  for (const [, name, value] of text.matchAll(LABEL))
    result[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
  return result;
}

// name -> [{labels, value}], with the questions that panels ask.
export class Scrape {
  constructor(text) {
    this.families = new Map();
    for (const line of text.split("\n")) {
      const match = line[0] === "#" ? null : LINE.exec(line);
      if (!match) continue;
      const sample = { labels: labels(match[2]), value: number(match[3]) };
      const family = this.families.get(match[1]);
      if (family) family.push(sample);
      else this.families.set(match[1], [sample]);
    }
  }

  all(name, where = () => true) {
    return (this.families.get(name) ?? []).filter((s) => where(s.labels));
  }

  // NaN when there is no such sample: "not known" is not 0.
  sum(name, where) {
    const samples = this.all(name, where);
    return samples.length ? samples.reduce((sum, s) => sum + s.value, 0) : NaN;
  }

  // Cumulative buckets of all matching series together: [[le, count] ...].
  buckets(name, where) {
    const counts = new Map();
    for (const { labels: l, value } of this.all(`${name}_bucket`, where)) {
      const le = number(l.le);
      counts.set(le, (counts.get(le) ?? 0) + value);
    }
    return [...counts].sort((a, b) => a[0] - b[0]);
  }
}
