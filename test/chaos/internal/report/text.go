package report

const pageStyle = `
body{font:15px/1.5 system-ui,sans-serif;color:#1d2430;background:#fff;max-width:1040px;margin:24px auto;padding:0 20px}
h1{font-size:22px;margin:0 0 4px} h2{font-size:15px;margin:22px 0 4px;font-weight:600}
.verdict{display:inline-block;padding:2px 12px;border-radius:12px;color:#fff;font-weight:600;margin-right:8px}
.verdict.held{background:#1a7f4b} .verdict.violated{background:#c0282d}
.facts{display:flex;flex-wrap:wrap;gap:6px 26px;margin:10px 0;padding:0} .facts div{white-space:nowrap} .facts b{font-size:17px;font-weight:600}
.sub,.note{color:#5b6575;font-size:13px}
table{border-collapse:collapse;width:100%} td,th{text-align:left;vertical-align:top;padding:4px 10px 4px 0;border-bottom:1px solid #e6e9ee;font-weight:400}
th{color:#5b6575;font-size:13px} td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.held>td:nth-child(3){color:#1a7f4b} .violated>td:nth-child(3){color:#c0282d;font-weight:600} .skipped>td{color:#8a93a1} td:nth-child(3){white-space:nowrap}
ul{margin:4px 0;padding-left:18px;font-size:13px;color:#8c1d21;overflow-wrap:anywhere}
svg{width:100%;height:auto;display:block;font:11px system-ui,sans-serif}
.grid{stroke:#e3e7ed;stroke-width:.6} .tick{fill:#7a8494;text-anchor:middle} .label{fill:#4d5766;text-anchor:end}
.fault{fill:#d9822b} .fault.failed{fill:none;stroke:#d9822b;stroke-dasharray:2 2} .after{fill:#f0c894} .shadow{fill:#d9822b;opacity:.09}
.alone{fill:#1a7f4b;opacity:.06} .quiet{fill:#5b6575;opacity:.07}
.line{fill:none;stroke-width:1.6;stroke-linejoin:round} .good{stroke:#2463b4} .bad{stroke:#c0282d} .odd{stroke:#d9822b}
.legend{font-size:12px;color:#4d5766;font-weight:400} .legend i{display:inline-block;width:14px;height:3px;margin:0 4px 3px 12px}
i.good{background:#2463b4} i.bad{background:#c0282d} i.odd{background:#d9822b}`

const pageText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Starling: fault run, seed {{.Config.Seed}}</title>
<style>{{.Style}}</style></head><body>
<h1><span class="verdict {{if .OK}}held{{else}}violated{{end}}">{{if .OK}}all held{{else}}{{failed .Results}} violated{{with .Problems}}, {{len .}} problems{{end}}{{end}}</span>Fault run, seed {{.Config.Seed}}</h1>
<div class="sub">{{.Config.Clients}} clients, {{.Totals.Rooms}} rooms, {{.Config.Rate}} sends/s; {{.Config.Copies}} copies of each process, {{.Config.Nodes}} of NATS;
faults for {{.Config.Duration}}: {{join .Config.Nemeses ", "}}{{with .Config.Sabotage}}; <b>sabotage: {{.}}</b>{{end}}</div>
<div class="facts"><div><b>{{.Totals.Messages}}</b> messages</div><div><b>{{.Totals.Acked}}</b> attempts acked</div><div><b>{{.Totals.Failed}}</b> refused</div>
<div><b>{{.Totals.Unknown}}</b> unknown</div><div><b>{{.Totals.Lost}}</b> messages never acked</div><div><b>{{.Totals.Events}}</b> events stored</div>
<div><b>{{.Totals.Deliveries}}</b> deliveries</div><div><b>{{.Totals.Conns}}</b> connections, <b>{{.Totals.Recovered}}</b> recovered</div>
<div>tokens signed by <b>{{.Totals.Keys}}</b> keys in turn</div>
<div>ack p50 <b>{{ms .Totals.AckP50}}</b>, p99 <b>{{ms .Totals.AckP99}}</b></div><div>delivery p50 <b>{{ms .Totals.P50}}</b>, p99 <b>{{ms .Totals.P99}}</b></div></div>
{{with .Problems}}<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end}}<table><tr><th></th><th>invariant</th><th></th><th class="n">looked at</th></tr>
{{range .Results}}<tr class="{{state .}}"><td class="n">{{.Number}}</td><td>{{.Name}}{{with .Note}}<div class="note">{{.}}</div>{{end}}
{{- if .Violations}}<ul>{{range .Violations}}<li>{{.}}</li>{{end}}</ul>{{end}}</td><td>{{if .Count}}{{.Count}} violations{{else if .Skipped}}nothing to look at{{else}}held{{end}}</td><td class="n">{{.Checked}}</td></tr>
{{end}}</table>
{{range .Charts}}<h2>{{.Title}}<span class="legend">{{range .Lines}}<i class="{{.Class}}"></i>{{.Name}}{{end}}</span></h2>{{.Picture}}{{end}}
<div class="legend">{{range .Legend}}<i style="background:{{.Color}}"></i>{{.Name}}{{end}}</div>
<div class="note">Shaded: faults; green: load after everything was healed; grey: no more sends.</div>
<h2>Faults</h2><table><tr><th>from</th><th>to</th><th>ready</th><th>nemesis</th><th>what</th></tr>
{{range .Faults}}<tr><td>{{seconds .Start}}</td><td>{{seconds .End}}</td><td>{{if .Service}}{{seconds .Service}}{{end}}</td><td>{{.Nemesis}}</td><td>{{.Action}} {{.Target}}{{with .Error}} <span class="note">{{.}}</span>{{end}}{{with .Unhealed}} <span class="note">not healed: {{.}}</span>{{end}}</td></tr>
{{end}}</table>
<h2>Memory</h2><table><tr><th>process</th><th class="n">first</th><th class="n">last</th><th class="n">most</th><th class="n">starts</th></tr>
{{range .Memory}}<tr><td>{{.Process}}</td><td class="n">{{mib .First}}</td><td class="n">{{mib .Last}}</td><td class="n">{{mib .Max}}</td><td class="n">{{.Starts}}</td></tr>
{{end}}</table>
</body></html>
`
