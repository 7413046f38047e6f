// Package proto holds the contract between Starling's processes: the schemas (starling/…), the code generated from them
// (gen), the spelling of NATS subjects (subject), the closed list of faults (fault), who asks (caller), and which
// service may call what (access).
package proto

import _ "embed" // for OpenAPI

// OpenAPI is the description of the REST interface (Swagger 2.0 JSON), generated from the schemas (cmd/openapi finishes it).
//
//go:embed gen/openapi/starling.swagger.json
var OpenAPI []byte
