// The list of events: acknowledging, and a hint that there is more. The list never moves by itself: a person reads it.
import {h, icon} from "./dom.js";
import {live} from "./live.js";
import {data, post, Refused, t} from "./shell.js";

const MOST = 100, EVERY_MS = 15000, WRITTEN_MS = 2000;
/** So soon what has changed is in the books, too: an order to stop counts before it is written down. */
const news = document.getElementById("news");
const own = new Set(); // alarms that were acknowledged here: that is no news to who did it
let asked = 0, shown = "", again;

// ---- acknowledging ----------------------------------------------------------------------------------------------
for (const button of document.querySelectorAll("[data-alarm]")) {
  button.parentElement.hidden = false;
  button.addEventListener("click", () => acknowledge(button));
}

async function acknowledge(button) {
  const box = button.parentElement, side = box.parentElement, word = button.textContent;
  side.querySelector(".error-said")?.remove();
  button.disabled = true;
  button.textContent = t("events.acknowledging");
  try {
    const alarm = await post(`/api/v1/alarms/${button.dataset.alarm}/acknowledge`, {});
    const said = t("events.acknowledged-by", {who: alarm.acknowledged_by});
    const chip = h("span", {class: "chip", tabindex: "-1"}, icon("check"), h("span", {}, said));
    side.querySelector(".chip").replaceWith(chip);
    box.remove();
    chip.focus();
    own.add(alarm.id);
    count(-1);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    button.disabled = false;
    button.textContent = word;
    side.append(h("p", {class: "error-said", role: "alert"}, t("events.not-acknowledged", {why: error.message})));
  }
}

function count(change) {
  const badge = document.querySelector("[data-open]");
  if (!badge) return;
  const left = Number(badge.dataset.open) + change;
  if (left <= 0) return badge.remove();
  badge.dataset.open = badge.firstChild.textContent = String(left);
  badge.lastChild.textContent = t("events.open-count", {n: left});
}

// ---- is there more? ---------------------------------------------------------------------------------------------
const place = (id) => id.split(".").map(BigInt);

function isNewer(id, than) {
  if (!than) return true;
  const [one, other] = [place(id), place(than)];
  const at = one.findIndex((part, n) => part !== other[n]);
  return at >= 0 && one[at] > other[at];
}

async function look() {
  if (!data.live || document.hidden || !live.state.connected) return;
  asked = Date.now();
  const answer = await fetch(`${data.api}${data.api.endsWith("?") ? "" : "&"}limit=${MOST}`).catch(away);
  if (!answer?.ok) return;
  const {events} = await answer.json();
  const fresh = events.filter((one) => isNewer(one.id, data.newest) && !own.has(one.detail.alarm)).length;
  news.hidden = fresh === 0;
  const words = fresh === 0 ? "" : fresh === 1 ? t("events.new-1")
    : fresh === MOST ? t("events.new-many", {n: fresh - 1}) : t("events.new-n", {n: fresh});
  if (words !== shown) document.getElementById("news-text").textContent = shown = words;
}

function away(error) {
  if (!(error instanceof TypeError)) throw error; // fetch says so when there is no connection; the shell says it aloud
}

document.getElementById("news-show").addEventListener("click", (event) => {
  event.preventDefault();
  location.reload();
});

let status = "";
function moved(frame) {
  if (!frame.status) return;
  const {alarms, reload, trading} = frame.status, now = JSON.stringify([alarms, reload, trading]);
  if (now === status) return;
  status = now; // the first one, too: something may have happened between the page and its stream
  look();
  clearTimeout(again);
  again = setTimeout(look, WRITTEN_MS);
}

live.on("snapshot", moved);
live.on("delta", moved);
setInterval(() => { if (Date.now() - asked >= EVERY_MS) look(); }, EVERY_MS);
