"use strict";
// The same slice of the map and of every result, side by side on one scale: the page's, or where that is of one result
// alone the one of all.
emres.Compare = class {
  constructor(page, density, results) {
    Object.assign(this, { page, density, results, grey: emres.greyOf(density) });
    [this.axis, this.slider, this.output] = ["axis", "slider", "value"].map((name) => emres.byId(`compare-${name}`));
    // As the field shows them: what is computed from one map, from two, what is learnt.
    const rank = ({ method }) => ["monores", "resmap", "fsc", "file", "net"].findIndex((name) => method.startsWith(name));
    const sorted = [...results].sort((a, b) => rank(a) - rank(b));
    const views = [{ name: "map", result: null }, ...sorted.map((result) => ({ name: result.name, result }))];
    this.views = views.map((view) => ({ ...view, canvas: this.figure(view) }));
    this.axis.addEventListener("change", () => (this.middle(), this.paint()));
    this.slider.addEventListener("input", () => this.paint());
    this.middle();
  }

  figure({ name, result }) {
    const canvas = emres.make("canvas", { role: "img", "aria-label": `Slice of ${name}` });
    const told = !result ? "density" : result.median === null ? "no value" : `median ${emres.angstrom(result.median)}`;
    const caption = emres.make("figcaption", {}, name, emres.make("span", {}, told));
    emres.byId("compare").append(emres.make("figure", {}, canvas, caption));
    return canvas;
  }

  middle() {
    const n = this.page.shape[Number(this.axis.value)];
    this.slider.max = n - 1;
    this.slider.value = Math.floor(n / 2);
  }

  scale() {
    const [low, high] = emres.byId("span").value === "this" ? this.page.limits : [emres.scale.low, emres.scale.high];
    return { palette: emres.scale.palette, low, high };
  }

  paintKey({ palette, low, high }) {
    emres.paintKey(emres.byId("compare-key"), palette);
    emres.byId("compare-low").textContent = emres.angstrom(low);
    emres.byId("compare-high").textContent = emres.angstrom(high);
  }

  paint() {
    const scale = this.scale();
    this.paintKey(scale);
    const { shape, voxel_size: size, origin } = this.page, axis = Number(this.axis.value), index = Number(this.slider.value);
    const [down, across] = emres.dimsOf(axis);
    this.output.textContent = `${"zyx"[axis]} ${emres.angstrom(origin[axis] + index * size[axis], 1)}`;
    for (const { canvas, result } of this.views) {
      canvas.style.aspectRatio = `${shape[across] * size[across]} / ${shape[down] * size[down]}`;
      emres.paintSlice(canvas, axis, index, this.density, result, shape, result ? "resolution" : "map", this.grey, scale);
    }
  }
};
