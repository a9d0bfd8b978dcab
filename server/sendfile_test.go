package server_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The files have offsets, no bytes, and more bytes than the kernel buffers.
func TestSendFileKeepsItsPlaceAmongWrites(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		content := noise(3 << 20)
		f := writeFile(t, content)
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, Socket: tight()})
		c, nc := p.connect(t, s)
		var o outcomes
		var want bytes.Buffer
		parts := [][2]int{{0, 10}, {5, 0}, {1000, 100_000}, {0, len(content)}, {len(content), 0}, {len(content) - 1, 1}}
		for i, part := range parts {
			text := name(i, 7)
			_, err := c.WriteString(text)
			testkit.Must(t, err)
			testkit.Must(t, c.SendFile(f, int64(part[0]), int64(part[1]), o.of(c, text)))
			want.WriteString(text)
			want.Write(content[part[0] : part[0]+part[1]])
		}
		testkit.Must(t, c.WriteNotify([]byte("end"), o.of(c, "end")))
		want.WriteString("end")
		if n := c.Stats().BufferedBytes; n > 100+len(parts)*(16<<10)+128 {
			t.Errorf("the bytes of a file count towards the output: %d bytes", n)
		}
		got := make([]byte, want.Len())
		if n, err := io.ReadFull(nc, got); err != nil {
			t.Fatalf("%d of %d bytes came: %v", n, len(got), err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Fatal("what came is not what was sent")
		}
		testkit.Until(t, "all outcomes", func() bool { return o.len() == len(parts)+1 })
		if good := o.check(t, len(parts)+1); good != len(parts)+1 {
			t.Errorf("%d of %d succeeded", good, len(parts)+1)
		}
		testkit.Must(t, nc.Close())
		s.shutdown(t)
		s.drained(t)
	})
}

// The peer would take later output for the rest of the file.
func TestAFileThatIsTooShortClosesTheConnection(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		f := writeFile(t, noise(1000))
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		file, behind := make(chan error, 1), make(chan error, 1)
		onLoop(t, c, func() {
			testkit.Must(t, c.SendFile(f, 0, 2000, func(err error) { file <- err }))
			testkit.Must(t, c.WriteNotify([]byte("behind"), func(err error) { behind <- err }))
		})
		for what, ch := range map[string]chan error{"the file": file, "what was behind it": behind} {
			if err := testkit.Await(t, ch, "the outcome of "+what); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, server.ErrClosed) {
				t.Errorf("%s: %v; want ErrClosed because of ErrUnexpectedEOF", what, err)
			}
		}
		if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, io.ErrUnexpectedEOF) {
			t.Errorf("the reason is %v", reason)
		}
		if got, _ := io.ReadAll(nc); len(got) > 1000 {
			t.Errorf("%d bytes came of a file of 1000", len(got))
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// It has the error of a file that was too short from the beginning.
func TestAFileThatIsTruncatedWhileItIsSentIsTooShort(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const size = 32 << 20
		f := writeFile(t, nil)
		testkit.Must(t, f.Truncate(size))
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, Socket: tight()})
		c, nc := p.connect(t, s)
		done := make(chan error, 1)
		testkit.Must(t, c.SendFile(f, 0, size, func(err error) { done <- err }))
		_, err := io.CopyN(io.Discard, nc, 1<<16)
		testkit.Must(t, err)
		testkit.Must(t, f.Truncate(1<<16))
		_, _ = io.Copy(io.Discard, nc)
		if err := testkit.Await(t, done, "the outcome"); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v, want ErrUnexpectedEOF", err)
		}
		testkit.Await(t, p.closed, "Close")
	})
}

// Its connection ends, and no other.
func TestAFileThatIsClosedFails(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		f := writeFile(t, noise(1000))
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p})
		other, onc := p.connect(t, s)
		c, _ := p.connect(t, s)
		testkit.Must(t, f.Close())
		done := make(chan error, 1)
		testkit.Must(t, c.SendFile(f, 0, 1000, func(err error) { done <- err }))
		if err := testkit.Await(t, done, "the outcome"); !errors.Is(err, server.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
		testkit.Await(t, p.closed, "Close")
		send(t, onc, "still")
		expect(t, onc, "still")
		other.Close()
	})
}

// It returns an error, and done is not called.
func TestSendFileRefusesInvalidArguments(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rigs()[0], &server.Server{Handler: p})
	c, _ := p.connect(t, s)
	f := writeFile(t, nil)
	never := func(error) { t.Error("what was refused had an outcome") }
	for _, err := range []error{c.SendFile(nil, 0, 0, never), c.SendFile(f, -1, 0, never), c.SendFile(f, 0, -1, never)} {
		if !errors.Is(err, server.ErrInvalid) {
			t.Errorf("%v, want ErrInvalid", err)
		}
	}
}

// writeFile makes a file with the content.
func writeFile(t testing.TB, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	testkit.Must(t, os.WriteFile(path, content, 0o600))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	testkit.Must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}
