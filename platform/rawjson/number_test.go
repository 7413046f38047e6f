package rawjson

import "testing"

func TestWhole(t *testing.T) {
	for in, want := range map[string]uint64{
		`0`: 0, `5`: 5, `5.0`: 5, `5e0`: 5, `5E+0`: 5, `0.5e1`: 5, `500e-2`: 5, `-0`: 0, `-0.0`: 0, `0e9`: 0, `1e2`: 100,
		`9007199254740991`: 1<<53 - 1, `9007199254740991.0`: 1<<53 - 1, `9.007199254740991e15`: 1<<53 - 1,
	} {
		if got, ok := Whole([]byte(in)); got != want || !ok {
			t.Errorf("Whole(%s) = %d, %v, want %d", in, got, ok, want)
		}
	}
	for _, in := range []string{
		`5.5`, `5e-1`, `-1`, `-1.0`, `9007199254740992`, `9007199254740992.0`, `9007199254740993`, `1e16`, `1e400`, `18446744073709551616`,
		`null`, `true`, `"5"`, `[5]`, `{}`, ``, `NaN`, `Infinity`, `inf`,
	} {
		if got, ok := Whole([]byte(in)); ok {
			t.Errorf("Whole(%s) = %d, want none", in, got)
		}
	}
}

func TestPlainWhole(t *testing.T) {
	for in, want := range map[string]string{
		`5.0`:   `5`,
		`-5e0`:  `-5`,
		`-0.0`:  `0`,
		`5.5`:   `5.5`,
		`1e400`: `1e400`,
		`{"5.0" : [5.0, "5.0", "\"5.0", 1E1,null], "b":-2.50}`: `{"5.0" : [5, "5.0", "\"5.0", 10,null], "b":-2.50}`,
		``: ``,
	} {
		if got := string(PlainWhole([]byte(in))); got != want {
			t.Errorf("PlainWhole(%s) = %s, want %s", in, got, want)
		}
	}
}
