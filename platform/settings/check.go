package settings

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Check fills cfg as Parse does, and tells everything that is wrong with it, one fault a line, where Parse tells what it meets first.
func Check(prog string, cfg any, args []string) []string {
	parser, err := newParser(io.Discard, prog, "", cfg, func(int) {})
	if err != nil {
		return lines(err)
	}
	ctx, err := kong.Trace(parser, doubleDashes(args))
	if err == nil {
		err = ctx.Error
	}
	if err != nil { // nothing else is certain
		return lines(err)
	}
	given := make(map[*kong.Value]bool)
	for _, path := range ctx.Path {
		if path.Flag != nil {
			given[path.Flag.Value] = true
		}
	}
	var faults []string
	for _, flag := range parser.Model.Flags {
		if err := fill(flag, given[flag.Value]); err != nil {
			faults = append(faults, lines(err)...)
		}
	}
	if _, err := ctx.Apply(); err != nil {
		faults = append(faults, lines(err)...)
	}
	for _, flag := range parser.Model.Flags {
		if err := checkEnum(flag); err != nil {
			faults = append(faults, err.Error())
		}
	}
	return append(faults, validate(reflect.ValueOf(cfg))...)
}

// fill gives a setting its value from the environment, from a file or by default. What cannot be read leaves it at its default, so that
// the others can be judged.
func fill(flag *kong.Flag, given bool) error {
	err := flag.Reset()
	if err != nil {
		flag.Target.Set(reflect.Zero(flag.Target.Type()))
		if flag.HasDefault {
			_ = flag.Parse(kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: flag.Default}), flag.Target) // it is ours
		}
	}
	if given { // on the command line, which comes before all else
		return nil
	}
	if err != nil {
		return &Wrong{nameOf(flag), errors.New(before(err.Error(), " (from envar"))}
	}
	value, err := fromFile(nil, nil, flag)
	if text, ok := value.(string); ok {
		flag.Target.SetString(text)
	}
	return err
}

func before(s, mark string) string {
	head, _, _ := strings.Cut(s, mark)
	return head
}

func nameOf(flag *kong.Flag) string {
	if len(flag.Tag.Envs) > 0 {
		return flag.Tag.Envs[0]
	}
	return "--" + flag.Name
}

func checkEnum(flag *kong.Flag) error {
	if flag.Enum == "" || slices.Contains(flag.EnumSlice(), fmt.Sprint(flag.Target.Interface())) {
		return nil
	}
	return &Wrong{nameOf(flag), fmt.Errorf("it must be one of %s", strings.Join(flag.EnumSlice(), ", "))}
}

// validate calls Validate of v, a pointer to a struct, and of the structs in it, as kong does.
func validate(v reflect.Value) (faults []string) {
	s := v.Elem()
	for i := range s.NumField() {
		field := s.Type().Field(i)
		_, embed := field.Tag.Lookup("embed")
		if field.IsExported() && s.Field(i).Kind() == reflect.Struct && (embed || field.Anonymous) {
			faults = append(faults, validate(s.Field(i).Addr())...)
		}
	}
	if validator, ok := reflect.TypeAssert[interface{ Validate() error }](v); ok {
		faults = append(faults, lines(validator.Validate())...)
	}
	return faults
}

// lines are the errors that err joins, a line each.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // what is wrapped deeper is one error
		var all []string
		for _, one := range joined.Unwrap() {
			all = append(all, lines(one)...)
		}
		return all
	}
	return []string{strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")}
}

// Faults collects what is wrong with settings; its error tells all of it.
type Faults []error

// If notes a fault where there is one.
func (f *Faults) If(wrong bool, format string, args ...any) {
	if wrong {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

// In notes what is wrong with one setting, where err is not nil.
func (f *Faults) In(setting string, err error) {
	if err != nil {
		*f = append(*f, &Wrong{setting, err})
	}
}

// Err is nil without a fault.
func (f Faults) Err() error { return errors.Join(f...) }
