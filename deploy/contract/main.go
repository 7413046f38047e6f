// Command contract makes what is generated from the contract of client events (proto/events/source): the contract as JSON, the TypeScript
// types and the AsyncAPI document in proto/events/gen, and the tables of docs/events.md. `make contract` runs it.
//
//	contract [-check]    in the root of the repository
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

const (
	sourceDir = "proto/events/source"
	docsFile  = "docs/events.md"
)

func main() {
	check := flag.Bool("check", false, "write nothing: say what is not as the source has it")
	flag.Parse()
	if err := run(".", *check); err != nil {
		fmt.Fprintln(os.Stderr, "contract:", err)
		os.Exit(1)
	}
}

// run makes all files below root, or says which of them are stale.
func run(root string, check bool) error {
	c, err := load(filepath.Join(root, sourceDir))
	if err != nil {
		return err
	}
	docs, err := os.ReadFile(filepath.Join(root, docsFile)) //nolint:gosec // in the repository
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"proto/events/gen/contract.json": bundle(c),
		"proto/events/gen/asyncapi.json": asyncAPI(c),
		"proto/events/gen/starling.d.ts": typeScript(c),
	}
	if files[docsFile], err = tables(c, docs); err != nil {
		return fmt.Errorf("%s: %w", docsFile, err)
	}
	var stale error
	for name, content := range files {
		file := filepath.Join(root, name)
		before, err := os.ReadFile(file) //nolint:gosec // in the repository
		switch {
		case err == nil && bytes.Equal(before, content):
		case check:
			stale = errors.Join(stale, fmt.Errorf("%s is not what %s says: make contract", name, sourceDir))
		default:
			if err := os.WriteFile(file, content, 0o644); err != nil { //nolint:gosec // source text
				return err
			}
		}
	}
	return stale
}
