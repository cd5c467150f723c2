// The figures of nodes in the reader's words: messages per second, seconds for one, and a message's line.

import {number} from "./format.js";
import {live} from "./live.js";
import {page} from "./shell.js";

const SAMPLES = 60, SOON_MS = 10000;
const {t, lang} = page;
const samples = new Map(), rates = new Map();

/** Look at the counters of all nodes, once a second. */
export function sample() {
  const at = live.now();
  for (const [name, one] of live.nodes) {
    let list = samples.get(name);
    if (!list) samples.set(name, list = []);
    const last = list.at(-1);
    if (last && (one.received < last.received || one.sent < last.sent)) list.length = 0; // it has begun anew
    list.push({at, received: one.received, sent: one.sent});
    if (list.length > SAMPLES) list.shift();
  }
}

/** From now on rates are as the last sample has them. */
export function turn() {
  rates.clear();
}

/** As it was at the last turn. ``what``: "received" or "sent". */
export function rateOf(name, what) {
  let one = rates.get(name);
  if (!one) rates.set(name, one = {received: reckon(name, "received"), sent: reckon(name, "sent")});
  return one[what];
}

/** Messages per second, over ten seconds where they come often and a minute else; null while that is not known. */
function reckon(name, what) {
  const list = samples.get(name);
  if (!list || list.length < 3) return null;
  const last = list.at(-1), near = list.find((one) => last.at - one.at <= SOON_MS) ?? list[0];
  const since = last[what] - near[what] >= 5 ? near : list[0];
  const seconds = (last.at - since.at) / 1000;
  return seconds > 0 ? (last[what] - since[what]) / seconds : null;
}

export function rateText(rate) {
  if (rate === null) return "–";
  if (rate >= 0.95 || rate === 0) return t("flow.rate-per-s", {n: number(rate, lang, rate && rate < 100 ? 1 : 0)});
  return rate * 60 >= 0.95 ? t("flow.rate-per-min", {n: number(rate * 60, lang, rate * 60 < 10 ? 1 : 0)}) : t("flow.rate-per-h", {n: number(rate * 3600, lang, 0)});
}

/** A figure and its unit. */
export const split = (said) => { const at = said.search(/[/ ]/); return at < 0 ? [said, ""] : [said.slice(0, at), said.slice(at)]; };

export function timeText(seconds) {
  if (seconds === null) return "–";
  if (seconds >= 1) return t("flow.s", {n: number(seconds, lang, 1)});
  return seconds >= 0.00095 ? t("flow.ms", {n: number(seconds * 1000, lang, 1)}) : t("flow.us", {n: number(seconds * 1e6, lang, 0)});
}

/** In the reader's language; a figure that was cut is left out as a whole. */
export const figures = (said) => said.replace(/, [^,]*…$/, ", …").replace(/(?<![\w.:-])-?\d+\.?\d*(?![\w.:-])/g, (one) => number(Number(one), lang));

/** A message's line, short enough for a box: names go where a unit says what it is. */
export function brief(last) {
  const parts = last.split(", ");
  if (parts.length > 1 && last.endsWith("…")) parts.pop();
  return figures(parts.map((one) => one.replace(/^[A-Za-z_][\w-]* (?=\S)/, "")).join(" · "));
}
