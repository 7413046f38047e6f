package main

import (
	"errors"
	"fmt"
	"strings"
)

// tables writes the tables between the markers of a Markdown page:
//
//	<!-- contract: client -->
//	<!-- /contract -->
func tables(c *contract, page []byte) ([]byte, error) {
	d := docs{c}
	makers := map[string]func() []string{"connect": d.connectErrors, "codes": d.codes, "reasons": d.reasons, "client": d.client, "server": d.server}
	var b strings.Builder
	rest := string(page)
	for {
		before, after, found := strings.Cut(rest, "<!-- contract: ")
		b.WriteString(before)
		if !found {
			break
		}
		name, after, _ := strings.Cut(after, " -->\n")
		maker, known := makers[name]
		_, after, ended := strings.Cut(after, "<!-- /contract -->")
		if !known || !ended {
			return nil, fmt.Errorf("the marker of %q has no table, or no end", name)
		}
		delete(makers, name)
		fmt.Fprintf(&b, "<!-- contract: %s -->\n\n%s\n\n<!-- /contract -->", name, strings.Join(maker(), "\n"))
		rest = after
	}
	var missing error
	for name := range makers {
		missing = errors.Join(missing, fmt.Errorf("there is no marker <!-- contract: %s -->", name))
	}
	return []byte(b.String()), missing
}

type docs struct{ *contract }

func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |" }

func (d docs) connectErrors() []string {
	rows := []string{row("`message`", "`data.code`", "when"), "|---|---|---|"}
	for _, r := range d.ConnectErrors {
		rows = append(rows, row(ticks(r.Message), ticks(r.Code), r.Means))
	}
	return rows
}

func (d docs) codes() []string {
	rows := []string{row("`code`", "meaning", "try again?"), "|---|---|---|"}
	for _, k := range d.Codes {
		rows = append(rows, row(ticks(k.Code), k.Means, k.Again))
	}
	return rows
}

func (d docs) reasons() []string {
	rows := []string{row("`reason`", "`code`", "meaning"), "|---|---|---|"}
	for _, r := range d.Reasons {
		rows = append(rows, row(ticks(r.Reason), ticks(r.Code), r.Means))
	}
	return rows
}

func (d docs) nameOf(e *event) string {
	name := ticks(e.Event)
	switch {
	case len(e.In) == len(d.Namespaces):
		name += " (everywhere)"
	case len(e.In) == 1 && e.In[0] != "/":
		name += " (on " + ticks(e.In[0]) + " only)"
	}
	return name
}

func (d docs) client() []string {
	rows := []string{row("event", "argument", "ack", "reasons", "what happens"), "|---|---|---|---|---|"}
	for _, e := range d.contract.client {
		_, reasons, _ := d.refusals(e.Refused)
		rows = append(rows, row(d.nameOf(e), d.argument(e), d.ack(e), d.words(reasons), e.Text))
	}
	return rows
}

func (d docs) words(words []string) string {
	if len(words) == 0 {
		return "–"
	}
	return ticks(strings.Join(words, "` `"))
}

func (d docs) argument(e *event) string {
	argument := argumentOf(d.contract, e)
	switch {
	case e.Anything:
		return "anything"
	case argument == nil:
		return "none"
	}
	text := e.ArgumentText
	if text == "" {
		text = d.alternatives(argument)
	}
	if e.Optional {
		text = "none or " + text
	}
	return text
}

func (d docs) ack(e *event) string {
	if e.AckText != "" {
		return e.AckText
	}
	properties := append([]property{{name: "ok", schema: &schema{}}}, d.answer(e)...)
	return ticks(d.shape(&schema{Properties: properties}, true))
}

func (d docs) server() []string {
	rows := []string{row("event", "payload", "to"), "|---|---|---|"}
	for _, e := range d.contract.server {
		payload := e.PayloadText
		switch {
		case payload != "":
		case e.Anything:
			payload = "as sent"
		case e.payload.Open:
			payload = ticks("{ …data, " + strings.TrimSuffix(d.shape(e.payload, true), ", …anything }")[2:] + " }")
		default:
			payload = ticks(d.shape(e.payload, true))
		}
		if e.PayloadNote != "" {
			payload += noteBetween(e.PayloadNote) + e.PayloadNote
		}
		name := ticks(e.Event)
		rows = append(rows, row(name, payload, e.To))
	}
	return rows
}

// noteBetween is what stands between a payload and its note: a note that begins with a field explains it.
func noteBetween(note string) string {
	if strings.HasPrefix(note, "`") && strings.Contains(note, " is ") {
		return "; "
	}
	return ": "
}

// alternatives shows what an argument may be.
func (d docs) alternatives(s *schema) string {
	if s.Ref != "" && d.schema(s.Ref).AnyOf != nil {
		s = d.schema(s.Ref)
	}
	if s.AnyOf == nil {
		return ticks(d.shape(s, true))
	}
	list := make([]string, len(s.AnyOf))
	for i, one := range s.AnyOf {
		list[i] = ticks(d.shape(one, true))
	}
	return strings.Join(list, " or ")
}

// longest is how many fields an element of a list may have to be shown where the list is.
const longest = 8

// shape shows the fields of an object, and of the objects in it that have no name. At the top, and in lists, objects with a name are shown too.
func (d docs) shape(s *schema, top bool) string {
	if s.Ref != "" {
		of := d.schema(s.Ref)
		if !top || of.Properties == nil || len(of.Properties) > longest {
			return strings.ToLower(s.Ref[:1]) + s.Ref[1:]
		}
		s = of
	}
	if s.Items != nil {
		return "[" + d.shape(s.Items, true) + "]"
	}
	fields := make([]string, 0, len(s.Properties)+1)
	for _, p := range s.Properties {
		field := p.name
		if p.optional {
			field += "?"
		}
		if inner := d.inner(p.schema); inner != "" {
			field += ": " + inner
		}
		fields = append(fields, field)
	}
	if s.Open {
		fields = append(fields, "…anything")
	}
	return "{ " + strings.Join(fields, ", ") + " }"
}

// inner shows what a field is, where its name does not say it.
func (d docs) inner(s *schema) string {
	switch {
	case s.Const != nil && s.Const != true:
		return literal(s.Const)
	case s.Ref == "" && s.Properties != nil:
		return d.shape(s, false)
	case s.Items == nil:
		return ""
	case s.Items.Properties != nil:
		return "[" + d.shape(s.Items, false) + "]"
	}
	if of := d.schema(s.Items.Ref); of != nil && of.Properties != nil && len(of.Properties) <= longest {
		return "[" + d.shape(of, false) + "]"
	}
	return ""
}

func ticks(s string) string { return "`" + s + "`" }
