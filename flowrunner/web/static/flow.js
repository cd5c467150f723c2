// The flow page: figures of the live stream onto boxes and rows, the address, the search, and what is opened.

import {h, icon, set, text} from "./dom.js";
import {brief, figures, rateOf, rateText, sample, split, timeText, turn} from "./figures.js";
import {age, clock, moment, number} from "./format.js";
import {Graph} from "./graph.js";
import {finding, Inspector} from "./inspector.js";
import {live} from "./live.js";
import {page} from "./shell.js";
import {Strip} from "./strip.js";

const ACTIVE_MS = 600000, SAMPLE_MS = 1000, WORK_MS = 2000, STRIP_MS = 5000, ROWS_MS = 3000, PHONE = 720, FOUND = 12;
const {data, t, lang} = page;
const by = (id) => document.getElementById(id);
const box = by("flow"), prefix = `${data.flow}/`;
const address = (place) => (place.flow === data.flow ? prefix + place.id : place.id);
const local = (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : name);
let rows = new Map([...document.querySelectorAll("#nodes tbody tr")].map((row) => [row.dataset.node, row]));
let work = {at: 0, nodes: {}}, before = null, errors = new Map();

// ---- the address: #node=…&view=…&show=… ------------------------------------------------------------------------------

const asked = new URLSearchParams(location.hash.slice(1));
const state = {node: asked.get("node"), view: ["graph", "table"].includes(asked.get("view")) ? asked.get("view") : null, show: ["value", "rate", "time"].includes(asked.get("show")) ? asked.get("show") : "value"};
const chosenView = () => state.view ?? (innerWidth < PHONE ? "table" : "graph");

function remember() {
  const told = new URLSearchParams();
  if (state.node) told.set("node", state.node);
  if (state.view) told.set("view", state.view);
  if (state.show !== "value") told.set("show", state.show);
  history.replaceState(null, "", `${location.pathname}${location.search}${told.size ? `#${told}` : ""}`);
}

// ---- parts ---------------------------------------------------------------------------------------------------------

/** On a narrow window the inspector lies over the picture; on a phone over all of it. */
function covered() {
  const aside = by("insp");
  return aside.hidden || innerWidth <= PHONE || getComputedStyle(aside).position !== "fixed" ? 0 : aside.offsetWidth;
}

const graph = new Graph(by("canvas"), {icons: data.icons, open: (name, focus) => open(name, focus), covered});
const strip = new Strip(by("strip"), {t, lang, zone: data.zone, open: (name) => { open(name); graph.go(name); }, choose: (at) => goTo(at)});
const inspector = new Inspector(by("insp"), {page, close: () => open(null), go: (name) => { open(name); graph.go(name); }});
graph.take(data.layout);

let from = null;
function open(name, focus = false) {
  if (name !== null && !graph.named.has(name)) {
    note("gone", "", t("flow.gone", {node: name}));
    name = null;
  }
  const was = state.node;
  if (name !== null && was === null) from = document.activeElement;
  state.node = name;
  box.classList.toggle("opened", name !== null);
  graph.mark(name);
  inspector.show(name, focus);
  graph.resize();
  if (name !== null) { showNode(name); requestAnimationFrame(() => graph.reveal(name)); }
  for (const [id, row] of rows) row.classList.toggle("chosen", id === name);
  if (name === null && was !== null) {
    const back = chosenView() === "graph" ? by("canvas") : rows.get(was)?.querySelector("a");
    (from?.isConnected && from !== document.body ? from : back)?.focus({preventScroll: true});
  }
  remember();
}

function view() {
  const now = chosenView(), table = now === "table";
  box.dataset.view = now;
  for (const one of document.querySelectorAll(".views button")) set(one, {"aria-pressed": String(one.dataset.view === now)});
  for (const name of ["canvas", "legend", "zoom"]) by(name).hidden = table || !data.layout.nodes.length;
  by("sheet").classList.toggle("aside", !table && data.layout.nodes.length > 0);
  for (const one of by("sheet").querySelectorAll("a, button")) one.tabIndex = table ? 0 : -1;
  graph.resize();
}

function show(mode) {
  state.show = mode;
  for (const one of document.querySelectorAll(".modes button")) set(one, {"aria-pressed": String(one.dataset.mode === mode)});
  showAll();
  remember();
}

for (const one of document.querySelectorAll(".views button")) one.addEventListener("click", () => { state.view = one.dataset.view; view(); remember(); });
for (const one of document.querySelectorAll(".modes button")) one.addEventListener("click", () => show(one.dataset.mode));
by("zoom").addEventListener("click", (event) => {
  const how = event.target.closest("button")?.dataset.zoom;
  if (how === "fit") graph.fit(true);
  else if (how) graph.zoom(how === "in" ? 1.25 : 0.8);
});
by("nodes")?.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-node]");
  if (!row || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  open(row.dataset.node, true);
});
addEventListener("hashchange", () => {
  const told = new URLSearchParams(location.hash.slice(1));
  if (told.get("node") !== state.node) open(told.get("node"));
});
addEventListener("resize", () => view());

// ---- figures ---------------------------------------------------------------------------------------------------------

/** Seconds for one message: of the last while, else since it runs. */
function timeOf(id) {
  const now = work.nodes[id], old = before?.nodes[id];
  if (!now || !now.received) return null;
  const more = old ? now.received - old.received : 0;
  return more > 0 ? (now.process_seconds - old.process_seconds) / more : now.process_seconds / now.received;
}

let staleNow = new Set();

/** Nodes of which a value that somebody watches is stale. */
function judge() {
  staleNow = new Set();
  for (const [key, one] of live.values) if (one.stale && one.value !== null) staleNow.add(key.slice(0, key.indexOf("|")));
}

const staleOf = (name, id) => staleNow.has(name) || (work.nodes[id]?.stale.length ?? 0) > 0;

/** The nodes as they were at a time that was chosen in the strip; null: as they are. */
let then = null;

/** How old a value is; while nothing comes, when it was. */
const old = (at) => (!then && live.state.connected === false ? clock(at, data.zone, lang, true) : age(((then?.at ?? live.now()) - at) / 1000, lang));

/** What a node is like now: {tone, shape, state, rate, last, fill, badge, label, figures}; null where nothing is known. */
function factsOf(place) {
  const name = address(place), id = place.id, one = then ? then.nodes[id] : live.nodes.get(name);
  if (!one) return known(place);
  const now = then?.at ?? live.now(), quiet = one.last_at === null || now - one.last_at > ACTIVE_MS;
  const stale = then ? one.stale : place.flow === data.flow && staleOf(name, id);
  let key = quiet ? "waiting" : "active", tone = "", shape = quiet ? "idle" : "on";
  if (one.connected === false) [key, tone, shape] = ["disconnected", "warn", "bad"];
  else if (one.state === "finished" || one.state === "starting") [key, shape] = [one.state, "idle"];
  else if (one.state !== "running") [key, tone, shape] = [one.state, "warn", "bad"];
  else if (stale) [key, tone, shape] = ["stale", "stale", "bad"];
  const received = then ? one.received_per_s : rateOf(name, "received"), sent = then ? one.sent_per_s : rateOf(name, "sent");
  const source = !graph.readers.has(id), rate = source ? sent : received, time = then ? null : timeOf(id), word = t(`flow.state-${key}`);
  const trouble = tone === "warn" ? one.last_error ?? "" : "";
  const plain = one.last ? brief(one.last) : one.received ? t("flow.received", {n: number(one.received, lang)}) : t("flow.none-yet"), value = trouble || plain;
  const last = state.show === "rate" ? t("flow.rate-in-out", {received: source ? "–" : rateText(received), sent: rateText(sent)})
    : state.show === "time" ? timeText(time)
      : tone === "stale" && one.last_at !== null ? `${plain.split(" · ")[0]} · ${old((then ? null : work.nodes[id]?.stale_at) ?? one.last_at)}` : value;
  const n = then ? 0 : errors.get(id) ?? 0;
  return {
    tone, shape, state: word, key, rate: rateText(rate), last, flow: sent ?? 0, fill: place.queue && one.inbox ? one.inbox / place.queue : 0,
    badge: n ? t(n === 1 ? "flow.error-badge" : "flow.errors-badge", {n: number(n, lang)}) : "",
    label: [id, place.type, word, value, rateText(rate)].join(", "),
    figures: {rate: split(rateText(rate)), time: split(timeText(time)), inbox: one.inbox, size: place.queue, errors: one.errors, trouble: one.last_error && (n || trouble) ? `${t("flow.last-error")}: ${one.last_error}` : ""},
    full: one.last ? figures(one.last) : plain, at: one.last_at,
  };
}

/** What the server's page said, until the stream says more; of then, what is not known. */
function known(place) {
  const one = then ? null : data.rows[place.id], key = one?.state ?? "unknown";
  const shape = {active: "on", stale: "bad", disconnected: "bad", restarting: "bad", stopped: "bad"}[key] ?? "idle";
  const last = one?.last ? (one.tone === "warn" ? one.last : brief(one.last)) : then ? "–" : t("flow.none-yet");
  return {
    tone: one?.tone ?? "", shape, state: t(`flow.state-${key}`), key, rate: "–", last, flow: 0, fill: 0, badge: "", label: [place.id, place.type, last].join(", "),
    figures: {rate: ["–", ""], time: ["–", ""], inbox: one?.inbox ?? 0, size: place.queue, errors: one?.errors ?? 0, trouble: ""}, full: figures(one?.last ?? ""), at: one?.last_at ?? null,
  };
}

const shown = new Map();

function showNode(id) {
  const node = graph.named.get(id);
  if (!node) return;
  const facts = factsOf(node.place);
  shown.set(id, facts);
  graph.say(id, facts);
  if (id === state.node) inspector.say(facts);
  const row = rows.get(id);
  if (row && (rowsDue || chosenView() === "table")) showRow(row, facts);
}

function showRow(row, facts) {
  const part = (name) => row.querySelector(`[data-part=${name}]`), counts = facts.figures;
  if (row.dataset.state !== facts.key) row.dataset.state = facts.key;
  set(row, {class: `${facts.tone} ${state.node === row.dataset.node ? "chosen" : ""}`});
  text(part("state"), facts.state);
  text(part("last"), state.show === "value" ? facts.tone === "warn" ? facts.last : facts.full || t("flow.none-yet") : facts.last);
  text(part("rate"), facts.rate);
  text(part("age"), facts.at === null ? "–" : old(facts.at));
  text(part("inbox"), counts.size ? `${number(counts.inbox, lang)}/${number(counts.size, lang)}` : "–");
  text(part("errors"), number(counts.errors, lang));
  part("errors").classList.toggle("bad", counts.errors > 0);
}

let rowsDue = true, rowsAt = 0;

function showAll() {
  judge();
  turn();
  rowsDue = performance.now() - rowsAt > ROWS_MS; // beside the graph only screen readers read them
  if (rowsDue) rowsAt = performance.now();
  for (const node of graph.nodes) showNode(node.name);
  graph.pulse((wire) => (live.state.connected && !then ? rateOf(wire.from.includes("/") ? wire.from : prefix + wire.from, "sent") ?? 0 : 0), (wire) => {
    const facts = shown.get(wire.from);
    return facts && (facts.tone || facts.key === "waiting") ? "st" : "";
  });
  tabs();
  rowsDue = false;
}

function tabs() {
  if (!live.nodes.size) return;
  const waiting = new Map();
  for (const [name, one] of live.nodes) {
    if (["running", "finished"].includes(one.state) && one.connected !== false) continue;
    const flow = name.slice(0, name.indexOf("/"));
    waiting.set(flow, (waiting.get(flow) ?? 0) + 1);
  }
  for (const tab of document.querySelectorAll("[data-tab]")) {
    const sign = tab.querySelector(".tabwarn"), n = waiting.get(tab.dataset.tab) ?? 0;
    sign.hidden = !n;
    text(sign.querySelector(".sr"), n ? t("flow.not-ready", {n}) : "");
  }
}

// ---- the state of then ------------------------------------------------------------------------------------------------

let asking = 0;
async function goTo(at) {
  asking += 1;
  const mine = asking, told = at === null ? null : await get(`/api/v1/flows/${encodeURIComponent(data.flow)}/then?at=${Math.round(at)}`);
  if (mine !== asking) return; // another time was chosen meanwhile
  then = told;
  strip.mark(told ? at : null, at !== null && !told ? t("flow.then-none", {time: clock(at, data.zone, lang, true)}) : "");
  box.classList.toggle("then", then !== null);
  by("then").hidden = then === null;
  if (then) text(by("then").querySelector("b"), t("flow.then", {time: clock(then.at, data.zone, lang, true)}));
  rowsAt = -Infinity;
  showAll();
}

by("then").querySelector("button").addEventListener("click", () => goTo(null));

// ---- search ------------------------------------------------------------------------------------------------------------

const find = by("find"), list = by("found");
let at = 0;

function seek() {
  const wanted = find.value.trim().toLowerCase();
  const found = wanted ? data.layout.nodes.filter((one) => `${one.id} ${one.type}`.toLowerCase().includes(wanted))
    .sort((one, other) => one.id.toLowerCase().indexOf(wanted) - other.id.toLowerCase().indexOf(wanted) || one.line - other.line).slice(0, FOUND) : [];
  at = Math.min(at, Math.max(found.length - 1, 0));
  list.hidden = !wanted;
  set(find, {"aria-expanded": String(!list.hidden), "aria-activedescendant": found.length ? `f${at}` : null});
  list.replaceChildren(...found.map((one, n) => h("li", {id: `f${n}`, role: "option", "aria-selected": String(n === at), onpointerdown: (event) => { event.preventDefault(); choose(one.id); }}, icon(data.icons[one.type] ?? "flow", "s"), h("b", {}, one.id), h("small", {}, one.type))),
    ...(found.length || !wanted ? [] : [h("li", {role: "option", class: "hint", "aria-disabled": "true", "aria-selected": "false"}, t("flow.found-none"))]));
  return found;
}

function choose(id) {
  find.value = "";
  seek();
  graph.go(id);
  open(id, true);
}

find.addEventListener("input", () => { at = 0; seek(); });
find.addEventListener("blur", () => { list.hidden = true; set(find, {"aria-expanded": "false"}); });
find.addEventListener("focus", seek);
find.addEventListener("keydown", (event) => {
  const found = seek();
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    at = (at + (event.key === "ArrowDown" ? 1 : -1) + found.length) % Math.max(found.length, 1);
    seek();
  } else if (event.key === "Enter" && found.length) choose(found[at].id);
  else if (event.key === "Escape") {
    if (!find.value) (chosenView() === "graph" ? by("canvas") : document.body).focus();
    find.value = "";
    seek();
  } else return;
  event.preventDefault();
  event.stopPropagation();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input:not([type=range]), textarea, select, dialog")) return;
  if (event.key === "/") { event.preventDefault(); find.focus(); }
  else if (event.key === "Escape" && then) goTo(null);
  else if (event.key === "Escape" && state.node !== null) open(null);
});

// ---- notes: what was refused, what is new ----------------------------------------------------------------------------------

function note(key, tone, ...said) {
  by("notes").querySelector(`[data-note="${key}"]`)?.remove();
  if (!said.length) return;
  const one = h("div", {class: `banner ${tone}`, "data-note": key}, icon(tone === "alarmb" ? "warn" : "info"), h("div", {class: "say"}, said),
    h("button", {class: "btn flat icon", type: "button", "aria-label": t("shell.close"), onclick: () => one.remove()}, icon("x", "s")));
  by("notes").append(one);
}

function refused(list, result) {
  if (result !== "refused" && result !== "failed") return note("refused");
  const shown = list.slice(0, 3), reason = live.status?.reload?.reason ?? "";
  note("refused", "alarmb", h("b", {}, t(result === "failed" ? "flow.failed" : "flow.refused")), " ", t("flow.refused-step"),
    ...(list.length ? [h("details", {open: true}, h("summary", {}, t("flow.problem-place", {file: data.file, line: list[0].line, column: list[0].column}), ": ", list[0].message), shown.map((one) => finding(one, data.file, t)),
      list.length > shown.length ? h("p", {}, t("flow.problems-more", {n: list.length - shown.length})) : null)] : reason ? [h("br"), reason] : []));
}

let reload = null;
async function loaded(status) {
  const now = JSON.stringify([status?.reload ?? null, status?.problems ?? null]);
  if (now === reload) return;
  const first = reload === null;
  reload = now;
  const result = status?.reload?.result ?? "";
  if (first && !result) return;
  if (!first) inspector.stale();
  if (result === "refused") refused(first && data.refused.length ? data.refused : await get(`/api/v1/flows/${encodeURIComponent(data.flow)}/refused`) ?? [], result);
  else refused([], result);
  if (!first) look();
}

let generation = data.layout.generation;
async function redraw() {
  const answer = await fetch(`/api/v1/flows/${encodeURIComponent(data.flow)}/layout`);
  if (answer.status === 404) return location.assign("/flows");
  if (!answer.ok) return;
  const layout = await answer.json(), ids = (one) => one.nodes.map((node) => `${node.id} ${node.type} ${node.line}`).join();
  const other = ids(layout) !== ids(data.layout);
  generation = layout.generation;
  data.layout = layout;
  const chip = document.getElementById("runs"), {result, at} = live.status?.reload ?? {};
  chip.title = t("flow.generation", {n: layout.generation, digest: layout.digest});
  text(chip.querySelector(".mono"), layout.digest.slice(0, 7));
  if (result === "applied") text(chip.querySelector("[data-part=since]"), t("flow.running", {time: moment(at, data.zone, lang)}));
  graph.take(layout);
  inspector.stale();
  if (other) location.reload(); // the table is the server's: it comes with the new rows
  else { showAll(); if (state.node && !graph.named.has(state.node)) open(null); }
}

// ---- by and by -------------------------------------------------------------------------------------------------------------

const ahead = new Set();
let due = false;

function soon(frame) {
  for (const name of frame.touched?.nodes ?? []) ahead.add(local(name));
  for (const key of frame.touched?.values ?? []) {
    const name = key.slice(0, key.indexOf("|")), {stale, value} = live.values.get(key);
    if (stale && value !== null && !staleNow.has(name)) { staleNow.add(name); ahead.add(local(name)); }
  }
  if (frame.status) loaded(frame.status);
  if (live.generation !== null && live.generation !== generation) { generation = live.generation; redraw(); }
  if (due || then) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const table = chosenView() === "table";
    for (const id of ahead) if (table || id === state.node || graph.named.get(id)?.shown) showNode(id);
    ahead.clear();
  });
}

async function get(path) {
  try {
    const answer = await fetch(path);
    return answer.ok ? await answer.json() : null;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // no connection: the shell says so
    return null;
  }
}

let looked = 0, worked = 0;
async function look() {
  looked = performance.now();
  const told = await get(`/api/v1/flows/${encodeURIComponent(data.flow)}/strip`);
  if (!told) return;
  strip.take(told);
  errors = strip.errors();
}

async function labour() {
  worked = performance.now();
  const told = await get(`/api/v1/flows/${encodeURIComponent(data.flow)}/work`);
  if (!told) return;
  if (!before || work.at - before.at > 30000) before = work.at ? work : null;
  work = told;
}

live.on("snapshot", (frame) => { soon(frame); sample(); showAll(); });
live.on("delta", soon);
live.on("state", () => { box.classList.toggle("lost", live.state.connected === false); showAll(); });
setInterval(() => {
  if (document.hidden) return;
  if (live.state.connected) sample();
  showAll();
  if (!live.state.connected) return;
  const now = performance.now();
  if (now - worked > WORK_MS) labour();
  if (now - looked > STRIP_MS) look();
}, SAMPLE_MS);

view();
show(state.show);
if (data.refused.length) refused(data.refused, "refused");
if (state.node) { const name = state.node; state.node = null; graph.go(name); open(name); }
Promise.all([look(), labour()]).then(showAll);
live.start();
