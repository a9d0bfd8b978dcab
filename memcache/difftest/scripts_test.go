package difftest_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

var update = flag.Bool("update", false, "record what memcached answers to the scripts")

// scripts reads the scripts, by name.
func scripts(t *testing.T) map[string]*difftest.Script {
	t.Helper()
	paths, err := filepath.Glob("testdata/scripts/*.txt")
	testkit.Must(t, err)
	if len(paths) == 0 {
		t.Fatal("no scripts")
	}
	all := map[string]*difftest.Script{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		testkit.Must(t, err)
		s, err := difftest.Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".txt")] = s
	}
	return all
}

// TestScriptsMemcached compares the recorded answers with those of memcached.
func TestScriptsMemcached(t *testing.T) {
	t.Parallel()
	memcached(t)
	for name, s := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if *update {
				record(t, startMemcached(t, s.Args...), name, s)
			}
			replay(t, startMemcached(t, s.Args...), s)
		})
	}
}

// TestScriptsEvcached compares the recorded answers with those of evcached.
func TestScriptsEvcached(t *testing.T) {
	t.Parallel()
	for name, s := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replay(t, startEvcached(t, s.Args...), s)
		})
	}
}

// record replaces the script's answers with those of the server.
func record(t *testing.T, d *daemon, name string, s *difftest.Script) {
	t.Helper()
	for g := range s.Groups {
		steps := slices.Clone(s.Groups[g].Steps)
		inOneSecond(t, d, s.Groups[g], func() {
			copy(s.Groups[g].Steps, steps)
			flush(t, d)
			player := difftest.NewPlayer(d.addr)
			for i := range s.Groups[g].Steps {
				step := &s.Groups[g].Steps[i]
				answer, err := player.Step(*step, true)
				testkit.Must(t, err)
				if difftest.Match(step.Want, answer) != "" {
					step.Want = answer
				}
			}
			_, err := player.End()
			testkit.Must(t, err)
		})
	}
	testkit.Must(t, os.WriteFile(filepath.Join("testdata/scripts", name+".txt"), []byte(s.Text()), 0o644))
}

// replay runs every group step by step and, if possible, also at once and byte by byte.
func replay(t *testing.T, d *daemon, s *difftest.Script) {
	t.Helper()
	for _, g := range s.Groups {
		t.Run(strings.ReplaceAll(g.Name, " ", "-"), func(t *testing.T) {
			for _, diff := range play(t, d, g) {
				t.Errorf("%s, %s", d.name, diff)
			}
		})
	}
}

// play runs a group in each possible way, and returns the differences.
func play(t *testing.T, d *daemon, g difftest.Group) (diffs []string) {
	t.Helper()
	var diff string
	inOneSecond(t, d, g, func() {
		flush(t, d)
		diff = stepwise(t, d, g)
	})
	if diff != "" {
		diffs = append(diffs, diff)
	}
	if !g.OnePiece() || g.Unsteady && d.name == "memcached" {
		return diffs
	}
	return append(diffs, streamed(t, d, g)...)
}

// tries is the maximum number of attempts to run a group within one second.
const tries = 100

// inOneSecond calls fn. For a group that must run within one second, it repeats this until the server's clock shows the same second before and after
// fn. No difference is overlooked, because the result of fn in two seconds is that of another state.
func inOneSecond(t *testing.T, d *daemon, g difftest.Group, fn func()) {
	t.Helper()
	for range tries {
		before := ""
		if g.Second {
			before = d.second(t)
		}
		if fn(); !g.Second || d.second(t) == before {
			return
		}
	}
	t.Fatalf("%s: %q was never played within a second", d.name, g.Name)
}

// second returns the server's time.
func (d *daemon) second(t *testing.T) string {
	t.Helper()
	nc, err := net.Dial("tcp", d.addr)
	testkit.Must(t, err)
	defer nc.Close()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	_, err = io.WriteString(nc, "stats\r\n")
	testkit.Must(t, err)
	for lines := bufio.NewScanner(nc); lines.Scan(); {
		if second, ok := strings.CutPrefix(lines.Text(), "STAT time "); ok {
			return second
		}
	}
	t.Fatalf("%s tells no time", d.name)
	return ""
}

// stepwise runs a group step by step, and returns the first difference.
func stepwise(t *testing.T, d *daemon, g difftest.Group) (diff string) {
	t.Helper()
	player := difftest.NewPlayer(d.addr)
	for _, step := range g.Steps {
		answer, err := player.Step(step, false)
		testkit.Must(t, err)
		if diff = difftest.Match(step.Want, answer); diff != "" {
			diff = fmt.Sprintf("script line %d, %.60s: %s", step.Line, step.Send[0].Text, diff)
			break // the next answers are out of step
		}
	}
	extra, err := player.End()
	testkit.Must(t, err)
	if len(extra) > 0 && diff == "" {
		diff = fmt.Sprintf("nothing should come after the group, and this did: %q", extra)
	}
	return diff
}

// mostSplit is the maximum number of bytes of a group that is sent byte by byte.
const mostSplit = 16 << 10

// streamed sends the whole group at once, and then again byte by byte, so that a read may end between any two bytes. It returns the differences.
func streamed(t *testing.T, d *daemon, g difftest.Group) (diffs []string) {
	t.Helper()
	var out []byte
	var want []string
	for _, step := range g.Steps {
		p, err := step.Bytes(difftest.NewCanon())
		testkit.Must(t, err)
		out = append(out, p...)
		want = append(want, slices.DeleteFunc(slices.Clone(step.Want), func(line string) bool { return line == difftest.Closed })...)
	}
	send := func(how string, piece int) {
		var diff string
		inOneSecond(t, d, g, func() {
			flush(t, d)
			answer, err := difftest.Stream(d.addr, out, piece)
			testkit.Must(t, err)
			diff = difftest.Match(want, difftest.NewCanon().Lines(answer, g.Steps[0].Binary()))
		})
		if diff != "" {
			diffs = append(diffs, fmt.Sprintf("sent %s: %s", how, diff))
		}
	}
	send("in one piece", len(out))
	if len(out) <= mostSplit {
		send("byte by byte", 1)
	}
	return diffs
}

// flush empties the server, unless its arguments keep a plain flush_all from doing so. The groups of such a script do not depend on it.
func flush(t *testing.T, d *daemon) {
	t.Helper()
	if slices.ContainsFunc(d.cmd.Args, func(arg string) bool { return arg == "-F" || arg == "-Y" || arg == "-B" || arg == "-C" }) {
		return
	}
	if d.flusher == nil {
		var err error
		d.flusher, err = net.Dial("tcp", d.addr)
		testkit.Must(t, err)
		t.Cleanup(func() {
			d.flusher.Close()
			d.flusher = nil
		})
	}
	testkit.Must(t, d.flusher.SetDeadline(time.Now().Add(testTimeout)))
	_, err := io.WriteString(d.flusher, "flush_all\r\n")
	testkit.Must(t, err)
	answer := make([]byte, len("OK\r\n"))
	if n, err := io.ReadFull(d.flusher, answer); err != nil || string(answer) != "OK\r\n" {
		t.Fatalf("flush_all: %q, %v", answer[:n], err)
	}
}
