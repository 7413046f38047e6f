package settingstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestImages: the routine finds every image that the files name, writes the digests that a registry gives, renews them, and takes
// them out again; a registry that gives none changes nothing.
func TestImages(t *testing.T) {
	root := t.TempDir()
	files := []string{"docker-compose.yml", "deploy/docker/Dockerfile", "deploy/helm/starling/values.yaml", "deploy/compose/ha.yml"}
	before := map[string]string{}
	for _, file := range append(files, "tools/images.sh") {
		text, err := os.ReadFile("../../" + file)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(root, file), text, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		before[file] = string(text)
	}
	run := func(argument, digest string) (string, error) {
		// The registry: it answers for a name with what the test wants.
		docker := "#!/bin/sh\nset -- $*\ncase $2 in version) exit 0 ;; esac\neval last=\\${$#}\ncase $last in *:*) echo " + digest + " ;; esac\n"
		if err := os.WriteFile(filepath.Join(root, "docker"), []byte(docker), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(root, "tools/images.sh"), argument)
		cmd.Env = []string{"PATH=" + root + ":" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	now := func() map[string]string {
		all := map[string]string{}
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				t.Fatal(err)
			}
			all[file] = string(text)
		}
		return all
	}
	if out, err := run("unpin", ""); err != nil {
		t.Fatalf("unpin = %v: %s", err, out)
	}
	plain := now()
	if out, err := run("check", ""); err == nil || !strings.Contains(out, "postgres:") {
		t.Errorf("check without digests = %v: %s, want it refused", err, out)
	}
	if out, err := run("pin", "garbage"); err == nil {
		t.Errorf("pin with a registry that gives no digest = nil: %s", out)
	} else if changed := now(); changed[files[0]] != plain[files[0]] {
		t.Error("a pin that failed changed the files")
	}
	for _, letter := range []string{"a", "b"} {
		digest := "sha256:" + strings.Repeat(letter, 64)
		if out, err := run("pin", digest); err != nil {
			t.Fatalf("pin = %v: %s", err, out)
		}
		pinned := now()
		for file, names := range map[string][]string{
			files[0]: {"image: postgres:17-alpine", "image: nats:2.12-alpine", "image: haproxy:3.0-alpine", "image: prom/prometheus:v2.53.5", "image: grafana/grafana:11.6.0"},
			files[1]: {"# syntax=docker/dockerfile:1", "FROM --platform=$BUILDPLATFORM golang:1.26-alpine", "FROM gcr.io/distroless/static-debian12:nonroot"},
			files[2]: {"image: nats:2.12-alpine", "image: postgres:17-alpine"},
			files[3]: {"image: nats:2.12-alpine", "image: postgres:17-alpine"},
		} {
			for _, name := range names {
				if n := strings.Count(plain[file], name); n == 0 || strings.Count(pinned[file], name+"@"+digest) != n {
					t.Errorf("%s: %s has the digest %s %d times, want %d", file, name, letter, strings.Count(pinned[file], name+"@"+digest), n)
				}
			}
			if strings.ReplaceAll(pinned[file], "@"+digest, "") != plain[file] {
				t.Errorf("%s: pin changed more than digests", file)
			}
		}
		if !strings.Contains(pinned[files[1]], "@"+digest+" AS build") || strings.Contains(pinned[files[0]], "starling/gateway:${STARLING_VERSION:-dev}@") {
			t.Errorf("pinned = %s", pinned[files[1]])
		}
		if out, err := run("check", ""); err != nil {
			t.Errorf("check with digests = %v: %s", err, out)
		}
	}
	if out, err := run("unpin", ""); err != nil || now()[files[0]] != plain[files[0]] {
		t.Errorf("unpin = %v: %s, want the files of before", err, out)
	}
	if out, err := run("list", ""); err != nil || strings.Count(out, "by tag") < 10 {
		t.Errorf("list = %v: %s, want every image", err, out)
	}
	if out, err := run("nonsense", ""); err == nil {
		t.Errorf("nonsense = nil: %s", out)
	}
}
