package pg

import (
	"github.com/starling-chat/starling/platform/settings"
)

// Settings says where PostgreSQL is and what a service may take of it. The Config of a service embeds it with the two
// variables that differ by service:
//
//	Database pg.Settings `embed:"" set:"db_schema=chat" set:"db_max_conns=16"`
type Settings struct {
	URL         settings.URL `name:"database-url" env:"DATABASE_URL" default:"postgres://starling@localhost:5432/starling" help:"PostgreSQL, as a URL."`
	MaxConns    int32        `name:"db-max-conns" env:"DB_MAX_CONNS" default:"${db_max_conns}" help:"Most PostgreSQL connections of this replica, a number."`
	Schema      string       `name:"db-schema" env:"DB_SCHEMA" default:"${db_schema}" help:"PostgreSQL schema that holds the tables."`
	Migrate     bool         `name:"db-migrate" env:"DB_MIGRATE" default:"true" negatable:"" help:"Migrate the schema at start; replicas wait for each other."`
	MigrateOnly bool         `name:"migrate-only" env:"DB_MIGRATE_ONLY" help:"Migrate the schema and exit."`
}

// Validate tells what is wrong with the settings, in one line.
func (s *Settings) Validate() error {
	var faults settings.Faults
	faults.If(s.MaxConns < 1, "DB_MAX_CONNS must be at least 1")
	faults.If(s.Schema == "", "DB_SCHEMA must not be empty")
	if s.URL == "" {
		faults.If(true, "DATABASE_URL must not be empty")
		return faults.Err()
	}
	err := s.URL.Check()
	if err == nil {
		_, err = s.Config("", false).pool()
	}
	faults.In("DATABASE_URL", err)
	return faults.Err()
}

// Config returns what Open and Migrate take, for the service called name; trace asks for spans of the queries.
func (s *Settings) Config(name string, trace bool) Config {
	return Config{URL: s.URL, MaxConns: s.MaxConns, Schema: s.Schema, AppName: name, Trace: trace}
}
