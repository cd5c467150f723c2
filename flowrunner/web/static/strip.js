// The last 15 minutes of a flow: how much passed, when it was loaded again, where errors were; and a time is chosen here.

import {h, set, text} from "./dom.js";
import {clock, number} from "./format.js";

const HIGH = 44, FOOT = 16, TICK_MS = 180000;

export class Strip {
  /** `open(node)`; `choose(at)`: the state of then is wanted, null: that of now. */
  constructor(section, {t, lang, zone, open, choose}) {
    Object.assign(this, {section, t, lang, zone, open, choose, shown: null, chosen: null, none: ""});
    this.lane = section.querySelector(".lane");
    this.part = (name) => section.querySelector(`#strip-${name}`);
    this.line = h("path", {class: "sl"});
    this.area = h("path", {class: "sa"});
    this.ticks = h("g", {});
    this.marks = h("g", {});
    this.cross = h("path", {class: "sx"});
    this.hand = h("path", {class: "sc"});
    this.svg = h("svg", {class: "sv", role: "img"}, this.ticks, this.area, this.line, this.marks, this.cross, this.hand);
    this.pick = h("input", {type: "range", class: "sr", min: 0, max: 0, value: 0, "aria-label": t("flow.then-hint"), oninput: () => this.#picked()});
    this.lane.append(this.pick, this.svg);
    new ResizeObserver(() => this.draw()).observe(this.lane);
    this.lane.addEventListener("pointermove", (event) => this.#point(event.clientX - this.lane.getBoundingClientRect().left));
    this.lane.addEventListener("pointerleave", () => this.#point(null));
    this.svg.addEventListener("click", (event) => {
      const {at} = this.shown?.steps ?? {at: []}, near = this.#nearest(event.clientX - this.lane.getBoundingClientRect().left);
      if (near !== null) this.choose(at[near]);
    });
  }

  take(shown) {
    this.shown = shown;
    this.draw();
    this.#head();
    this.#slide();
    if (!this.pointed) this.#point(null);
  }

  /** Which time is shown; `none`: why it is not. */
  mark(at, none = "") {
    Object.assign(this, {chosen: at, none});
    this.draw();
    this.#slide();
    this.#point(null);
  }

  /** The slider, for who has no pointer: a place for each step, and behind the last one it is now. */
  #slide() {
    const {at} = this.shown?.steps ?? {at: []}, place = this.chosen === null ? at.length : at.findLastIndex((one) => one <= this.chosen);
    set(this.pick, {max: at.length, "aria-valuetext": this.chosen === null ? this.t("flow.then-now") : clock(this.chosen, this.zone, this.lang, true)});
    this.pick.value = Math.max(place, 0);
  }

  #picked() {
    this.choose(this.shown?.steps.at[Number(this.pick.value)] ?? null);
  }

  #nearest(px) {
    const {shown} = this;
    if (!shown?.steps.at.length) return null;
    const time = shown.at - shown.span_s * 1000 * (1 - px / this.lane.clientWidth);
    return shown.steps.at.reduce((near, one, n, all) => (Math.abs(one - time) < Math.abs(all[near] - time) ? n : near), 0);
  }

  /** Errors of each node in these minutes. */
  errors() {
    const found = new Map();
    for (const one of this.shown?.marks ?? []) if (one.kind === "error") found.set(one.node, (found.get(one.node) ?? 0) + one.count);
    return found;
  }

  draw() {
    const {shown, lane} = this, width = lane.clientWidth;
    if (!shown || !width) return;
    const {at, rate} = shown.steps, begin = shown.at - shown.span_s * 1000, step = shown.step_s * 1000;
    const apart = at.slice(1).map((one, n) => one - at[n]).sort((one, other) => one - other);
    const gap = 2.5 * Math.max(step, apart[apart.length >> 1] ?? 0); // flow time may go faster than ours
    const most = Math.max(1, ...rate) * 1.15;
    const x = (one) => ((one - begin) / (shown.span_s * 1000)) * width, y = (one) => HIGH - (one / most) * (HIGH - 2);
    set(this.svg, {viewBox: `0 0 ${width} ${HIGH + FOOT}`, width, height: HIGH + FOOT});
    let line = "", area = "", last = null, from = 0;
    at.forEach((one, n) => {
      const begins = last === null || one - last > gap, px = x(one).toFixed(1), py = y(rate[n]).toFixed(1);
      if (begins && last !== null) area += `L${x(last).toFixed(1)} ${HIGH}L${from} ${HIGH}Z`;
      if (begins) from = px;
      line += `${begins ? "M" : "L"}${px} ${py}`;
      area += `${begins ? "M" : "L"}${px} ${py}`;
      last = one;
    });
    if (last !== null) area += `L${x(last).toFixed(1)} ${HIGH}L${from} ${HIGH}Z`;
    set(this.hand, {d: this.chosen === null || this.chosen < begin ? "" : `M${x(this.chosen).toFixed(1)} 0v${HIGH}`});
    set(this.line, {d: line});
    set(this.area, {d: area});
    const ticks = [];
    for (let one = Math.ceil(begin / TICK_MS) * TICK_MS; one < shown.at; one += TICK_MS) {
      const px = x(one);
      ticks.push(h("path", {class: "st", d: `M${px.toFixed(1)} 0v${HIGH}`}));
      if (px < width - 34) ticks.push(h("text", {x: px + 4, y: HIGH + 13}, clock(one, this.zone, this.lang)));
    }
    this.ticks.replaceChildren(...ticks);
    this.marks.replaceChildren(...shown.marks.map((one) => (one.kind === "error"
      ? h("rect", {class: "se", x: x(one.at) - 1.5, y: 0, width: 3, height: 9, rx: 1})
      : h("g", {class: one.result === "applied" ? "sr-ok" : "sr-no"}, h("path", {d: `M${x(one.at)} 0v${HIGH}`}), h("rect", {x: x(one.at) - 3, y: 0, width: 6, height: 6})))));
  }

  #head() {
    const {shown, t, lang} = this, {rate} = shown.steps, errors = [...this.errors()].sort((one, other) => other[1] - one[1]);
    const now = rate.length ? rate.slice(-2).reduce((sum, one) => sum + one, 0) / Math.min(2, rate.length) : null;
    text(this.part("rate"), t("flow.strip-rate", {n: number(now, lang, 1)}));
    const reload = shown.marks.filter((one) => one.kind === "reload").at(-1);
    const items = [];
    if (reload) items.push(h("span", {}, h("i", {class: reload.result === "applied" ? "k-reload" : "k-reload no"}), t(reload.result === "applied" ? "flow.strip-reload" : "flow.strip-refused", {time: clock(reload.at, this.zone, lang, true)})));
    for (const [node, n] of errors.slice(0, 2)) items.push(h("button", {type: "button", class: "link", onclick: () => this.open(node)}, h("i", {class: "k-error"}), t(n === 1 ? "flow.strip-error" : "flow.strip-errors", {n: number(n, lang), node})));
    const said = items.map((one) => one.textContent).join("|");
    const box = this.part("marks");
    if (box.dataset.said !== said) { box.dataset.said = said; box.replaceChildren(...items); }
    set(this.svg, {"aria-label": [t("flow.strip-rate", {n: number(now, lang, 1)}), ...items.map((one) => one.textContent), ...(errors.length ? [] : [t("flow.strip-no-errors")])].join("; ")});
  }

  #point(px) {
    const {shown} = this, width = this.lane.clientWidth, near = px === null ? null : this.#nearest(px);
    this.pointed = near !== null;
    if (near === null) {
      set(this.cross, {d: ""});
      return text(this.part("at"), this.none || (this.chosen === null && shown?.steps.at.length ? this.t("flow.then-hint") : ""));
    }
    const at = shown.steps.at[near], x = ((at - shown.at + shown.span_s * 1000) / (shown.span_s * 1000)) * width;
    set(this.cross, {d: `M${x.toFixed(1)} 0v${HIGH}`});
    text(this.part("at"), this.t("flow.strip-at", {time: clock(at, this.zone, this.lang, true), n: number(shown.steps.rate[near], this.lang, 1), errors: shown.steps.errors[near]}));
  }
}
