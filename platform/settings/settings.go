package settings

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

// ErrHelp is returned by Parse when --help was asked for and has been printed;
// the program should exit with code 0.
var ErrHelp = errors.New("help was printed")

// Parse fills cfg, a pointer to a struct, from args (without the program's
// name), the environment and the defaults, in this order of precedence. A Secret
// or URL whose variable is X may also come from the file that X_FILE names. Each
// field has the tags `name:"" env:"" default:"" help:""`; structs inside are
// embedded or tagged `embed:"" prefix:""`.
//
// It then calls Validate() error of cfg and of the structs embedded in it. The
// error is a single line meant for the user, who should see exit code 2; it is
// ErrHelp when the help was printed to standard output instead.
func Parse(prog, about string, cfg any, args []string) error {
	return parse(os.Stdout, prog, about, cfg, args)
}

func parse(stdout io.Writer, prog, about string, cfg any, args []string) error {
	_, err := parseArgs(stdout, prog, about, cfg, args)
	return err
}

// ParseCommand reads a command with its arguments as Parse reads settings: fields of commands, a pointer to a struct, that are tagged
// `cmd:""` are the commands, or hold some. The command that args choose has a method Run(context.Context, T) error; run calls it with
// what it is given, a T.
func ParseCommand(stdout io.Writer, prog, about string, commands any, args []string) (run func(ctx context.Context, with any) error, err error) {
	chosen, err := parseArgs(stdout, prog, about, commands, args)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, with any) error {
		chosen.BindTo(ctx, (*context.Context)(nil))
		return chosen.Run(with)
	}, nil
}

func parseArgs(stdout io.Writer, prog, about string, cfg any, args []string) (*kong.Context, error) {
	helped := false
	parser, err := newParser(stdout, prog, about, cfg, func(int) { helped = true })
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(doubleDashes(args))
	switch {
	case helped:
		return nil, ErrHelp
	case err != nil:
		return nil, errors.New(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	}
	return parsed, nil
}

// newParser describes cfg to kong. exit is called after the help was printed: kong itself would exit, and only main may do that.
func newParser(stdout io.Writer, prog, about string, cfg any, exit func(int)) (*kong.Kong, error) {
	parser, err := kong.New(cfg,
		kong.Name(prog),
		kong.Description(about),
		kong.Writers(stdout, io.Discard),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 110}),
		kong.ValueFormatter(formatHelp),
		kong.Resolvers(kong.ResolverFunc(fromFile)),
	)
	if err != nil {
		return nil, fmt.Errorf("describe settings of %s: %w", prog, err)
	}
	return parser, nil
}

// doubleDashes lets -name stand for --name, as Go's own tools do: no setting has a one-letter form.
func doubleDashes(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range args {
		if arg == "--" { // what follows is no flag
			break
		}
		if len(arg) > 2 && arg[0] == '-' && unicode.IsLetter(rune(arg[1])) {
			arg = "-" + arg
		}
		out[i] = arg
	}
	return out
}

// formatHelp names the environment variable, for secrets that of a file, and, for switches, whose default
// does not show in the flag itself, the default.
func formatHelp(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if isSecret(v) {
		name := "$" + v.Tag.Envs[0]
		help = strings.Replace(help, "("+name+")", "("+name+", or "+name+fileSuffix+")", 1)
	}
	if v.Target.Kind() == reflect.Bool && v.HasDefault {
		help += " (default " + v.Default + ")"
	}
	return help
}
