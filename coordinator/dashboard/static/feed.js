// The live feed: rows of nodes and sessions, kept up to date by server-sent events.

export class Feed {
  constructor(onchange, onstatus, ondenied) {
    this.nodes = new Map();
    this.sessions = new Map();
    this.session = undefined; // the one that a page follows: null when it is not there
    this.onchange = onchange;
    this.onstatus = onstatus;
    this.ondenied = ondenied;
  }

  follow(sessionId) {
    if (this.source && this.sessionId === sessionId) return;
    this.close();
    this.sessionId = sessionId;
    this.session = undefined;
    const source = new EventSource(sessionId === null ? "/live" : `/live?session=${sessionId}`);
    this.source = source;
    source.addEventListener("state", (e) => {
      this.nodes.clear();
      this.sessions.clear();
      this.take(JSON.parse(e.data));
    });
    source.addEventListener("change", (e) => this.take(JSON.parse(e.data)));
    source.addEventListener("session", (e) => {
      this.session = JSON.parse(e.data);
      this.onchange();
    });
    source.onopen = () => this.onstatus("live", false);
    source.onerror = () => this.failed(source);
  }

  take(change) {
    for (const row of change.nodes || []) this.nodes.set(row.id, row);
    for (const row of change.sessions || []) this.sessions.set(row.id, row);
    for (const id of change.gone_nodes || []) this.nodes.delete(id);
    for (const id of change.gone_sessions || []) this.sessions.delete(id);
    this.onstatus("live", false);
    this.onchange();
  }

  async failed(source) {
    if (source !== this.source) return;
    this.onstatus("no connection to the coordinator, trying again", true);
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    this.close();
    const answer = await fetch("/nodes?limit=1", { credentials: "same-origin" }).catch(() => null);
    if (answer && answer.status === 401) this.ondenied();
    else setTimeout(() => this.source || this.follow(this.sessionId), 2000);
  }

  close() {
    if (this.source) this.source.close();
    this.source = null;
  }
}
