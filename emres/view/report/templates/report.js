"use strict";
// The page of one entry: its controls, and what each of them moves.
{
  const page = emres.json("report"), { byId, scale } = emres;
  const state = { result: null, vertices: null };

  const fail = (error) => {
    const place = byId("failed");
    place.hidden = false;
    place.textContent += ` ${error.message}`;
  };

  // --- surface -------------------------------------------------------------------------------------------------------
  const toCode = (level) => ((level - page.density.low) / (page.density.high - page.density.low)) * 255;

  const QUICK = 2.5e6; // voxels that the surface is first found on; more detail takes a wish and a good graphics card

  /** The density that the surface is found on: as it is, or the means of cubes of `factor` voxels along an edge. */
  const sampling = (density, detailed) => {
    let factor = 1;
    while (!detailed && density.length / factor ** 3 > QUICK) factor++;
    if (factor === 1) return { codes: density, shape: page.shape, factor };
    const shape = page.shape.map((n) => Math.floor(n / factor));
    return { codes: emres.averaged(density, page.shape, shape, factor), shape, factor };
  };

  const meshAt = ({ codes, shape, factor }, level) => {
    const { vertices, faces } = emres.surfaceNets(codes, shape, toCode(level)), position = new Float32Array(vertices.length);
    if (factor > 1) for (let v = 0; v < vertices.length; v++) vertices[v] = (vertices[v] + 0.5) * factor - 0.5;
    const [dz, dy, dx] = page.voxel_size;
    const zyx = Float32Array.from(vertices, (value, k) => (value + 0.5) * [dz, dy, dx][k % 3]);
    const normal = emres.normals(zyx, faces);
    const reversed = (values, to) => {
      for (let v = 0; v < values.length; v += 3) {
        const first = values[v];
        (to[v] = values[v + 2]), (to[v + 1] = values[v + 1]), (to[v + 2] = first);
      }
      return to;
    };
    state.vertices = vertices;
    return { position: reversed(zyx, position), normal: reversed(normal, normal), faces };
  };

  const colours = () =>
    state.result ? emres.sampled(state.result, page.shape, state.vertices) : new Float32Array((2 * state.vertices.length) / 3);

  const startSurface = (density) => {
    const view = new emres.SurfaceView(byId("surface")), slider = byId("contour");
    const { low, high } = page.density;
    slider.min = Math.max(low, page.contour - 0.85 * (page.contour - Math.min(low, 0)));
    slider.max = Math.min(high, page.contour + 0.75 * (high - page.contour));
    slider.step = (slider.max - slider.min) / 200 || "any";
    const build = () => {
      const level = state.level, author = page.authors_level && level === page.contour ? ", the author’s" : "";
      byId("contour-value").textContent = `${level.toPrecision(3)}${author}`;
      view.show({ ...meshAt(sampled, level), resolution: colours() });
    };
    const detail = byId("detail");
    let sampled = sampling(density, false);
    detail.hidden = sampled.factor === 1;
    detail.addEventListener("click", () => {
      const wanted = detail.getAttribute("aria-pressed") !== "true";
      detail.setAttribute("aria-pressed", String(wanted));
      sampled = sampling(density, wanted);
      build();
    });
    let waiting = 0;
    const move = (level) => {
      state.level = level;
      waiting ||= requestAnimationFrame(() => ((waiting = 0), build()));
    };
    slider.addEventListener("input", () => move(Number(slider.value)));
    const reset = () => ((slider.value = page.contour), (state.level = page.contour));
    byId("reset-contour").addEventListener("click", () => (reset(), build()));
    byId("reset-view").addEventListener("click", () => view.reset());
    emres.on("scale", () => view.colour());
    emres.on("result", () => view.recolour(colours()));
    reset();
    build();
    return view;
  };

  // --- scale ---------------------------------------------------------------------------------------------------------
  const paintKey = () => {
    emres.paintKey(byId("key"), scale.palette);
    byId("gray").style.background = `rgb(${scale.palette.gray.join(" ")})`;
  };

  const setScale = (low, high) => {
    const valid = Number.isFinite(low) && Number.isFinite(high) && high > low && low >= 0;
    for (const id of ["low", "high"]) byId(id).setAttribute("aria-invalid", String(!valid));
    if (!valid) return;
    Object.assign(scale, { low, high });
    emres.tell("scale");
  };

  const startScale = () => {
    const select = byId("palette"), span = byId("span"), [low, high] = ["low", "high"].map(byId);
    emres.palettes.forEach(({ name }) => select.append(emres.make("option", {}, name)));
    const kept = emres.palettes.find(({ name }) => name === emres.remember("palette"));
    if (kept) (scale.palette = kept), (select.value = kept.name);
    const follow = () => {
      if (span.value === "own") return;
      const limits = span.value === "all" ? page.limits : state.result.limits;
      [low.value, high.value] = limits.map((value) => value.toFixed(2));
      setScale(...limits);
    };
    select.addEventListener("change", () => {
      scale.palette = emres.palettes[select.selectedIndex];
      emres.remember("palette", scale.palette.name);
      emres.tell("scale");
    });
    for (const input of [low, high]) {
      input.addEventListener("input", () => ((span.value = "own"), setScale(Number(low.value), Number(high.value))));
    }
    span.addEventListener("change", follow);
    emres.on("result", follow);
    emres.on("scale", paintKey);
    follow();
  };

  // --- all of it -----------------------------------------------------------------------------------------------------
  const startSlices = (density) => {
    const slices = new emres.Slices(byId("slices"), byId("readout"), page, density);
    slices.result = state.result;
    slices.what = state.result ? "overlay" : "map";
    for (const input of document.querySelectorAll("[name=mode]")) {
      if (input.checked) slices.what = input.value;
      input.addEventListener("change", () => ((slices.what = input.value), slices.paint()));
    }
    for (const event of ["scale", "theme"]) emres.on(event, () => slices.paint());
    emres.on("result", () => ((slices.result = state.result), slices.paint()));
    slices.paint();
    return slices;
  };

  const startCharts = () => {
    if (page.fsc) emres.keepDrawn(byId("fsc"), (width) => emres.fscPlot(width, page.fsc));
    if (!page.results.length) return;
    const again = emres.keepDrawn(byId("histogram"), (width) => emres.histogram(width, page, state.result));
    for (const event of ["scale", "result"]) emres.on(event, again);
  };

  const startCompare = (density) => {
    if (page.results.length < 2) return;
    const compare = new emres.Compare(page, density, page.results);
    for (const event of ["scale", "theme"]) emres.on(event, () => compare.paint());
    compare.paint();
    const selects = ["a", "b"].map((name) => byId(`scatter-${name}`));
    if (!selects[0]) return;
    // The newest against what two half maps say, if they say something.
    const second = page.results.findIndex(({ method }, n) => n && method === "fsc");
    selects.forEach((select, k) => {
      page.results.forEach(({ name }, n) => select.append(emres.make("option", { value: n }, name)));
      select.value = k && Math.max(second, 1);
    });
    const again = emres.keepDrawn(byId("scatter"), (width) =>
      emres.scatter(width, page, ...selects.map((select) => Number(select.value))));
    selects.forEach((select) => select.addEventListener("change", again));
  };

  const start = async () => {
    const volumes = await emres.unpack(byId("volumes").textContent.trim(), 1 + page.results.length, page.shape);
    byId("volumes").remove(); // its text is not needed twice
    page.results.forEach((result, k) => (result.codes = volumes[k + 1]));
    const density = volumes[0], select = byId("result");
    state.result = page.results[select ? Number(select.value) : 0] ?? null;
    select?.addEventListener("change", () => ((state.result = page.results[Number(select.value)]), emres.tell("result")));
    if (state.result) startScale();
    emres.slices = startSlices(density);
    startCharts();
    startCompare(density);
    try {
      emres.view = startSurface(density);
    } catch (error) {
      fail(error);
    }
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    emres.seconds = performance.now() / 1000; // since the page began to load
  };

  emres.state = state;
  emres.page = page;
  emres.ready = start().then(() => (document.documentElement.dataset.ready = "yes"), (error) => {
    fail(error);
    document.documentElement.dataset.ready = "failed";
  });
}
