package peer

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestParseAcceptsTheFlagsThatMakeSense and refuses the others, with an error that names the flag.
func TestParseAcceptsTheFlagsThatMakeSense(t *testing.T) {
	for _, c := range []struct {
		args  string
		lacks []Feature
		want  Options
		err   string
	}{
		{args: "", want: Options{Addr: "127.0.0.1:7000"}},
		{args: "-addr :1 -mode pool -framing line -loops 2 -slow", want: Options{Addr: ":1", Pool: true, Line: true, Loops: 2, Slow: true}},
		{args: "-addr :1 -mode loop -framing raw", lacks: []Feature{Pool, Loops}, want: Options{Addr: ":1"}},
		{args: "-mode pool", lacks: []Feature{Pool}, err: "-mode pool"},
		{args: "-loops 1", lacks: []Feature{Loops}, err: "-loops"},
		{args: "-loops -1", err: "-loops"},
		{args: "-mode workers", err: "-mode workers"},
		{args: "-framing lines", err: "-framing lines"},
		{args: "-slow", err: "-slow"},
		{args: "-quick", err: "-quick"},
		{args: "raw", err: `"raw"`},
	} {
		got, err := parse(strings.Fields(c.args), io.Discard, c.lacks...)
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: the error is %v and does not name %s", c.args, err, c.err)
		case c.err == "" && (err != nil || got != c.want):
			t.Errorf("%q: got %+v and %v, want %+v", c.args, got, err, c.want)
		}
	}
}

// TestServeAnswersCompleteLinesAndStopsBeforeASlowOne: the answers before a slow request are sent before its work begins.
func TestServeAnswersCompleteLinesAndStopsBeforeASlowOne(t *testing.T) {
	const slow = "sleep 1ns\n"
	line, quick := Options{Line: true, Slow: true}, Options{Line: true}
	for _, c := range []struct {
		o    Options
		data string
		want string
	}{
		{Options{}, "a\nb", "a\nb"},
		{line, "", ""},
		{line, "a", ""},
		{line, "a\nb", "a\n"},
		{line, "a\n\nb\n", "a\n\nb\n"},
		{line, "a\n" + slow + "b\n", "a\n"},
		{line, slow + "b\nc", slow + "b\n"},
		{line, slow + slow, slow},
		{line, "a\n" + slow[:5], "a\n"},
		{quick, "a\n" + slow + "b\n", "a\n" + slow + "b\n"},
	} {
		if n := c.o.Serve([]byte(c.data)); c.data[:n] != c.want {
			t.Errorf("%+v: of %q, %q was answered, want %q", c.o, c.data, c.data[:n], c.want)
		}
	}
}

func TestCompleteEndsWithTheLastLine(t *testing.T) {
	for data, want := range map[string]int{"": 0, "a": 0, "a\n": 2, "a\nb\nc": 4} {
		line, raw := Options{Line: true}, Options{}
		if n := line.Complete([]byte(data)); n != want {
			t.Errorf("lines: %d of %q, want %d", n, data, want)
		}
		if n := raw.Complete([]byte(data)); n != len(data) {
			t.Errorf("raw: %d of %q", n, data)
		}
	}
}

func TestWorkIsParsed(t *testing.T) {
	for line, want := range map[string]work{
		"sleep 10ms":   {time: 10 * time.Millisecond},
		"sleep 1s  \r": {time: time.Second},
		"spin 1ms":     {time: time.Millisecond, spin: true},
		"spin 1":       {},
		"sleep":        {},
		"sleep -1s":    {},
		"asleep 1s":    {},
		" spin 1s":     {},
		"xxxxxxxx":     {},
		"":             {},
	} {
		if got, ok := parseWork([]byte(line)); ok != (want != work{}) || ok && got != want {
			t.Errorf("%q: got %+v, %t", line, got, ok)
		}
	}
}

// TestSlowRequestTakesItsTime in both ways.
func TestSlowRequestTakesItsTime(t *testing.T) {
	for _, line := range []string{"sleep 1s\n", "spin 1s\n"} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			o, begun := Options{Line: true, Slow: true}, time.Now()
			if n := o.Serve([]byte(line)); n != len(line) {
				t.Errorf("%d bytes were answered", n)
			}
			if took := time.Since(begun); took < time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
