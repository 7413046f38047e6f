// Package helmtest checks the Helm chart deploy/helm/starling without a cluster: it renders the chart over a matrix of
// values, decodes every object strictly, holds every pod against Pod Security level "restricted", and follows every
// reference from one object to another. A module of its own, so that Kubernetes's packages reach nothing else; run it
// with GOWORK=off.
package helmtest
