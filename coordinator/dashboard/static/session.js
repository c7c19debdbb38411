// One session: its graph, figures, books, why it is where it is, its history, its picture, the path of single frames.

import { bytes, call, cells, clock, fault, h, number, s, state, table } from "./dom.js";
import { drawn } from "./graph.js";

const KEPT = 120; // seconds of figures in the small charts

export class Session {
  constructor(feed, id) {
    this.feed = feed;
    this.id = id;
    this.title = `Session ${id}`;
    this.past = { fps: [], p50: [] };
  }

  show(main) {
    this.head = h("div", {});
    this.graph = h("div", { class: "graph" });
    this.charts = h("div", {});
    this.books = h("div", {});
    this.parts = h("tbody", {});
    this.why = h("div", {});
    this.events = h("tbody", {});
    this.frames = h("div", {});
    this.note = h("div", { "aria-live": "polite" });
    this.video = h("div", {}, h("button", { type: "button", onclick: () => this.watch() }, "Watch live"));
    const order = (word, method, path, kind) => h("button", { type: "button", class: kind, onclick: (e) => this.order(e.target, method, path) }, word);
    this.buttons = h("p", {}, order("Place anew", "POST", `/sessions/${this.id}/reallocate`), " ",
      order("Start", "POST", `/sessions/${this.id}/start`), " ", order("Stop", "POST", `/sessions/${this.id}/stop`), " ",
      order("Delete", "DELETE", `/sessions/${this.id}`, "danger"));
    main.append(h("h2", {}, this.title), this.head, this.buttons, this.note, this.graph,
      h("div", { class: "columns" },
        h("section", {}, h("h3", {}, "Why here"), this.why, h("h3", {}, "History"),
          table("History", ["time", "event", "detail"], this.events, true)),
        h("section", {}, h("h3", {}, "Picture"), this.video, h("h3", {}, "Figures"), this.charts, h("h3", {}, "Handlers and hops"),
          table("Handlers and hops", ["", "node", "#ms", "#waiting", "#frames"], this.parts), h("h3", {}, "Books"), this.books,
          h("h3", {}, "A frame’s path"), h("button", { type: "button", onclick: () => this.list() }, "Latest frames"), this.frames)));
  }

  update() {
    const x = this.feed.session;
    if (x === undefined) return;
    if (x === null) {
      this.head.replaceChildren(h("p", { class: "fault" }, `There is no session ${this.id}.`));
      return;
    }
    const row = this.feed.sessions.get(this.id);
    const wish = Object.entries(x.objective || {}).filter(([, v]) => v !== null).map(([k, v]) => `${k.replaceAll("_", " ")} ${v}`);
    const kept = row && row.kept !== null && row.kept !== undefined ? h("b", { class: row.kept ? "kept" : "broken" }, row.kept ? " met" : " broken") : null;
    this.head.replaceChildren(h("p", {}, `${x.service} / ${x.variant}, `, state(x.state), x.reason ? ` (${x.reason})` : "",
      `, placed by ${x.algorithm || "?"}, epoch ${x.epoch}, ${x.delivery}. `,
      wish.length ? h("span", {}, `Objective: ${wish.join(", ")}`, kept) : "No objective."));
    if (x.graph) this.graph.replaceChildren(drawn(x));
    this.figures(x);
    this.explain(x);
    const detail = (e) => Object.entries(e.detail || {}).map(([k, v]) => `${k}: ${words(v)}`).join(", ");
    const events = x.events === null ? [] : [...x.events].reverse();
    this.events.replaceChildren(...events.map((e) => h("tr", {}, cells(clock(e.timestamp), e.event, detail(e)))));
  }

  figures(x) {
    const m = x.measured || {};
    this.keep("fps", m.fps);
    this.keep("p50", (m.latency_ms || {}).p50);
    const predicted = x.predicted || {};
    const beside = predicted.latency_ms ? `, predicted ${number(predicted.latency_ms)}` : "";
    this.charts.replaceChildren(
      chart("frames per second", this.past.fps, `${number(m.fps ?? null)} fps`),
      chart("latency p50, ms", this.past.p50, `${number((m.latency_ms || {}).p50 ?? null)} ms p50, ${number((m.latency_ms || {}).p95 ?? null)} p95, ${number((m.latency_ms || {}).p99 ?? null)} p99${beside}`));
    this.parts.replaceChildren(...rows(x));
    const b = m.books;
    if (!b) {
      this.books.replaceChildren(h("p", { class: "soft" }, "No frame was counted yet."));
      return;
    }
    const reasons = Object.entries(b.dropped || {}).map(([why, n]) => h("tr", {}, cells(`dropped: ${why}`, n)));
    this.books.replaceChildren(table("Books", ["frames", "#"], h("tbody", {}, h("tr", {}, cells("in", b.frames_in)),
      h("tr", {}, cells("delivered", b.delivered)), reasons, h("tr", {}, cells("in flight", b.in_flight)), h("tr", {}, cells("sent again", b.resent)))));
  }

  keep(name, value) {
    this.past[name].push(value ?? null);
    if (this.past[name].length > KEPT) this.past[name].shift();
  }

  explain(x) {
    const key = JSON.stringify([x.explanation, x.passed_over]);
    if (key === this.explained) return; // an opened list stays open
    this.explained = key;
    const others = (e) => Object.entries(e.others || {}).map(([node, why]) => h("li", {}, `not on ${node}: ${why}`));
    const rows = (x.explanation || []).map((e) => h("tr", {}, cells(`${e.handler_id} ${e.name}`, e.node_ids.join(", "),
      h("div", {}, e.why, others(e).length ? h("details", {}, h("summary", {}, "and not elsewhere"), h("ul", { class: "why" }, others(e))) : null))));
    const passed = Object.entries(x.passed_over || {}).map(([v, why]) => h("li", {}, `variant ${v}: ${why}`));
    this.why.replaceChildren(table("Why here", ["handler", "node", "because"], h("tbody", {}, rows)),
      passed.length ? h("details", {}, h("summary", {}, `${passed.length} variants passed over`), h("ul", { class: "why" }, passed)) : "");
  }

  watch() {
    const url = this.feed.session && this.feed.session.video_url;
    if (!url) return;
    const stop = () => this.video.replaceChildren(h("button", { type: "button", onclick: () => this.watch() }, "Watch live"));
    this.video.replaceChildren(h("img", { class: "live", src: url, alt: `live picture of session ${this.id}`, onerror: () => {
      this.video.replaceChildren(h("p", { class: "fault" }, "No picture: the service draws none, or its node cannot be reached from here."));
    } }), h("button", { type: "button", onclick: stop }, "Stop watching"));
  }

  async order(button, method, path) {
    if (method === "DELETE" && !confirm(`Delete session ${this.id}? Its camera or client is cut off.`)) return;
    button.disabled = true;
    try {
      await call(method, path, method === "POST" && path.endsWith("reallocate") ? {} : undefined);
      this.note.replaceChildren();
      if (method === "DELETE") location.hash = "#/";
    } catch (error) {
      this.note.replaceChildren(fault(error));
    }
    button.disabled = false;
  }

  async list() {
    try {
      const { frames } = await call("GET", `/sessions/${this.id}/frames?limit=12`);
      const rows = frames.map((f) => h("tr", {}, cells(
        h("button", { type: "button", onclick: () => this.trace(f.sequence) }, `frame ${f.sequence}`), clock(f.began), f.duration_ms)));
      this.waterfall = h("div", {});
      this.frames.replaceChildren(frames.length ? table("Latest frames", ["frame", "began", "#ms"], h("tbody", {}, rows))
        : h("p", { class: "soft" }, "No frame was reported yet; reports come every few seconds."), this.waterfall);
    } catch (error) {
      this.frames.replaceChildren(fault(error));
    }
  }

  async trace(sequence) {
    try {
      const found = await call("GET", `/sessions/${this.id}/frames/${sequence}`);
      const whole = Math.max(found.ended - found.began, 1e-6);
      const part = (kind, since, until) => since !== null && until !== null && s("rect", { class: kind, height: 10,
        x: (100 * (since - found.began)) / whole, width: Math.max(0.4, (100 * (until - since)) / whole) });
      const rows = found.visits.map((v) => h("tr", {}, cells(`${v.handler_id} ${v.handler_name}`, `${v.node_id}`,
        v.wait_ms ?? "–", v.execute_ms ?? "–", v.send_ms ?? "–", bytes(v.bytes_out),
        s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
          part("wait", v.received, v.start), part("work", v.start, v.end), part("send", v.end, v.sent)))));
      this.waterfall.replaceChildren(h("h3", {}, `Frame ${sequence}: ${number(found.duration_ms)} ms`),
        h("div", { class: "waterfall" }, table(`Path of frame ${sequence}`, ["handler", "node", "#wait", "#work", "#send ms", "out", "when"], h("tbody", {}, rows))),
        h("p", {}, h("a", { href: `/sessions/${this.id}/frames/${sequence}?format=chrome` }, "as a trace file"), " for ui.perfetto.dev"));
    } catch (error) {
      this.waterfall.replaceChildren(fault(error));
    }
  }
}

function rows(x) {
  const names = new Map((x.graph ? x.graph.handlers : []).map((g) => [g.handler_id, g.handler_name]));
  const { handlers = [], hops = [] } = x.measured || {};
  const name = (id) => `${id} ${names.get(id) || ""}`;
  return [
    ...handlers.map((m) => h("tr", {}, cells(h("span", {}, name(m.handler_id), m.state === "running" ? "" : h("b", { class: "broken" }, ` ${m.state}`),
      m.restarts ? `, ${m.restarts} restarts${m.died ? ` (the last: ${m.died})` : ""}` : ""), `${m.node_id}`, ms(m.service_ms), m.queue_size, m.frames))),
    ...hops.map((k) => h("tr", {}, cells(h("span", { title: `${name(k.source_handler)} → ${name(k.target_handler)}` },
      `hop ${k.source_handler} → ${k.target_handler}`), `${k.from_node} → ${k.to_node}`, ms(k.latency_ms), "", ""))),
  ];
}

const ms = (value) => (value === null || value === undefined ? h("span", { class: "soft" }, "–") : value);

function words(value) {
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) return value.map(words).join("+");
  return Object.entries(value).map(([k, v]) => `${k}→${words(v)}`).join(" ");
}

function chart(name, values, text) {
  const known = values.filter((v) => v !== null);
  const top = Math.max(...known, 1e-9);
  let path = "";
  values.forEach((v, i) => {
    if (v !== null) path += `${path && values[i - 1] !== null ? "L" : "M"}${(100 * i) / (KEPT - 1)},${36 - (34 * v) / top}`;
  });
  return h("figure", {}, h("figcaption", {}, text),
    s("svg", { class: "spark", viewBox: "0 0 100 38", preserveAspectRatio: "none", role: "img", "aria-label": `${name} over the last two minutes: now ${text}` },
      s("path", { d: path || "M0,36" })));
}
