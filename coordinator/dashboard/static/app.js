// Routes and the frame of the page. A page is an object with show(), update() and, where it follows a session, an id.

import { Feed } from "./feed.js";
import { call, fault, h } from "./dom.js";
import { Overview } from "./overview.js";
import { Session } from "./session.js";
import { Galleries } from "./galleries.js";
import { Creation } from "./creation.js";

const main = document.getElementById("main");
const status = document.getElementById("status");
const logout = document.getElementById("logout");
let page = null;
let drawing = false;

const feed = new Feed(
  () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      if (page) page.update();
    });
  },
  (text, bad) => {
    if (status.textContent !== text) status.textContent = text;
    status.className = bad ? "bad" : "";
  },
  () => askToken(),
);

function pageOf(hash) {
  const parts = hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (parts[0] === "sessions" && /^\d+$/.test(parts[1] || "")) return new Session(feed, Number(parts[1]));
  if (parts[0] === "galleries") return new Galleries(parts[1] || null);
  if (parts[0] === "new") return new Creation();
  return new Overview(feed);
}

function go() {
  if (location.hash && !location.hash.startsWith("#/")) return; // the skip link
  page = pageOf(location.hash);
  main.replaceChildren();
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#/${location.hash.replace(/^#\/?/, "").split("/")[0]}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  page.show(main);
  feed.follow(page.id === undefined ? null : page.id);
  page.update();
  document.title = `${page.title} – FaceService`;
}

function askToken() {
  page = null;
  status.textContent = "sign in";
  const input = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password", id: "token" });
  const notes = h("div", {});
  const form = h("form", { class: "login" }, h("h2", {}, "Sign in"), h("label", { for: "token" }, "Token of this system"), input,
    h("button", { class: "main" }, "Sign in"), notes);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await call("POST", "/login", { token: input.value });
      logout.hidden = false;
      go();
    } catch (error) {
      notes.replaceChildren(fault(error));
    }
  });
  main.replaceChildren(form);
  input.focus();
}

logout.addEventListener("click", async () => {
  await call("POST", "/logout");
  logout.hidden = true;
  feed.close();
  askToken();
});
addEventListener("hashchange", () => {
  go();
  if (!location.hash || location.hash.startsWith("#/")) main.focus({ preventScroll: true });
});
go();
