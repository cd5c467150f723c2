// A value in words, as pages/tile_values.py says it: the figure, where it comes from, how old it is, what is wrong.

import {age, clock, duration, number} from "./format.js";

const DECIMALS = {"%": 1, MW: 2, MWh: 2, kW: 1, kWh: 1, "°C": 1, "EUR/MWh": 2, EUR: 2, Hz: 2};
const UNITS = {"EUR/MWh": "€/MWh", "EUR/kWh": "€/kWh", EUR: "€"};
const TROUBLES = {stale: ["dashboard.stale", "clock"], uncertain: ["dashboard.uncertain", "warn"], "from the future": ["dashboard.future", "clock"]};
const WIDTH = 220;

export const key = (tile) => `${tile.node}|${tile.port ?? "out"}|${tile.field}`;
export const unitText = (unit) => (unit ? UNITS[unit] ?? unit : "");
export const figureOf = (value, unit, decimals, lang) => number(value, lang, decimals ?? DECIMALS[unit] ?? null);
export const idOf = (address) => address.slice(address.indexOf("/") + 1);

/** Seconds since it was true or since it came in, whichever is more. */
export function ageSeconds(known, now) {
  const times = [known.at, known.received_at].filter((at) => at !== null && at !== undefined);
  return times.length ? Math.max(0, ...times.map((at) => (now - at) / 1000)) : 0;
}

/** Whether its time is over by now, also where nobody has said so yet. */
export const isStale = (known, now) => known.stale || (typeof known.until === "number" && now >= known.until);

/** ``cause``: why there may be no value, as [in the reader's words, in the engine's own]. Instants in milliseconds. */
export function reading(tile, known, cause, {t, lang, zone, now, sources, off}) {
  const node = idOf(tile.node), of = known?.key ?? "";
  if (!known || known.value === null || known.value === undefined) {
    const why = cause[0] ? cause : [t(!known || known.at === null ? "dashboard.none-yet" : "dashboard.none-usable", {node}), ""];
    return {state: "none", figure: "–", unit: "", icon: "alert", source: t("dashboard.no-value"), node: "", age: "", cause: why, number: null, key: of};
  }
  const unit = known.unit ?? tile.unit, value = typeof known.value === "number" ? known.value : null;
  const figure = value === null ? String(known.value).slice(0, 60) : figureOf(value, unit, tile.decimals, lang);
  const base = {state: "", figure, unit: unitText(unit), icon: "auto", node: known.source, cause: ["", ""], number: value, key: of};
  base.age = off ? clock(known.received_at ?? known.at, zone, lang, true) : age(ageSeconds(known, now), lang);
  if (isStale(known, now)) {
    const reason = known.stale ? known.reason : "stale";
    const [word, icon] = TROUBLES[reason] ?? TROUBLES.uncertain;
    return {...base, state: "stale", icon, source: t(word), cause: [whyStale(known, reason, now, {t, lang, zone}), ""]};
  }
  if (known.origin === "manual") {
    const until = known.until ? t("dashboard.until", {time: clock(known.until, zone, lang)}) : base.age;
    return {...base, state: "man", icon: "hand", source: t("dashboard.manual"), short: t("dashboard.manual-short"), age: until};
  }
  if (known.origin === "simulated") return {...base, source: t("dashboard.simulated")};
  if (known.origin === "planned") return {...base, state: "plan", icon: "clock", source: t("dashboard.planned")};
  const name = sources[known.source]?.name;
  return name ? {...base, icon: "globe", source: name} : {...base, source: t("dashboard.automatic"), short: t("dashboard.automatic-short")};
}

function whyStale(known, reason, now, {t, lang, zone}) {
  if (reason !== "stale") return t("dashboard.value-uncertain");
  if (known.origin === "manual" && known.until) return t("dashboard.expired-at", {time: clock(known.until, zone, lang)});
  return t("dashboard.stale-since", {node: known.source, age: duration(ageSeconds(known, now), lang)});
}

/** The bar under a figure, in a width of 220; null where nothing says how much there may be. */
export function bar(tile, value) {
  const {limit, min, max} = tile, known = (one) => typeof one === "number";
  const clip = (share) => Math.min(Math.max(share, 0), 1);
  if (tile.tile === "power") {
    const reach = known(limit) ? Math.abs(limit) : Math.max(known(min) ? Math.abs(min) : 0, known(max) ? Math.abs(max) : 0);
    if (!reach) return null;
    const width = clip(Math.abs(value ?? 0) / reach) * (WIDTH / 2);
    return {x: value < 0 ? WIDTH / 2 - width : WIDTH / 2, width, marks: [WIDTH / 2], tone: value < 0 ? "ch" : "di", bipolar: true};
  }
  let low, high, marks = (tile.marks ?? []).slice();
  if (known(limit) && limit > 0) [low, high, marks] = [0, limit * 1.25, [...marks, limit]];
  else if (known(min) && known(max) && max > min) [low, high] = [min, max];
  else return null;
  const share = (one) => clip((one - low) / (high - low)) * WIDTH;
  const over = known(limit) && value !== null && value > limit;
  const tone = over ? "over" : tile.unit === "%" && !known(limit) ? "" : "plain";
  return {x: 0, width: value === null ? 0 : share(value), marks: marks.map(share), tone, bipolar: false};
}

/** What stands below the figure: [{text, tone, icon}]. */
export function sub(tile, known, value, {t, lang, zone, now}) {
  const unit = known?.unit ?? tile.unit, said = (one) => `${number(one, lang, null)}${unit ? ` ${unitText(unit)}` : ""}`;
  const limited = typeof tile.limit === "number";
  if (tile.tile === "power") {
    if (value === null) return limited ? [{text: t("dashboard.limit", {value: said(tile.limit)}), tone: "", icon: ""}] : [];
    const [text, tone, icon] = value > 0 ? [t("dashboard.discharging"), "way di", "up"] : value < 0 ? [t("dashboard.charging"), "way ch", "down"] : [t("dashboard.resting"), "way", ""];
    const percent = limited && tile.limit ? number((Math.abs(value) / Math.abs(tile.limit)) * 100, lang, 0) : null;
    const over = limited && Math.abs(value) > Math.abs(tile.limit);
    const rest = percent === null ? [] : [{text: over ? t("dashboard.over-limit", {value: said(tile.limit)}) : t("dashboard.of-limit", {percent, limit: said(tile.limit)}), tone: over ? "over" : "", icon: ""}];
    return [{text, tone, icon}, ...rest];
  }
  if (limited) {
    const over = value !== null && value > tile.limit;
    return [{text: t(over ? "dashboard.over-limit" : "dashboard.limit", {value: said(tile.limit)}), tone: over ? "over" : "", icon: ""}];
  }
  if (value !== null && known?.since && known?.until) {
    return [{text: t(known.since > now ? "dashboard.delivery" : "dashboard.valid", {from: clock(known.since, zone, lang), until: clock(known.until, zone, lang)}), tone: "", icon: ""}];
  }
  if (tile.marks?.length) return [{text: t("dashboard.marks", {values: tile.marks.map(said).join(" · ")}), tone: "", icon: ""}];
  return [];
}
