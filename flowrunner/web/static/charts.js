// The chart tiles: the period, the pointer, new values at the end. The series come with the tile, made by the server.

import {clock, draw} from "./chart.js";
import {h} from "./dom.js";
import {duration, number} from "./format.js";
import {live} from "./live.js";
import {fragment, renew, Unanswered} from "./panels.js";
import {figureOf} from "./reading.js";

const AGAIN_MS = 5 * 60e3;

export class ChartTile {
  constructor(tile, board) {
    Object.assign(this, {tile, board, data: null, drawn: null, at: null, width: 0, wanted: 0});
    this.element = document.getElementById(`tile-${tile.id}`);
    this.take();
    setInterval(() => { if (live.state.connected === true && !document.hidden) this.load(); }, AGAIN_MS);
  }

  size() { return `${Math.round(this.plot.clientWidth)}×${Math.round(this.plot.clientHeight)}`; }

  /** What the server has put into the tile. */
  take() {
    this.plot = this.element.querySelector("[data-part=plot]");
    if (!this.plot) { this.data = {lanes: [], from: 0, to: 0}; return; } // it cannot be read now; the tile says why
    this.data = JSON.parse(this.element.querySelector("[data-part=series]").textContent);
    this.made = this.board.now();
    this.tip = h("div", {class: "tip", hidden: true, "aria-hidden": "true"});
    this.sizes?.disconnect();
    this.sizes = new ResizeObserver(() => { if (this.size() !== this.drawnAt) this.show(); });
    this.sizes.observe(this.plot);
    this.plot.addEventListener("pointermove", (event) => this.point(event.clientX - this.plot.getBoundingClientRect().left));
    for (const event of ["pointerleave", "blur"]) this.plot.addEventListener(event, () => this.point(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.show();
  }

  async load() {
    const wanted = ++this.wanted;
    this.plot?.classList.add("waits");
    try {
      const made = await fragment({flow: this.board.flow, tile: this.tile.id, ...(this.board.span ? {span: this.board.span} : {})}, this.element.id);
      if (wanted !== this.wanted) return;
      const open = this.element.querySelector("details")?.open;
      renew(this.element, made);
      this.element.querySelector("details")?.toggleAttribute("open", Boolean(open));
      this.take();
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      this.plot?.classList.remove("waits");
    }
  }

  /** From when to when: a period that ends now goes on with it. */
  bounds() {
    const {from, to, slides} = this.data, on = slides ? Math.max(0, this.board.now() - this.made) : 0;
    return {from: from + on, to: to + on};
  }

  show() {
    if (!this.plot) return;
    const {board, data, plot} = this, {t, lang, locale, zone} = board;
    this.width = Math.round(plot.clientWidth);
    this.drawnAt = this.size();
    if (!this.width || !data.lanes.length) return;
    const words = {gap: (ms) => t("dashboard.gap", {time: duration(ms / 1000, lang)}), nothing: t("dashboard.nothing-then")};
    this.drawn = draw(plot, {...data, ...this.bounds(), now: board.now(), zone, locale, words, title: plot.getAttribute("aria-label"), number: (value) => number(value, lang, null)});
    plot.append(this.tip);
    if (this.at !== null) this.mark(this.at);
  }

  /** A new value at the end of a line, so that the chart lives between two loads. */
  live(sites, now) {
    if (!this.data.slides && this.data.to < now) return;
    for (const lane of this.data.lanes) for (const one of lane.series) {
      const known = sites.get(one.key)?.get(one.site), last = one.points.at(-1);
      if (one.every && typeof known?.value === "number" && !known.stale && known.at >= (last?.[0] ?? 0) + one.every) one.points.push([known.at, known.value]);
    }
  }

  point(px) {
    if (this.drawn && px !== null) return this.mark(this.drawn.at(px));
    this.at = null;
    this.drawn?.guide(null);
    this.tip.hidden = true;
  }

  key(event) {
    if (!this.drawn || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
    event.preventDefault();
    if (event.key === "Escape") { this.point(null); return; }
    const {from, to} = this.drawn, step = (to - from) / 96, at = this.at ?? Math.min(this.board.now(), to);
    const wanted = {Home: from, End: to, ArrowLeft: at - step, ArrowRight: at + step}[event.key];
    this.mark(Math.min(to, Math.max(from, wanted)));
  }

  mark(at) {
    this.at = at;
    this.drawn.guide(at);
    const {zone, locale, lang, t} = this.board, {from, to} = this.drawn;
    const day = to - from > 26 * 3600e3 ? `${new Intl.DateTimeFormat(locale, {timeZone: zone, day: "numeric", month: "short"}).format(at)} ` : "";
    const lines = this.data.lanes.flatMap((lane) => lane.series.map((one) => {
      const [value, planned] = valueAt(one, at, this.board.now());
      const text = value === null ? "–" : `${figureOf(value, lane.raw_unit, lane.decimals, lang)} ${lane.unit}`;
      return h("span", {}, one.title, h("em", {}, planned ? `${text} (${t("dashboard.planned")})` : text));
    }));
    this.tip.replaceChildren(h("b", {}, `${day}${clock(at, zone)}`), ...lines);
    this.tip.hidden = false;
    const x = this.drawn.x(at), right = x > this.width / 2;
    this.tip.style.left = right ? "auto" : `${x + 10}px`;
    this.tip.style.right = right ? `${this.width - x + 10}px` : "auto";
  }
}

/** [value, whether it is planned]: what was known at an instant. A gap has none, and neither has what is long past; of
 * what is to come nothing is known but what is planned. */
export function valueAt({points, ahead = [], every = 0}, at, now) {
  let low = 0, high = points.length;
  while (low < high) { const middle = (low + high) >> 1; if (points[middle][0] <= at) low = middle + 1; else high = middle; }
  const before = points[low - 1];
  if (at <= now && before && before[1] !== null && (low < points.length || at - before[0] <= Math.max(every * 1.5, 15 * 60e3))) return [before[1], false];
  const slot = ahead.find(([begin, end]) => at >= begin && at < end);
  return slot ? [slot[2], true] : [null, false];
}
