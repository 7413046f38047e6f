package commands

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/starling-chat/starling/auth-service/internal/apikeys"
	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/users"
)

// Commands are the commands with their flags, as settings.ParseCommand reads them.
type Commands struct {
	JSON    bool `name:"json" help:"Answer in JSON, with the fields of REST."`
	Verbose bool `name:"verbose" help:"Log on standard error what is done, as the service does."`

	Users userCommands `cmd:"" help:"List, disable, enable and delete users, and set their passwords."`
	Keys  keyCommands  `cmd:"" help:"List, make and remove API keys."`
}

// Operator is who calls a command, with what it works on.
type Operator struct {
	Users     *users.Service
	Keys      *apikeys.Service
	Passwords *auth.Service

	In   io.Reader // where it is a terminal, passwords are typed there unseen
	Out  io.Writer // answers
	Err  io.Writer // what is asked and remarked
	JSON bool      // answers are JSON
}

// answer writes v as JSON, or text.
func (o *Operator) answer(v any, text string) error {
	if o.JSON {
		encoder := json.NewEncoder(o.Out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	}
	_, err := io.WriteString(o.Out, text+"\n")
	return err
}

// remark writes a line beside the answer.
func (o *Operator) remark(format string, args ...any) {
	_, _ = fmt.Fprintf(o.Err, format+"\n", args...) // nobody can be told otherwise
}

// page is a part of a list.
type page struct {
	After string `name:"after" help:"Begin behind this one, the last of the page before."`
	Limit int    `name:"limit" default:"100" help:"Most of one page, a number of 1 to 1000."`
}

// table lays out rows in columns below their names.
func table(columns []string, rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{columns}, rows...) {
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t")) // a Builder takes everything
	}
	_ = w.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
