// A form for POST /sessions, with a dry run that says where everything would go, and why.

import { call, cells, fault, h, number, table } from "./dom.js";

export class Creation {
  title = "New session";

  show(main) {
    this.answer = h("div", { "aria-live": "polite" });
    this.form = h("form", { class: "fields" });
    main.append(h("h2", {}, "New session"), this.form, this.answer);
    this.load();
  }

  update() {}

  async load() {
    try {
      const [{ services }, { algorithms }, { nodes }] = await Promise.all(["/services", "/algorithms", "/nodes"].map((p) => call("GET", p)));
      this.services = services;
      this.fill(algorithms, nodes);
    } catch (error) {
      this.answer.replaceChildren(fault(error));
    }
  }

  fill(algorithms, nodes) {
    const select = (name, label, options, first) => h("label", {}, label,
      h("select", { name }, first === null ? [] : h("option", { value: "" }, first), options.map(([value, text]) => h("option", { value }, text))));
    const figure = (name, label, step, extra) => h("label", {}, label, h("input", { name, type: "number", min: 0, step, ...extra }));
    const service = select("service", "Service", this.services.map((x) => [x.service_name, x.service_name]), null);
    const variant = select("variant", "Variant", [], "chosen by the coordinator");
    const variants = () => {
      const found = this.services.find((x) => x.service_name === service.lastChild.value);
      variant.lastChild.replaceChildren(h("option", { value: "" }, "chosen by the coordinator"), ...(found ? found.variants : []).map((v) =>
        h("option", { value: v.variant_name }, `${v.variant_name}${v.accuracy ? `, accuracy ${v.accuracy}` : ""}`)));
    };
    service.lastChild.addEventListener("change", variants);
    variants();
    const wishes = ["minimize latency", "minimize cost", "minimize energy", "maximize accuracy", "maximize throughput"];
    this.form.append(service, variant, select("wish", "Objective", wishes.map((w) => [w, w]), "none: the service's first variant that fits"),
      figure("max_latency_ms", "Latency at most, ms", "any"), figure("min_accuracy", "Accuracy at least", "any", { max: 1 }), figure("min_fps", "Frames per second at least", "any"),
      select("delivery", "Delivery", [["lossless", "lossless: every frame"], ["live", "live: the newest, old ones may be dropped"]], null),
      select("entry_node", "Entry node", nodes.map((n) => [n.node_id, `${n.node_id} ${n.node_name}`]), "chosen by the coordinator"),
      select("algorithm", "Algorithm", algorithms.map((a) => [a.name, a.name]), "the coordinator's default"),
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => this.send(true) }, "Dry run"), h("button", { class: "main" }, "Create")));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(false);
    });
  }

  request() {
    const value = (name) => this.form.elements[name].value;
    const objective = {};
    if (value("wish")) {
      const [verb, what] = value("wish").split(" ");
      objective[verb] = what;
    }
    for (const name of ["max_latency_ms", "min_accuracy", "min_fps"]) if (value(name)) objective[name] = Number(value(name));
    const request = { service: value("service"), delivery: value("delivery") };
    if (Object.keys(objective).length) request.objective = objective;
    for (const name of ["variant", "algorithm"]) if (value(name)) request[name] = value(name);
    if (value("entry_node")) request.entry_node = Number(value("entry_node"));
    return request;
  }

  async send(dry) {
    if (!this.form.reportValidity()) return;
    const buttons = this.form.querySelectorAll("button");
    buttons.forEach((b) => { b.disabled = true; });
    this.answer.replaceChildren(h("p", {}, dry ? "Asking…" : "Creating: handlers load their models…"));
    try {
      const found = await call("POST", dry ? "/sessions?dry_run=1" : "/sessions", this.request());
      if (dry) this.answer.replaceChildren(plan(found));
      else location.hash = `#/sessions/${found.session_id}`;
    } catch (error) {
      this.answer.replaceChildren(fault(error));
    }
    buttons.forEach((b) => { b.disabled = false; });
  }
}

function plan(x) {
  const p = x.predicted || {};
  const facts = [["latency", p.latency_ms, "ms"], ["frames per second", p.fps, ""], ["accuracy", p.accuracy, ""]].filter(([, v]) => v !== null && v !== undefined)
    .map(([name, v, unit]) => `${name} ${number(v)} ${unit}`.trim());
  const rows = (x.explanation || []).map((e) => h("tr", {}, cells(`${e.handler_id} ${e.name}`, e.node_ids.join(", "), e.why)));
  const passed = Object.entries(x.passed_over || {}).map(([v, why]) => h("li", {}, `variant ${v} passed over: ${why}`));
  return h("section", {}, h("h3", {}, `It would run ${x.service} / ${x.variant}`), h("p", {}, `Entry on node ${x.entry_node}. Predicted: ${facts.join(", ") || "nothing is known yet"}.`),
    table("Placement", ["handler", "node", "because"], h("tbody", {}, rows)), passed.length ? h("ul", { class: "why" }, passed) : "");
}
