package helmtest

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	sigsyaml "sigs.k8s.io/yaml"
)

const chartDir = "../helm/starling"

// custom lists the kinds that come with somebody's CRDs: client-go cannot decode them.
var custom = []string{
	"monitoring.coreos.com/v1 PodMonitor",
	"monitoring.coreos.com/v1 PrometheusRule",
	"gateway.networking.k8s.io/v1 HTTPRoute",
}

func loadChart(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatalf("LoadDir(%s) = %v", chartDir, err)
	}
	return c
}

// render gives the manifests that helm would send for values, which are YAML. It loads the chart anew, because
// rendering changes it.
func render(t *testing.T, values string) (map[string]string, error) {
	t.Helper()
	c := loadChart(t)
	vals := map[string]any{}
	if err := sigsyaml.Unmarshal([]byte(values), &vals); err != nil {
		t.Fatalf("values %q: %v", values, err)
	}
	options := common.ReleaseOptions{Name: "demo", Namespace: "chat", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(c, vals, options, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	// Strict: a value that a template misspells is an error.
	return engine.Engine{Strict: true}.Render(c, all)
}

// manifest is one object of the release.
type manifest struct {
	file, kind, name string
	object           runtime.Object // nil for the kinds of custom
	raw              map[string]any
}

// objects renders and decodes strictly: unknown and repeated fields are errors.
func objects(t *testing.T, values string) []manifest {
	t.Helper()
	files, err := render(t, values)
	if err != nil {
		t.Fatalf("render(%q) = %v", values, err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var found []manifest
	for file, text := range files {
		if strings.HasSuffix(file, ".txt") {
			continue
		}
		reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
		for {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			raw := map[string]any{}
			if err := sigsyaml.UnmarshalStrict(document, &raw); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if len(raw) == 0 {
				continue
			}
			m := manifest{file: file, raw: raw, kind: raw["kind"].(string)}
			m.name, _ = raw["metadata"].(map[string]any)["name"].(string)
			if !slices.Contains(custom, raw["apiVersion"].(string)+" "+m.kind) {
				if m.object, _, err = decoder.Decode(document, nil, nil); err != nil {
					t.Fatalf("%s: decode %s %s = %v", file, m.kind, m.name, err)
				}
			}
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b manifest) int {
		return strings.Compare(a.kind+a.name, b.kind+b.name)
	})
	return found
}
