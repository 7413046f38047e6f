package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/starling-chat/starling/proto/fault"
)

// maxTyped bounds what is read for a password, in bytes; longer ones are refused anyway.
const maxTyped = 4 << 10

// readPassword asks for a password twice at a terminal, which does not show it, or reads one line of what is no terminal.
func (o *Operator) readPassword(ctx context.Context, of string) (string, error) {
	file, ok := o.In.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return readLine(o.In)
	}
	first, err := o.ask(ctx, file, "New password of "+of+": ")
	if err != nil {
		return "", err
	}
	second, err := o.ask(ctx, file, "Once more: ")
	switch {
	case err != nil:
		return "", err
	case first != second:
		return "", fault.New(fault.Invalid, "The two passwords differ")
	}
	return first, nil
}

// ask reads a line of a terminal unseen. Who interrupts it gets a terminal back that shows what is typed.
func (o *Operator) ask(ctx context.Context, terminal *os.File, question string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	_, _ = io.WriteString(o.Err, question)
	defer func() { _, _ = io.WriteString(o.Err, "\n") }() // that of the line was not shown
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() { // ends with the process where it is interrupted
		text, err := term.ReadPassword(fd)
		read <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	case l := <-read:
		if l.err != nil {
			return "", fmt.Errorf("read the password: %w", l.err)
		}
		return string(l.text), nil
	}
}

// readLine reads the only line of r.
func readLine(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxTyped+1))
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	line, rest, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	switch {
	case line == "":
		return "", fault.New(fault.Invalid, "There is no password on standard input")
	case strings.TrimSpace(rest) != "" || len(text) > maxTyped:
		return "", fault.New(fault.Invalid, "The password must be the only line on standard input")
	}
	return line, nil
}
