"use strict";
// The coloured surface on a WebGL 2 canvas: turned by pointer and arrow keys, zoomed by wheel, pinch and + -.
{
  const VERTEX = `#version 300 es
    in vec3 position, normal; in vec2 resolution;   // Å and 1, or 0 and 0 where not determined
    uniform mat3 turn; uniform vec3 middle; uniform vec2 zoom; uniform float depth;
    out vec3 facing; out vec2 value;
    void main() {
      vec3 p = turn * (position - middle);
      float away = 1.0 - p.z * depth;              // a mild perspective
      gl_Position = vec4(p.xy * zoom, -p.z * depth * 0.5 * away, away);
      facing = turn * normal; value = resolution;
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 facing; in vec2 value; out vec4 colour;
    uniform sampler2D palette; uniform vec2 limits; uniform vec3 gray;
    void main() {
      // Between a known and an unknown vertex only the known one counts: no colour of a value that is nowhere.
      float place = (value.x / max(value.y, 1e-3) - limits.x) / (limits.y - limits.x);
      bool known = value.y > 0.5 && place <= 2.0;
      vec3 base = known ? texture(palette, vec2(clamp(place, 0.0, 1.0) * 255.0 / 256.0 + 0.5 / 256.0, 0.5)).rgb : gray;
      vec3 n = normalize(gl_FrontFacing ? facing : -facing);
      float key = max(dot(n, normalize(vec3(-0.35, 0.5, 0.8))), 0.0), fill = 0.5 + 0.5 * n.y;
      float shine = pow(max(dot(n, normalize(vec3(-0.2, 0.3, 1.0))), 0.0), 40.0);
      colour = vec4(base * (0.36 + 0.12 * fill + 0.6 * key) + 0.07 * shine, 1.0);
    }`;

  const DEPTH = 0.22, STEP = Math.PI / 18, START = () => product(about(1, -0.35), about(0, 0.45));

  /** A turn about an axis of the screen (0 across, 1 up, 2 to the reader), by rows. */
  const about = (axis, angle) => {
    const c = Math.cos(angle), s = Math.sin(angle);
    return [[1, 0, 0, 0, c, -s, 0, s, c], [c, 0, s, 0, 1, 0, -s, 0, c], [c, -s, 0, s, c, 0, 0, 0, 1]][axis];
  };
  const product = (a, b) =>
    Array.from({ length: 9 }, (_, k) => [0, 1, 2].reduce((sum, j) => sum + a[3 * Math.floor(k / 3) + j] * b[3 * j + (k % 3)], 0));

  const program = (gl) => {
    const made = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    }
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    return made;
  };

  emres.SurfaceView = class {
    constructor(canvas) {
      this.canvas = canvas;
      this.mesh = null;
      this.reset();
      canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
      canvas.addEventListener("webglcontextrestored", () => (this.begin(), this.mesh && this.show(this.mesh)));
      this.begin();
      this.listen();
    }

    begin() {
      const gl = (this.gl = this.canvas.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: true }));
      if (!gl) throw new Error("This browser gives no WebGL 2, so the surface cannot be drawn; all else works.");
      this.program = program(gl);
      gl.useProgram(this.program);
      gl.bindVertexArray(gl.createVertexArray());
      this.buffers = {};
      for (const [name, size] of [["position", 3], ["normal", 3], ["resolution", 2]]) {
        const place = gl.getAttribLocation(this.program, name);
        gl.bindBuffer(gl.ARRAY_BUFFER, (this.buffers[name] = gl.createBuffer()));
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
      }
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      for (const key of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, key, gl.CLAMP_TO_EDGE);
      for (const key of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, key, gl.LINEAR);
      gl.enable(gl.DEPTH_TEST);
    }

    uniform(name) {
      return this.gl.getUniformLocation(this.program, name);
    }

    /** Show a mesh: positions and normals (x, y, z in Å), triangles, and (Å, 1) or (0, 0) at each vertex. */
    show(mesh) {
      const gl = this.gl;
      this.mesh = mesh;
      if (!this.radius) this.frame(mesh);
      for (const name of ["position", "normal", "resolution"]) this.put(name, mesh[name]);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.faces, gl.STATIC_DRAW);
      this.colour();
    }

    /** Fit the first mesh into the view; later ones keep its scale, so that a level can be compared with another. */
    frame({ position, faces }) {
      const low = [Infinity, Infinity, Infinity], high = low.map((value) => -value);
      for (let f = 0; f < faces.length; f++) {
        for (let c = 0; c < 3; c++) {
          const value = position[3 * faces[f] + c];
          (low[c] = Math.min(low[c], value)), (high[c] = Math.max(high[c], value));
        }
      }
      this.middle = low.map((value, c) => (faces.length ? (value + high[c]) / 2 : 0));
      let square = 1;
      for (let f = 0; f < faces.length; f++) {
        const v = 3 * faces[f];
        square = Math.max(square, this.middle.reduce((sum, at, c) => sum + (position[v + c] - at) ** 2, 0));
      }
      this.radius = Math.sqrt(square);
    }

    /** Colour the mesh by other resolutions. */
    recolour(resolution) {
      this.mesh.resolution = resolution;
      this.put("resolution", resolution);
      this.colour();
    }

    put(name, values) {
      this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[name]);
      this.gl.bufferData(this.gl.ARRAY_BUFFER, values, this.gl.STATIC_DRAW);
    }

    /** Take over the scale of the page. */
    colour() {
      const gl = this.gl, { palette, low, high } = emres.scale;
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, palette.table);
      gl.uniform2f(this.uniform("limits"), low, high);
      gl.uniform3f(this.uniform("gray"), ...palette.gray.map((value) => value / 255));
      this.draw();
    }

    reset() {
      this.turn = START();
      this.zoom = 1;
      if (this.gl) this.draw();
    }

    rotate(across, up) {
      this.turn = product(about(0, up), product(about(1, across), this.turn));
      this.draw();
    }

    magnify(by) {
      this.zoom = Math.min(Math.max(this.zoom * by, 0.3), 20);
      this.draw();
    }

    /** Draw with the next frame; many wishes within one are one. */
    draw() {
      if (!this.pending) this.pending = requestAnimationFrame(() => ((this.pending = 0), this.drawNow()));
    }

    /** The pixels that the canvas should have. */
    size() {
      const ratio = Math.min(devicePixelRatio || 1, 2);
      return [this.canvas.clientWidth, this.canvas.clientHeight].map((length) => Math.round(length * ratio));
    }

    drawNow() {
      const { gl, canvas, mesh } = this, [width, height] = this.size();
      if (!mesh || !width || !height || gl.isContextLost()) return;
      if (canvas.width !== width || canvas.height !== height) (canvas.width = width), (canvas.height = height);
      gl.viewport(0, 0, width, height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      const scale = (0.92 * this.zoom) / this.radius, side = Math.min(width, height);
      gl.uniform2f(this.uniform("zoom"), (scale * side) / width, (scale * side) / height);
      gl.uniform1f(this.uniform("depth"), DEPTH / this.radius);
      gl.uniform3f(this.uniform("middle"), ...this.middle);
      gl.uniformMatrix3fv(this.uniform("turn"), true, this.turn);
      gl.drawElements(gl.TRIANGLES, mesh.faces.length, gl.UNSIGNED_INT, 0);
      this.canvas.dataset.drawn = String(Number(this.canvas.dataset.drawn ?? 0) + 1);
    }

    listen() {
      const canvas = this.canvas, fingers = new Map();
      const spread = () => {
        const [a, b] = [...fingers.values()];
        return Math.hypot(a.x - b.x, a.y - b.y);
      };
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      });
      canvas.addEventListener("pointermove", (event) => {
        const last = fingers.get(event.pointerId);
        if (!last) return;
        const wide = fingers.size === 2 ? spread() : 0;
        fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        if (wide) this.magnify(spread() / wide);
        else this.rotate((event.clientX - last.x) * 0.008, (event.clientY - last.y) * 0.008);
      });
      for (const end of ["pointerup", "pointercancel"]) {
        canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
      }
      // The wheel scrolls the page until the surface was clicked.
      canvas.addEventListener("wheel", (event) => {
        if (document.activeElement !== canvas && !event.ctrlKey) return;
        event.preventDefault();
        this.magnify(Math.exp(-event.deltaY * 0.0015));
      }, { passive: false });
      canvas.addEventListener("keydown", (event) => {
        const act = {
          ArrowLeft: () => this.rotate(-STEP, 0), ArrowRight: () => this.rotate(STEP, 0),
          ArrowUp: () => this.rotate(0, -STEP), ArrowDown: () => this.rotate(0, STEP),
          "+": () => this.magnify(1.15), "=": () => this.magnify(1.15), "-": () => this.magnify(1 / 1.15),
          0: () => this.reset(), Home: () => this.reset(),
        }[event.key];
        if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        act();
      });
      // It tells of the first size too, which is drawn already.
      new ResizeObserver(() => {
        const [width, height] = this.size();
        if (canvas.width !== width || canvas.height !== height) this.draw();
      }).observe(canvas);
    }
  };
}
