"use strict";
// The table of a batch: all rows are data, a page of them is in the document.
{
  const { columns, rows } = emres.json("table");
  const at = Object.fromEntries(columns.map((name, k) => [name, k]));
  const order = new Intl.Collator("en", { numeric: true });
  const words = { outlier: "far from reported", failed: "failed", waiting: "no local resolution" };

  // What is sorted and searched by, once for all: text as its place in the alphabet, then only numbers are compared.
  const keys = Object.fromEntries(columns.map((name, k) => [name, rows.map((row) => row[k])]));
  for (const name of ["name", "model", "released"]) {
    const places = new Map([...new Set(keys[name])].sort(order.compare).map((text, k) => [text, k]));
    keys[name] = keys[name].map((text) => (text === "" ? null : places.get(text)));
  }
  keys.rank = rows.map((_, k) => k);
  const texts = rows.map((row) => ["name", "title", "reason", "warnings", "model"].map((name) => row[at[name]]).join(" ").toLowerCase());

  const state = { column: "rank", down: false, page: 0, chosen: keys.rank };
  const body = document.querySelector("#entries tbody"), heads = [...document.querySelectorAll("#entries th[data-column]")];
  const inputs = Object.fromEntries(["find", "status", "model", "from", "to", "size"].map((id) => [id, emres.byId(id)]));

  const number = (value, digits = 2, sign = false) => value === null ? "" : (sign && value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);

  const remarks = (row) => {
    const parts = [], status = row[at.status];
    if (words[status]) parts.push(emres.make("span", { class: `flag ${status}` }, words[status]));
    for (const name of ["reason", "warnings"]) if (row[at[name]]) parts.push(emres.make("span", { class: "remark" }, row[at[name]], " "));
    return parts;
  };

  const drawn = (row) => {
    const name = row[at.name], picture = row[at.picture], report = row[at.report];
    const image = picture && emres.make("img", { alt: "", width: 168, height: 56, src: `data:image/webp;base64,${picture}` });
    const cell = (text) => emres.make("td", { class: "number" }, text);
    return emres.make("tr", {},
      emres.make("td", { class: "picture" }, image),
      emres.make("th", { scope: "row" }, report ? emres.make("a", { href: report }, name) : name, emres.make("small", {}, row[at.title])),
      emres.make("td", {}, ...remarks(row)),
      cell(number(row[at.median])), cell(number(row[at.spread])), cell(number(row[at.reported])),
      cell(number(row[at.difference], 2, true)), cell(number(row[at.deviation], 1, true)),
      emres.make("td", {}, row[at.model]), emres.make("td", {}, row[at.released]));
  };

  const show = () => {
    const size = Number(inputs.size.value), pages = Math.max(1, Math.ceil(state.chosen.length / size));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const first = state.page * size, part = state.chosen.slice(first, first + size);
    body.replaceChildren(...part.map((k) => drawn(rows[k])));
    const count = (value) => value.toLocaleString("en");
    emres.byId("shown").textContent = part.length
      ? `${count(first + 1)} to ${count(first + part.length)} of ${count(state.chosen.length)}${state.chosen.length < rows.length ? ` (${count(rows.length)} in all)` : ""}`
      : `none of ${count(rows.length)}`;
    emres.byId("previous").disabled = state.page === 0;
    emres.byId("next").disabled = state.page === pages - 1;
  };

  // Whatever has no value stands last, up or down.
  const sorted = (chosen) => {
    const key = keys[state.column], sign = state.down ? -1 : 1;
    return chosen.sort((a, b) => (key[a] === null) - (key[b] === null) || sign * (key[a] - key[b]) || a - b);
  };

  const filtered = () => {
    const wanted = inputs.find.value.toLowerCase().split(/\s+/).filter(Boolean), status = inputs.status.value, model = inputs.model?.value ?? "";
    const from = inputs.from.value === "" ? null : Number(inputs.from.value), to = inputs.to.value === "" ? null : Number(inputs.to.value);
    return keys.rank.filter((k) => {
      const row = rows[k], reported = row[at.reported];
      return (status === "" || (status === "warned" ? row[at.warnings] !== "" : row[at.status] === status)) &&
        (model === "" || row[at.model] === model) &&
        ((from === null && to === null) || (reported !== null && reported >= (from ?? 0) && reported <= (to ?? Infinity))) &&
        wanted.every((word) => texts[k].includes(word));
    });
  };

  const renew = () => {
    state.chosen = sorted(filtered());
    state.page = 0;
    show();
  };

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      state.down = state.column === head.dataset.column && !state.down;
      state.column = head.dataset.column;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      renew();
    });
  }
  for (const id of ["find", "status", "model", "from", "to"]) inputs[id]?.addEventListener("input", renew);
  inputs.size.addEventListener("input", show);
  const turn = (step) => () => { state.page += step; show(); emres.byId("entries").scrollIntoView({ block: "nearest" }); };
  emres.byId("previous").addEventListener("click", turn(-1));
  emres.byId("next").addEventListener("click", turn(1));
  emres.byId("clear").addEventListener("click", () => {
    for (const id of ["find", "status", "model", "from", "to"]) if (inputs[id]) inputs[id].value = "";
    renew();
  });
  document.addEventListener("keydown", (event) => {
    const writing = /^(input|select|textarea)$/i.test(event.target.tagName);
    if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      inputs.find.focus();
    } else if (event.key === "Escape" && event.target === inputs.find) {
      inputs.find.value = "";
      renew();
    }
  });
  renew();
}
