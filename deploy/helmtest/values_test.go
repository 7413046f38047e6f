package helmtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ownEngines are the values with which NATS and PostgreSQL are the operator's.
const ownEngines = `
secrets: {existingSecret: starling-secrets}
nats: {url: "nats://nats.infra:4222", bundled: {enabled: false}}
postgresql: {host: db.infra, bundled: {enabled: false}}
`

func TestWrongValuesAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ values, want string }{
		"unknown at the top":       {`gatway: {replicas: 3}`, "gatway"},
		"unknown inside":           {`gateway: {replica: 3}`, "replica"},
		"unknown in a bundle":      {`nats: {bundled: {enable: true}}`, "enable"},
		"wrong type":               {`gateway: {replicas: "3"}`, "replicas"},
		"negative":                 {`gateway: {replicas: -1}`, "replicas"},
		"not in the list":          {`logging: {level: loud}`, "level"},
		"port out of range":        {`service: {port: 70000}`, "port"},
		"name of a setting":        {`gateway: {settings: {max-rooms: "5"}}`, "max-rooms"},
		"variable without a name":  {`gateway: {extraEnv: [{value: x}]}`, "name"},
		"short secret":             {`secrets: {jwtSecret: short}`, "jwtSecret"},
		"budget":                   {`chat: {pdb: {maxUnavailable: half}}`, "maxUnavailable"},
		"size":                     {`nats: {bundled: {storage: big}}`, "storage"},
		"resources":                {`auth: {resources: {request: {cpu: 1}}}`, "request"},
		"no nats":                  {`nats: {bundled: {enabled: false}}`, "nats.url is required"},
		"no postgresql":            {`postgresql: {bundled: {enabled: false}}`, "postgresql.host is required"},
		"no secret of own engines": {`postgresql: {host: db, bundled: {enabled: false}}`, "secrets.existingSecret is required"},
		"two secrets":              {`secrets: {existingSecret: s, jwtSecret: "0123456789012345678901234567890123"}`, "no effect"},
		"provision without tokens": {`auth: {autoProvision: true}`, "auth.autoProvision needs"},
		"tls of bundled nats":      {`nats: {tls: {secret: t}}`, "NATS of your own"},
		"creds of bundled nats":    {`nats: {credsSecret: c}`, "NATS of your own"},
		"certificate of nothing":   {ownEngines + `tls: {clientcerts: true}`, "clientcerts"},
		"no digest":                {`image: {digests: {gateway: "1.2.3"}}`, "gateway"},
		"digest of nothing":        {`image: {digests: {chat: ""}}`, "chat"},
		"short seed":               {`secrets: {seed: short}`, "seed"},
		"seed without effect":      {`secrets: {existingSecret: s, seed: "0123456789012345678901234567890123"}`, "secrets.seed has no effect"},
		"fewest above most":        {`chat: {autoscaling: {minReplicas: 9}}`, "minReplicas 9 is above maxReplicas 8"},
		"route to nowhere":         {`httpRoute: {enabled: true}`, "parentRefs is required"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(t, test.values)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("render(%q) = %v, want an error with %q", test.values, err, test.want)
			}
		})
	}
}

// TestSchemaDescribesValues holds values.yaml and values.schema.json together: the same names, each with a description.
func TestSchemaDescribesValues(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(readChart(t, "values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	var values yaml.Node
	if err := yaml.Unmarshal(readChart(t, "values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	compareValues(t, "", values.Content[0], schema)
}

func compareValues(t *testing.T, path string, values *yaml.Node, schema map[string]any) {
	t.Helper()
	properties, closed := schema["properties"].(map[string]any)
	if !closed || path != "" && strings.HasSuffix(path, ".resources") {
		return // free-form: labels, annotations, settings
	}
	if schema["additionalProperties"] != false {
		t.Errorf("schema of %q admits unknown names", path)
	}
	seen := map[string]bool{"global": true}
	for i := 0; i+1 < len(values.Content); i += 2 {
		key, value := values.Content[i], values.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		seen[key.Value] = true
		if key.HeadComment == "" {
			t.Errorf("values.yaml:%d: %s has no comment", key.Line, name)
		}
		property, ok := properties[key.Value].(map[string]any)
		if !ok {
			t.Errorf("values.yaml:%d: %s is not in the schema", key.Line, name)
			continue
		}
		if property["description"] == nil {
			t.Errorf("schema: %s has no description", name)
		}
		compareValues(t, name, value, property)
	}
	for name := range properties {
		if !seen[name] {
			t.Errorf("schema: %s.%s is not in values.yaml", path, name)
		}
	}
}

// TestCopies: a chart cannot reach files outside its folder, so it has copies of them.
func TestCopies(t *testing.T) {
	for copied, original := range map[string]string{
		"files/nats.conf":      "../nats/nats.conf",
		"files/10-roles.sh":    "../docker/postgres-init/10-roles.sh",
		"files/alerts.yml":     "../grafana/alerts.yml",
		"files/dashboard.json": "../grafana/dashboards/starling.json",
	} {
		want, err := os.ReadFile(original)
		if err != nil {
			t.Fatal(err)
		}
		if string(readChart(t, copied)) != string(want) {
			t.Errorf("%s differs from %s: cp %s %s", copied, original, original, filepath.Join(chartDir, copied))
		}
	}
}

func readChart(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
