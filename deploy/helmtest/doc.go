// Package helmtest checks the Helm chart deploy/helm/starling without a cluster: it renders the chart over a matrix of
// values, decodes every object strictly, holds every pod against Pod Security level "restricted", and follows every
// reference from one object to another. It also holds docker-compose.yml and docs/operations.md against the settings of the
// services. A module of its own, so that Kubernetes's packages reach nothing else; run it
// with GOWORK=off, and with -count=1, because the cache of test results does not see the chart's files.
package helmtest
