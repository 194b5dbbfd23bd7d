"use strict";
// The surface of a volume at a level, by naive surface nets (Gibson 1998): one vertex in every cell that the surface
// crosses, at the mean of the crossings of its edges; one quad for every edge that it crosses.
{
  /** An array that grows. */
  class Growing {
    constructor(kind) {
      this.array = new kind(1 << 16);
      this.length = 0;
    }
    room(more) {
      if (this.length + more <= this.array.length) return;
      const larger = new this.array.constructor(2 * this.array.length);
      larger.set(this.array);
      this.array = larger;
    }
    whole() {
      return this.array.slice(0, this.length);
    }
  }

  // The twelve edges of a cell as pairs of corners; bits of a corner: 4 for z, 2 for y, 1 for x.
  const EDGES = [];
  for (let a = 0; a < 8; a++) for (const bit of [1, 2, 4]) if (!(a & bit)) EDGES.push([a, a | bit]);

  /**
   * Vertices (z, y, x in voxels) and triangles of the surface of codes (bytes) at a level, wound so that their front
   * lies to the lower density. Outside the box the density counts as low, so that the surface is closed.
   */
  emres.surfaceNets = (codes, [nz, ny, nx], level) => {
    const vertices = new Growing(Float32Array), faces = new Growing(Uint32Array);
    // Cells start at -1: their low corners may lie outside. Two layers of cells remember their vertices.
    const my = ny + 1, mx = nx + 1, layer = my * mx;
    let before = new Int32Array(layer), now = new Int32Array(layer);
    const value = new Float32Array(8);
    const quad = (a, b, c, d, turned) => {
      faces.room(6);
      const to = faces.array, n = faces.length;
      to[n] = a; to[n + 3] = a; to[n + 2] = turned ? b : c; to[n + 1] = turned ? c : b;
      to[n + 5] = turned ? c : d; to[n + 4] = turned ? d : c;
      faces.length = n + 6;
    };
    for (let z = -1; z < nz; z++, [before, now] = [now, before]) {
      for (let y = -1; y < ny; y++) {
        const inner = z >= 0 && y >= 0 && z < nz - 1 && y < ny - 1;
        const r00 = (z * ny + y) * nx, r01 = r00 + nx, r10 = r00 + ny * nx, r11 = r10 + nx;
        const zLow = z >= 0, zHigh = z < nz - 1, yLow = y >= 0, yHigh = y < ny - 1;
        for (let x = -1; x < nx; x++) {
          let mask = 0;
          if (inner && x >= 0 && x < nx - 1) {
            mask = (codes[r00 + x] > level ? 1 : 0) | (codes[r00 + x + 1] > level ? 2 : 0) |
              (codes[r01 + x] > level ? 4 : 0) | (codes[r01 + x + 1] > level ? 8 : 0) |
              (codes[r10 + x] > level ? 16 : 0) | (codes[r10 + x + 1] > level ? 32 : 0) |
              (codes[r11 + x] > level ? 64 : 0) | (codes[r11 + x + 1] > level ? 128 : 0);
            if (mask === 0 || mask === 255) continue;
            value[0] = codes[r00 + x]; value[1] = codes[r00 + x + 1]; value[2] = codes[r01 + x]; value[3] = codes[r01 + x + 1];
            value[4] = codes[r10 + x]; value[5] = codes[r10 + x + 1]; value[6] = codes[r11 + x]; value[7] = codes[r11 + x + 1];
          } else {
            const xLow = x >= 0, xHigh = x < nx - 1;
            // As far below the level as the inner corners are above it at most: the cap lies at the box's face.
            for (let c = 0; c < 8; c++) {
              const there = (c & 4 ? zHigh : zLow) && (c & 2 ? yHigh : yLow) && (c & 1 ? xHigh : xLow);
              value[c] = there ? codes[r00 + x + (c & 4 ? ny * nx : 0) + (c & 2 ? nx : 0) + (c & 1)] : level - 128;
              if (value[c] > level) mask |= 1 << c;
            }
            if (mask === 0 || mask === 255) continue;
          }
          let count = 0, sz = 0, sy = 0, sx = 0;
          for (let e = 0; e < 12; e++) {
            const a = EDGES[e][0], b = EDGES[e][1];
            if (((mask >> a) & 1) === ((mask >> b) & 1)) continue;
            const share = (level - value[a]) / (value[b] - value[a]), bit = a ^ b;
            sz += (a >> 2) + (bit === 4 ? share : 0);
            sy += ((a >> 1) & 1) + (bit === 2 ? share : 0);
            sx += (a & 1) + (bit === 1 ? share : 0);
            count++;
          }
          vertices.room(3);
          const id = vertices.length / 3, cell = (y + 1) * mx + x + 1;
          vertices.array[vertices.length++] = z + sz / count;
          vertices.array[vertices.length++] = y + sy / count;
          vertices.array[vertices.length++] = x + sx / count;
          now[cell] = id;
          // An edge from the cell's low corner belongs to four cells, and this is the last of them.
          const low = mask & 1;
          if (low !== ((mask >> 1) & 1) && z >= 0 && y >= 0) quad(id, now[cell - mx], before[cell - mx], before[cell], !low);
          if (low !== ((mask >> 2) & 1) && z >= 0 && x >= 0) quad(id, before[cell], before[cell - 1], now[cell - 1], !low);
          if (low !== ((mask >> 4) & 1) && y >= 0 && x >= 0) quad(id, now[cell - 1], now[cell - mx - 1], now[cell - mx], !low);
        }
      }
    }
    return withoutDust({ vertices: vertices.whole(), faces: faces.whole() });
  };

  const DUST = 0.01; // of the largest piece

  /** Drop the pieces that have less than a hundredth of the vertices of the largest. */
  const withoutDust = ({ vertices, faces }) => {
    const n = vertices.length / 3, parent = new Int32Array(n), size = new Int32Array(n);
    for (let k = 0; k < n; k++) parent[k] = k;
    const root = (k) => {
      while (parent[k] !== k) k = parent[k] = parent[parent[k]];
      return k;
    };
    for (let f = 0; f < faces.length; f += 3) {
      const a = root(faces[f]);
      parent[root(faces[f + 1])] = a;
      parent[root(faces[f + 2])] = a;
    }
    let largest = 0;
    for (let k = 0; k < n; k++) largest = Math.max(largest, ++size[root(k)]);
    let kept = 0, vertex = 0;
    const renamed = new Int32Array(n);
    const stays = Uint8Array.from(parent, (_, k) => (size[root(k)] >= DUST * largest ? 1 : 0));
    for (let k = 0; k < n; k++) {
      if (!stays[k]) continue;
      vertices.copyWithin(3 * vertex, 3 * k, 3 * k + 3);
      renamed[k] = vertex++;
    }
    for (let f = 0; f < faces.length; f += 3) {
      if (!stays[faces[f]]) continue;
      for (let c = 0; c < 3; c++) faces[kept++] = renamed[faces[f + c]];
    }
    return { vertices: vertices.subarray(0, 3 * vertex), faces: faces.subarray(0, kept) };
  };

  /** Normals of vertices (Å, z y x): the mean of those of the triangles round each, weighted by their areas. */
  emres.normals = (vertices, faces) => {
    const sums = new Float32Array(vertices.length);
    for (let f = 0; f < faces.length; f += 3) {
      const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
      const pz = vertices[b] - vertices[a], py = vertices[b + 1] - vertices[a + 1], px = vertices[b + 2] - vertices[a + 2];
      const qz = vertices[c] - vertices[a], qy = vertices[c + 1] - vertices[a + 1], qx = vertices[c + 2] - vertices[a + 2];
      const x = py * qz - pz * qy, y = pz * qx - px * qz, z = px * qy - py * qx;
      for (const v of [a, b, c]) (sums[v] += z), (sums[v + 1] += y), (sums[v + 2] += x);
    }
    for (let v = 0; v < sums.length; v += 3) {
      const length = Math.hypot(sums[v], sums[v + 1], sums[v + 2]) || 1;
      (sums[v] /= length), (sums[v + 1] /= length), (sums[v + 2] /= length);
    }
    return sums;
  };
}
