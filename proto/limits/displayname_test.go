package limits

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDisplayName(t *testing.T) {
	x := strings.Repeat("x", 62)
	scotland := "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
	tests := []struct{ what, name, want string }{
		{"plain", "Ann Smith", "Ann Smith"},
		{"ideographic space", "山田　太郎", "山田 太郎"},
		{"space that does not break", "Jean\u00a0Luc", "Jean Luc"},
		{"thin, narrow and figure spaces", "a\u2009b\u202fc\u2007d", "a b c d"},
		{"line and paragraph separators, line breaks, tabs", "a\u2028b\u2029c\nd\te\u0085f", "a b c d e f"},
		{"spaces around", " \u3000\tAnn \u00a0", "Ann"},
		{"family emoji", "Anna 👩‍👩‍👧‍👦", "Anna 👩‍👩‍👧‍👦"},
		{"emoji with a joiner", "Anna 👩‍💻", "Anna 👩‍💻"},
		{"emoji with a selector and a colour", "❤️ 👍🏽", "❤️ 👍🏽"},
		{"flag of a region", scotland + " Iain", scotland + " Iain"},
		{"tags without a flag", "Ann\U000e0067\U000e0062", "Ann"},
		{"Persian with a non-joiner", "می\u200cخواهم", "می\u200cخواهم"},
		{"Sinhala with a joiner", "ශ්\u200dරී", "ශ්\u200dරී"},
		{"Hebrew, Devanagari, Thai", "דוד नमस्ते ธนา", "דוד नमस्ते ธนา"},
		{"letters with marks", "Zoe\u0301 N\u0303", "Zoe\u0301 N\u0303"},
		{"controls", "A\x00n\x07n\x7f\x9ba", "Anna"},
		{"overrides, embeddings, isolates and marks of direction", "\u202eA\u202dn\u202an\u2066a\u2069\u200f\u061c", "Anna"},
		{"other characters that nobody sees", "A\u200bn\u00adn\u2060a\ufeff\ufff9", "Anna"},
		{"no characters at all", "A\uffffnna\U0001fffe", "Anna"},
		{"private use", "Ann \uf8ff", "Ann \uf8ff"},
		{"an emoji of tomorrow", "Ann \U0001faee\U0001fadd", "Ann \U0001faee\U0001fadd"},
		{"no UTF-8", "A\xffnn\xc3a", "Anna"},
		{"joiners at the ends", "\u200dAnn\u200d", "Ann"},
		{"nothing", "", ""},
		{"only spaces", " \u3000 ", ""},
		{"only what nobody sees", "\u200d\u200b\u200e\u3164\u2800\u034f\ufe0f", ""},
		{"64 characters", x + "äö", x + "äö"},
		{"65 characters", x + "äöü", x + "äö"},
		{"10,000 characters", strings.Repeat("星", 10_000), strings.Repeat("星", 64)},
		{"cut before a space", x + "x y", x + "x"},
		{"cut inside of a joined emoji", x + "👩‍💻", x},
		{"cut inside of a letter", x + "xe\u0301", x + "x"},
		{"cut inside of a flag", x + "x🇩🇪", x + "x"},
		{"cut between flags", x + "🇩🇪🇫🇷", x + "🇩🇪"},
		{"one endless letter", "e" + strings.Repeat("\u0301", 100), "e" + strings.Repeat("\u0301", 63)},
	}
	for _, test := range tests {
		if got := DisplayName(test.name); got != test.want {
			t.Errorf("DisplayName(%s, %+q) = %+q, want %+q", test.what, test.name, got, test.want)
		}
		if again := DisplayName(test.want); again != test.want {
			t.Errorf("DisplayName of its own result (%s) = %+q, want %+q", test.what, again, test.want)
		}
	}
}

// TestDisplayNameDoesNotAllocate: a name is looked at with every event.
func TestDisplayNameDoesNotAllocate(t *testing.T) {
	name := "Ann Smith"
	if n := testing.AllocsPerRun(100, func() { _ = DisplayName(name) }); n != 0 {
		t.Errorf("DisplayName of a plain name allocates %v times, want 0", n)
	}
}

// FuzzDisplayName feeds any bytes: the result is valid, short, without controls, and stays as it is.
func FuzzDisplayName(f *testing.F) {
	for _, seed := range []string{"Ann", "山田　太郎", "\xff\u202e\u200d", strings.Repeat("🇩", 70)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := DisplayName(s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > DisplayNameChars || strings.ContainsAny(got, "\x00\n\u202e") || DisplayName(got) != got {
			t.Errorf("DisplayName(%q) = %q", s, got)
		}
	})
}
