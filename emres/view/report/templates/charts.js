"use strict";
// Plots as SVG, drawn anew when their place changes its width.
{
  const EDGE = { left: 52, right: 14, top: 14, bottom: 40 };

  /** Round numbers between two, about `wanted` of them. */
  emres.ticks = (low, high, wanted = 6) => {
    const raw = (high - low) / wanted, decade = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * decade).find((k) => k >= raw), found = [];
    for (let value = Math.ceil(low / step) * step; value <= high + 1e-9 * step; value += step) found.push(value);
    return found.map((value) => Number(value.toPrecision(10)));
  };

  /** A frame with axes; `x` and `y` turn values into places. */
  class Chart {
    constructor(width, height, [xLow, xHigh], [yLow, yHigh], label) {
      this.width = width;
      this.height = height;
      this.svg = emres.make("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
      this.x = (value) => EDGE.left + ((value - xLow) / (xHigh - xLow)) * (width - EDGE.left - EDGE.right);
      this.y = (value) => height - EDGE.bottom - ((value - yLow) / (yHigh - yLow)) * (height - EDGE.top - EDGE.bottom);
      this.ends = { xLow, xHigh, yLow, yHigh };
    }
    add(name, attributes, ...children) {
      const made = emres.make(`svg:${name}`, attributes, ...children);
      this.svg.append(made);
      return made;
    }
    line(x1, y1, x2, y2, kind) {
      return this.add("line", { x1: this.x(x1), y1: this.y(y1), x2: this.x(x2), y2: this.y(y2), class: kind });
    }
    text(x, y, words, attributes = {}) {
      return this.add("text", { x, y, ...attributes }, words);
    }
    curve(xs, ys, kind) {
      const points = xs.map((x, k) => `${this.x(x).toFixed(1)} ${this.y(ys[k]).toFixed(1)}`);
      return this.add("path", { d: `M${points.join("L")}`, class: kind });
    }
    /** Draw both axes: ticks as [value, words]. */
    axes(xTicks, yTicks, xLabel, yLabel) {
      const { xLow, xHigh, yLow } = this.ends, base = this.height - EDGE.bottom;
      for (const [value, words] of yTicks) {
        this.line(xLow, value, xHigh, value, "axis");
        this.text(EDGE.left - 8, this.y(value) + 4, words, { "text-anchor": "end" });
      }
      this.line(xLow, yLow, xHigh, yLow, "axis");
      for (const [value, words] of xTicks) this.text(this.x(value), base + 17, words, { "text-anchor": "middle" });
      this.text((EDGE.left + this.width - EDGE.right) / 2, this.height - 4, xLabel, { "text-anchor": "middle" });
      const middle = (EDGE.top + base) / 2;
      this.text(12, middle, yLabel, { "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` });
    }
  }

  /** Keep a plot as wide as its place; returns a function that draws it anew. */
  emres.keepDrawn = (host, draw) => {
    let last = 0;
    const again = () => host.clientWidth && host.replaceChildren(draw(Math.min(host.clientWidth, 640)).svg);
    new ResizeObserver(() => host.clientWidth !== last && ((last = host.clientWidth), again())).observe(host);
    return again;
  };

  const plain = (value) => [value, String(value)];

  /** The histogram of a result with its median and the reported resolution. */
  emres.histogram = (width, page, result) => {
    const { reported } = page, { edges } = result, total = result.voxels || 1, shares = result.counts.map((n) => (100 * n) / total);
    const top = Math.max(...shares, 1e-9) * 1.22;
    const near = reported && reported > edges[0] - 0.5 * (edges.at(-1) - edges[0]) && reported < edges.at(-1) + 0.5 * (edges.at(-1) - edges[0]);
    const ends = [Math.min(edges[0], near ? reported : Infinity), Math.max(edges.at(-1), near ? reported : -Infinity)];
    if (near && reported === ends[0]) ends[0] -= 0.03 * (ends[1] - ends[0]);
    if (near && reported === ends[1]) ends[1] += 0.03 * (ends[1] - ends[0]);
    const median = result.median === null ? "no value" : `median ${emres.angstrom(result.median)}`;
    const chart = new Chart(width, 280, ends, [0, top], `Histogram of ${result.name}: ${median}`);
    chart.axes(emres.ticks(...ends).map(plain), emres.ticks(0, top, 4).map(plain), "local resolution (Å)", "% of the mask");
    shares.forEach((share, k) => {
      if (!share) return;
      const x = chart.x(edges[k]), y = chart.y(share), wide = Math.max(chart.x(edges[k + 1]) - x - 0.6, 0.8);
      const words = `${edges[k]} to ${edges[k + 1]} Å: ${share.toFixed(1)} %`;
      chart.add("rect", { x, y, width: wide, height: chart.y(0) - y, fill: emres.css((edges[k] + edges[k + 1]) / 2) },
        emres.make("svg:title", {}, words));
    });
    const marks = [];
    if (result.median !== null) marks.push([result.median, median, "mark"]);
    if (reported) marks.push([reported, `reported ${emres.angstrom(reported)}`, "mark dashed"]);
    const within = ([value]) => value >= ends[0] && value <= ends[1];
    const leftward = marks.some((mark) => within(mark) && chart.x(mark[0]) > 0.65 * width);
    // Words run to the open side, and a line ends below the words that pass over it.
    const inOrder = marks.filter(within).sort(([a], [b]) => (leftward ? b - a : a - b));
    [...inOrder, ...marks.filter((mark) => !within(mark))].forEach(([value, words, kind], row) => {
      const inside = within([value]), left = leftward && chart.x(value) > EDGE.left + 120;
      if (inside) chart.line(value, 0, value, top * (0.99 - 0.075 * row), kind);
      const x = inside ? chart.x(value) + (left ? -6 : 6) : width - EDGE.right;
      const anchor = inside && !left ? "start" : "end";
      chart.text(x, EDGE.top + 8 + 17 * row, inside ? words : `${words}, off this scale`, { class: "strong", "text-anchor": anchor });
    });
    return chart;
  };

  /** FSC curves with the threshold and where it is crossed. */
  emres.fscPlot = (width, fsc) => {
    const last = fsc.frequency.at(-1), chart = new Chart(width, 280, [0, last], [-0.1, 1.05], "Fourier shell correlation");
    const xTicks = emres.ticks(0, last, 6).map((value) => [value, value ? (1 / value).toFixed(1) : "∞"]);
    chart.axes(xTicks, [0, 0.143, 0.5, 1].map(plain), "resolution (Å)", "FSC");
    const words = { unmasked: "unmasked", masked: "masked", randomised: "phases randomised", corrected: "corrected" };
    const names = Object.keys(words).filter((name) => name in fsc.curves);
    names.forEach((name, row) => {
      chart.curve(fsc.frequency, fsc.curves[name], `curve ${name}`);
      const y = EDGE.top + 12 + 17 * row, x = width - EDGE.right - 150;
      chart.add("line", { x1: x, x2: x + 20, y1: y - 4, y2: y - 4, class: `curve ${name}` });
      chart.text(x + 27, y, words[name], { class: "strong" });
    });
    Object.entries(fsc.resolution[fsc.best]).forEach(([threshold, resolution]) => {
      const at = 1 / resolution, level = Number(threshold);
      if (at > last) return;
      chart.line(at, -0.1, at, level, "mark dashed");
      const right = chart.x(at) > width - 80;
      chart.text(chart.x(at) + (right ? -7 : 7), chart.y(level) - 7, emres.angstrom(resolution), {
        class: "strong", "text-anchor": right ? "end" : "start",
      });
    });
    return chart;
  };

  /** One result against another, at the same voxels. */
  emres.scatter = (width, page, first, second) => {
    const [a, b] = [page.points[first], page.points[second]], both = [first, second].map((k) => page.results[k].edges);
    const ends = [Math.min(...both.map((edges) => edges[0])), Math.max(...both.map((edges) => edges.at(-1)))];
    const names = [first, second].map((k) => page.results[k].name);
    const chart = new Chart(width, Math.min(width, 420), ends, ends, `${names[1]} against ${names[0]}`);
    const ticks = emres.ticks(...ends).map(plain);
    chart.axes(ticks, ticks, `A: ${names[0]} (Å)`, `B: ${names[1]} (Å)`);
    chart.line(ends[0], ends[0], ends[1], ends[1], "faint");
    const within = (value) => value !== null && value >= ends[0] && value <= ends[1];
    const points = chart.add("g", { class: "points" });
    a.forEach((value, k) => {
      if (!within(value) || !within(b[k])) return;
      points.append(emres.make("svg:circle", { cx: chart.x(value).toFixed(1), cy: chart.y(b[k]).toFixed(1), r: 1.8 }));
    });
    return chart;
  };
}
