// A session's handlers on their nodes, drawn: columns by depth, one colour per node, hops dashed.

import { number, s } from "./dom.js";

const W = 168, H = 74, GAP_X = 74, GAP_Y = 22, PAD = 16;
const HUES = [212, 28, 140, 275, 350, 90, 185, 315];

export function depths(graph) {
  const depth = new Map(graph.handlers.map((x) => [x.handler_id, 0]));
  for (let round = 0; round < graph.handlers.length; round++) {
    for (const k of graph.links) depth.set(k.target_handler, Math.max(depth.get(k.target_handler), depth.get(k.source_handler) + 1));
  }
  return depth;
}

export const hue = (node) => HUES[node % HUES.length];

export function drawn(session) {
  const { graph, placement, measured } = session;
  const depth = depths(graph);
  const columns = [];
  for (const x of graph.handlers) (columns[depth.get(x.handler_id)] ||= []).push(x);
  const tallest = Math.max(...columns.map((c) => c.length));
  const place = new Map();
  columns.forEach((column, i) => column.forEach((x, j) => {
    const top = PAD + ((tallest - column.length) * (H + GAP_Y)) / 2;
    place.set(x.handler_id, { x: PAD + i * (W + GAP_X), y: top + j * (H + GAP_Y) });
  }));
  const far = graph.links.some((k) => depth.get(k.target_handler) - depth.get(k.source_handler) > 1);
  const width = 2 * PAD + columns.length * (W + GAP_X) - GAP_X;
  const height = 2 * PAD + tallest * (H + GAP_Y) - GAP_Y + (far ? 34 : 0);
  const hops = new Map((measured.hops || []).map((k) => [`${k.source_handler}>${k.target_handler}`, k]));
  const links = graph.links.map((k) => link(place, k, hops.get(`${k.source_handler}>${k.target_handler}`),
    depth.get(k.target_handler) - depth.get(k.source_handler) > 1));
  const boxes = graph.handlers.map((x) => box(x, place.get(x.handler_id), placement[x.handler_id] || [],
    (measured.handlers || []).filter((m) => m.handler_id === x.handler_id)));
  const names = graph.handlers.map((x) => `${x.handler_name} on node ${(placement[x.handler_id] || []).join(" and ")}`);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Handlers: ${names.join(", ")}` }, links, boxes);
  svg.style.minWidth = `${Math.round(0.75 * width)}px`; // readable on a phone: it scrolls instead
  return svg;
}

function link(place, k, hop, far) {
  const a = place.get(k.source_handler), b = place.get(k.target_handler);
  const x1 = a.x + W, y1 = a.y + H / 2, x2 = b.x, y2 = b.y + H / 2, middle = (x1 + x2) / 2;
  const below = Math.max(y1, y2) + H / 2 + 26; // a link that passes other columns goes below their boxes
  const way = far ? `M${x1},${y1} C${x1 + 50},${y1} ${x1},${below} ${x1 + 70},${below} L${x2 - 70},${below} C${x2},${below} ${x2 - 50},${y2} ${x2},${y2}`
    : `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`;
  const label = hop ? (hop.latency_ms === null || hop.latency_ms === undefined ? "hop" : `${number(hop.latency_ms, 2)} ms`) : "";
  return s("g", {}, s("path", { class: hop ? "hop" : null, d: way }),
    s("text", { class: "small", x: middle, y: far ? below - 6 : (y1 + y2) / 2 - 6, "text-anchor": "middle" }, label));
}

function box(x, at, nodes, measured) {
  const ms = measured.map((m) => m.service_ms).filter((v) => v !== null && v !== undefined);
  const mean = ms.length ? ms.reduce((a, b) => a + b, 0) / ms.length : null;
  const waiting = measured.reduce((total, m) => total + (m.queue_size || 0), 0);
  const sick = measured.filter((m) => m.state !== "running").map((m) => m.state);
  const lines = [`${mean === null ? "–" : `${number(mean)} ms`}, ${waiting} waiting`, sick.length ? sick.join(", ") : `node ${nodes.join(", ")}`];
  return s("g", { transform: `translate(${at.x},${at.y})` },
    s("rect", { class: "box", width: W, height: H, rx: 10, stroke: `hsl(${hue(nodes[0] || 0)} 65% 50%)` }),
    s("text", { x: 12, y: 23, "font-weight": 600 }, `${x.handler_id} ${x.handler_name}`),
    s("text", { class: "small", x: 12, y: 43 }, lines[0]), s("text", { class: "small", x: 12, y: 61 }, lines[1]));
}
