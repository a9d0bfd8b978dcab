package difftest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

func noMarks(mark string) (string, error) { return "", errors.New(mark) }

// FuzzQuote checks that Unquote reverses Quote.
func FuzzQuote(f *testing.F) {
	f.Add([]byte("get k\r\n"))
	f.Add([]byte("\x00\xff{}\\(x*3) "))
	f.Add([]byte(strings.Repeat(" ", 100)))
	f.Add([]byte(strings.Repeat("\\", 30) + "*)"))
	f.Fuzz(func(t *testing.T, p []byte) {
		quoted := difftest.Quote(p)
		back, err := difftest.Unquote(quoted, noMarks)
		testkit.Must(t, err)
		if !slices.Equal(back, p) {
			t.Fatalf("%q is quoted as %s, which is %q", p, quoted, back)
		}
		if strings.ContainsAny(quoted, "\r\n\x00") || strings.HasSuffix(quoted, " ") {
			t.Fatalf("%q cannot be read", quoted)
		}
	})
}

// FuzzUnquote checks that no text makes Unquote panic, and that a mark is never mistaken for bytes.
func FuzzUnquote(f *testing.F) {
	f.Add(`\(x*10)\x0a\r\n`)
	f.Add(`{cas1}`)
	f.Add(`\(\(a*3)*3)`)
	f.Add(`\x`)
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "*") && len(s) > 12 {
			return // may stand for more than there is room for
		}
		p, err := difftest.Unquote(s, noMarks)
		if err == nil && strings.HasPrefix(s, "{") {
			t.Fatalf("%q is %q", s, p)
		}
	})
}

// FuzzFrame checks that a decoded frame equals the frame that was sent.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x81\x00\x00\x01\x04\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x01kv"))
	f.Add([]byte("\x81\x00\x00\xff\x04\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x05v"))
	f.Fuzz(func(t *testing.T, p []byte) {
		frame, taken := difftest.DecodeFrame(p)
		if taken > 0 && !slices.Equal(frame.Append(nil), p[:taken]) {
			t.Fatalf("%x is decoded as %+v", p, frame)
		}
	})
}

const example = `# An example.
args -I 2m

== one step after another
> set k 0 0 1
> a
< STORED
> set k 0 0 1 noreply
> b
<
on B
> gets k
< VALUE k 0 1 {cas1}
< b
< END

== binary stepwise
wait 10ms
b> get key=k opaque=7
< get status=1 opaque=7 value=Not found
`

// TestAScriptIsParsedAndFormatted checks the meaning of each kind of line.
func TestAScriptIsParsedAndFormatted(t *testing.T) {
	s, err := difftest.Parse(example)
	testkit.Must(t, err)
	equal(t, s.Text(), example)
	equal(t, strings.Join(s.Args, " "), "-I 2m")
	equal(t, len(s.Groups), 2)
	one, two := s.Groups[0], s.Groups[1]
	equal(t, len(one.Steps), 3)
	equal(t, len(one.Steps[0].Send), 2)
	equal(t, len(one.Steps[1].Want), 0)
	equal(t, one.Steps[2].Conn, "B")
	equal(t, one.Steps[2].Line, 12)
	equal(t, one.OnePiece(), false)
	equal(t, two.Stepwise, true)
	equal(t, two.Steps[0].Binary(), true)
	sent, err := one.Steps[0].Bytes(difftest.NewCanon())
	testkit.Must(t, err)
	equal(t, string(sent), "set k 0 0 1\r\na\r\n")
}

// TestBadScriptsAreRefused with an error that names the fault.
func TestBadScriptsAreRefused(t *testing.T) {
	for text, message := range map[string]string{
		"> get k":                  "line 1",
		"== g\n< END":              "line 2",
		"== g\nnonsense":           "nonsense",
		"== g\nwait long":          "long",
		"== g\n> get k\nargs -m 1": "args",
	} {
		_, err := difftest.Parse(text)
		want(t, err, difftest.ErrScript)
		if !strings.Contains(err.Error(), message) {
			t.Errorf("%q: %v does not say %q", text, err, message)
		}
	}
}

// TestCanonMarksOnlyWhatIsNotDetermined checks the rules in the comment of package difftest.
func TestCanonMarksOnlyWhatIsNotDetermined(t *testing.T) {
	tests := []struct{ name, answer, want string }{
		{"unique numbers by order", "VALUE a 0 1 77\r\nx\r\nVALUE b 0 1 12\r\ny\r\nVALUE a 0 1 77\r\nx\r\nEND\r\n", "VALUE a 0 1 {cas1}|x|VALUE b 0 1 {cas2}|y|VALUE a 0 1 {cas1}|x|END"},
		{"unique numbers of meta answers", "VA 1 c5 s1\r\nx\r\nHD c5 c6 c0\r\n", "VA 1 c{cas1} s1|x|HD c{cas1} c{cas2} c0"},
		{"numbers that scripts choose", "HD c1000000000 c999999999\r\n", "HD c1000000000 c{cas1}"},
		{"values are not looked at", "VALUE k 0 14\r\nHD c5\r\nHD t10\r\nEND\r\n", "VALUE k 0 14|HD c5|HD t10|END"},
		{"times", "HD t30 t-1 l0 s30 f30\r\n", "HD t{~30} t-1 l{~0} s30 f30"},
		{"debugging", "ME k exp=-1 la=4 cas=9 fetch=no cls=1 size=63\r\n", "ME k exp=-1 la={~4} cas={cas1} fetch=no cls={*} size={*}"},
		{"dumps", "key=k exp=1795651853 la=1795651753 cas=4 fetch=no cls=1 size=69\nkey=t5 exp=-1 la=1 cas=4 fetch=no cls=1 size=69\n", `key=k exp={*} la={*} cas={cas1} fetch=no cls={*} size={*}\n|key=t5 exp=-1 la={*} cas={cas1} fetch=no cls={*} size={*}\n`},
		{"keys and opaques", "HD kt5 Oc5 b\r\n", "HD kt5 Oc5 b"},
		{"line ends", "END\nEND\r\nEND", `END\n|END|END\c`},
		{"spaces at the end", "HD \r\nEND \r\n", `HD\x20|END\x20`},
		{"versions", "VERSION 1.6.18\r\n", "VERSION {*}"},
	}
	for _, test := range tests {
		equal(t, strings.Join(difftest.NewCanon().Lines([]byte(test.answer), false), "|"), test.want)
	}
}

// TestMatchIsExactExceptForTimes compares pairs of answers.
func TestMatchIsExactExceptForTimes(t *testing.T) {
	for _, test := range []struct {
		want, got string
		same      bool
	}{
		{"END", "END", true},
		{"END", "END ", false},
		{"HD t{~30}", "HD t{~29}", true},
		{"HD t{~30}", "HD t{~31}", true},
		{"HD t{~30}", "HD t{~28}", false},
		{"HD t{~30} c{cas1}", "HD t{~30} c{cas2}", false},
		{"HD t{~30} t{~5}", "HD t{~31} t{~9}", false},
		{"HD t{~30}", "HD t-1", false},
		{"HD t{~30}", "HD s{~30}", false},
	} {
		if diff := difftest.Match([]string{test.want}, []string{test.got}); (diff == "") != test.same {
			t.Errorf("%q and %q: %q", test.want, test.got, diff)
		}
	}
	if difftest.Match([]string{"a"}, []string{"a", "b"}) == "" || difftest.Match([]string{"a", "b"}, []string{"a"}) == "" {
		t.Error("answers of different lengths are the same")
	}
}

// TestShrinkKeepsOnlyNecessaryCommands: without any of them the answers would not differ.
func TestShrinkKeepsOnlyNecessaryCommands(t *testing.T) {
	g := difftest.NewGenerator(3)
	var script []difftest.Piece
	for range 20 {
		script = append(script, g.Script()...)
	}
	needle := func(text string) []difftest.Line { return []difftest.Line{{Kind: difftest.Text, Text: text}} }
	script[7].Commands = append(script[7].Commands, needle("one"))
	script[40].Commands = append(script[40].Commands, needle("two"))
	left := difftest.Shrink(script, func(s []difftest.Piece) bool {
		text := difftest.Format(s)
		one, two := strings.Index(text, "> one\n"), strings.Index(text, "> two\n")
		return one >= 0 && one < two
	})
	equal(t, difftest.Format(left), "on P1\n> one\non P2\n> two\n")
}

// TestTheSameSeedGeneratesTheSameScripts, so that a run can be repeated.
func TestTheSameSeedGeneratesTheSameScripts(t *testing.T) {
	write := func(seed uint64) (text string) {
		g := difftest.NewGenerator(seed)
		for range 50 {
			text += difftest.Format(g.Script())
		}
		return text
	}
	once, again := write(1), write(1)
	equal(t, once, again)
	if once == write(2) {
		t.Error("two seeds wrote one script")
	}
}
