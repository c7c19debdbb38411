// The people known by name: look, enrol by dropping pictures, say who they are not, remove.

import { call, cells, fault, h, table } from "./dom.js";

const PLAIN = { required: true, maxlength: 128, pattern: "[^\\/]+", title: "up to 128 characters, no slash" };
const path = (...parts) => `/galleries/${parts.map(encodeURIComponent).join("/")}`;

function droppable(element, take) {
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}

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
      this.faces(entry.label, entry.pictures), this.others(entry))));
  }

  faces(label, pictures, ...not) {
    const what = not.length ? `who is not ${label}` : `of ${label}`;
    return h("ul", { class: not.length ? "faces others" : "faces" }, pictures.map((p) => h("li", {}, h("figure", {},
      h("img", { src: path(this.name, label, ...not, p.name), alt: not.length ? `not ${label}` : `${label}, picture ${p.name}`, loading: "lazy" }),
      h("figcaption", {}, not.length ? "not " : p.name, not.length ? label : "", " ",
        h("button", { type: "button", "aria-label": `Remove picture ${p.name} ${what}`, onclick: () => this.remove(label, ...not, p.name) }, "×"))))));
  }

  others(entry) {
    const files = h("input", { type: "file", accept: "image/*", multiple: true, onchange: () => this.refute(entry.label, [...files.files]) });
    const zone = h("label", { class: "not" }, `Not ${entry.label}: others who are called so (choose or drop pictures)`, files);
    droppable(zone, (list) => this.refute(entry.label, list));
    return [entry.not.length ? this.faces(entry.label, entry.not, "not") : null, zone];
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
    droppable(form, enrol);
    return form;
  }

  enrol(gallery, label, files) {
    return this.send(files, (file, type) => call("PUT", path(gallery, label, file.name), file, type));
  }

  refute(label, files) {
    return this.send(files, (file, type) => call("POST", path(this.name, label, "not"), file, type));
  }

  async send(files, one) {
    const lines = [];
    if (!files.length) lines.push(h("li", { class: "fault" }, "Choose a picture first."));
    for (const [i, file] of files.entries()) {
      this.note.replaceChildren(h("p", {}, `Picture ${i + 1} of ${files.length}…`));
      try {
        const done = await one(file, file.type || "application/octet-stream");
        lines.push(h("li", {}, `${file.name}: ${done.change}${done.note ? `, ${done.note}` : ""}`));
      } catch (error) {
        lines.push(h("li", { class: "fault" }, `${file.name}: ${error.message}`));
      }
    }
    this.note.replaceChildren(h("ul", { role: "status" }, lines));
    this.load();
  }

  async remove(label, ...name) {
    if (!confirm(name.length ? `Remove picture ${name.at(-1)} of ${label}?` : `Remove ${label} with all pictures?`)) return;
    try {
      await call("DELETE", path(this.name, label, ...name));
      this.note.replaceChildren();
    } catch (error) {
      this.note.replaceChildren(fault(error));
    }
    this.load();
  }
}
