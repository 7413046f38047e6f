package helmtest

import (
	"os"
	"strings"
	"testing"
)

// TestValuesOfTheClusterTest: what k8s-test.sh installs with is taken by the chart.
func TestValuesOfTheClusterTest(t *testing.T) {
	_, values, _ := strings.Cut(read(t, "../helm/k8s-test.sh"), "cat >\"$values\" <<YAML\n")
	values, _, ended := strings.Cut(values, "\nYAML\n")
	if !ended {
		t.Fatal("k8s-test.sh has no values")
	}
	values = strings.NewReplacer("$repository", "starling", "$tag", "k8s-test", "$JWT_SECRET", strings.Repeat("0", 48),
		"$nats_image", "nats:2.12-alpine", "$postgres_image", "postgres:17-alpine").Replace(values)
	if strings.Contains(values, "$") {
		t.Fatalf("values = %s, want no variable left", values)
	}
	newRelease(t, values).checkPods(t)
}

// TestDocumentedValues: the values that docs/operations/install.md shows for production are taken by the chart.
func TestDocumentedValues(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations/install.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		values, _, ended := strings.Cut(block, "```")
		if !ended {
			t.Fatal("docs/operations/install.md has a block that does not end")
		}
		if len(objects(t, values)) == 0 {
			t.Errorf("nothing comes of the values\n%s", values)
		}
		shown++
	}
	if shown == 0 {
		t.Error("docs/operations/install.md shows no values")
	}
}
