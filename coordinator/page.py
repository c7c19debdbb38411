"""GET /: nodes and sessions on a plain page, without scripts."""

from flask import render_template_string

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>FaceService</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100%; margin-bottom: 2em }
th, td { text-align: left; padding: .3em .8em .3em 0; border-bottom: 1px solid #ddd; vertical-align: top }
.up, .running { color: #06703a } .down, .failed, .degraded { color: #b00020 }
</style></head><body>
<h1>FaceService</h1>
<p><a href="/services">services</a> · <a href="/handlers">handlers</a> · <a href="/algorithms">algorithms</a> ·
<a href="/nodes">nodes</a> · <a href="/sessions">sessions</a> · <a href="/metrics">metrics</a> ·
<a href="/openapi.json">API</a></p>
<h2>Nodes</h2>
<table><tr><th>node</th><th>state</th><th>CPU</th><th>memory</th><th>sessions</th></tr>
{% for node in nodes %}<tr>
<td><a href="/nodes/{{ node.node_id }}">{{ node.node_id }} {{ node.node_name }}</a></td>
<td class="{{ node.state }}">{{ node.state }}</td>
<td>{% if node.load %}{{ "%.0f" | format(node.load.cpu_util) }} %{% endif %}</td>
<td>{% if node.load %}{{ "%.0f" | format(node.load.mem_util) }} %{% endif %}</td>
<td>{% for s in node.sessions %}<a href="/sessions/{{ s.session_id }}">{{ s.session_id }}</a> {% endfor %}</td></tr>
{% else %}<tr><td colspan="5">none was heard yet</td></tr>{% endfor %}</table>
<h2>Sessions</h2>
<table><tr><th>session</th><th>service</th><th>state</th><th>frames in</th><th>delivered</th><th>p50</th><th>fps</th>
<th>placement</th><th></th></tr>
{% for s in sessions %}<tr>
<td><a href="/sessions/{{ s.session_id }}">{{ s.session_id }}</a></td><td>{{ s.service }} / {{ s.variant }}</td>
<td class="{{ s.state }}">{{ s.state }}{% if s.reason %}: {{ s.reason }}{% endif %}</td>
<td>{{ s.measured.books.frames_in if s.measured.books }}</td>
<td>{{ s.measured.books.delivered if s.measured.books }}</td>
<td>{% if s.measured.latency_ms.p50 is defined %}{{ "%.0f" | format(s.measured.latency_ms.p50) }} ms{% endif %}</td>
<td>{% if s.measured.fps is not none %}{{ "%.1f" | format(s.measured.fps) }}{% endif %}</td>
<td>{% for h, nodes in s.placement.items() %}{{ h }}→{{ nodes | join("+") }} {% endfor %}</td>
<td><a href="{{ s.video_url }}">video</a> <a href="/sessions/{{ s.session_id }}/events">events</a></td></tr>
{% else %}<tr><td colspan="9">none</td></tr>{% endfor %}</table>
</body></html>
"""


def render(nodes: list[dict[str, object]], sessions: list[dict[str, object]]) -> str:
    """Return the page; all values are escaped."""
    return render_template_string(PAGE, nodes=nodes, sessions=sessions)
