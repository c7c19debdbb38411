// The people known by name: look, enrol by dropping pictures, remove.

import { call, cells, fault, h, table } from "./dom.js";

const PLAIN = { required: true, maxlength: 128, pattern: "[^\\/]+", title: "up to 128 characters, no slash" };
const path = (...parts) => `/galleries/${parts.map(encodeURIComponent).join("/")}`;

export class Galleries {
  constructor(name) {
    this.name = name;
    this.title = name === null ? "Galleries" : `Gallery ${name}`;
  }

  show(main) {
    this.body = h("div", {});
    this.note = h("div", { "aria-live": "polite" });
    main.append(h("h2", {}, this.title), this.enrolment(), this.note, this.body);
    this.load();
  }

  update() {}

  async load() {
    try {
      const known = await call("GET", "/galleries");
      if (this.name === null) this.body.replaceChildren(this.all(known));
      else if (known.galleries.some((g) => g.gallery === this.name)) this.body.replaceChildren(this.one(await call("GET", path(this.name))));
      else this.body.replaceChildren(h("p", { class: "soft" }, "Nobody is in this gallery yet."));
    } catch (error) {
      this.body.replaceChildren(fault(error));
    }
  }

  all(document) {
    const rows = document.galleries.map((g) => h("tr", {}, cells(h("a", { href: `#/galleries/${encodeURIComponent(g.gallery)}` }, g.gallery), g.labels, g.pictures)));
    return rows.length ? table("Galleries", ["gallery", "#people", "#pictures"], h("tbody", {}, rows))
      : h("p", { class: "soft" }, "There is none yet. Enrol somebody: the gallery is made by that.");
  }

  one(listing) {
    return h("div", {}, listing.labels.map((entry) => h("section", {}, h("h3", {}, entry.label, " ",
      h("button", { type: "button", class: "danger", "aria-label": `Remove ${entry.label}`, onclick: () => this.remove(entry.label) }, "Remove")),
      h("ul", { class: "faces" }, entry.pictures.map((p) => h("li", {}, h("figure", {},
        h("img", { src: path(this.name, entry.label, p.name), alt: `${entry.label}, picture ${p.name}`, loading: "lazy" }),
        h("figcaption", {}, p.name, " ", h("button", { type: "button", "aria-label": `Remove picture ${p.name} of ${entry.label}`, onclick: () => this.remove(entry.label, p.name) }, "×")))))))));
  }

  enrolment() {
    const gallery = h("input", { ...PLAIN, value: this.name || "default", readonly: this.name !== null });
    const label = h("input", { ...PLAIN, placeholder: "Ada Lovelace" });
    const files = h("input", { type: "file", accept: "image/*", multiple: true });
    const form = h("form", { class: "drop", "aria-label": "Enrol somebody" }, h("label", {}, "Gallery", gallery), h("label", {}, "Who it is", label),
      h("label", {}, "Pictures (or drop them here)", files), h("button", { class: "main" }, "Enrol"));
    const enrol = (list) => form.reportValidity() && this.enrol(gallery.value, label.value, [...list]);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      enrol(files.files);
    });
    form.addEventListener("dragover", (event) => {
      event.preventDefault();
      form.classList.add("over");
    });
    form.addEventListener("dragleave", () => form.classList.remove("over"));
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      form.classList.remove("over");
      enrol(event.dataTransfer.files);
    });
    return form;
  }

  async enrol(gallery, label, files) {
    const lines = [];
    if (!files.length) lines.push(h("li", { class: "fault" }, "Choose a picture first."));
    for (const [i, file] of files.entries()) {
      this.note.replaceChildren(h("p", {}, `Picture ${i + 1} of ${files.length}…`));
      try {
        const done = await call("PUT", path(gallery, label, file.name), file, file.type || "application/octet-stream");
        lines.push(h("li", {}, `${file.name}: ${done.change}${done.note ? `, ${done.note}` : ""}`));
      } catch (error) {
        lines.push(h("li", { class: "fault" }, `${file.name}: ${error.message}`));
      }
    }
    this.note.replaceChildren(h("ul", { role: "status" }, lines));
    this.load();
  }

  async remove(label, name) {
    if (!confirm(name ? `Remove picture ${name} of ${label}?` : `Remove ${label} with all pictures?`)) return;
    try {
      await call("DELETE", name ? path(this.name, label, name) : path(this.name, label));
      this.note.replaceChildren();
    } catch (error) {
      this.note.replaceChildren(fault(error));
    }
    this.load();
  }
}
