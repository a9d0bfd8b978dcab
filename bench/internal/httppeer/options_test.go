package httppeer

import (
	"io"
	"strings"
	"testing"

	"github.com/evmq/evmq/bench/internal/peer"
)

// TestParseAcceptsTheFlagsThatMakeSense and refuses the others, with an error that names the flag.
func TestParseAcceptsTheFlagsThatMakeSense(t *testing.T) {
	for _, c := range []struct {
		args  string
		lacks []peer.Feature
		want  Options
		err   string
	}{
		{args: "", want: Options{Addr: "127.0.0.1:7000"}},
		{args: "-addr :1 -file f -loops 2 -placement loop", want: Options{Addr: ":1", File: "f", Loops: 2, Placement: "loop"}},
		{args: "-addr :1", lacks: []peer.Feature{peer.Placement, peer.Loops}, want: Options{Addr: ":1"}},
		{args: "-placement loop", lacks: []peer.Feature{peer.Placement}, err: "-placement"},
		{args: "-loops 1", lacks: []peer.Feature{peer.Loops}, err: "-loops"},
		{args: "-loops -1", err: "-loops"},
		{args: "-file f", lacks: []peer.Feature{peer.File}, err: "-file"},
		{args: "-mode pool", err: "-mode"},
		{args: "file", err: `"file"`},
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
