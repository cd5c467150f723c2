// Elements from script. All text becomes text nodes: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set("svg g path rect circle ellipse line polyline polygon text tspan use defs clipPath mask pattern marker title symbol linearGradient stop".split(" "));
const BOTH = "title"; // an HTML element too: made for SVG only by s()
const SPRITE = new URL("./icons.svg", import.meta.url).href;

/** `h("p", {class: "x", onclick, "data-id": 3, hidden: false}, "text", child)`; SVG tags make SVG elements. `style`
 * is an object of properties, set one by one. null, undefined and false leave a property or child out. */
export function h(tag, props = {}, ...children) {
  return made(DRAWN.has(tag) && tag !== BOTH ? document.createElementNS(SVG, tag) : document.createElement(tag), props, children);
}

/** The same for SVG alone, where a tag is both (`title`, `a`, `style`). */
export function s(tag, props = {}, ...children) {
  return made(document.createElementNS(SVG, tag), props, children);
}

function made(element, props, children) {
  set(element, props);
  add(element, children);
  return element;
}

/** Set properties of an element that is there. */
export function set(element, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith("on")) { if (value) element.addEventListener(name.slice(2), value); }
    else if (name === "style") for (const [key, one] of Object.entries(value ?? {})) element.style.setProperty(key, one);
    else if (name === "value" && "value" in element) element.value = value ?? "";
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

function add(element, children) {
  for (const one of children) {
    if (Array.isArray(one)) add(element, one);
    else if (one !== null && one !== undefined && one !== false) element.append(one);
  }
}

/** A symbol of icons.svg: `icon("warn")`, `icon("up", "s")`. */
export function icon(name, extra = "") {
  return h("svg", {class: extra ? `i ${extra}` : "i", "aria-hidden": "true"}, h("use", {href: `${SPRITE}#i-${name}`}));
}

/** Change the text only where it is another one: what did not change is not laid out again. */
export function text(element, said) {
  if (element && element.textContent !== said) element.textContent = said;
}

/** The engine's own words, which are English, marked as such. */
export const quoted = (said) => h("q", {class: "eng", lang: "en"}, said);
