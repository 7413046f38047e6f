package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const group = "custom.metrics.k8s.io/v1beta2"

// adapter answers for one metric of pods.
type adapter struct {
	metric string
	// pods are the running ones of a namespace that a selector of labels fits.
	pods func(ctx context.Context, namespace, selector string) ([]pod, error)
	// value is the metric of the pod with an address.
	value func(ctx context.Context, address string) (float64, error)
	log   *slog.Logger
}

type pod struct{ Name, Address string }

func (a *adapter) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/"+group, a.discover)
	mux.HandleFunc("GET /apis/"+group+"/namespaces/{namespace}/pods/{pod}/"+a.metric, a.list)
	return mux
}

// discover says that there is the metric, of pods.
func (a *adapter) discover(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{
		"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group,
		"resources": []any{map[string]any{"name": "pods/" + a.metric, "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": []string{"get"}}},
	})
}

// list tells the metric of the pods that are asked for: of all that the selector fits (*), or of one. A pod that does not answer is left
// out, as the autoscaler expects it of one that has no figures yet.
func (a *adapter) list(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("pod")
	pods, err := a.pods(r.Context(), namespace, r.URL.Query().Get("labelSelector"))
	if err != nil {
		a.log.ErrorContext(r.Context(), "pods are not known", slog.Any("error", err))
		http.Error(w, "pods are not known", http.StatusServiceUnavailable)
		return
	}
	items := []any{}
	for _, p := range pods {
		if name != "*" && name != p.Name {
			continue
		}
		value, err := a.value(r.Context(), p.Address)
		if err != nil {
			a.log.WarnContext(r.Context(), "a pod does not tell its metrics", slog.String("pod", p.Name), slog.Any("error", err))
			continue
		}
		items = append(items, map[string]any{
			"describedObject": map[string]string{"kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": p.Name},
			"metric":          map[string]any{"name": a.metric},
			"timestamp":       time.Now().UTC().Format(time.RFC3339),
			"value":           strconv.FormatFloat(value, 'f', -1, 64),
		})
	}
	answer(w, map[string]any{"kind": "MetricValueList", "apiVersion": group, "metadata": map[string]any{}, "items": items})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // who asked may have gone
}

// client asks the API server.
type client struct {
	base  string
	http  *http.Client
	token func() (string, error)
}

func (c *client) pods(ctx context.Context, namespace, selector string) ([]pod, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	address := c.base + "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods?labelSelector=" + url.QueryEscape(selector)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody) //nolint:gosec // as below
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := c.http.Do(request) //nolint:gosec // the host is the API server's, whatever namespace and labels are asked for
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the API server says %s", response.Status)
	}
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string
				DeletionTimestamp string
			}
			Status struct {
				PodIP string
				Phase string
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return nil, err
	}
	var pods []pod
	for _, item := range list.Items {
		if item.Status.Phase == "Running" && item.Metadata.DeletionTimestamp == "" {
			pods = append(pods, pod{Name: item.Metadata.Name, Address: item.Status.PodIP})
		}
	}
	return pods, nil
}

// scrape reads a metric at an address that tells metrics as Prometheus reads them: the sum over its labels.
func scrape(ctx context.Context, address, metric string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the pod says %s", response.Status)
	}
	return sum(response.Body, metric)
}

func sum(text io.Reader, metric string) (float64, error) {
	total, found := 0.0, false
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		series, ok := strings.CutPrefix(lines.Text(), metric)
		if !ok || series == "" || series[0] != ' ' && series[0] != '{' {
			continue
		}
		value, err := strconv.ParseFloat(series[strings.LastIndexByte(series, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("%s is no number: %w", metric, err)
		}
		total, found = total+value, true
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	if !found {
		return 0, fmt.Errorf("there is no %s", metric)
	}
	return total, nil
}

// selfSigned makes a certificate that nobody has to believe: adapter.yaml tells the API server so.
func selfSigned(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7), DNSNames: []string{"adapter"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
