package settings

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"
)

// fileSuffix makes of a variable's name that of the variable which names a file with its value.
const fileSuffix = "_FILE"

// isSecret tells whether a setting may contain a secret, and so be read from a file.
func isSecret(v *kong.Value) bool {
	t := v.Target.Type()
	return len(v.Tag.Envs) == 1 && (t == reflect.TypeFor[Secret]() || t == reflect.TypeFor[URL]())
}

// fromFile is a kong.Resolver.
func fromFile(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !isSecret(flag.Value) {
		return nil, nil // as kong has it: nothing is known here
	}
	value, found, err := readFile(flag.Tag.Envs[0])
	if err != nil || !found {
		return nil, err
	}
	return value, nil
}

// Env gives the value of the variable of a secret, or that in the file which the variable with _FILE names.
func Env(name string) (string, error) {
	value, found, err := readFile(name)
	if err != nil || found {
		return value, err
	}
	return os.Getenv(name), nil //nolint:forbidigo // this package reads the environment
}

// readFile reads the file that name_FILE names, without the newline that editors and tools put at its end. An empty variable is none.
func readFile(name string) (value string, found bool, err error) {
	path := os.Getenv(name + fileSuffix) //nolint:forbidigo // this package reads the environment
	if path == "" {
		return "", false, nil
	}
	if os.Getenv(name) != "" { //nolint:forbidigo // this package reads the environment
		return "", false, &Wrong{name + fileSuffix, fmt.Errorf("%s is set as well", name)}
	}
	text, err := os.ReadFile(path) //nolint:gosec // chosen by the operator
	if err != nil {
		return "", false, &Wrong{name + fileSuffix, err}
	}
	if value = strings.TrimRight(string(text), "\r\n"); value == "" {
		return "", false, &Wrong{name + fileSuffix, fmt.Errorf("%s is empty", path)}
	}
	return value, true, nil
}
