package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/events"
	"github.com/starling-chat/starling/proto/events/eventstest"
)

// TestEmitted: what the code emits to clients is in the contract, and what the contract has for them is emitted. The code of a package is read as
// text: an event is what an Emit says that it is, or what a function of the package is told to emit.
func TestEmitted(t *testing.T) {
	emitted := map[string]string{} // by the package that does so
	for _, part := range []string{"auth-service", "chat-service", "gateway", "presence-service", "platform"} {
		for dir, files := range packages(t, filepath.Join(root, part)) {
			for _, event := range emitsOf(files) {
				emitted[event] = strings.TrimPrefix(dir, root+"/")
			}
		}
	}
	contract := eventstest.Contract(t)
	for _, e := range contract.ServerEvents {
		if _, found := emitted[e.Event]; !found && !slices.ContainsFunc(contract.ClientEvents, isPassedOn(e.Event)) {
			t.Errorf("the contract has %s, which nothing emits", e.Event)
		}
		delete(emitted, e.Event)
	}
	for event, dir := range emitted {
		t.Errorf("%s emits %s, which is not in the contract (%s)", dir, event, sourceDir)
	}
}

// isPassedOn tells of the event that a client emits by a name and others get by the same one: the code has no name for it then.
func isPassedOn(event string) func(events.ClientEvent) bool {
	return func(e events.ClientEvent) bool { return e.Event == event && e.Repeat == "never" }
}

// packages parses the packages below a folder in which something is emitted, without their tests.
func packages(t *testing.T, below string) map[string][]*ast.File {
	t.Helper()
	found := map[string][]*ast.File{}
	emitting := map[string]bool{}
	err := filepath.WalkDir(below, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err == nil && entry.IsDir() && entry.Name() == "conformance": // a server for tests
			return fs.SkipDir
		case err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		dir := filepath.Dir(name)
		found[dir] = append(found[dir], file)
		emitting[dir] = emitting[dir] || bytes.Contains(text, []byte("Emit{"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range found {
		if !emitting[dir] {
			delete(found, dir)
		}
	}
	return found
}

// emitsOf lists the events that the files of a package emit by a name of their own.
func emitsOf(files []*ast.File) []string {
	constants := map[string]string{}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, value := range spec.Values {
					if word, ok := wordOf(value, nil); ok {
						constants[spec.Names[i].Name] = word
					}
				}
			}
			return true
		})
	}
	var list []string
	told := map[string]int{} // functions, and which of their parameters is an event
	for _, file := range files {
		for _, declared := range file.Decls {
			ast.Inspect(declared, func(n ast.Node) bool {
				event := eventOf(n)
				if word, ok := wordOf(event, constants); ok {
					list = append(list, word)
				} else if function, ok := declared.(*ast.FuncDecl); ok && event != nil {
					if i := parameter(function, event); i >= 0 {
						told[function.Name.Name] = i
					}
				}
				return true
			})
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if i, ok := told[nameOf(call.Fun)]; ok && i < len(call.Args) {
					if word, ok := wordOf(call.Args[i], constants); ok {
						list = append(list, word)
					}
				}
			}
			return true
		})
	}
	return list
}

// eventOf is the Event of an Emit.
func eventOf(n ast.Node) ast.Expr {
	made, ok := n.(*ast.CompositeLit)
	if !ok || nameOf(made.Type) != "Emit" {
		return nil
	}
	for _, element := range made.Elts {
		if field, ok := element.(*ast.KeyValueExpr); ok && nameOf(field.Key) == "Event" {
			return field.Value
		}
	}
	return nil
}

// wordOf is the value of a string that stands there, or of a constant of the package.
func wordOf(e ast.Expr, constants map[string]string) (string, bool) {
	if literal, ok := e.(*ast.BasicLit); ok && literal.Kind == token.STRING {
		word, err := strconv.Unquote(literal.Value)
		return word, err == nil
	}
	if constant, ok := e.(*ast.Ident); ok {
		word, ok := constants[constant.Name]
		return word, ok
	}
	return "", false
}

// nameOf is the last name of a type, function or value.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// parameter tells which parameter of a function a value is; -1: none.
func parameter(function *ast.FuncDecl, value ast.Expr) int {
	is, ok := value.(*ast.Ident)
	if !ok {
		return -1
	}
	i := 0
	for _, field := range function.Type.Params.List {
		for _, name := range field.Names {
			if name.Name == is.Name {
				return i
			}
			i++
		}
	}
	return -1
}
