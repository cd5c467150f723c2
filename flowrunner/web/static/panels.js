// Orders with their stories, alarms, events, the why card: when the stream says that something happened, the server is
// asked for that one tile, as it stands in the page. So there is one place that says how it looks, in every language.

import {live} from "./live.js";
import {send} from "./entries.js";

const LEAST_MS = 2000, AGAIN_MS = 60e3;

/** A part of this page, newly made by the server: the element of that id. Parsed as a document, so nothing in it runs. */
export function fragment(query, id) {
  return new Promise((resolve, reject) => {
    const asked = new XMLHttpRequest(), params = new URLSearchParams(query);
    asked.open("GET", `/?${params}`);
    asked.responseType = "document";
    asked.timeout = 15000;
    asked.onload = () => {
      const found = asked.status === 200 ? asked.response?.getElementById(id) : null;
      if (found) resolve(document.importNode(found, true));
      else reject(new Unanswered(`${params}: ${asked.status}`));
    };
    asked.onerror = asked.ontimeout = () => reject(new Unanswered(String(params)));
    asked.send();
  });
}

export class Unanswered extends Error {}

/** Put the children of ``made`` where those of ``element`` are; the focus stays where it was, as far as it is there. */
export function renew(element, made) {
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const again = active?.dataset.keep;
  element.replaceChildren(...made.childNodes);
  if (active) (again ? element.querySelector(`[data-keep="${CSS.escape(again)}"]`) : null)?.focus();
}

export function wirePanels(board, ask) {
  const kinds = {orders: Orders, alarms: Alarms, events: Panel, why: Panel};
  const made = board.tiles.filter((tile) => tile.tile in kinds).map((tile) => new kinds[tile.tile](tile, board, ask));
  made.push(new Standing(board));
  return {
    look() { for (const one of made) if (one.news()) one.soon(); },
    /** After a person has done something: do not wait for the stream to tell. */
    now() { for (const one of made) one.soon(); },
  };
}

class Panel {
  constructor(tile, board) {
    Object.assign(this, {tile, board, read: -LEAST_MS, waiting: null, mark: null});
    this.element = this.find();
  }

  find() { return document.getElementById(`tile-${this.tile.id}`); }

  /** A text that is another one when there is something new; ``counted``: what a node has received, sent and refused. */
  state(counted) {
    const nodes = this.tile.tile === "events" ? this.board.eventful : this.tile.from;
    const {alarms, trading, reload} = this.tile.tile === "why" ? {} : live.status ?? {};
    return JSON.stringify([alarms, trading, reload, nodes.map(counted)]);
  }

  news() {
    this.mark ??= this.state((name) => this.board.counted[name] ?? 0); // as it was when the server made the page
    const now = this.state((name) => { const one = live.nodes.get(name); return one ? [one.received, one.sent, one.errors] : 0; });
    const is = now !== this.mark;
    this.mark = now;
    return is;
  }

  soon() {
    this.waiting ??= setTimeout(async () => {
      this.waiting = null;
      if (document.hidden || live.state.connected !== true) { this.mark = ""; return; }
      this.read = performance.now();
      try {
        await this.load();
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error;
        this.mark = ""; // and asked again with the next delta
      }
    }, Math.max(50, LEAST_MS - (performance.now() - this.read)));
  }

  async load() { renew(this.element, await fragment({flow: this.board.flow, tile: this.tile.id, ...this.more()}, this.element.id)); }
  more() { return {}; }
}

class Orders extends Panel {
  constructor(...given) {
    super(...given);
    this.open = new Set();
    this.count = 0;
    this.element.addEventListener("click", (event) => {
      const more = event.target.closest("a[data-more]"), link = event.target.closest("a.order");
      if ((!link && !more) || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      if (more) { this.count = Number(more.dataset.more); this.read = -LEAST_MS; this.soon(); } else this.toggle(link.dataset.keep);
    });
    this.wire();
  }

  more() { return this.count ? {orders: this.count} : {}; }

  async load() {
    await super.load();
    this.wire();
    for (const name of this.open) await this.show(name);
  }

  wire() {
    for (const link of this.element.querySelectorAll("a.order")) { link.setAttribute("role", "button"); link.setAttribute("aria-expanded", "false"); }
  }

  async toggle(name) {
    if (this.open.delete(name)) {
      this.element.querySelector(`[data-story="${CSS.escape(name)}"]`)?.remove();
      this.link(name)?.setAttribute("aria-expanded", "false");
      return;
    }
    this.open.add(name);
    try { await this.show(name); } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      this.open.delete(name);
      location.assign(this.link(name).href);
    }
  }

  link(name) { return this.element.querySelector(`[data-keep="${CSS.escape(name)}"]`); }

  async show(name) {
    const made = await fragment({flow: this.board.flow, story: name}, "story");
    const link = this.link(name);
    if (!link) { this.open.delete(name); return; }
    if (!this.open.has(name)) return;
    link.setAttribute("aria-expanded", "true");
    this.element.querySelector(`[data-story="${CSS.escape(name)}"]`)?.remove();
    const row = made.querySelector("tr");
    link.closest("tr").after(row);
  }
}

class Alarms extends Panel {
  constructor(tile, board, ask) {
    super(tile, board, ask);
    this.wire();
  }

  wire() {
    this.element.addEventListener("click", async (event) => {
      const button = event.target.closest("[data-acknowledge]");
      if (!button) return;
      button.disabled = true;
      const told = await send(`/api/v1/alarms/${button.dataset.acknowledge}/acknowledge`, {by: this.board.person || "dashboard"});
      if (!told.ok) { button.disabled = false; button.title = told.detail; }
      this.read = -LEAST_MS;
      this.soon();
    });
    live.on("state", () => { for (const one of this.element.querySelectorAll("[data-acknowledge]")) one.disabled = live.state.connected === false; });
  }
}

/** What stands in the head: alarms that nobody has seen, where no tile has them, and what holds a market back. */
class Standing extends Alarms {
  constructor(board) {
    super({id: "", tile: "alarms", from: []}, board);
    setInterval(() => this.soon(), AGAIN_MS);
  }

  find() { return document.getElementById("standing"); }
  load() { return fragment({flow: this.board.flow, standing: 1}, "standing").then((made) => renew(this.element, made)); }
}
