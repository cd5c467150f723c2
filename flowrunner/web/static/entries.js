// What a person says to the flows: entries by hand, buttons, the kill switch. Each is asked once more before it is sent.

import {icon, quoted} from "./dom.js";
import {clock, number} from "./format.js";
import {live} from "./live.js";
import {figureOf, reading, unitText} from "./reading.js";
import {notice, post, Refused} from "./shell.js";

/** The one dialog of the page. ``ask(…)`` resolves to the reason, or to null where the person would rather not. */
export class Ask {
  constructor(element, board) {
    Object.assign(this, {element, board});
    const by = (name) => element.querySelector(`#ask-${name}`);
    Object.assign(this, {head: by("head"), words: by("text"), why: by("why"), reason: by("reason"), error: by("error"), yes: by("yes"), no: by("no")});
    this.no.addEventListener("click", () => element.close("no"));
    element.addEventListener("close", () => this.done(element.returnValue === "yes"));
    element.querySelector("form").addEventListener("submit", (event) => {
      if (this.needsReason && !this.reason.value.trim()) {
        event.preventDefault();
        this.error.textContent = board.t("dashboard.form-why-missing");
        this.reason.focus();
      }
    });
  }

  ask({head, text, yes, danger = false, needsReason = false}) {
    this.head.textContent = head;
    this.words.textContent = text;
    this.yes.textContent = yes;
    this.yes.className = `btn ${danger ? "danger" : "pri"}`;
    this.needsReason = needsReason;
    this.why.hidden = !needsReason;
    this.reason.value = this.error.textContent = "";
    this.element.returnValue = "";
    this.before = document.activeElement;
    this.element.showModal();
    (needsReason ? this.reason : this.no).focus();
    return new Promise((resolve) => { this.resolve = resolve; });
  }

  done(sure) {
    const {resolve} = this;
    this.resolve = null;
    this.before?.focus?.();
    resolve?.(sure ? this.reason.value.trim() : null);
  }
}

/** Send, and say in words what came of it: {ok, detail, engine, answer}; ``engine``: the detail is the server's own. */
export async function send(path, body) {
  try {
    return {ok: true, detail: "", engine: false, answer: await post(path, body)};
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return {ok: false, detail: error.message, engine: error.status > 0, answer: null};
  }
}

/** What a person means by a number: a comma or a point before the digits that follow; null: nobody can tell. */
export function numberOf(text, lang) {
  const plain = text.trim().replace("−", "-").replace(/[\s  ]/g, "");
  if (lang === "de") {
    if (/^[+-]?\d{1,3}(\.\d{3})+(,\d+)?$/.test(plain)) return null; // 1.234: a thousand, or one and a bit?
    return /^[+-]?(\d+([.,]\d*)?|[.,]\d+)$/.test(plain) ? Number(plain.replace(",", ".")) : undefined;
  }
  if (/^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$/.test(plain)) return null;
  return /^[+-]?(\d+(\.\d*)?|\.\d+)$/.test(plain) ? Number(plain) : undefined;
}

export function wireForms(board, ask, known) {
  for (const form of document.querySelectorAll("form[data-entry]")) {
    new EntryForm(form, board.tiles.find((tile) => tile.id === Number(form.dataset.entry)), board, ask, known);
  }
}

class EntryForm {
  constructor(form, tile, board, ask, known) {
    Object.assign(this, {form, tile, board, ask, known});
    this.by = (name) => form.querySelector(`[data-part=${name}]`);
    this.locked = form.parentElement.querySelector("[data-part=locked]");
    this.path = `/api/v1/flows/${encodeURIComponent(board.flow)}/nodes/${encodeURIComponent(tile.node.slice(tile.node.indexOf("/") + 1))}/values`;
    form.field.addEventListener("change", () => this.choose());
    form.value.addEventListener("input", () => this.wrong(""));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.set(); });
    this.by("back").addEventListener("click", () => this.takeBack());
    live.on("state", () => this.lock());
    live.on("delta", () => this.offerBack());
    live.on("snapshot", () => this.offerBack());
    setInterval(() => this.until(), 1000);
    this.choose();
    this.lock();
  }

  get field() { return {name: this.form.field.value, ...this.tile.fields[this.form.field.value]}; }

  title() { const {title, name} = this.field; return title?.[this.board.lang] ?? title?.en ?? name; }

  range({min, max}) {
    const {t, lang} = this.board, said = (one) => number(one, lang, null), has = (one) => typeof one === "number";
    if (has(min) && has(max)) return t("dashboard.form-range", {min: said(min), max: said(max)});
    return has(min) ? t("dashboard.form-from", {min: said(min)}) : has(max) ? t("dashboard.form-up-to", {max: said(max)}) : "";
  }

  choose() {
    this.by("unit").textContent = unitText(this.field.unit);
    this.by("range").textContent = this.range(this.field);
    this.wrong("");
    this.until();
    this.offerBack();
  }

  until() {
    const {t, lang, zone} = this.board, seconds = this.tile.expires_after_s;
    const said = seconds ? clock(this.board.now() + seconds * 1000, zone, lang) : t("dashboard.form-no-expiry");
    if (this.by("until").textContent !== said) this.by("until").textContent = said;
  }

  /** What the flow uses of the field now: a tile's value where one shows it. */
  used() {
    const tile = this.board.tiles.find((one) => (one.tile === "value" || one.tile === "power") && one.field === this.field.name);
    return tile ? [tile, this.known(`${tile.node}|${tile.port ?? "out"}|${tile.field}`)] : [null, null];
  }

  own() { return this.board.known(`${this.tile.node}|out|${this.field.name}`); }

  offerBack() {
    const [, used] = this.used(), own = this.own(), now = this.board.now();
    const holds = (one) => one && one.origin === "manual" && typeof one.value === "number" && !(one.until && now >= one.until);
    this.by("back").hidden = !(holds(own) || holds(used));
  }

  lock() {
    if ("denied" in this.form.querySelector("fieldset").dataset) return; // the page says why
    this.locked.hidden = live.state.connected !== false;
    this.locked.lastElementChild.textContent = this.board.t("dashboard.form-away");
  }

  /** ``engine``: it is what the server says, in its own words. */
  wrong(text, where = "value-box", engine = false) {
    this.by("error").replaceChildren(engine ? quoted(text) : text);
    for (const box of ["value-box", "reason-box"]) this.by(box)?.classList.toggle("bad", Boolean(text) && box === where);
    this.form.value.toggleAttribute("aria-invalid", Boolean(text) && where === "value-box");
    if (text) this.say("");
  }

  say(text, bad = false) {
    this.by("said").textContent = text;
    this.by("said").classList.toggle("bad", bad);
  }

  async set() {
    const {t, lang} = this.board, field = this.field, raw = this.form.value.value, reason = this.form.reason.value.trim();
    if (!raw.trim()) { this.wrong(t("dashboard.form-missing")); return this.form.value.focus(); }
    const value = numberOf(raw, lang);
    if (value === undefined || value === null) {
      this.wrong(value === null ? t("dashboard.form-ambiguous") : t("dashboard.form-not-number", {text: raw.trim().slice(0, 40)}));
      return this.form.value.focus();
    }
    if ((typeof field.min === "number" && value < field.min) || (typeof field.max === "number" && value > field.max)) {
      this.wrong(t("dashboard.form-outside", {range: this.range(field)}));
      return this.form.value.focus();
    }
    if (!reason) { this.wrong(t("dashboard.form-why-missing"), "reason-box"); return this.form.reason.focus(); }
    const then = `${figureOf(value, field.unit, null, lang)} ${unitText(field.unit)}`.trim();
    const sure = await this.ask.ask({head: t("dashboard.form-confirm", {field: this.title()}), text: this.overwrites(then), yes: t("dashboard.yes")});
    if (sure === null) return;
    await this.enter({[field.name]: value}, reason, t("dashboard.form-done", {field: this.title(), value: then}));
  }

  overwrites(then) {
    const {t, lang, zone, sources} = this.board, [tile, row] = this.used(), now = this.board.now();
    const found = tile && row ? reading(tile, row, ["", ""], {t, lang, zone, now, sources, off: false}) : null;
    if (!found || found.state === "none") return t("dashboard.form-overwrites-none", {then});
    return `${t("dashboard.form-overwrites", {now: `${found.figure} ${found.unit}`.trim(), source: [`${found.source} ${found.node}`.trim(), found.key, found.age].filter(Boolean).join(", "), then})} ${t(this.tile.overrides ? "dashboard.form-takes-over" : "dashboard.form-counts")}`;
  }

  async takeBack() {
    const {t} = this.board;
    const sure = await this.ask.ask({head: t("dashboard.form-confirm-back", {field: this.title()}), text: t("dashboard.form-back-text"), yes: t("dashboard.yes-back")});
    if (sure === null) return;
    await this.enter({[this.field.name]: null}, this.form.reason.value.trim(), t("dashboard.form-done-back", {field: this.title()}));
  }

  async enter(values, reason, done) {
    const told = await send(this.path, {values, reason});
    if (!told.ok) return this.wrong(told.detail, "value-box", told.engine);
    this.wrong("");
    this.form.value.value = this.form.reason.value = "";
    this.say(done);
  }
}

export function wireButtons(board, ask) {
  const {t, lang} = board;
  for (const form of document.querySelectorAll("form[data-button]")) {
    const tile = board.tiles.find((one) => one.id === Number(form.dataset.button)), word = form.querySelector("[data-part=said]");
    const title = tile.title[lang] ?? tile.title.en, node = tile.node.slice(tile.node.indexOf("/") + 1);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const {values} = tile, shown = Object.entries(values).map(([name, value]) => said(tile.fields[name], name, value, lang)).join(", ");
      if (tile.confirm && (await ask.ask({head: t("dashboard.button-confirm", {title}), text: shown, yes: title})) === null) return;
      const told = await send(`/api/v1/flows/${encodeURIComponent(board.flow)}/nodes/${encodeURIComponent(node)}/values`, {values, reason: title});
      word.replaceChildren(...(told.ok ? [t("dashboard.button-done")] : failed(t, told)));
      word.classList.toggle("bad", !told.ok);
    });
  }
}

/** That it failed, and what the server says of it. */
function failed(t, {detail, engine}) {
  return [t("dashboard.failed"), " ", engine ? quoted(detail) : detail];
}

function said(field, name, value, lang) {
  return `${field?.title?.[lang] ?? name}: ${figureOf(value, field?.unit, null, lang)} ${unitText(field?.unit)}`.trim();
}

export function wireSwitch(board, ask) {
  const button = document.getElementById("switch"), {t} = board;
  if (!button) return;
  const stopped = () => (live.status?.trading ? live.status.trading.stopped : button.dataset.stopped === "yes");
  const show = () => {
    const now = stopped();
    button.querySelector(".long").textContent = t(now ? "dashboard.resume" : "dashboard.stop");
    button.querySelector(".short").textContent = t(now ? "dashboard.resume-short" : "dashboard.stop-short");
    button.classList.toggle("stop", !now);
    const sign = now ? "play" : "stop";
    if (button.dataset.sign !== sign) button.firstElementChild.replaceWith(icon(button.dataset.sign = sign));
    button.disabled = "denied" in button.dataset || live.state.connected !== true;
  };
  button.addEventListener("click", async () => {
    const resume = stopped();
    const reason = await ask.ask(resume
      ? {head: t("dashboard.resume-ask"), text: t("dashboard.resume-text"), yes: t("dashboard.resume"), needsReason: true}
      : {head: t("dashboard.stop-ask"), text: t("dashboard.stop-text"), yes: t("dashboard.stop"), danger: true, needsReason: true});
    if (reason === null) return;
    const told = await send(`/api/v1/trading/${resume ? "resume" : "stop"}`, {reason});
    if (told.ok) button.dataset.stopped = told.answer.stopped ? "yes" : "no";
    else notice(failed(t, told), "alarm");
    show();
  });
  for (const event of ["snapshot", "delta", "state"]) live.on(event, show);
}
