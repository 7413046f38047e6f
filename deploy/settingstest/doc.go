// Package settingstest holds the tests that all services name, explain and check their settings in one way.
package settingstest
