package server_test

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// bodies is a handler of messages with a length of four bytes before them. It reads each body into a buffer of its own, at most piece(left)
// bytes at a time, and answers with its checksum.
type bodies struct {
	calls
	piece           func(left int) int
	inPlace, copied int // bytes
}

// body is the body that a connection is sending.
type body struct {
	got  []byte
	want int
}

func (b *bodies) Open(c *server.Conn) { c.SetValue(&body{want: -1}) }

func (b *bodies) Data(c *server.Conn, p []byte) (n int, err error) {
	v := c.Value().(*body)
	for n < len(p) {
		if v.want < 0 {
			if len(p)-n < 4 {
				return n, nil
			}
			v.want = int(binary.BigEndian.Uint32(p[n:]))
			v.got = make([]byte, 0, v.want)
			n += 4
		}
		more := p[n:min(len(p), n+v.want-len(v.got))]
		n += len(more)
		if to := v.got[len(v.got):v.want]; len(more) > 0 && &more[0] == &to[0] {
			b.inPlace += len(more)
		} else {
			copy(to, more)
			b.copied += len(more)
		}
		v.got = v.got[:len(v.got)+len(more)]
		if len(v.got) < v.want {
			continue
		}
		if _, err = c.Write(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(v.got))); err != nil {
			return n, err
		}
		v.want = -1
	}
	if v.want > 0 {
		left := v.want - len(v.got)
		c.ReadInto(v.got[len(v.got) : len(v.got)+b.piece(left)])
	}
	return n, nil
}

// message returns p with its length before it.
func message(p []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)
}

// converse sends messages, all at once, and checks the checksums.
func converse(t *testing.T, nc net.Conn, messages [][]byte) {
	t.Helper()
	go func() {
		for _, p := range messages {
			if _, err := nc.Write(message(p)); err != nil {
				return // the reader reports it
			}
		}
	}()
	for i, p := range messages {
		var sum [4]byte
		if _, err := io.ReadFull(nc, sum[:]); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if got, want := binary.BigEndian.Uint32(sum[:]), crc32.ChecksumIEEE(p); got != want {
			t.Fatalf("message %d, of %d bytes: checksum %x, want %x", i, len(p), got, want)
		}
	}
}

// The pieces have all sizes. There are rate limits, small pieces of large TLS records, and many messages at once.
func TestReadIntoBringsEachByteToItsPlace(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		for name, piece := range map[string]func(left int) int{
			"whole":  func(left int) int { return left },
			"random": func(left int) int { return rand.IntN(min(left, 5000) + 1) },
			"none":   func(int) int { return 0 },
		} {
			for _, limit := range []server.RateLimit{{}, {BytesPerSecond: 1 << 30, Burst: 100_000}} {
				h := &bodies{piece: piece}
				s := start(t, r, &server.Server{NumLoops: 1, Handler: h, ReadLimit: limit})
				nc := s.dial(t)
				var messages [][]byte
				for _, n := range []int{300_000, 1, 0, 10, 65_536, 100, 65_536 + 1, 131_072, 16_380, 7, 50_000} {
					messages = append(messages, noise(n))
				}
				converse(t, nc, messages)
				hangUp(nc)
				s.shutdown(t)
				if name == "none" && h.inPlace != 0 {
					t.Errorf("%d bytes in a buffer that was not given", h.inPlace)
				}
				if name == "whole" && h.inPlace < 150_000 { // most of the largest, at least
					t.Errorf("%v: %d bytes were read into their place, %d were copied", limit, h.inPlace, h.copied)
				}
			}
		}
	})
}

// Later input, and input that follows stored bytes, is read into the loop's buffer; nothing is lost.
func TestReadIntoIsForOneRead(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		place := make([]byte, 4)
		got := make(chan string, 10)
		inPlace := make(chan bool, 10)
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			got <- string(p)
			inPlace <- &p[0] == &place[0]
			switch string(p) {
			case "into", "keep": // the latter is not consumed
				c.ReadInto(place)
			case "take back":
				c.ReadInto(place)
				c.ReadInto(nil)
			}
			if string(p) == "keep" {
				return 0, nil
			}
			return len(p), nil
		}})
		s := start(t, r, &server.Server{Handler: p})
		_, nc := p.connect(t, s)
		say := func(what, want string, wantPlace bool) {
			t.Helper()
			send(t, nc, what)
			if data := testkit.Await(t, got, "Data"); data != want {
				t.Fatalf("Data was called with %q, want %q", data, want)
			}
			if in := testkit.Await(t, inPlace, "Data"); in != wantPlace {
				t.Errorf("%q is in its place: %v", want, in)
			}
		}
		say("hello", "hello", false)
		say("into", "into", false)
		say("here", "here", true)
		say("then", "then", false)
		say("take back", "take back", false)
		say("none", "none", false)
		say("keep", "keep", false)
		say("more", "keepmore", false)
		say("after", "after", false)
		say("into", "into", false)
		send(t, nc, "four and more") // more than the size of the buffer
		rest := ""
		for len(rest) < len("four and more") {
			rest += testkit.Await(t, got, "Data")
		}
		if rest != "four and more" || !<-inPlace {
			t.Errorf("%q came", rest)
		}
	})
}

// Input stays in the kernel during the pause, and is read into the buffer afterwards.
func TestReadIntoAppliesAfterAPause(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		place := make([]byte, 100)
		data := make(chan bool, 10)
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			data <- &p[0] == &place[0] && string(p) == "body"
			c.ReadInto(place)
			c.PauseRead(nil)
			return len(p), nil
		}})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		send(t, nc, "head")
		if testkit.Await(t, data, "Data") {
			t.Error("in place before it was asked for")
		}
		for range 3 {
			send(t, nc, "body")
			onLoop(t, c, func() {})
			c.ResumeRead(nil)
			if !testkit.Await(t, data, "Data") {
				t.Error("the body is not in its place")
			}
		}
	})
}
