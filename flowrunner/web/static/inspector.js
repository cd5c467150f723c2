// One node in full: what it counts, why it decided so, its lines in the file, what it sent last, and what passes now.

import {h, icon, set, text} from "./dom.js";
import {age, clock, moment, number} from "./format.js";
import {live} from "./live.js";
import {Tap} from "./tap.js";
import {source, tree} from "./tree.js";

const INSTANT = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
const ASK_MS = 1000;
const URGENT = {true: "check", false: "x"};

export class Inspector {
  /** `page`: {data, t, lang}; `close()`: asked for; `go(name)`: to another node. */
  constructor(element, {page, close, go}) {
    const {t, lang, data} = page;
    Object.assign(this, {element, t, lang, data, zone: data.zone, close, go, name: null, serial: 0, asked: 0, file: null, whole: false, seen: {}});
    this.tap = new Tap({t, lang, zone: data.zone});
    this.head = h("section", {class: "head"});
    this.kpis = h("section", {class: "counts"});
    this.why = h("section", {class: "deciding", hidden: true});
    this.config = h("section", {class: "config"});
    this.newest = h("section", {class: "newest"});
    this.wires = h("section", {class: "wiring"});
    this.card = h("details", {class: "card-of", ontoggle: () => { if (this.card.open) this.#reference(); }});
    element.append(this.head, this.kpis, this.why, this.config, this.newest, this.tap.section, this.wires, h("section", {class: "about"}, this.card));
    element.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } });
  }

  /** Show a node; null: none. */
  show(name, focus = false) {
    if (name === this.name) { if (focus) this.element.focus(); return; }
    this.name = name;
    this.serial += 1;
    this.seen = {};
    this.element.hidden = name === null;
    const place = name === null ? null : this.data.layout.nodes.find((one) => one.id === name);
    this.place = place;
    this.tap.at(place ? `${place.flow}/${place.id.slice(place.id.indexOf("/") + 1)}` : null);
    if (!place) return;
    this.whole = false;
    this.card.open = false;
    this.card.replaceChildren(h("summary", {}, icon("book", "s"), this.t("flow.reference", {type: place.type})));
    for (const one of [this.why, this.config, this.newest]) one.replaceChildren();
    this.why.hidden = true;
    this.#head();
    this.#wires();
    this.asked = 0;
    this.ask();
    this.#lines();
    this.element.scrollTop = 0;
    if (focus) this.element.focus();
  }

  get id() { return this.place.id.slice(this.place.id.indexOf("/") + 1); }

  get path() { return `/api/v1/flows/${encodeURIComponent(this.place.flow)}/nodes/${encodeURIComponent(this.id)}`; }

  // ---- head and counters --------------------------------------------------------------------------------------------

  #head() {
    const {place, t, data} = this, own = place.flow === data.flow;
    this.chip = h("span", {class: "chip"}, h("span", {class: "dot"}), h("span"));
    const where = `${own ? data.file : place.flow}:${place.line}`;
    this.head.replaceChildren(
      h("div", {class: "sect"}, icon(data.icons[place.type] ?? "flow"), h("h2", {class: "name", id: "insp-name"}, this.id), this.chip, h("span", {class: "sp"}),
        h("button", {class: "btn icon sm", type: "button", "aria-label": t("flow.close"), title: t("flow.close"), onclick: () => this.close()}, icon("x", "s"))),
      h("p", {class: "sub"}, h("span", {}, place.type), "·", own
        ? h("a", {class: "mono", href: "#insp-lines", onclick: (event) => { event.preventDefault(); this.config.scrollIntoView({block: "start"}); this.config.querySelector("pre")?.focus({preventScroll: true}); }}, where)
        : h("a", {class: "mono", href: `/flows/${encodeURIComponent(place.flow)}#node=${encodeURIComponent(this.id)}`}, t("flow.other-flow", {flow: place.flow}))));
    this.error = h("p", {class: "trouble", hidden: true});
    const kpi = (word, title = "") => { const figure = h("b"), unit = h("small"); return {figure, unit, box: h("div", {title: title || null}, h("span", {class: "fig"}, figure, unit), h("span", {}, t(word)))}; };
    this.figures = {rate: kpi("flow.rate"), time: kpi("flow.time-mean", t("flow.time-means")), inbox: kpi("flow.inbox"), errors: kpi("flow.errors")};
    this.more = h("p", {class: "hint"});
    this.kpis.replaceChildren(h("div", {class: "kpis"}, Object.values(this.figures).map((one) => one.box)), this.error, this.more);
  }

  /** `facts` as on the box, with `figures`: {rate, time, inbox, size, errors}. */
  say(facts) {
    if (!this.place || !facts) return;
    const {t, lang, figures} = this, {rate, time, inbox, size, errors, trouble} = facts.figures;
    set(this.chip, {class: `chip ${facts.shape === "bad" ? "warn" : facts.shape === "on" ? "ok" : ""}`});
    const sign = facts.shape === "bad" ? "warn" : "dot";
    if (this.chip.dataset.sign !== sign) { this.chip.dataset.sign = sign; this.chip.firstChild.replaceWith(sign === "dot" ? h("span", {class: "dot"}) : icon("warn")); }
    text(this.chip.lastChild, facts.state);
    const put = (one, figure, unit = "") => { text(one.figure, figure); text(one.unit, unit); };
    put(figures.rate, ...rate);
    put(figures.time, ...time);
    put(figures.inbox, number(inbox, lang), size ? t("flow.of", {n: number(size, lang)}) : "");
    put(figures.errors, number(errors, lang));
    figures.errors.box.classList.toggle("bad", errors > 0);
    this.error.hidden = !trouble;
    text(this.error, trouble);
    if (performance.now() - this.asked > ASK_MS && live.state.connected) this.ask();
  }

  // ---- what is asked for --------------------------------------------------------------------------------------------

  async #get(path) {
    const serial = this.serial, answer = await fetch(path);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const told = await answer.json();
    return serial === this.serial ? told : null;
  }

  /** The newest messages and the newest decision, as they are now. */
  async ask() {
    this.asked = performance.now();
    const place = this.place;
    try {
      const node = await this.#get(this.path);
      if (node) this.#newest(node);
      if (!this.data.decides.includes(place.id)) return;
      const why = await this.#get(`${this.path}/why`);
      if (why) this.#decision(why);
    } catch (error) {
      if (!(error instanceof TypeError) && !/^\d+$/.test(error.message)) throw error; // away: the shell says so
    }
  }

  #newest(node) {
    const {t, lang} = this;
    const counts = [];
    const codes = Object.entries(node.errors).map(([code, n]) => `${code} ${number(n, lang)}`).join(", ");
    if (codes) counts.push(t("flow.errors-by-code", {codes}));
    if (node.restarts) counts.push(t("flow.restarts", {n: number(node.restarts, lang)}));
    const dropped = Object.entries(node.dropped), sum = dropped.reduce((all, [, n]) => all + n, 0);
    if (sum) counts.push(t("flow.dropped", {n: number(sum, lang), reasons: dropped.map(([why, n]) => `${why} ${number(n, lang)}`).join(", ")}));
    text(this.more, counts.join(" · "));
    const said = JSON.stringify(Object.entries(node.last).map(([port, one]) => [port, one.at, one.payload]));
    const ages = Object.entries(node.last);
    if (this.seen.newest !== said) {
      this.seen.newest = said;
      const open = new Set([...this.newest.querySelectorAll("details[open]")].map((one) => one.dataset.port));
      const first = !this.newest.childElementCount;
      this.newest.replaceChildren(h("div", {class: "sect"}, h("h3", {}, t("flow.newest"))),
        ...(ages.length ? ages.map(([port, one]) => h("details", {"data-port": port, open: first ? port === "out" : open.has(port)},
          h("summary", {}, h("b", {class: "mono"}, port), h("span", {class: "sp"}), h("time", {"data-age": port})), this.#message(port, one)))
          : [h("p", {class: "hint"}, t("flow.none-yet"))]));
    }
    for (const [port, one] of ages) {
      text(this.newest.querySelector(`[data-age="${CSS.escape(port)}"]`), age(one.age_s, lang));
      for (const [name, field] of Object.entries(one.fields)) {
        const cell = this.newest.querySelector(`[data-field="${CSS.escape(`${port}|${name}`)}"]`);
        if (cell) { text(cell, `${field.source} · ${age(field.age_s, lang)}${field.stale ? ` · ${field.reason ?? t("flow.state-stale")}` : ""}`); cell.className = field.stale ? "of stale" : "of"; }
      }
    }
  }

  /** A record as rows of field, value, and where that is from; anything else as a tree. */
  #message(port, one) {
    const {payload, fields} = one;
    if (payload === null || typeof payload !== "object" || Array.isArray(payload)) return h("div", {class: "whole"}, tree(payload));
    const names = [...new Set([...Object.keys(payload), ...Object.keys(fields)])];
    return h("dl", {class: "record"}, names.flatMap((name) => {
      const value = payload[name], unit = fields[name]?.unit;
      const said = value === undefined ? h("span", {class: "v null"}, "–") : typeof value === "number" ? h("span", {class: "v"}, `${number(value, this.lang)}${unit ? ` ${unit}` : ""}`) : tree(value);
      return [h("dt", {}, name), h("dd", {}, said, h("small", {class: "of", "data-field": `${port}|${name}`}))];
    }));
  }

  #decision(why) {
    const {t, lang} = this, said = JSON.stringify({...why, now: null});
    if (said === this.seen.why) return;
    this.seen.why = said;
    this.why.hidden = false;
    const at = why.at ? h("time", {class: "quiet"}, clock(Date.parse(why.at), this.zone, lang, true)) : null;
    const outcome = why.outcome ? h("span", {class: `chip ${["blocked", "above", "below", "unknown", "cannot be judged"].includes(why.outcome) ? "warn" : ["passed", "wish"].includes(why.outcome) ? "ok" : ""}`}, why.outcome) : null;
    const clauses = (why.detail.clauses ?? []).map((one) => {
      const tone = one.outcome === true ? "y" : one.outcome === false ? "n" : "w";
      return h("li", {class: tone}, icon(one.outcome === null ? "warn" : URGENT[one.outcome], "s"), h("span", {class: "mono"}, one.text),
        h("span", {class: "r mono"}, one.reason || (typeof one.value === "number" ? number(one.value, lang) : String(one.value ?? "–"))));
    });
    const rest = Object.entries(why.detail).filter(([name, one]) => name !== "clauses" && name !== "rules" && one !== null && one !== "" && typeof one !== "object");
    const guard = why.detail.guard;
    this.why.replaceChildren(h("div", {class: "sect"}, h("h3", {}, t("flow.decision")), outcome, h("span", {class: "sp"}), at),
      why.decided ? "" : h("p", {class: "hint"}, t("flow.no-decision")),
      why.reason ? h("p", {class: "hint"}, why.reason) : "", h("ul", {class: "why"}, clauses),
      rest.length ? h("dl", {class: "record"}, rest.flatMap(([name, one]) => [h("dt", {}, name), h("dd", {}, typeof one === "number" ? number(one, lang) : INSTANT.test(one) ? moment(Date.parse(one), this.zone, lang) : String(one))])) : "",
      guard?.decided ? h("p", {class: "hint"}, h("button", {class: "link", type: "button", onclick: () => this.go(guard.node.slice(guard.node.indexOf("/") + 1))}, guard.node.slice(guard.node.indexOf("/") + 1)), `: ${[guard.outcome, guard.text ?? guard.reason].filter(Boolean).join(", ")}`) : "");
  }

  // ---- the file -----------------------------------------------------------------------------------------------------

  async #lines() {
    const own = this.place.flow === this.data.flow;
    this.config.hidden = !own;
    if (!own) return;
    if (!this.file) {
      try {
        const told = await this.#get(`/api/v1/flows/${encodeURIComponent(this.data.flow)}/source`);
        if (!told) return;
        this.file = told;
      } catch (error) {
        if (!(error instanceof TypeError) && !/^\d+$/.test(error.message)) throw error;
        return this.config.replaceChildren(h("h3", {}, this.t("flow.config")), h("p", {class: "hint"}, this.t("flow.failed-part", {why: error.message})));
      }
    }
    this.#file();
  }

  /** Another file runs, or was refused: ask again when it is needed. */
  stale() {
    this.file = null;
    if (this.place) this.#lines();
  }

  #file() {
    const {file, t, id} = this, [first, last] = file.spans[id] ?? [1, file.lines.length];
    const mine = (line) => line >= first && line <= last;
    const begin = this.whole ? 1 : Math.max(1, first - 1), end = this.whole ? file.lines.length : Math.min(file.lines.length, last + 1);
    const wrong = file.refused.filter((one) => one.path.split(/[.[]/)[0] === id);
    const box = source(file.lines.slice(begin - 1, end), begin, (line) => (mine(line) ? "hl" : ""));
    this.config.replaceChildren(
      h("div", {class: "sect", id: "insp-lines"}, h("h3", {}, t("flow.config")), h("span", {class: "quiet"}, first === last ? t("flow.line", {n: first}) : t("flow.lines", {first, last})), h("span", {class: "sp"}),
        h("button", {class: "link", type: "button", onclick: () => { this.whole = !this.whole; this.#file(); }}, t(this.whole ? "flow.own-lines" : "flow.all-lines"))),
      box, ...(wrong.length ? [h("p", {class: "trouble"}, t("flow.newer-lines")), ...wrong.map((one) => finding(one, file.file, t))] : []));
    if (this.whole) box.querySelector(".hl")?.scrollIntoView({block: "center"});
  }

  async #reference() {
    if (this.card.childElementCount > 1) return;
    const {t} = this;
    let told;
    try {
      told = await this.#get(`${this.path}/reference`);
    } catch (error) {
      if (!(error instanceof TypeError) && !/^\d+$/.test(error.message)) throw error;
      this.card.append(h("p", {class: "hint"}, t("flow.failed-part", {why: error.message})));
      return;
    }
    if (!told || this.card.childElementCount > 1) return;
    const words = (one) => [one.wants, one.required ? t("flow.option-required") : one.default === null ? "" : t("flow.option-default", {value: one.default})].filter(Boolean).join(", ");
    this.card.append(h("div", {class: "reference"}, told.doc.split("\n\n").map((one) => h("p", {}, one.replaceAll("\n", " "))),
      h("p", {class: "hint"}, t("flow.ports", {ports: told.ports.join(", ")})),
      ...(told.example.length ? [h("h4", {}, t("flow.example")), source(told.example, 1)] : []),
      h("h4", {}, t("flow.options")), h("dl", {class: "options"}, told.options.flatMap((one) => [h("dt", {class: `d${Math.min(one.depth, 3)}`}, one.name), h("dd", {class: `d${Math.min(one.depth, 3)}`}, h("span", {}, words(one)), one.about ? ` ${one.about}` : "")]))));
  }

  #wires() {
    const {t, place, data} = this, wires = data.layout.wires;
    const list = (word, found, name) => (found.length ? [h("dt", {}, t(word)), h("dd", {}, found.map((one) => h("button", {class: "link mono", type: "button", onclick: () => this.go(name(one))}, `${name(one)}${one.port === "out" || name(one) !== one.from ? "" : `.${one.port}`}`)))] : []);
    const rows = [...list("flow.reads", wires.filter((one) => one.to === place.id), (one) => one.from), ...list("flow.read-by", wires.filter((one) => one.from === place.id), (one) => one.to)];
    this.wires.hidden = !rows.length;
    this.wires.replaceChildren(h("div", {class: "sect"}, h("h3", {}, t("flow.wires"))), h("dl", {class: "record wires"}, rows));
  }
}

/** What is wrong with a newer file: its lines, and below the one that is meant what it is. */
export function finding(one, file, t) {
  return h("div", {class: "finding"}, h("p", {class: "where"}, t("flow.problem-place", {file, line: one.line, column: one.column})),
    one.lines.length ? source(one.lines, one.first, (line) => (line === one.line ? "wrong" : ""), (line) => (line === one.line ? h("span", {class: "here"}, `${one.message}${one.hint ? `; ${one.hint}` : ""}\n`) : null))
      : h("p", {}, `${one.message}${one.hint ? `; ${one.hint}` : ""}`));
}
