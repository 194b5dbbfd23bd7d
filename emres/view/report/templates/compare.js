"use strict";
// The same slice of the map and of every result, side by side on one scale.
emres.Compare = class {
  constructor(page, density, results) {
    Object.assign(this, { page, density, results, grey: emres.greyOf(density) });
    [this.axis, this.slider, this.output] = ["axis", "slider", "value"].map((name) => emres.byId(`compare-${name}`));
    const views = [{ name: "map", result: null }, ...results.map((result) => ({ name: result.name, result }))];
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

  paint() {
    const { shape, voxel_size: size, origin } = this.page, axis = Number(this.axis.value), index = Number(this.slider.value);
    const [down, across] = emres.dimsOf(axis);
    this.output.textContent = `${"zyx"[axis]} ${emres.angstrom(origin[axis] + index * size[axis], 1)}`;
    for (const { canvas, result } of this.views) {
      canvas.style.aspectRatio = `${shape[across] * size[across]} / ${shape[down] * size[down]}`;
      emres.paintSlice(canvas, axis, index, this.density, result, shape, result ? "resolution" : "map", this.grey);
    }
  }
};
