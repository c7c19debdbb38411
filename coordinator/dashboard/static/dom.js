// Small helpers: elements, SVG, numbers, requests. All text goes in as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

function build(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return made;
}

export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)));
}

export function bytes(value) {
  if (!value) return value === 0 ? "0 B" : "–";
  if (value >= 1e6) return `${number(value / 1e6)} MB`;
  return value >= 1e3 ? `${number(value / 1e3)} kB` : `${value} B`;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

export async function call(method, path, body, type) {
  const headers = body === undefined ? {} : { "Content-Type": type || "application/json" };
  const data = body === undefined || type ? body : JSON.stringify(body);
  const response = await fetch(path, { method, headers, body: data, credentials: "same-origin" });
  const text = await response.text();
  let found = {};
  try { found = text ? JSON.parse(text) : {}; } catch { /* not JSON: a picture, or a proxy's page */ }
  if (!response.ok) throw new Refused(response.status, found);
  return found;
}

export function table(caption, columns, body, tall) {
  const head = columns.map((c) => h("th", { scope: "col", class: c.startsWith("#") ? "n" : null }, c.replace(/^#/, "")));
  return h("div", { class: tall ? "scroll tall" : "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "vh" }, caption), h("thead", {}, h("tr", {}, head)), body));
}

export const cells = (...values) => values.map((v) =>
  v instanceof Node ? h("td", {}, v) : typeof v === "number" ? h("td", { class: "n" }, number(v)) : h("td", {}, v));

export function meter(percent, what) {
  if (percent === null || percent === undefined) return h("span", { class: "soft" }, "–");
  const bar = s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { width: Math.min(100, percent), height: 10 }));
  return h("span", { title: what }, h("span", { class: "meter" }, bar), `${percent} %`);
}

export const state = (word) => h("span", { class: `state ${word}` }, word);

export function fault(error) {
  const parts = [h("p", { class: "fault", role: "alert" }, error.message)];
  const reasons = error.problem && error.problem.reasons;
  if (reasons) {
    parts.push(h("ul", { class: "fault" }, Object.entries(reasons).map(([node, why]) => h("li", {}, `node ${node}: ${why}`))));
  }
  return h("div", {}, parts);
}
