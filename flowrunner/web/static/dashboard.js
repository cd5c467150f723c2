// The dashboard: moves what the server's page holds. Values by the live stream, the rest when something happened.

import {spark, svg} from "./chart.js";
import {ChartTile} from "./charts.js";
import {h, icon, quoted, text} from "./dom.js";
import {clock, day} from "./format.js";
import {live} from "./live.js";
import {Ask, wireButtons, wireForms, wireSwitch} from "./entries.js";
import {wirePanels} from "./panels.js";
import {bar, idOf, key, reading, sub} from "./reading.js";
import {page} from "./shell.js";

const TICK_MS = 250;
const MOST_OTHERS = 5;
const made = performance.getEntriesByType("navigation")[0]?.responseStart ?? 0;
const {data, t, lang, locale} = page;
const board = {
  ...data, t, lang, locale,
  slots: new Map(),
  known(name) { return live.values.get(name) ?? this.given[name]?.at(-1) ?? null; },
  /** What is known of it for each site or device; there is at least one. */
  sites(name) { return live.sites.has(name) ? [...live.sites.get(name).values()] : this.given[name] ?? [null]; },
  /** The flow's time; before the stream has told it, from when the page was made. */
  now: () => (live.offset === null ? data.at + (performance.now() - made) * data.speed : live.now()),
};
const tiles = data.tiles.filter((tile) => tile.tile === "value" || tile.tile === "power");
const lines = data.tiles.filter((tile) => tile.tile === "table").flatMap((tile) => tile.lines);
for (const [name, rows] of Object.entries(data.given)) {
  const one = rows.at(-1);
  if (one.since && one.until) board.slots.set(name, one.until - one.since);
}

const off = () => live.state.connected === false;

/** What is known of a value, with the begin of its interval, which the stream leaves out. */
const known = (name) => begun(name, board.known(name));

function begun(name, row) {
  const slot = board.slots.get(name);
  return row && slot && row.until && !row.since ? {...row, since: row.until - slot} : row;
}

function context() {
  return {t, lang, zone: data.zone, now: board.now(), sources: data.sources, off: off()};
}

/** Why there may be no value: as the server said it, or what the stream says of the node now. */
function causeOf(tile) {
  const node = live.nodes.get(tile.node);
  if (!node) return data.causes[tile.node] ?? ["", ""];
  if (node.connected !== false) return ["", ""];
  return [t("dashboard.peer-away", {node: idOf(tile.node)}), node.last_error ?? ""];
}

/** A sentence, and behind it what the engine says. */
function words(element, [said, engine], more = "") {
  const all = `${said}|${engine}|${more}`;
  if (!element || element.dataset.said === all) return;
  element.dataset.said = all;
  element.replaceChildren(said, ...(engine ? [" ", quoted(engine)] : []), ...(more ? [` ${more}`] : []));
}

const part = (element, name) => element.querySelector(`[data-part=${name}]`);

function source(element, found) {
  const said = `${found.icon}|${found.source}|${found.node}`;
  if (!element || element.dataset.said === said) return;
  element.dataset.said = said;
  element.title = found.node ? t("dashboard.from-node", {source: found.source, node: found.node}) : found.source;
  const words = found.short ? [h("span", {class: "long"}, found.source), " ", h("span", {class: "short"}, found.short)] : [h("span", {}, found.source)];
  element.replaceChildren(icon(found.icon), ...words, " ", h("span", {class: "at"}, found.node));
}

class ValueTile {
  constructor(tile) {
    this.tile = tile;
    this.element = document.getElementById(`tile-${tile.id}`);
    this.key = key(tile);
  }

  /** The sites in the order of their names: the figure does not jump from one to the other. */
  rows() {
    const found = board.sites(this.key).map((row) => begun(this.key, row));
    return found.length > 1 ? found.sort((one, other) => (one.key < other.key ? -1 : 1)) : found;
  }

  /** What it says of each site; the first stands large. */
  show(context) {
    const [row, ...rest] = this.rows(), {element, tile} = this, found = reading(tile, row, causeOf(tile), context);
    const classes = ["", "man", "stale", "none", "plan"].filter((one) => one);
    for (const one of classes) element.classList.toggle(one, one === found.state);
    text(part(element, "figure"), found.figure);
    text(part(element, "unit"), found.unit);
    element.querySelector(".big").classList.toggle("text", found.number === null && found.figure !== "–");
    text(part(element, "key"), found.key);
    words(part(element, "cause"), found.cause);
    text(part(element, "age"), found.age);
    source(part(element, "source"), found);
    this.below(sub(tile, row, found.number, context));
    this.draw(bar(tile, found.number));
    const others = rest.map((one) => reading(tile, one, causeOf(tile), context));
    this.others(others);
    return [found, ...others];
  }

  others(all) {
    const element = part(this.element, "others"), found = all.slice(0, MOST_OTHERS), left = all.length - found.length;
    const said = JSON.stringify([found.map(({key, figure, unit, age, state}) => [key, figure, unit, age, state]), left]);
    if (!element || element.dataset.said === said) return;
    element.dataset.said = said;
    element.replaceChildren(
      ...found.map((one) => h("li", {class: one.state}, h("span", {class: "key"}, one.key), h("b", {}, `${one.figure} ${one.unit}`.trim()), h("small", {}, one.state === "stale" || one.state === "none" ? `${one.source} ${one.age}` : one.age))),
      ...(left > 0 ? [h("li", {}, t("dashboard.keys-more", {n: left}))] : []),
    );
  }

  below(parts) {
    const said = JSON.stringify(parts), element = part(this.element, "sub");
    if (element.dataset.said === said) return;
    element.dataset.said = said;
    element.replaceChildren(...parts.flatMap((one, place) => [place ? " " : "", h("span", {class: one.tone}, one.icon && icon(one.icon, "s"), one.text)]));
  }

  /** The last hours of what has no bar, where a chart of the page knows them. */
  curve() {
    const box = part(this.element, "spark"), now = board.now();
    if (!box) return;
    for (const chart of charts) for (const lane of chart.data.lanes) for (const one of lane.series) {
      if (one.key !== this.key || one.site !== (this.rows()[0]?.key ?? "")) continue;
      const path = spark(one.points.filter(([at]) => at <= now), lane.kind, {width: 220, height: 22});
      if (path) box.replaceChildren(svg("path", {class: "curve", d: path}));
    }
  }

  draw(found) {
    const fill = part(this.element, "bar")?.querySelector(".fill");
    if (!fill || !found) return;
    fill.setAttribute("x", found.x.toFixed(1));
    fill.setAttribute("width", found.width.toFixed(1));
    fill.setAttribute("class", `fill ${found.tone}`);
  }
}

const shown = tiles.map((tile) => new ValueTile(tile));
const charts = data.tiles.filter((tile) => tile.tile === "chart" && document.querySelector(`#tile-${tile.id} [data-part=series]`)).map((tile) => new ChartTile(tile, board));

function showAll() {
  const now = context(), found = shown.flatMap((tile) => tile.show(now).map((one) => [tile.tile, one]));
  for (const line of lines) {
    const row = document.querySelector(`[data-line="${CSS.escape(key(line))}"]`);
    if (!row) continue;
    const said = reading(line, known(key(line)), causeOf(line), now);
    row.className = `line ${said.state}`;
    text(part(row, "figure"), said.figure);
    text(part(row, "unit"), said.unit);
    text(part(row, "age"), said.age);
    text(part(row, "key"), said.key);
    source(part(row, "source"), said);
  }
  const automatic = document.querySelector("#automatic span:last-child");
  if (automatic) text(automatic, t("dashboard.automatic-of", {n: found.filter(([, one]) => one.state === "" ).length, all: found.length}));
  banners(found);
  ready();
}

// ---- head and banners ---------------------------------------------------------------------------------------

function ready() {
  const chip = document.getElementById("ready");
  const own = [...live.nodes].filter(([name]) => name.startsWith(`${data.flow}/`)).map(([, one]) => one);
  if (!own.length && !off()) return;
  const good = own.every((one) => ["running", "finished"].includes(one.state) && one.connected !== false);
  const [tone, words] = off() ? ["line", "dashboard.state-unknown"] : good ? ["ok", "dashboard.ready"] : ["warn", "dashboard.not-ready"];
  chip.className = `chip ${tone}`;
  text(chip.lastElementChild, t(words));
}

const hidden = new Set();
let saidBanners = "";

function banners(found) {
  if (off()) return; // the shell says what is wrong now
  const bad = found.filter(([, one]) => one.state === "stale" || one.state === "none");
  const stopped = live.status?.trading?.stopped ? live.status.trading : null;
  const list = [];
  if (stopped) list.push({key: "stopped", tone: "alarmb", head: t("dashboard.stopped"), cause: [stoppedText(stopped), ""], more: "", place: "", href: ""});
  const groups = new Map();
  for (const [tile, one] of bad) {
    const node = one.node || idOf(tile.node), name = `${one.state}:${node}`;
    groups.set(name, [...(groups.get(name) ?? []), {tile, one, node}]);
  }
  for (const [name, group] of [...groups].slice(0, 3)) {
    const {tile, one, node} = group[0], titles = group.map((each) => (each.one.key ? `${each.tile.title[lang]} (${each.one.key})` : each.tile.title[lang]));
    const blocked = group.some((each) => data.guarded.includes(each.tile.field)) ? t("dashboard.banner-blocked") : "";
    list.push({
      key: name, tone: "", head: t(one.state === "none" ? "dashboard.banner-none" : titles.length > 1 ? "dashboard.banner-stale-n" : "dashboard.banner-stale", {title: together(titles)}),
      cause: one.cause, more: blocked, hide: true, href: `/flows/${encodeURIComponent(data.flow)}#node=${encodeURIComponent(node)}`,
      place: t("dashboard.banner-node", {node, place: data.places[`${data.flow}/${node}`] ?? `${tile.file}:${tile.line}`}),
    });
  }
  const left = list.filter((one) => !hidden.has(one.key));
  for (const one of hidden) if (!list.some((other) => other.key === one)) hidden.delete(one);
  const said = JSON.stringify(left.map((one) => [one.key, one.head, one.place]));
  const box = document.getElementById("banners");
  if (said !== saidBanners) {
    saidBanners = said;
    box.replaceChildren(...left.map(bannerOf));
    text(document.getElementById("said"), left.map((one) => one.head).join(" "));
  }
  for (const one of left) words(box.querySelector(`[data-banner="${CSS.escape(one.key)}"] .more`), one.cause, one.more);
}

const together = (titles) => (titles.length < 2 ? titles.join("") : t("dashboard.and", {first: titles.slice(0, -1).join(", "), last: titles.at(-1)}));

function stoppedText({by, reason, since}) {
  const given = {name: by || "?", reason: reason || t("dashboard.no-reason")};
  if (since === null || since === undefined) return t("dashboard.stopped-by-only", given);
  const on = day(since, data.zone, lang), at = clock(since, data.zone, lang);
  return t("dashboard.stopped-by", {...given, time: on === day(board.now(), data.zone, lang) ? at : `${on}, ${at}`});
}

function bannerOf(one) {
  const hide = one.hide ? h("button", {class: "btn sm", type: "button"}, t("dashboard.banner-hide")) : "";
  if (hide) hide.addEventListener("click", () => { hidden.add(one.key); saidBanners = ""; showAll(); });
  return h("div", {class: `banner ${one.tone}`, "data-banner": one.key}, icon("warn"),
    h("p", {}, h("b", {}, one.head), " ", h("span", {class: "more"}), ...(one.place ? [h("br"), h("small", {}, one.place)] : [])),
    ...(one.href ? [h("a", {class: "btn sm", href: one.href}, t("dashboard.to-node"))] : []), hide);
}

// ---- period of the charts --------------------------------------------------------------------------------------

for (const link of document.querySelectorAll("[data-span]")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    for (const other of document.querySelectorAll("[data-span]")) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    board.span = link.dataset.span;
    history.replaceState(null, "", link.getAttribute("href"));
    for (const chart of charts) chart.load();
  });
}

// ---- begin ---------------------------------------------------------------------------------------------------

const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (mine !== data.zone) document.getElementById("zone")?.removeAttribute("hidden");
const ask = new Ask(document.getElementById("ask"), board);
wireForms(board, ask, known);
wireButtons(board, ask);
wireSwitch(board, ask);
const panels = wirePanels(board, ask);

/** After a reload the tiles and their limits may be others: the page comes anew, once nobody is in the middle of an entry. */
function renew() {
  if (live.generation === null || live.generation === data.generation || renew.asked) return;
  if (document.querySelector("dialog[open]") || [...document.querySelectorAll("form[data-entry] input")].some((one) => one.value)) return;
  renew.asked = true;
  location.reload();
}

let due = false;
function soon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; showAll(); });
}
for (const event of ["snapshot", "delta"]) {
  live.on(event, () => {
    soon();
    panels.look();
    for (const chart of charts) chart.live(live.sites, board.now());
    renew();
  });
}
live.on("state", soon);
setInterval(() => { if (!document.hidden) showAll(); }, TICK_MS);
function drawAgain() {
  for (const chart of charts) chart.show();
  for (const one of shown) one.curve();
}
setInterval(() => { if (!document.hidden && live.state.connected) drawAgain(); }, 15000);
for (const one of shown) one.curve();
live.start();
