// One box of the picture: built when it first comes on screen, and changed only where it says another thing.

import {h, icon, set, text} from "./dom.js";

const WIDE = {id: 16, type: 18, last: 21};

const cut = (said, most) => (said.length > most ? `${said.slice(0, most - 1)}…` : said);

export class Box {
  constructor(graph, place, index) {
    Object.assign(this, {graph, place, index, shown: false, element: null, facts: null, drawn: ""});
  }

  get name() { return this.place.id; }

  build() {
    const {place, graph} = this, {box_width: wide, box_height: high} = graph.layout;
    const symbol = icon(graph.icons[place.type] ?? "flow");
    set(symbol, {class: "ic", x: 11, y: 10, width: 15, height: 15});
    this.parts = {
      halo: h("rect", {class: "halo", x: -5, y: -5, width: wide + 10, height: high + 10, rx: 13}),
      box: h("rect", {class: "nb", width: wide, height: high, rx: 9}),
      type: h("text", {class: "ty", x: 33, y: 38}, cut(place.type, WIDE.type)),
      rate: h("text", {class: "rt", x: wide - 12, y: 38}),
      last: h("text", {class: "val", x: 12, y: 66}),
      mark: h("path", {class: "mk"}),
      queue: h("g", {class: "q"}, h("rect", {class: "qb", x: 12, y: 46, width: wide - 24, height: 4, rx: 2}), h("rect", {class: "qf", x: 12, y: 46, height: 4, rx: 2})),
      badge: h("g", {class: "bg"}, h("rect", {class: "badge", y: -8, height: 17, rx: 8.5}), h("text", {class: "badget", y: 4})),
    };
    const {parts} = this, inside = graph.readers.has(place.id) ? [h("circle", {class: "port", cx: 0, cy: high / 2, r: 4})] : [];
    const ports = Object.entries(place.ports).map(([name, y]) => h("circle", {class: name === "error" || name === "status" ? "port apart" : "port", cx: wide, cy: y, r: name === "error" || name === "status" ? 3 : 4}));
    this.element = h("g", {class: "n", id: `n${this.index}`, role: "img", transform: `translate(${place.x} ${place.y})`},
      parts.halo, parts.box, symbol, h("text", {class: "t", x: 33, y: 22}, cut(place.id, WIDE.id)), parts.type, parts.rate,
      h("path", {class: "sep", d: `M0 49H${wide}`}), parts.last, parts.mark, ...inside, ...ports, parts.queue, parts.badge);
    this.element.dataset.index = this.index;
  }

  /** Put what is known of it on the screen, where it is another thing than before. */
  draw() {
    const {facts, parts, graph} = this, {box_width: wide} = graph.layout;
    const current = graph.current === this.name, open = graph.opened === this.name;
    if (!facts) return;
    const said = JSON.stringify([facts, current, open]);
    if (said === this.drawn) return;
    this.drawn = said;
    set(this.element, {class: `n ${facts.tone} ${facts.shape} ${open ? "sel" : ""} ${current ? "cur" : ""} ${this.place.flow === graph.layout.flow ? "" : "other"}`, "aria-label": facts.label});
    text(parts.rate, facts.rate);
    text(parts.last, cut(facts.last, WIDE.last));
    set(parts.mark, {d: facts.shape === "bad" ? `M${wide - 15} 12.5l6 10.5h-12z` : `M${wide - 18.5} 18a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0`});
    parts.queue.toggleAttribute("hidden", !facts.fill);
    parts.queue.style.display = facts.fill ? "" : "none";
    if (facts.fill) set(parts.queue.lastChild, {width: Math.max(4, (wide - 24) * Math.min(facts.fill, 1)), class: facts.fill > 0.5 ? "qf full" : "qf"});
    parts.badge.style.display = facts.badge ? "" : "none";
    if (facts.badge) {
      const width = 14 + facts.badge.length * 5.6;
      set(parts.badge.firstChild, {x: wide - 8 - width, width});
      set(parts.badge.lastChild, {x: wide - 8 - width / 2});
      text(parts.badge.lastChild, facts.badge);
    }
  }
}
