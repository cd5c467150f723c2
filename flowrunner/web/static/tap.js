// The messages of one node as they pass: paused, filtered, copied; the last 200 are kept, and none of them anywhere else.

import {h, icon, set, text} from "./dom.js";
import {clock, number} from "./format.js";
import {live} from "./live.js";
import {tree} from "./tree.js";

const KEPT = 200;

const brief = (payload) => (payload !== null && typeof payload === "object" && !Array.isArray(payload)
  ? Object.entries(payload).map(([name, one]) => `${name} ${typeof one === "object" ? JSON.stringify(one) : one}`).join(", ")
  : typeof payload === "string" ? payload : JSON.stringify(payload));

export class Tap {
  constructor({t, lang, zone}) {
    Object.assign(this, {t, lang, zone, address: null, kept: [], paused: false, waiting: 0, due: false});
    this.chip = h("span", {class: "chip"});
    this.state = h("span", {class: "sr", role: "status"});
    this.button = h("button", {class: "btn sm", type: "button", onclick: () => this.hold(!this.paused)});
    this.copy = h("button", {class: "btn sm icon", type: "button", "aria-label": t("flow.copy"), title: t("flow.copy"), onclick: () => this.#copy()}, icon("copy", "s"));
    this.find = h("input", {class: "f", type: "search", placeholder: t("flow.filter"), "aria-label": t("flow.filter"), autocomplete: "off", spellcheck: "false", oninput: () => this.#list()});
    this.list = h("ul", {class: "msgs", "aria-label": t("flow.messages")});
    this.hint = h("p", {class: "hint"});
    this.section = h("section", {class: "tap"},
      h("div", {class: "sect"}, h("h3", {}, t("flow.messages")), this.chip, h("span", {class: "sp"}), this.copy, this.button),
      this.find, this.list, this.hint, this.state);
    live.on("tap", (one) => this.#take(one));
    this.hold(false);
  }

  /** Look at this node from now on; null: at none. */
  at(address) {
    if (address === this.address) return;
    this.address = address;
    this.kept = [];
    this.hold(false);
    this.find.value = "";
    live.tap(address);
    this.#list();
  }

  hold(paused) {
    this.paused = paused;
    this.waiting = 0;
    this.button.replaceChildren(icon(paused ? "play" : "pause", "s"), this.t(paused ? "flow.resume" : "flow.pause"));
    set(this.button, {"aria-pressed": String(paused)});
    this.#list();
  }

  #take(one) {
    if (one.node !== this.address) return;
    if (this.paused) {
      this.waiting += 1 + one.dropped;
      return this.#soon();
    }
    this.kept.unshift({...one, line: brief(one.message.payload)});
    this.kept.length = Math.min(this.kept.length, KEPT);
    this.#soon();
  }

  #soon() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.#list(); });
  }

  #matching() {
    const wanted = this.find.value.trim().toLowerCase();
    return wanted ? this.kept.filter((one) => `${one.port} ${one.message.key} ${one.message.source} ${one.line}`.toLowerCase().includes(wanted)) : this.kept;
  }

  #list() {
    const found = this.#matching(), {t} = this;
    const open = new Set([...this.list.querySelectorAll("details[open]")].map((one) => one.dataset.id));
    const known = new Map([...this.list.children].map((one) => [one.firstChild.dataset.id, one]));
    this.list.replaceChildren(...found.map((one) => known.get(this.#id(one)) ?? this.#row(one, open)));
    text(this.chip, this.paused ? t("flow.paused-n", {n: number(this.waiting, this.lang)}) : `${found.length}`);
    text(this.hint, found.length ? "" : t(this.kept.length ? "flow.messages-none" : "flow.messages-wait"));
  }

  #id(one) { return one.id ??= `${one.at}.${Math.random()}`; }

  #row(one) {
    const {message, port} = one, out = port !== "in";
    const row = h("details", {"data-id": this.#id(one)},
      h("summary", {}, h("time", {}, clock(one.at, this.zone, this.lang, true)), h("span", {class: out ? "out" : "in", "aria-hidden": "true"}, out ? "▲" : "▽"),
        h("span", {class: "say"}, port === "out" || port === "in" ? null : h("b", {}, `${port} `), one.line)));
    row.addEventListener("toggle", () => {
      if (!row.open || row.childElementCount > 1) return;
      const {payload, ...rest} = message;
      row.append(h("div", {class: "whole"}, message.cut ? h("p", {class: "hint"}, this.t("flow.cut")) : null, tree(payload),
        tree({port, ...(rest.key ? {key: rest.key} : {}), source: rest.source, origin: rest.origin, quality: rest.quality, lineage: rest.lineage})));
    }, {once: false});
    return h("li", {}, row, one.dropped ? h("small", {class: "left"}, this.t("flow.left-out", {n: number(one.dropped, this.lang)})) : null);
  }

  async #copy() {
    const lines = this.#matching().map(({at, port, message}) => JSON.stringify({at: new Date(at).toISOString(), port, ...message})).join("\n");
    let said = "flow.copied";
    try {
      await navigator.clipboard.writeText(lines);
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof DOMException)) throw error; // no clipboard here, or not allowed
      said = "flow.not-copied";
    }
    text(this.state, "");
    text(this.state, this.t(said));
    this.copy.replaceChildren(icon(said === "flow.copied" ? "check" : "warn", "s"));
    this.copy.title = this.t(said);
    setTimeout(() => { this.copy.replaceChildren(icon("copy", "s")); this.copy.title = this.t("flow.copy"); }, 2000);
  }
}
