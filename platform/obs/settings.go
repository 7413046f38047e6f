package obs

// Settings says how operators look into a service. The Config of a service embeds it with the variable that differs by
// service:
//
//	Obs obs.Settings `embed:"" set:"admin_listen=:8082"`
type Settings struct {
	Admin        string `name:"admin-listen" env:"ADMIN_LISTEN" default:"${admin_listen}" help:"Address for health, metrics and profiles, host:port; empty turns it off."`
	OTLPEndpoint string `name:"otlp-endpoint" env:"OTLP_ENDPOINT" help:"Where to send traces by OTLP over gRPC, host:port (plain text) or URL; empty turns tracing off."`
}

// Traces tells whether traces are sent anywhere.
func (s *Settings) Traces() bool { return s.OTLPEndpoint != "" }
