package protocol_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// TestALineIsParsedIntoARequest compares the fields.
func TestALineIsParsedIntoARequest(t *testing.T) {
	var r protocol.Request
	parse := func(line string) protocol.Refusal { return protocol.Text([]byte(line), &r) }
	if why := parse("cas key 5 -7 10 99 noreply"); why != "" || r.Op != protocol.OpCas || string(r.Key) != "key" || r.Flags != 5 ||
		r.Exptime != -7 || r.Size != 10 || r.Follows != 12 || r.CAS != 99 || !r.NoReply {
		t.Errorf("%q, %+v", why, r)
	}
	if why := parse("get a  b"); why != "" || r.Op != protocol.OpGet || r.NoReply || r.Follows != 0 {
		t.Errorf("%q, %+v", why, r)
	}
	var keys []string
	for rest := r.Keys; ; {
		key, more, ok := protocol.NextKey(rest)
		if !ok {
			break
		}
		keys, rest = append(keys, string(key)), more
	}
	if strings.Join(keys, ",") != "a,b" {
		t.Errorf("the keys are %q", keys)
	}
	if why := parse("ms a2V5 3 b T-1 F7 C5 MA I q Oxyz"); why != "" || r.Op != protocol.OpMetaSet || string(r.Key) != "key" || r.Follows != 5 ||
		r.Meta.TTL != -1 || r.Flags != 7 || r.CAS != 5 || r.Meta.Mode != 'A' || !r.Meta.Stale || !r.NoReply || !r.Meta.BinaryKey {
		t.Errorf("%q, %+v", why, r)
	}
	if why := parse("ms key 3 Tx"); why != protocol.BadToken || r.Follows != 5 {
		t.Errorf("%q, %d bytes follow", why, r.Follows)
	}
	if why := parse("ma key"); why != "" || r.Delta != 1 {
		t.Errorf("%q, %+v", why, r)
	}
	if why := parse("flush_all 10"); why != "" || r.Exptime != 10 {
		t.Errorf("%q, %+v", why, r)
	}
	if why := parse("flush_all noreply"); why != "" || r.Exptime != 0 || !r.NoReply {
		t.Errorf("%q, %+v", why, r)
	}
}

// TestTheLineOfALoginIsASetWhoseLengthFitsInto31Bits; all others are refused.
func TestTheLineOfALoginIsASetWhoseLengthFitsInto31Bits(t *testing.T) {
	for line, want := range map[string]int{"set x 0 0 10": 10, "set x 0 0 10 noreply": 10, "set x 0 0 2147483645": 2147483645,
		"set x 0 0 4294967200": -1, "set x 0 0 -1": -1, "get x": -1, "add x 0 0 1": -1, "set x 0 0": -1} {
		if size, ok := protocol.AuthSize([]byte(line)); ok != (want >= 0) || ok && size != want {
			t.Errorf("%q: %d, %v", line, size, ok)
		}
	}
}

// TestParsingALineAllocatesNothing, for each kind of command.
func TestParsingALineAllocatesNothing(t *testing.T) {
	var r protocol.Request
	for _, line := range []string{"get key other", "set key 0 0 10", "ms a2V5 3 b T5", "mg key v t", "delete key", "nonsense", "incr key 5 noreply"} {
		p := []byte(line)
		if n := testing.AllocsPerRun(100, func() { protocol.Text(p, &r) }); n > 0 {
			t.Errorf("%q: %v allocations", line, n)
		}
	}
}

// FuzzText parses any line. It is refused, or the request is within the limits of the protocol and its slices are parts of the line.
func FuzzText(f *testing.F) {
	for _, line := range []string{
		"get a b c", "gets a", "gat 10 a b", "set k 0 0 5", "cas k 1 2 3 4 noreply", "incr k 5", "touch k 0", "delete k 0 noreply", "flush_all 5 noreply",
		"verbosity 1", "stats items", "cache_memlimit 64", "mg k v t s c f h l O1 k q", "ms k 5 T0 F1 C2 MA I", "ms YQ== 1 b", "md k q I T5", "ma k N5 J1 D2 MD", "me k b", "mn",
		"lru_crawler metadump all", "shutdown graceful", " get  a ", "", "ms k 2147483645 Fx",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		var r protocol.Request
		why := protocol.Text(line, &r)
		if !bytes.Equal(line, before) {
			t.Error("the line was changed")
		}
		if r.Follows < 0 || r.Follows > 0 && r.Follows != r.Size+2 {
			t.Errorf("%d bytes follow a value of %d", r.Follows, r.Size)
		}
		if why != "" {
			if !strings.HasPrefix(string(why), "ERROR") && !strings.HasPrefix(string(why), "CLIENT_ERROR ") {
				t.Errorf("the refusal is %q", why)
			}
			return
		}
		if r.Op == protocol.OpNone || r.Op.Stores() != (r.Follows > 0) {
			t.Errorf("operation %d, %d bytes follow", r.Op, r.Follows)
		}
		if len(r.Key) > protocol.MaxKey {
			t.Errorf("a key of %d bytes", len(r.Key))
		}
		for rest := r.Keys; ; {
			key, more, ok := protocol.NextKey(rest)
			if !ok {
				break
			}
			if len(key) == 0 || len(key) > protocol.MaxKey || bytes.IndexByte(key, ' ') >= 0 {
				t.Errorf("the key %q", key)
			}
			rest = more
		}
	})
}

// FuzzHeader parses any header. If Check accepts the frame, its parts are within its body.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("\x80\x01\x00\x01\x08\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00kv"))
	f.Add([]byte("\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00k"))
	f.Fuzz(func(t *testing.T, p []byte) {
		var frame protocol.Frame
		if len(p) < protocol.HeaderLen || !protocol.Header(p, &frame) || frame.Check() != protocol.Success {
			return
		}
		if frame.ValueLen() < 0 || frame.Prefix() > frame.Body {
			t.Errorf("%+v", frame)
		}
		if body := p[protocol.HeaderLen:]; len(body) >= frame.Body {
			frame.Split(body[:frame.Body])
			if len(frame.Extras)+len(frame.Key)+len(frame.Value) != frame.Body {
				t.Errorf("%+v", frame)
			}
		}
		answer := protocol.AppendStatus(nil, &frame, protocol.KeyNotFound)
		if len(answer) != protocol.HeaderLen+len("Not found") || answer[0] != protocol.ResponseMagic || answer[1] != p[1] {
			t.Errorf("the answer is %q", answer)
		}
	})
}
