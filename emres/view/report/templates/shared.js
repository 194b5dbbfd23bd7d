"use strict";
// What every page shares: theme, palettes, words for numbers, elements made without HTML.
const emres = (window.emres = { ready: null, listeners: {} });

emres.on = (event, listener) => (emres.listeners[event] ??= []).push(listener);
emres.tell = (event) => (emres.listeners[event] ?? []).forEach((listener) => listener());

/** The JSON that the page carries in the element of this id. */
emres.json = (id) => JSON.parse(document.getElementById(id).textContent);

emres.byId = (id) => document.getElementById(id);

/** Make an element; texts are texts, never HTML. Names with a colon belong to SVG ("svg:path"). */
emres.make = (name, attributes = {}, ...children) => {
  const made = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

emres.angstrom = (value, digits = 2) => `${value.toFixed(digits)} Å`;

// --- theme ---------------------------------------------------------------------------------------------------------
emres.isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

emres.remember = (key, value) => {
  try {
    if (value !== undefined) localStorage.setItem(`emres-${key}`, value);
    return localStorage.getItem(`emres-${key}`);
  } catch {
    return null; // a page without storage (private, or from a file in some browsers) works all the same
  }
};

{
  const button = document.querySelector("[data-theme-toggle]");
  const show = () => {
    button?.setAttribute("aria-pressed", String(emres.isDark()));
    emres.tell("theme");
  };
  const kept = emres.remember("theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
  button?.addEventListener("click", () => {
    document.documentElement.dataset.theme = emres.remember("theme", emres.isDark() ? "light" : "dark") ??
      (emres.isDark() ? "light" : "dark");
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  button?.setAttribute("aria-pressed", String(emres.isDark()));
}

// --- palettes: colours at equal steps from fine to coarse, gray for what is not determined ----------------------------
const rgbOf = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

/** A palette as 256 colours, and gray. */
const expanded = ({ name, colours, gray }) => {
  const stops = colours.map(rgbOf), table = new Uint8Array(256 * 3);
  for (let k = 0; k < 256; k++) {
    const place = (k / 255) * (stops.length - 1), first = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      table[3 * k + c] = Math.round(stops[first][c] + (place - first) * (stops[first + 1][c] - stops[first][c]));
    }
  }
  return { name, table, gray: rgbOf(gray) };
};

emres.palettes = emres.json("palettes").map(expanded);

/** The scale of the page: a palette between two limits in Å. Beyond one more span it is gray, as not determined. */
emres.scale = { palette: emres.palettes[0], low: 0, high: 1 };

emres.colour = (value, { palette, low, high } = emres.scale) => {
  if (!(value > 0) || value > 2 * high - low) return palette.gray;
  const k = 3 * Math.round(255 * Math.min(Math.max((value - low) / (high - low), 0), 1));
  return [palette.table[k], palette.table[k + 1], palette.table[k + 2]];
};

/** Paint a palette from fine to coarse on a canvas of 256 pixels. */
emres.paintKey = (canvas, { table }) => {
  const context = canvas.getContext("2d"), image = context.createImageData(256, 1);
  for (let k = 0; k < 256; k++) image.data.set([...table.subarray(3 * k, 3 * k + 3), 255], 4 * k);
  context.putImageData(image, 0, 0);
};

emres.css = (value) => `rgb(${emres.colour(value).join(" ")})`;
