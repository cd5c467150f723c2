// Figures, times and ages as a reader writes them; web/pages/formats.py says the same, digit by digit.

export const NOTHING = "–";
const MINUS = "−", DIGITS = 12, MINUTE = 60, HOUR = 3600, DAY = 86400;
const MONTHS = {
  en: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
  de: ["Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sep.", "Okt.", "Nov.", "Dez."],
};

/** -4812.5 → "−4.812,5" (de), "−4,812.5" (en); a dash for what is no figure. Without `decimals` as many as it has. */
export function number(value, lang, decimals = null) {
  if (typeof value !== "number" || !Number.isFinite(value)) return NOTHING;
  const size = Math.abs(value);
  let whole, fraction = "", power = "";
  if (size && !(size >= 1e-6 && size < 1e21)) {
    if (size < 1 && decimals !== null) [whole, fraction] = ["0", "0".repeat(decimals)];
    else {
      const [digits, exponent] = size.toExponential(DIGITS - 1).split("e");
      [whole, fraction] = digits.replace(/\.?0+$/, "").split(".");
      fraction ??= "";
      power = `e${exponent < 0 ? MINUS : ""}${Math.abs(exponent)}`;
    }
  } else {
    const plain = decimals === null ? String(Number(size.toPrecision(DIGITS))) : size.toFixed(decimals);
    [whole, fraction = ""] = plain.split(".");
  }
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, lang === "de" ? "." : ",");
  const text = (fraction ? `${grouped}${lang === "de" ? "," : "."}${fraction}` : grouped) + power;
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

// ---- times ------------------------------------------------------------------------------------------------------

const kept = new Map();

/** {year, month, day, hour, minute, second} as two-digit texts, in that zone. */
function local(ms, zone) {
  let format = kept.get(zone);
  if (!format) {
    const two = "2-digit";
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: two, day: two, hour: two, minute: two, second: two,
    });
    kept.set(zone, format);
  }
  return Object.fromEntries(format.formatToParts(ms).map(({type, value}) => [type, value]));
}

/** "09:42", or "09:42:07". `ms`: milliseconds since the epoch. */
export function clock(ms, zone, lang, seconds = false) {
  const {hour, minute, second} = local(ms, zone);
  return seconds ? `${hour}:${minute}:${second}` : `${hour}:${minute}`;
}

/** "23. Nov. 2026", "23 Nov 2026". */
export function day(ms, zone, lang) {
  const at = local(ms, zone);
  return `${Number(at.day)}${lang === "de" ? "." : ""} ${MONTHS[lang === "de" ? "de" : "en"][at.month - 1]} ${at.year}`;
}

/** "23. Nov. 2026, 09:42:07". */
export const moment = (ms, zone, lang) => `${day(ms, zone, lang)}, ${clock(ms, zone, lang, true)}`;

const two = (value) => String(value).padStart(2, "0");

/** "0,8 s", "47 s", "3 min", "3 h 01 min", "2 d 04 h": cut, never rounded up. */
export function duration(seconds, lang) {
  seconds = Math.max(0, seconds);
  if (seconds < 10) return `${number(Math.floor(seconds * 10) / 10, lang, 1)} s`;
  const whole = Math.floor(seconds);
  if (whole < 2 * MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < 2 * DAY) return `${Math.floor(whole / HOUR)} h ${two(Math.floor((whole % HOUR) / MINUTE))} min`;
  return `${number(Math.floor(whole / DAY), lang, 0)} d ${two(Math.floor((whole % DAY) / HOUR))} h`;
}

/** "vor 47 s", "47 s ago"; what lies more than a second ahead is "in 5 s". */
export function age(seconds, lang) {
  if (seconds <= -1) return `in ${duration(-seconds, lang)}`;
  return lang === "de" ? `vor ${duration(seconds, lang)}` : `${duration(seconds, lang)} ago`;
}
