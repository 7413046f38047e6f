package settingstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestRelease: tags that are no versions are refused, the notes are the section of the version alone, and a release without a section is
// none; checksums hold for everything in the folder.
func TestRelease(t *testing.T) {
	root, out := t.TempDir(), t.TempDir()
	script, err := os.ReadFile("../../tools/release.sh")
	if err == nil {
		err = os.MkdirAll(filepath.Join(root, "tools"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "tools/release.sh"), script, 0o700)
	}
	changes := "# Changelog\n\n## Unreleased\n\n* to come\n\n## 1.2.3 (2026-11-28)\n\n* one\n* two\n\n## 1.2.3-rc.1\n\n* a try\n\n## 1.2\n"
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "CHANGELOG.md"), []byte(changes), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(out, "starling.tar.gz"), []byte("programs"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, bool) {
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{filepath.Join(root, "tools/release.sh")}, args...)...)
		said, err := cmd.CombinedOutput()
		return string(said), err == nil
	}
	for line, want := range map[string]string{ // "" = refused
		"version v1.2.3": "1.2.3\n", "version v1.2.3-rc.1": "1.2.3-rc.1\n", "version 1.2.3": "", "version v1.2": "", "version v1.2.3;x": "", "version main": "",
		"notes 1.2.3": "* one\n* two\n\n", "notes 1.2.3-rc.1": "* a try\n\n", "notes 1.2.4": "", "notes 1.2": "", "notes v1.2.3": "",
		"nonsense 1.2.3 " + out: "", "checksums 1.2.3": "", "checksums 1.2.3 " + out: "", "archives v1 " + out: "",
	} {
		said, ok := run(strings.Fields(line)...)
		passes := want != "" || line == "checksums 1.2.3 "+out
		if ok != passes || passes && said != want {
			t.Errorf("release.sh %s = %q, passes: %v; want %q", line, said, ok, want)
		}
	}
	for range 2 { // the second time the sums of before are no part of them
		if said, ok := run("checksums", "1.2.3", out); !ok {
			t.Fatal(said)
		}
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "SHA256SUMS")
	check.Dir = out
	if said, err := check.CombinedOutput(); err != nil || string(said) != "starling.tar.gz: OK\n" {
		t.Errorf("sha256sum --check = %s, %v", said, err)
	}
}

// TestReleaseWorkflow: what is published has passed everything that a change has to pass, every service has an image, and no job has more
// rights than it needs.
func TestReleaseWorkflow(t *testing.T) {
	text, err := os.ReadFile("../../.github/workflows/release.yml")
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		Uses, Run string
		With      map[string]any
	}
	var workflow struct {
		Permissions map[string]string
		Jobs        map[string]struct {
			Needs       any
			Uses        string
			Permissions map[string]string
			Strategy    struct{ Matrix map[string][]string }
			Steps       []step
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	if len(workflow.Permissions) != 1 || workflow.Permissions["contents"] != "read" {
		t.Errorf("every job may %v, want to read alone", workflow.Permissions)
	}
	var says strings.Builder
	for name, job := range workflow.Jobs {
		if name != "version" && name != "tests" && name != "publish" && !strings.Contains(strings.Join(words(job.Needs), " "), "tests") {
			t.Errorf("%s does not wait for the tests", name)
		}
		for right, level := range job.Permissions {
			allowed := map[string][]string{
				"packages": {"images", "chart"}, "id-token": {"images", "chart", "publish"}, "attestations": {"images", "publish"}, "contents": {"publish"},
			}[right]
			if level == "write" && !strings.Contains(" "+strings.Join(allowed, " ")+" ", " "+name+" ") {
				t.Errorf("%s may write %s", name, right)
			}
		}
		for _, s := range job.Steps {
			says.WriteString(s.Uses + "\n" + s.Run + "\n")
		}
	}
	if uses := workflow.Jobs["tests"].Uses; uses != "./.github/workflows/ci.yml" {
		t.Errorf("the tests are those of %q", uses)
	}
	if got := strings.Join(workflow.Jobs["images"].Strategy.Matrix["service"], " "); got != "gateway auth-service chat-service presence-service" {
		t.Errorf("images are built of %s", got)
	}
	for _, s := range workflow.Jobs["images"].Steps {
		if strings.HasPrefix(s.Uses, "docker/build-push-action") && (s.With["sbom"] != true || s.With["provenance"] != "mode=max" || s.With["platforms"] != "linux/amd64,linux/arm64") {
			t.Errorf("images are built with %v, want a list of contents, their origin, and two platforms", s.With)
		}
	}
	for _, want := range []string{"tools/images.sh check", "cosign sign --yes", "cosign sign-blob", "helm push", "tools/release.sh archives", "tools/release.sh checksums", "tools/release.sh notes"} {
		if !strings.Contains(says.String(), want) {
			t.Errorf("no step does %q", want)
		}
	}
	// What others write, as the name of a tag, reaches a shell by the environment alone.
	if injected := regexp.MustCompile(`(?m)^\s+run: .*\$\{\{`).FindString(string(text)); injected != "" {
		t.Errorf("a step puts an expression into its shell: %s", injected)
	}
}

// words are the texts of a value that may be one or a list.
func words(value any) (all []string) {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			all = append(all, words(one)...)
		}
	}
	return all
}
