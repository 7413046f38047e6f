package settings

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
)

// LogAttrs returns every setting of cfg, a struct or a pointer to one, as an
// attribute named like its flag in snake_case, in the order of the fields.
// Secrets and passwords in URLs are masked.
func LogAttrs(cfg any) []slog.Attr {
	return walk(reflect.Indirect(reflect.ValueOf(cfg)), "", nil)
}

func walk(v reflect.Value, prefix string, attrs []slog.Attr) []slog.Attr {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), reflect.Indirect(v.Field(i))
		if !field.IsExported() && !field.Anonymous || field.Tag.Get("kong") == "-" || !value.IsValid() {
			continue
		}
		_, embed := field.Tag.Lookup("embed")
		if value.Kind() == reflect.Struct && (embed || field.Anonymous) {
			attrs = walk(value, prefix+field.Tag.Get("prefix"), attrs)
			continue
		}
		name := field.Tag.Get("name")
		if name == "" {
			name = strings.ToLower(field.Name)
		}
		name = strings.ReplaceAll(prefix+name, "-", "_")
		attrs = append(attrs, attr(name, value))
	}
	return attrs
}

func attr(name string, value reflect.Value) slog.Attr {
	switch x := value.Interface().(type) {
	case fmt.Stringer: // Secret, URL, time.Duration
		return slog.String(name, x.String())
	default:
		return slog.Any(name, x)
	}
}
