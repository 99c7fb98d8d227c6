// SPDX-License-Identifier: MIT
// chart - a line chart of the last minutes; colours come from style.css.

/* global uPlot */
import { clock } from "./format.js";

const SECONDS = 300;
const HEIGHT = 118;

// A colour as the theme in force has it; a canvas knows no variables.
function css(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

// "rgb(1, 2, 3)" -> "rgba(1, 2, 3, .13)"
const faint = (color) => color.replace("rgb(", "rgba(").replace(")", ", .13)");

// A dashed line at a threshold, when it is within the picture.
function limitLine(limit) {
  return (plot) => {
    if (limit === undefined || limit > plot.scales.y.max) return;
    const y = plot.valToPos(limit, "y", true);
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = css("--warning");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  };
}

function line({ color, scale = "y", dash, fill }) {
  return {
    scale, dash, stroke: css(color), width: 1.6, points: { show: false },
    fill: fill ? faint(css(color)) : undefined,
  };
}

// lines: [{name, color, scale?, dash?, fill?}]; format: a value of the y axis.
export class Chart {
  constructor(element, { lines, format, limit, floor = 1, right }) {
    Object.assign(this, { element, lines, format, limit, floor, right });
    this.onPoint = () => {};
    new ResizeObserver(() => this.resize()).observe(element);
  }

  options() {
    const axis = { stroke: css("--muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: css("--grid"), width: 1 };
    const range = (floor) => (_, __, max) => [0, Math.max(floor, max ?? 0) * 1.08];
    const y = {
      ...axis, grid, size: 54, space: 26, scale: "y",
      values: (_, ticks) => ticks.map(this.format),
    };
    const axes = [{ ...axis, grid: { show: false }, size: 22, space: 70,
      values: (_, ticks) => ticks.map((s) => clock(new Date(s * 1000)).slice(0, 5)) }, y];
    if (this.right)
      axes.push({ ...y, scale: "right", side: 1, grid: { show: false },
        incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((n) => n * this.right.unit),
        values: (_, ticks) => ticks.map(this.right.format) });
    return {
      width: this.element.clientWidth, height: HEIGHT, axes,
      padding: [6, this.right ? 0 : 16, 0, 0], // half of a label of the time
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 } },
      scales: {
        x: { range: (_, __, max) => [max - SECONDS, max] },
        y: { range: range(this.floor) },
        ...(this.right && { right: { range: range(this.right.floor) } }),
      },
      series: [{}, ...this.lines.map(line)],
      hooks: {
        draw: [limitLine(this.limit)],
        setCursor: [(plot) => this.onPoint(plot.cursor.idx)],
      },
    };
  }

  draw(data) {
    this.data = data;
    if (this.element.clientWidth === 0) return;
    if (this.plot) this.plot.setData(data);
    else this.plot = new uPlot(this.options(), data, this.element);
  }

  // With the colours of the theme and the words of the language as they are.
  restyle() {
    this.plot?.destroy();
    this.plot = null;
    if (this.data) this.draw(this.data);
  }

  resize() {
    if (this.plot) this.plot.setSize({ width: this.element.clientWidth, height: HEIGHT });
    else if (this.data) this.draw(this.data);
  }
}
