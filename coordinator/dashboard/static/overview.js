// All nodes and all sessions.

import { call, cells, h, meter, number, state, table } from "./dom.js";

export class Overview {
  title = "Overview";

  constructor(feed) {
    this.feed = feed;
    this.rows = new Map(); // key -> {row, element}: only what changed is drawn anew
    this.shown = 100;
  }

  show(main) {
    this.cards = h("ul", { class: "cards" });
    this.nodes = h("tbody", {});
    this.sessions = h("tbody", {});
    this.more = h("button", { type: "button", hidden: true, onclick: () => { this.shown += 200; this.update(); } });
    this.note = h("div", { "aria-live": "polite" });
    main.append(h("h2", {}, "Nodes"), this.cards, this.note,
      table("Nodes", ["node", "state", "CPU", "memory", "GPU", "hardware", "#sessions", "zone", ""], this.nodes, true),
      h("h2", {}, "Sessions"),
      table("Sessions", ["session", "service", "state", "nodes", "#fps", "#p50 ms", "#p95 ms", "objective", "#in", "#delivered", "#dropped", "#in flight"], this.sessions, true),
      this.more);
  }

  update() {
    const nodes = [...this.feed.nodes.values()];
    const sessions = [...this.feed.sessions.values()].sort((a, b) => b.id - a.id);
    const sum = (name) => sessions.reduce((total, row) => total + (row[name] || 0), 0);
    const card = (value, text, kind) => h("li", {}, h("b", { class: kind }, value), h("span", {}, text));
    const up = nodes.filter((n) => n.state === "up").length;
    const sick = sessions.filter((x) => x.state === "degraded" || x.state === "failed" || x.kept === false).length;
    this.cards.replaceChildren(
      card(`${up} / ${nodes.length}`, "nodes up", up < nodes.length ? "down" : "up"),
      card(sessions.length, "sessions"),
      card(sick, "need a look", sick ? "broken" : null),
      card(number(sum("fps")), "frames per second"),
      card(number(sum("in_flight")), "frames in flight"),
    );
    this.fill(this.nodes, "n", nodes, (row) => this.node(row), "No node has reported yet: start one with python3 main.py config/node.conf");
    this.fill(this.sessions, "s", sessions.slice(0, this.shown), (row) => this.session(row), "No sessions: make one under “New session”.");
    this.more.hidden = sessions.length <= this.shown;
    this.more.textContent = `Show more (${sessions.length - this.shown} left)`;
  }

  fill(body, kind, rows, draw, empty) {
    if (!rows.length) {
      body.replaceChildren(h("tr", {}, h("td", { colspan: 12, class: "soft" }, empty)));
      return;
    }
    const wanted = rows.map((row) => {
      const known = this.rows.get(kind + row.id);
      if (known && known.row === row) return known.element;
      const element = draw(row);
      this.rows.set(kind + row.id, { row, element });
      if (known && known.element.isConnected && !known.element.contains(document.activeElement)) known.element.replaceWith(element);
      else if (known && known.element.contains(document.activeElement)) {
        this.rows.set(kind + row.id, { row: null, element: known.element }); // not under the user's finger
        return known.element;
      }
      return element;
    });
    if (wanted.length !== body.children.length || wanted.some((e, i) => body.children[i] !== e)) body.replaceChildren(...wanted);
  }

  node(row) {
    const button = (word, path, kind) => h("button", { type: "button", class: kind, "aria-label": `${word} node ${row.id}`,
      onclick: (e) => this.order(e.target, `/nodes/${row.id}/${path}`) }, word);
    const gpus = row.gpus.length ? h("ul", { class: "gpus" }, row.gpus.map((g) => h("li", {}, meter(g.util, `use of ${g.name}`), " ",
      h("span", { class: "soft" }, g.mem === null || g.mem === undefined ? g.name : `${g.mem} % of memory, ${g.name}`)))) : "–";
    const buttons = row.state === "up" ? [button("Cordon", "cordon"), button("Drain", "drain")]
      : row.state === "down" ? [] : [button("Uncordon", "uncordon")];
    return h("tr", {}, cells(
      h("span", {}, `${row.id} ${row.name}`), state(row.state), meter(row.cpu, "CPU"), meter(row.mem, "memory"), gpus,
      row.cpus ? `${row.cpus} cores, ${row.mem_gb} GB` : "–", row.sessions, row.zone || "–", h("span", {}, buttons)));
  }

  session(row) {
    const kept = row.kept === undefined || row.kept === null ? h("span", { class: "soft" }, "–")
      : h("span", { class: row.kept ? "kept" : "broken" }, row.kept ? "met" : "broken");
    return h("tr", {}, cells(
      h("a", { href: `#/sessions/${row.id}` }, `session ${row.id}`), `${row.service} / ${row.variant}`,
      h("span", { title: row.reason || null }, state(row.state), row.reason ? ` ${row.reason}` : ""), row.nodes.join(", "),
      ...[row.fps, row.p50, row.p95].map((v) => v ?? "–"), kept, row.frames_in, row.delivered, row.dropped, row.in_flight));
  }

  async order(button, path) {
    button.disabled = true;
    try {
      await call("POST", path);
      this.note.replaceChildren();
    } catch (error) {
      this.note.replaceChildren(h("p", { class: "fault" }, error.message));
    }
    button.blur();
    button.disabled = false;
  }
}
