"use strict";
// Three orthogonal slices on one scale of length: density, local resolution, or both.
{
  const AXES = ["z", "y", "x"];
  const INK = 0.62, PALE = 0.42; // how strongly the density is drawn outside and inside the mask

  /** The dimensions of the slice across an axis: (down, across). */
  emres.dimsOf = (axis) => [0, 1, 2].filter((k) => k !== axis);

  /**
   * Paint one slice on a canvas of a pixel a voxel, its first row at the bottom. `what` is map, resolution or overlay;
   * `grey` the codes of density from blank to full ink.
   */
  emres.paintSlice = (canvas, axis, index, density, result, shape, what, grey, scale = emres.scale) => {
    const [down, across] = emres.dimsOf(axis), rows = shape[down], columns = shape[across];
    const strides = [shape[1] * shape[2], shape[2], 1], ground = emres.isDark() ? [24, 28, 32] : [255, 255, 255];
    const ink = emres.isDark() ? [240, 242, 244] : [20, 24, 28];
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d"), image = context.createImageData(columns, rows), pixels = image.data;
    const colours = result ? coloursOf(result, scale) : null;
    for (let row = 0; row < rows; row++) {
      let from = index * strides[axis] + row * strides[down], to = 4 * (rows - 1 - row) * columns;
      for (let column = 0; column < columns; column++, from += strides[across], to += 4) {
        const code = colours && what !== "map" ? result.codes[from] : 0;
        const shade = what === "resolution" ? 0 : Math.min(Math.max((density[from] - grey[0]) / (grey[1] - grey[0]), 0), 1);
        for (let c = 0; c < 3; c++) {
          const blank = ground[c];
          if (code) {
            const full = colours[3 * code + c], paper = what === "overlay" ? PALE * (1 - shade) : 0;
            pixels[to + c] = full + (blank - full) * paper;
          } else pixels[to + c] = blank + (ink[c] - blank) * shade * (result && what === "overlay" ? INK : 1);
        }
        pixels[to + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  };

  const coloursOf = (result, scale) => {
    const colours = new Uint8Array(3 * 256);
    for (let code = 1; code < 256; code++) colours.set(emres.colour(emres.valueOf(result, code), scale), 3 * code);
    return colours;
  };

  /** Codes of density from blank to full ink: the middle of the noise, and nearly the highest. */
  emres.greyOf = (density) => {
    const counts = new Uint32Array(256);
    for (let k = 0; k < density.length; k += 7) counts[density[k]]++;
    const total = counts.reduce((sum, n) => sum + n, 0);
    const at = (share) => {
      let seen = 0, code = 0;
      while (code < 255 && (seen += counts[code]) < share * total) code++;
      return code;
    };
    const [low, high] = [at(0.02), at(0.998)];
    return high > low ? [low, high] : [low, low + 1];
  };

  /** A round length in Å, about a quarter of the longest. */
  const barOf = (longest) => {
    const decade = 10 ** Math.floor(Math.log10(longest / 4));
    return [5, 2, 1].map((step) => step * decade).find((length) => length <= longest / 4);
  };

  emres.Slices = class {
    constructor(host, readout, page, density) {
      Object.assign(this, { page, density, readout, grey: emres.greyOf(density) });
      this.at = page.shape.map((n) => Math.floor(n / 2));
      this.what = "overlay";
      this.result = null;
      this.views = AXES.map((name, axis) => this.view(host, name, axis));
      const lengths = page.shape.map((n, k) => n * page.voxel_size[k]);
      const bar = barOf(Math.max(...lengths.slice(1))), drawn = emres.make("div", { class: "bar" }, `${bar} Å`);
      drawn.style.width = `${(100 * bar) / lengths[2]}%`;
      this.views[0].picture.append(drawn);
      // A long molecule must not run off the screen: narrower slices are lower ones.
      const widths = this.views.reduce((sum, { wide }) => sum + wide, 0);
      host.style.maxWidth = `${Math.max(38 * (widths / Math.max(lengths[0], lengths[1])), 24)}rem`;
    }

    view(host, name, axis) {
      const { shape, voxel_size: size } = this.page, [down, across] = emres.dimsOf(axis);
      const canvas = emres.make("canvas", { role: "img", "aria-label": `Slice across ${name}` });
      canvas.style.aspectRatio = `${shape[across] * size[across]} / ${shape[down] * size[down]}`;
      const lines = ["across", "down"].map((way) => emres.make("div", { class: `line ${way}` }));
      const picture = emres.make("div", { class: "picture" }, canvas, ...lines);
      const slider = emres.make("input", { type: "range", min: 0, max: shape[axis] - 1, step: 1, id: `slice-${name}` });
      const output = emres.make("output", { for: slider.id });
      const caption = emres.make("figcaption", {}, emres.make("label", { for: slider.id }, name), slider, output);
      const figure = emres.make("figure", {}, picture, caption);
      // One scale of length for all three; a thin one still gets room for its slider.
      const wide = Math.max(shape[across] * size[across], 0.3 * shape[2] * size[2]);
      figure.style.flex = `${wide} 1 0`;
      slider.value = this.at[axis];
      slider.addEventListener("input", () => this.move(axis, Number(slider.value)));
      canvas.addEventListener("pointermove", (event) => this.read(axis, canvas, event));
      canvas.addEventListener("click", (event) => {
        const [row, column] = this.under(axis, canvas, event);
        this.move(down, row);
        this.move(across, column);
      });
      host.append(figure);
      return { canvas, slider, output, lines, picture, wide };
    }

    /** The voxel (down, across) under the pointer. */
    under(axis, canvas, event) {
      const box = canvas.getBoundingClientRect(), [down, across] = emres.dimsOf(axis), shape = this.page.shape;
      const row = Math.floor((1 - (event.clientY - box.top) / box.height) * shape[down]);
      const column = Math.floor(((event.clientX - box.left) / box.width) * shape[across]);
      return [Math.min(Math.max(row, 0), shape[down] - 1), Math.min(Math.max(column, 0), shape[across] - 1)];
    }

    read(axis, canvas, event) {
      const { shape, voxel_size: size, origin } = this.page, [down, across] = emres.dimsOf(axis), place = [...this.at];
      [place[down], place[across]] = this.under(axis, canvas, event);
      const index = (place[0] * shape[1] + place[1]) * shape[2] + place[2];
      const angstroms = [2, 1, 0].map((k) => `${AXES[k]} ${(origin[k] + place[k] * size[k]).toFixed(1)}`).join(", ");
      const { low, high } = this.page.density, density = low + (this.density[index] * (high - low)) / 255;
      this.readout.textContent = `${angstroms} Å: density ${density.toPrecision(3)}${this.told(index)}`;
    }

    told(index) {
      if (!this.result) return "";
      const value = emres.valueOf(this.result, this.result.codes[index]);
      if (value === 0) return ", outside the mask";
      return Number.isNaN(value) ? ", resolution not determined" : `, local resolution ${emres.angstrom(value, 1)}`;
    }

    move(axis, index) {
      this.at[axis] = index;
      this.paint(axis);
    }

    /** Paint one slice anew, or all three. */
    paint(only = null) {
      const { shape, voxel_size: size, origin } = this.page;
      this.views.forEach(({ canvas, slider, output, lines }, axis) => {
        const [down, across] = emres.dimsOf(axis), place = origin[axis] + this.at[axis] * size[axis];
        lines[0].style.top = `${100 * (1 - (this.at[down] + 0.5) / shape[down])}%`;
        lines[1].style.left = `${(100 * (this.at[across] + 0.5)) / shape[across]}%`;
        if (only !== null && only !== axis) return;
        slider.value = this.at[axis];
        output.textContent = emres.angstrom(place, 1);
        slider.setAttribute("aria-valuetext", `${AXES[axis]} ${emres.angstrom(place, 1)}`);
        emres.paintSlice(canvas, axis, this.at[axis], this.density, this.result, shape, this.what, this.grey);
      });
    }
  };
}
