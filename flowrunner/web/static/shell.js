// What every page has: its words and data, commands to the server, theme, language, and what is said of the connection.

import {h, icon, text} from "./dom.js";
import * as format from "./format.js";
import {live} from "./live.js";

const root = document.documentElement;
const by = (id) => document.getElementById(id);

/** What the server wrote into the page, with `words`. */
export const data = JSON.parse(by("data").textContent);
export const lang = root.lang === "de" ? "de" : "en";
export const locale = lang === "de" ? "de-AT" : "en-GB";

/** The page's words: `t("events.open-count", {n: 3})`. An unknown key or place is a defect. */
export function t(key, values = {}) {
  if (!(key in data.words)) throw new Error(`words: ${key} was not given to this page`);
  return data.words[key].replace(/\{([a-z_]\w*)\}/g, (place, name) => {
    if (!(name in values)) throw new Error(`words: ${key} needs ${place}`);
    return String(values[name]);
  });
}

export const page = {data, t, lang, locale};

// ---- commands -----------------------------------------------------------------------------------------------------

/** The server's no: `status` (0: it did not answer), `error` is its code, the message what it says. */
export class Refused extends Error {
  constructor(status, error, message) {
    super(message);
    Object.assign(this, {name: "Refused", status, error});
  }
}

/** POST (or another method) as JSON. The answer's body; Refused where it is none. */
export async function post(path, body = {}, method = "POST") {
  const token = document.querySelector('meta[name="csrf"]').content;
  const headers = {"content-type": "application/json", ...(token ? {"x-csrf-token": token} : {})};
  let answer, told;
  try {
    answer = await fetch(path, {method, headers, body: JSON.stringify(body)});
    told = await answer.text();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // fetch says so when there is no connection
    throw new Refused(0, "unreachable", t("shell.unreachable"));
  }
  const json = (answer.headers.get("content-type") ?? "").startsWith("application/json") ? JSON.parse(told) : null;
  if (answer.ok) return json;
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  throw new Refused(answer.status, json?.error ?? "", json?.detail || t("shell.answered", {status: answer.status}));
}

/** A short word about what was done (a text, or parts of one), at the foot of the page; `tone`: "ok", "warn" or "alarm". */
export function notice(said, tone = "ok") {
  const one = h("p", {class: `notice ${tone}`}, icon(tone === "ok" ? "check" : "warn"), h("span", {}, ...[said].flat()),
    h("button", {class: "btn flat icon", type: "button", "aria-label": t("shell.close"), onclick: () => one.remove()}, icon("x")));
  by("notices").append(one);
  if (tone === "ok") setTimeout(() => one.remove(), 6000);
  return one;
}

// ---- theme and language ---------------------------------------------------------------------------------------------

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme === "system" ? dark.matches : root.dataset.theme === "dark");
const keep = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`; };

function pressed(box, value) {
  for (const one of box.querySelectorAll("button")) one.setAttribute("aria-pressed", String(one.value === value));
}

function setTheme(theme) {
  if (theme) {
    root.dataset.theme = theme;
    keep("theme", theme);
  }
  document.querySelector('meta[name="color-scheme"]').content = root.dataset.theme === "system" ? "light dark" : root.dataset.theme;
  pressed(by("themes"), root.dataset.theme);
  const said = t(isDark() ? "shell.to-light" : "shell.to-dark");
  by("theme").setAttribute("aria-label", said);
  by("theme").title = said;
  root.classList.toggle("dark", isDark());
  document.dispatchEvent(new Event("themed"));
}

function setLang(wanted) {
  if (wanted === lang) return;
  keep("lang", wanted);
  location.reload();
}

/** A colour of the theme as the screen has it: `token("--charge")`, for a canvas. "themed" tells when they change. */
export function token(name) {
  const probe = h("span", {hidden: true, style: {color: `var(${name})`}});
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

by("theme").hidden = by("lang").hidden = false;
by("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
by("lang").addEventListener("click", () => setLang(lang === "de" ? "en" : "de"));
by("themes").addEventListener("click", (event) => { if (event.target.value) setTheme(event.target.value); });
by("langs").addEventListener("click", (event) => { if (event.target.value) setLang(event.target.value); });
dark.addEventListener("change", () => setTheme(null));
setTheme(null);

addEventListener("beforeprint", () => text(by("printed"), `${format.moment(live.now(), data.zone, lang)} ${data.zone}`));

// ---- connection -----------------------------------------------------------------------------------------------------

const chip = by("live"), lost = by("lost"), badge = by("alarms");
function showState() {
  const {connected, paused, since, attempt, next_at, last_at, refused} = live.state;
  const off = connected === false;
  document.body.classList.toggle("off", off);
  for (const one of document.querySelectorAll("fieldset[data-live]")) one.disabled = connected !== true || "denied" in one.dataset;
  lost.hidden = !off;
  chip.className = `chip ${off ? "alarm" : connected && !paused ? "ok" : ""}`;
  const away = Math.max(0, Math.floor((Date.now() - since) / 1000));
  const words = off ? t("shell.disconnected", {duration: away < 120 ? `${away} s` : format.duration(away, lang)})
    : paused ? t("shell.paused") : connected ? t("shell.live", {hz: live.hz}) : t("shell.connecting");
  const sign = off ? "warn" : "dot";
  if (chip.dataset.sign !== sign) {
    chip.dataset.sign = sign;
    chip.replaceChildren(off ? icon("warn") : h("span", {class: "dot"}), h("span"));
  }
  text(chip.lastElementChild, words);
  if (!off) return;
  const part = (name) => lost.querySelector(`[data-part=${name}]`);
  text(part("as-of"), last_at === null ? t("shell.locked") : t("shell.as-of", {time: format.clock(live.at(last_at), data.zone, lang, true)}));
  const n = attempt + (next_at === null ? 0 : 1);
  const next = next_at === null ? t("shell.trying", {n}) : t("shell.next-try", {seconds: Math.max(1, Math.ceil((next_at - Date.now()) / 1000)), n});
  text(part("refused"), refused ? t("shell.refused", refused) : "");
  text(part("says"), refused?.detail ?? "");
  text(part("next"), next);
}

function showAlarms() {
  const open = live.status?.alarms?.open ?? 0;
  badge.hidden = !open;
  text(badge.firstElementChild, open > 99 ? "99+" : String(open));
  text(badge.lastElementChild, open === 1 ? t("shell.open-alarm") : t("shell.open-alarms", {n: open}));
  badge.className = live.status?.alarms?.worst === "critical" ? "" : "mild";
}

if (chip) {
  lost.querySelector("button").addEventListener("click", () => live.retry());
  live.on("state", showState);
  live.on("snapshot", showAlarms);
  live.on("delta", (frame) => { if (frame.status) showAlarms(); });
  setInterval(() => { if (live.state.connected === false) showState(); }, 500);
  showState();
  live.start();
}
