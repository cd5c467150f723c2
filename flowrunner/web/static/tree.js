// A value as a tree of text nodes, and lines of YAML in their colours.

import {h} from "./dom.js";

const MOST = 60, DEEP = 6, KINDS = {k: "k", c: "c", n: "n", s: "st", v: "v", p: "p"};

/** JSON as nested lists; what is larger than a person reads says how much more there is. */
export function tree(value, depth = 0) {
  if (value === null || typeof value !== "object") {
    return h("span", {class: `v ${value === null ? "null" : typeof value}`}, typeof value === "string" ? value : JSON.stringify(value));
  }
  const entries = Object.entries(value), array = Array.isArray(value);
  if (!entries.length) return h("span", {class: "v"}, array ? "[]" : "{}");
  if (depth >= DEEP) return h("span", {class: "v"}, array ? `[${entries.length}]` : `{${entries.length}}`);
  return h("ul", {class: "tree"},
    entries.slice(0, MOST).map(([name, one]) => h("li", {}, h("b", {}, name), " ", tree(one, depth + 1))),
    entries.length > MOST ? h("li", {class: "more"}, `… ${entries.length - MOST}`) : null);
}

/** Lines in pieces `[kind, text]`; numbers from `first`; `marked(number)`: class of the line, "" for none. */
export function source(lines, first, marked = () => "", after = () => null) {
  const box = h("pre", {class: "y", tabindex: 0});
  lines.forEach((pieces, index) => {
    const number = first + index;
    const row = h("span", {class: `ln ${marked(number)}`}, h("i", {"aria-hidden": "true"}, String(number)));
    for (const [kind, said] of pieces) row.append(kind ? h("span", {class: KINDS[kind] ?? ""}, said) : said);
    row.append("\n");
    box.append(row);
    const more = after(number);
    if (more) box.append(more);
  });
  return box;
}
