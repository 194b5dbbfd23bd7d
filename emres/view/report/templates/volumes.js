"use strict";
// The volumes of the page: one byte a voxel, x fastest; the density first, then every result.
emres.OUTSIDE = 0;
emres.UNDETERMINED = 255;
emres.REACH = 5; // voxels that a resolution is carried beyond its mask, to colour a surface

emres.unpack = async (text, count, shape) => {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = binary.charCodeAt(k);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const all = new Uint8Array(await new Response(stream).arrayBuffer());
  const [nz, ny, nx] = shape, size = nz * ny * nx;
  for (let row = 0; row < all.length; row += nx) {
    for (let k = row + 1; k < row + nx; k++) all[k] += all[k - 1]; // they were stored as differences along x
  }
  return Array.from({ length: count }, (_, k) => all.subarray(k * size, (k + 1) * size));
};

/** The means of cubes of voxels of codes, and how many there are along each axis; a rest at the far faces is left out. */
emres.averaged = (codes, [, ny, nx], shape, factor) => {
  const means = new Uint8Array(shape[0] * shape[1] * shape[2]), sums = new Uint32Array(shape[2]), cube = factor ** 3;
  for (let z = 0, to = 0; z < shape[0]; z++) {
    for (let y = 0; y < shape[1]; y++) {
      sums.fill(cube / 2);
      for (let dz = 0; dz < factor; dz++) {
        for (let dy = 0; dy < factor; dy++) {
          let from = ((z * factor + dz) * ny + y * factor + dy) * nx;
          for (let x = 0; x < shape[2]; x++) for (let dx = 0; dx < factor; dx++) sums[x] += codes[from++];
        }
      }
      for (let x = 0; x < shape[2]; x++) means[to++] = sums[x] / cube;
    }
  }
  return means;
};

/** The Å of a code of a result; NaN where not determined, 0 outside. */
emres.valueOf = (result, code) => {
  if (code === emres.OUTSIDE) return 0;
  return code === emres.UNDETERMINED ? NaN : result.low + ((code - 1) * (result.high - result.low)) / 253;
};

const ball = (() => {
  const offsets = [], r = emres.REACH;
  for (let z = -r; z <= r; z++)
    for (let y = -r; y <= r; y++)
      for (let x = -r; x <= r; x++) {
        const square = z * z + y * y + x * x;
        if (square <= r * r) offsets.push([square, z, y, x]);
      }
  return offsets.sort((a, b) => a[0] - b[0]);
})();

/**
 * Resolutions at a surface: linear over the determined voxels round each vertex, so that nothing bleeds in from outside
 * the mask; beyond them the nearest one's, if it is near. (Å, 1) for each vertex, (0, 0) where there is none.
 */
emres.sampled = (result, shape, vertices) => {
  const [nz, ny, nx] = shape, codes = result.codes, answer = new Float32Array((2 * vertices.length) / 3);
  const span = (result.high - result.low) / 253;
  const at = (z, y, x) => (z < 0 || y < 0 || x < 0 || z >= nz || y >= ny || x >= nx ? 0 : codes[(z * ny + y) * nx + x]);
  for (let v = 0; v < vertices.length / 3; v++) {
    const z = vertices[3 * v], y = vertices[3 * v + 1], x = vertices[3 * v + 2];
    const z0 = Math.floor(z), y0 = Math.floor(y), x0 = Math.floor(x);
    let total = 0, weights = 0, lost = 0;
    for (let corner = 0; corner < 8; corner++) {
      const dz = corner >> 2, dy = (corner >> 1) & 1, dx = corner & 1, code = at(z0 + dz, y0 + dy, x0 + dx);
      if (code === 0) continue;
      const weight = (dz ? z - z0 : 1 - z + z0) * (dy ? y - y0 : 1 - y + y0) * (dx ? x - x0 : 1 - x + x0);
      if (code === 255) lost += weight;
      else (total += weight * (code - 1)), (weights += weight);
    }
    let found = 0;
    if (weights > 1e-6 && weights >= lost) found = result.low + (total / weights) * span;
    else if (!(lost > 0)) found = nearest(result, at, Math.round(z), Math.round(y), Math.round(x), span);
    if (found) (answer[2 * v] = found), (answer[2 * v + 1] = 1);
  }
  return answer;
};

const nearest = (result, at, z, y, x, span) => {
  for (const [, dz, dy, dx] of ball) {
    const code = at(z + dz, y + dy, x + dx);
    if (code !== 0) return code === 255 ? 0 : result.low + (code - 1) * span;
  }
  return 0;
};
