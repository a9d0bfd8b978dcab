package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// fileServer answers each byte with a file that it opens for it.
type fileServer struct {
	path                 string
	size                 int64
	opened, closed, full atomic.Int64
}

func (f *fileServer) data(c *server.Conn, p []byte) (int, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return 1, err
	}
	f.opened.Add(1)
	done := func(error) {
		_ = file.Close()
		f.closed.Add(1)
	}
	if err := c.SendFile(file, 0, f.size, done); err != nil {
		f.full.Add(1)
		done(err)
		return 1, err
	}
	return 1, nil
}

// A client that requests thirty thousand files at once and reads none has a few opened for it, and all are closed after its end.
func TestAClientThatReadsNoFilesIsNotReadFrom(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		f := &fileServer{path: writeFile(t, noise(1<<20)).Name(), size: 1 << 20}
		p := newProbe(calls{data: f.data})
		s := start(t, r, &server.Server{Handler: p, Socket: tight()})
		_, nc := p.connect(t, s)
		go func() { _, _ = nc.Write([]byte(strings.Repeat("g", 30_000))) }() // may fail: the server stops reading
		testkit.Until(t, "some files", func() bool { return f.opened.Load()-f.closed.Load() >= 16 })
		for range 20 {
			if open := f.opened.Load() - f.closed.Load(); open > 16 {
				t.Fatalf("%d files are open for a client that reads nothing; the high-water mark is 16 files", open)
			}
			twoTurnsOfAll(t, s)
		}
		if n := s.Stats().BufferedBytes; n < 16*16<<10 {
			t.Errorf("16 files count as %d bytes", n)
		}
		hangUp(nc)
		testkit.Await(t, p.closed, "Close")
		testkit.Until(t, "the close of every file", func() bool { return f.opened.Load() == f.closed.Load() })
		s.shutdown(t)
		s.drained(t)
	})
}

// They are accepted again when there is room, which LowWater reports.
func TestFilesOfAConnectionAreRefusedWhenItsOutputIsFull(t *testing.T) {
	content := noise(100_000)
	f := writeFile(t, content)
	p := newProbe(calls{})
	low := make(chan *server.Conn, 100)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Socket: tight(), Handler: markProbe{p, func(*server.Conn) {}, func(c *server.Conn) { offer(low, c) }}})
	c, nc := p.connect(t, s)
	var sent int
	var reported atomic.Int64
	var err error
	onLoop(t, c, func() {
		for ; err == nil; sent++ {
			err = c.SendFile(f, 0, int64(len(content)), func(error) { reported.Add(1) })
		}
		sent--
	})
	if !errors.Is(err, server.ErrFull) || sent != server.DefaultMaxOutput/(16<<10) {
		t.Fatalf("%d files were taken, then %v", sent, err)
	}
	got := make([]byte, len(content))
	for range sent {
		if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("a file came with %v, right: %v", err, bytes.Equal(got, content))
		}
	}
	testkit.Await(t, low, "LowWater")
	testkit.Until(t, "every outcome", func() bool { return reported.Load() == int64(sent) })
	if st := s.Stats(); st.BufferedBytes != 0 || st.Full != 1 {
		t.Errorf("%+v", st)
	}
}

// Each client that reads nothing has one file, and all together have a quarter of the process's descriptors in addition.
func TestTheFilesOfAServerLeaveDescriptors(t *testing.T) {
	f := writeFile(t, noise(1<<20)) // one descriptor for all: the files that wait are counted
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, Socket: tight()})
	server.SetMaxFiles(s.Server, 20)
	var taken []int
	for range 3 {
		c, _ := p.connect(t, s)
		onLoop(t, c, func() {
			n := 0
			for c.SendFile(f, 0, 1<<20, nil) == nil {
				n++
			}
			taken = append(taken, n)
		})
	}
	if fmt.Sprint(taken) != "[20 1 1]" {
		t.Errorf("the connections were given %v files, want 20, 1 and 1", taken)
	}
	testkit.Must(t, s.Close())
	if n := server.WaitingFiles(s.Server); n != 0 {
		t.Errorf("%d files are counted when all are closed", n)
	}
}

// A client that reads nothing reaches the limit with them alone.
func TestCompletionsCountWithTheirOverhead(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, MaxOutput: 100 << 10, Socket: tight()})
	c, _ := p.connect(t, s)
	onLoop(t, c, func() {
		n := 0
		for c.WriteOwned(nil, nil) == nil {
			n++
		}
		if n != 100<<10/128 {
			t.Errorf("%d completions of nothing were taken", n)
		}
	})
	testkit.Until(t, "an empty account", func() bool { return s.Stats().BufferedBytes == 0 })
}

// They are pipes, also those whose reads wait, and files of /proc, between other writes and files.
func TestFilesThatTheKernelDoesNotSendAreCopied(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		content := noise(300_000)
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, NumLoops: 1, Socket: tight()})
		c, nc := p.connect(t, s)
		_, other := p.connect(t, s)
		pr, pw, err := os.Pipe()
		testkit.Must(t, err)
		defer pr.Close()
		version, err := os.Open("/proc/version")
		testkit.Must(t, err)
		defer version.Close()
		text, err := os.ReadFile("/proc/version")
		testkit.Must(t, err)
		regular := writeFile(t, content)
		var o outcomes
		onLoop(t, c, func() {
			_, _ = c.WriteString("head ")
			testkit.Must(t, c.SendFile(version, 2, int64(len(text)-2), o.of(c, "proc")))
			testkit.Must(t, c.SendFile(pr, 0, int64(len(content)), o.of(c, "pipe")))
			testkit.Must(t, c.SendFile(pr, 0, 10, o.of(c, "more of the pipe")))
			testkit.Must(t, c.SendFile(regular, 5, 1000, o.of(c, "regular")))
			_, _ = c.WriteString(" tail")
		})
		expect(t, nc, "head "+string(text[2:]))
		send(t, other, "x") // the loop does not wait for the pipe
		expect(t, other, "x")
		go func() {
			_, _ = pw.Write(content)
			_, _ = pw.Write(content[:10])
		}()
		expect(t, nc, string(content)+string(content[:10])+string(content[5:1005])+" tail")
		testkit.Until(t, "every outcome", func() bool { return o.len() == 4 })
		if good := o.check(t, 4); good != 4 {
			t.Errorf("%d of 4 succeeded", good)
		}
		_ = pw.Close()
		testkit.Must(t, nc.Close())
		testkit.Must(t, other.Close())
		s.shutdown(t)
		s.drained(t)
	})
}

// The end of the connection interrupts the wait for it.
func TestAPipeWithoutDataDoesNotDelayTheEndOfAServer(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		pr, pw, err := os.Pipe()
		testkit.Must(t, err)
		defer pr.Close()
		defer pw.Close()
		for range 2 { // the pipe can be used again
			c, nc := p.connect(t, s)
			reported := make(chan error, 1)
			testkit.Must(t, c.SendFile(pr, 0, 10, func(err error) { reported <- err }))
			onLoop(t, c, func() {})
			c.Abort()
			if err := testkit.Await(t, reported, "the outcome"); !errors.Is(err, server.ErrAborted) {
				t.Errorf("the outcome is %v", err)
			}
			hangUp(nc)
		}
		s.shutdown(t)
	})
}

// They fail with the error of the system, which is also the reason of the connection.
func TestFilesThatCannotBeSentFail(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	testkit.Must(t, err)
	defer dir.Close()
	writeOnly, err := os.OpenFile(writeFile(t, noise(100)).Name(), os.O_WRONLY, 0)
	testkit.Must(t, err)
	defer writeOnly.Close()
	pr, pw, err := os.Pipe()
	testkit.Must(t, err)
	defer pr.Close()
	defer pw.Close()
	ended, w, err := os.Pipe()
	testkit.Must(t, err)
	defer ended.Close()
	_, _ = w.Write([]byte("five!"))
	testkit.Must(t, w.Close())
	each(t, func(t *testing.T, r rig) {
		for name, f := range map[string]struct {
			file   *os.File
			offset int64
			want   error
		}{
			"a directory": {dir, 0, nil}, "a file that is open for writing only": {writeOnly, 0, nil},
			"a pipe that ends": {ended, 0, io.ErrUnexpectedEOF}, "an offset of a pipe": {pr, 1, server.ErrUnsupported},
		} {
			p := newProbe(calls{})
			s := start(t, r, &server.Server{Handler: p})
			c, nc := p.connect(t, s)
			reported := make(chan error, 1)
			testkit.Must(t, c.SendFile(f.file, f.offset, 9, func(err error) { reported <- err }))
			err := testkit.Await(t, reported, "the outcome")
			reason := testkit.Await(t, p.closed, "Close")
			if err == nil || reason == nil || f.want != nil && (!errors.Is(err, f.want) || !errors.Is(reason, f.want)) {
				t.Errorf("%s: the outcome is %v, the reason %v; want %v", name, err, reason, f.want)
			}
			_ = nc.Close()
			testkit.Must(t, s.Close())
		}
	})
}
