package memcache_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// frame builds a request.
func frame(op protocol.Opcode, cas uint64, extras, key, value string) []byte {
	b := []byte{protocol.RequestMagic, byte(op)}
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, byte(len(extras)), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(extras)+len(key)+len(value)))
	b = binary.BigEndian.AppendUint32(b, 0xdecade)
	b = binary.BigEndian.AppendUint64(b, cas)
	return append(b, extras+key+value...)
}

// reply reads a frame and formats it.
func (c *client) reply() (shown string, cas uint64) {
	c.t.Helper()
	h := make([]byte, protocol.HeaderLen)
	_, err := io.ReadFull(c.r, h)
	testkit.Must(c.t, err)
	body := make([]byte, binary.BigEndian.Uint32(h[8:]))
	_, err = io.ReadFull(c.r, body)
	testkit.Must(c.t, err)
	if h[0] != protocol.ResponseMagic || binary.BigEndian.Uint32(h[12:]) != 0xdecade {
		c.t.Errorf("the header is %x", h)
	}
	key, extra := int(binary.BigEndian.Uint16(h[2:])), int(h[4])
	return fmt.Sprintf("%#x status %#x extras %x key %q value %q", h[1], binary.BigEndian.Uint16(h[6:]), body[:extra], body[extra:extra+key], body[extra+key:]),
		binary.BigEndian.Uint64(h[16:])
}

func (c *client) wants(want string) (cas uint64) {
	c.t.Helper()
	got, cas := c.reply()
	if got != want {
		c.t.Errorf("%s; want %s", got, want)
	}
	return cas
}

func (c *client) frame(op protocol.Opcode, cas uint64, extras, key, value string) {
	c.t.Helper()
	_, err := c.Write(frame(op, cas, extras, key, value))
	testkit.Must(c.t, err)
}

const (
	flags7    = "\x00\x00\x00\x07\x00\x00\x00\x00"
	oneAndTen = "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x00"
	noItemNo  = "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x0a\xff\xff\xff\xff"
)

// TestTheBinaryProtocolAnswersAsMemcachedDoes sends frames of each opcode and compares the answers with those of memcached.
func TestTheBinaryProtocolAnswersAsMemcachedDoes(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	c.frame(protocol.BinGet, 0, "", "k", "")
	c.wants(`0x0 status 0x1 extras  key "" value "Not found"`)
	c.frame(protocol.BinGetK, 0, "", "k", "")
	c.wants(`0xc status 0x1 extras  key "k" value ""`)
	c.frame(protocol.BinSet, 0, flags7, "k", "hello")
	cas := c.wants(`0x1 status 0x0 extras  key "" value ""`)
	c.frame(protocol.BinGetKQ, 0, "", "absent", "")
	c.frame(protocol.BinGetKQ, 0, "", "k", "")
	if got := c.wants(`0xd status 0x0 extras 00000007 key "k" value "hello"`); got != cas {
		t.Errorf("cas is %d, was %d", got, cas)
	}
	c.frame(protocol.BinSet, cas+100, flags7, "k", "no")
	c.wants(`0x1 status 0x2 extras  key "" value "Data exists for key."`)
	c.frame(protocol.BinSetQ, cas, flags7, "k", "yes")
	c.frame(protocol.BinAddQ, 0, flags7, "k", "no")
	c.wants(`0x12 status 0x2 extras  key "" value "Data exists for key."`)
	c.frame(protocol.BinReplace, 0, flags7, "absent", "no")
	c.wants(`0x3 status 0x1 extras  key "" value "Not found"`)
	c.frame(protocol.BinAppendQ, 0, "", "k", "!")
	c.frame(protocol.BinPrepend, 0, "", "k", "?")
	c.wants(`0xf status 0x0 extras  key "" value ""`)
	c.frame(protocol.BinAppend, 0, "", "absent", "!")
	c.wants(`0xe status 0x5 extras  key "" value "Not stored."`)
	c.frame(protocol.BinGAT, 0, "\x00\x00\x00\x00", "k", "")
	c.wants(`0x1d status 0x0 extras 00000007 key "" value "?yes!"`)
	c.frame(protocol.BinTouch, 0, "\x00\x00\x00\x00", "k", "")
	c.wants(`0x1c status 0x0 extras 00000007 key "" value ""`)
	c.frame(protocol.BinIncrement, 0, oneAndTen, "k", "")
	c.wants(`0x5 status 0x6 extras  key "" value "Non-numeric server-side value for incr or decr"`)
	c.frame(protocol.BinIncrement, 0, noItemNo, "n", "")
	c.wants(`0x5 status 0x1 extras  key "" value "Not found"`)
	c.frame(protocol.BinIncrement, 0, oneAndTen, "n", "")
	c.wants(`0x5 status 0x0 extras  key "" value "\x00\x00\x00\x00\x00\x00\x00\n"`)
	c.frame(protocol.BinDecrement, 0, oneAndTen, "n", "")
	c.wants(`0x6 status 0x0 extras  key "" value "\x00\x00\x00\x00\x00\x00\x00\t"`)
	c.frame(protocol.BinDeleteQ, 0, "", "n", "")
	c.frame(protocol.BinDelete, 0, "", "n", "")
	c.wants(`0x4 status 0x1 extras  key "" value "Not found"`)
	c.frame(protocol.BinNoop, 0, "", "", "")
	c.wants(`0xa status 0x0 extras  key "" value ""`)
	c.frame(protocol.BinVersion, 0, "", "", "")
	c.wants(`0xb status 0x0 extras  key "" value "` + memcache.Version + `"`)
	c.frame(protocol.BinStat, 0, "", "nonsense", "")
	c.wants(`0x10 status 0x1 extras  key "" value "Not found"`)
	c.frame(0x77, 0, "", "key", "value")
	c.wants(`0x77 status 0x81 extras  key "" value "Unknown command"`)
	c.frame(protocol.BinSASLList, 0, "", "", "")
	c.wants(`0x20 status 0x81 extras  key "" value "Unknown command"`)
	c.frame(protocol.BinFlush, 0, "", "", "")
	c.wants(`0x8 status 0x0 extras  key "" value ""`)
	c.frame(protocol.BinGetQ, 0, "", "k", "")
	c.frame(protocol.BinQuit, 0, "", "", "")
	c.wants(`0x7 status 0x0 extras  key "" value ""`)
	c.closed()
}

// TestInvalidFramesCloseTheConnection, after an answer where memcached sends one.
func TestInvalidFramesCloseTheConnection(t *testing.T) {
	r := start(t, memcache.Config{})
	inconsistent := frame(protocol.BinGet, 0, "", "key", "")
	inconsistent[3] = 200
	long := string(make([]byte, 251))
	for name, f := range map[string]struct {
		bytes []byte
		reply string
	}{
		"extras of a get":     {frame(protocol.BinGet, 0, "xxxx", "k", ""), `0x0 status 0x4 extras  key "" value "Invalid arguments"`},
		"a set without them":  {frame(protocol.BinSet, 0, "", "k", "v"), `0x1 status 0x4 extras  key "" value "Invalid arguments"`},
		"no key":              {frame(protocol.BinSet, 0, flags7, "", "v"), `0x1 status 0x4 extras  key "" value "Invalid arguments"`},
		"a long key":          {frame(protocol.BinGet, 0, "", long, ""), `0x0 status 0x4 extras  key "" value "Invalid arguments"`},
		"lengths that differ": {inconsistent, `0x0 status 0x81 extras  key "" value "Unknown command"`},
	} {
		c := r.connect(t)
		_, err := c.Write(f.bytes)
		testkit.Must(t, err)
		if got, _ := c.reply(); got != f.reply {
			t.Errorf("%s: %s", name, got)
		}
		c.closed()
	}
	c := r.connect(t)
	c.frame(protocol.BinNoop, 0, "", "", "")
	c.reply()
	_, err := c.Write(make([]byte, protocol.HeaderLen))
	testkit.Must(t, err)
	c.closed()
}

// TestLargeFramesMayArriveInPieces sends a large value in several writes.
func TestLargeFramesMayArriveInPieces(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	for _, size := range []int{16_000, 17_000, 300_000, 1_000_000} {
		value := string(make([]byte, size))
		go func() { _, _ = c.Write(frame(protocol.BinSet, 0, flags7, "k", value)) }()
		c.wants(`0x1 status 0x0 extras  key "" value ""`)
		c.frame(protocol.BinGet, 0, "", "k", "")
		c.wants(fmt.Sprintf("0x0 status 0x0 extras 00000007 key \"\" value %q", value))
	}
	go func() { _, _ = c.Write(frame(protocol.BinSet, 0, flags7, "k", string(make([]byte, 2<<20)))) }()
	c.wants(`0x1 status 0x3 extras  key "" value "Too large."`)
	c.frame(protocol.BinGet, 0, "", "k", "")
	c.wants(`0x0 status 0x1 extras  key "" value "Not found"`)
}

// TestABinaryClientAuthenticatesBySASL, and only a few commands are served before.
func TestABinaryClientAuthenticatesBySASL(t *testing.T) {
	users, err := memcache.LoadUsers(usersFile(t, "ann:secret\n"))
	testkit.Must(t, err)
	r := start(t, memcache.Config{Users: users, SASL: true})
	c := r.connect(t)
	c.frame(protocol.BinVersion, 0, "", "", "")
	c.reply()
	c.frame(protocol.BinSASLList, 0, "", "", "")
	c.wants(`0x20 status 0x0 extras  key "" value "PLAIN"`)
	c.frame(protocol.BinSASLAuth, 0, "", "PLAIN", "\x00ann\x00wrong")
	c.wants(`0x21 status 0x20 extras  key "" value "Auth failure."`)
	c.frame(protocol.BinSASLAuth, 0, "", "PLAIN", "\x00ann\x00secret")
	c.wants(`0x21 status 0x0 extras  key "" value "Authenticated"`)
	c.frame(protocol.BinSet, 0, flags7, "k", "v")
	c.wants(`0x1 status 0x0 extras  key "" value ""`)
	c = r.connect(t)
	c.frame(protocol.BinGet, 0, "", "k", "")
	c.wants(`0x0 status 0x20 extras  key "" value "Auth failure."`)
	c.closed()
	c = r.connect(t)
	c.send("get k")
	c.closed()
}
