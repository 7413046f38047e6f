package main

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/check"
	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/chaos/internal/report"
	"github.com/starling-chat/starling/test/internal/launch"
)

// folder is where a run's files go; it is made when there is something to put there.
func (r *rig) folder() (string, error) {
	began := r.start
	if began.IsZero() {
		began = time.Now()
	}
	dir := filepath.Join(r.out, fmt.Sprintf("%s-seed%d", began.UTC().Format("20060102-150405"), r.seed))
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // reports are for everybody
		return "", fmt.Errorf("make the folder of the reports: %w", err)
	}
	return dir, nil
}

// write writes the reports, and of a run that failed, or with -keep, history and logs.
func (r *rig) write(results []check.Result, failed bool) error {
	dir, err := r.folder()
	if err != nil {
		return err
	}
	err = writeReports(dir, r.history, results)
	if failed || r.keep {
		err = errors.Join(err, r.keepLogs(r.cluster.LogDir()), writeFile(filepath.Join(dir, "history.json.gz"), func(w io.Writer) error {
			zip := gzip.NewWriter(w)
			return errors.Join(json.NewEncoder(zip).Encode(r.history), zip.Close())
		}))
	}
	r.say("report: %s", filepath.Join(dir, "report.html"))
	return err
}

// keepLogs copies the processes' logs out of the run's folder.
func (r *rig) keepLogs(from string) error {
	dir, err := r.folder()
	if err != nil {
		return err
	}
	to := filepath.Join(dir, "logs")
	if err := os.RemoveAll(to); err != nil { // inside -out; CopyFS overwrites nothing
		return fmt.Errorf("keep the logs: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("keep the logs: %w", err)
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path) //nolint:gosec // where the user wants it
	if err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// recheck reads a history and checks it again; the results go to stdout, the reports beside the file.
func recheck(path string) int {
	h, err := readHistory(path)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "chaos:", err)
		return launch.ExitBroken
	}
	r := &rig{options: options{out: filepath.Dir(path)}, history: h}
	results := check.Run(h)
	wrong := r.print(results)
	if err := writeReports(filepath.Dir(path), h, results); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "chaos:", err)
		return launch.ExitBroken
	}
	if len(wrong)+len(h.Problems) > 0 {
		return exitViolations
	}
	return 0
}

func writeReports(dir string, h *history.History, results []check.Result) error {
	return errors.Join(
		writeFile(filepath.Join(dir, "report.json"), func(w io.Writer) error { return report.JSON(w, h, results) }),
		writeFile(filepath.Join(dir, "report.html"), func(w io.Writer) error { return report.HTML(w, h, results) }),
	)
}

// table prints the runs whose reports lie in the folder or one below it, by seed.
func table(dir string) int {
	var paths []string
	for _, pattern := range []string{"*.json", "*/report.json"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is well-formed
		paths = append(paths, found...)
	}
	var runs []report.Summary
	for _, path := range paths {
		raw, err := os.ReadFile(path) //nolint:gosec // what the user asks for
		var s report.Summary
		if err == nil {
			err = json.Unmarshal(raw, &s)
		}
		if err != nil {
			_, _ = fmt.Fprintf(os.Stderr, "chaos: read %s: %v\n", path, err)
			return launch.ExitBroken
		}
		runs = append(runs, s)
	}
	slices.SortFunc(runs, func(a, b report.Summary) int { return cmp.Compare(a.Config.Seed, b.Config.Seed) })
	if err := report.Index(os.Stdout, runs); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "chaos:", err)
		return launch.ExitBroken
	}
	return 0
}

func readHistory(path string) (*history.History, error) {
	file, err := os.Open(path) //nolint:gosec // what the user asks for
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	defer func() { _ = file.Close() }()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	h := new(history.History)
	if err := json.NewDecoder(zip).Decode(h); err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	return h, nil
}
