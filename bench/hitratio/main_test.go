//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// buildProgram builds hitratio and returns its path.
func buildProgram(t *testing.T) string {
	t.Helper()
	testkit.Program(t, "memcached")
	binary := t.TempDir() + "/hitratio"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// hitratio runs the program and returns its output without the heading.
func hitratio(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command(buildProgram(t), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if lines[0] != header {
		t.Fatalf("the output is\n%s", out)
	}
	return lines[1:]
}

// A signal to the program also ends its server.
func TestASignalEndsTheServerToo(t *testing.T) {
	cmd := exec.Command(buildProgram(t), "-evcached", "", "-time", "10m", "-report", "100ms", "-sizes", "100")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	for line := ""; !strings.HasPrefix(line, "# memcached after "); {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatalf("%v\n%s", errors.Join(err, cmd.Wait()), &complaints)
		}
	}
	var children []string
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range tasks {
		if b, err := os.ReadFile(file); err == nil { // or the thread has ended
			children = append(children, strings.Fields(string(b))...)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, r)
	if err := errors.Join(err, ignoreExit(cmd.Wait())); err != nil {
		t.Error(err)
	}
	if len(children) != 1 {
		t.Fatalf("it had the children %v", children)
	}
	if name, err := os.ReadFile("/proc/" + children[0] + "/comm"); err == nil && string(name) == "memcached\n" {
		t.Errorf("memcached still runs as process %s", children[0])
	}
}

// ignoreExit is nil for a program that has ended with a code other than 0, as it does after a signal.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return nil
	}
	return err
}

// columns reads the numbers of a line that begins with a load's name: those from -m on.
func columns(t *testing.T, line string) (server string, numbers []float64) {
	t.Helper()
	fields := strings.Fields(line[40:])
	for _, f := range fields[1:] {
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		numbers = append(numbers, n)
	}
	return fields[0], numbers
}

// Both servers have hits with each trace. evcached has at least as many as memcached, and refuses nothing.
func TestComparesBothServersOnEveryTrace(t *testing.T) {
	lines := hitratio(t, "-m", "64", "-keys", "20000", "-requests", "60000", "-sizes", "10-20000", "-spread", "uniform",
		"-trace", strings.Join(traceNames(), ","))
	if len(lines) != 2*len(traces) {
		t.Fatalf("the output is\n%s", strings.Join(lines, "\n"))
	}
	for i := 0; i < len(lines); i += 2 {
		name, theirs := columns(t, lines[i])
		other, ours := columns(t, lines[i+1])
		if name != "memcached" || other != "evcached" {
			t.Fatalf("the servers of line %d are %s and %s", i, name, other)
		}
		const hits, rss, cpu, rate, p50, p999, refused = 1, 3, 5, 6, 7, 9, 10
		for _, n := range [][]float64{theirs, ours} {
			if n[hits] <= 0 || n[hits] >= 1 || n[rss] < 1 || n[cpu] <= 0 || n[rate] <= 0 || n[p50] <= 0 || n[p999] < n[p50] || n[refused] != 0 {
				t.Errorf("%s\n%v", lines[i], n)
			}
		}
		if ours[hits] < theirs[hits] {
			t.Errorf("evcached answers less than memcached:\n%s\n%s", lines[i], lines[i+1])
		}
	}
}

// Sizes that change with each set, for a time: the resident memory is reported in steps.
func TestChurnReportsResidentMemory(t *testing.T) {
	lines := hitratio(t, "-m", "16", "-keys", "5000", "-time", "2s", "-report", "200ms", "-churn", "-sizes", "10-20000", "-spread", "log", "-skip", "0.5")
	for _, server := range []string{"memcached", "evcached"} {
		reports := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, "# "+server+" after ") })
		if len(reports) < 2 {
			t.Errorf("the output about %s is\n%s", server, strings.Join(lines, "\n"))
		}
	}
}

// equalize finds the -m for a resident memory that is a constant and a part in proportion, and gives up where there is none.
func TestEqualizeFindsTheMemory(t *testing.T) {
	for _, c := range []struct {
		slope, constant, target float64
		found                   bool
	}{{1.4, 20, 262, true}, {1, 0, 256, true}, {0.9, 5, 262, true}, {1.2, 300, 262, false}, {0, 262, 262, true}} {
		calls, rss := 0, 0.0
		err := equalize(256, c.target, func(memory int, _ bool) (float64, error) {
			calls++
			rss = c.constant + c.slope*float64(memory)
			return rss, nil
		})
		if err != nil || closeTo(rss, c.target) != c.found || calls > 4 && c.found || calls > tries {
			t.Errorf("%+v: %.0f MB after %d measurements, %v", c, rss, calls, err)
		}
	}
}

// Sizes stay within their range, and are spread over it as they should.
func TestSizesAreSpreadOverTheirRange(t *testing.T) {
	for _, text := range []string{"10-500000", "1000", "1-2"} {
		for spread, half := range map[string]func(s sizes) float64{
			"log":     func(s sizes) float64 { return math.Sqrt(float64(s.low) * float64(s.high)) },
			"uniform": func(s sizes) float64 { return float64(s.low+s.high) / 2 },
		} {
			s, err := parseSizes(text, spread)
			if err != nil {
				t.Fatal(err)
			}
			below, n := 0, 100000
			for i := range n {
				size := s.of(mix(uint64(i)))
				if size < s.low || size > s.high {
					t.Fatalf("%v: a size of %d", s, size)
				}
				if float64(size) < half(s) {
					below++
				}
			}
			if s.high > s.low*10 && (below < n*48/100 || below > n*52/100) {
				t.Errorf("%v: %d of %d are below %.0f", s, below, n, half(s))
			}
		}
	}
	for _, text := range []string{"", "0", "-1", "5-4", "a", "1-b", "1-99999999999"} {
		if s, err := parseSizes(text, "log"); err == nil {
			t.Errorf("-sizes %q is %v", text, s)
		}
	}
}

// Each trace has the pattern of its name.
func TestTracesAskForWhatTheyName(t *testing.T) {
	l := load{keys: 1000, skew: 1, conns: 2, seed: 1}
	l.sums = zipfSums(l.keys, l.skew)
	const n = 100000
	draw := func(trace string) map[uint64]int {
		counts := make(map[uint64]int)
		for conn := range l.conns {
			next := traces[trace](&l, conn)
			for i := range n {
				counts[next(float64(i)/n)]++
			}
		}
		return counts
	}
	count := func(counts map[uint64]int, keep func(key uint64, times int) bool) (keys, requests int) {
		for key, times := range counts {
			if keep(key, times) {
				keys++
				requests += times
			}
		}
		return keys, requests
	}
	zipf := draw("zipf")
	if first, tenth := zipf[0], zipf[9]; first < tenth*8 || first > tenth*12 || len(zipf) > l.keys {
		t.Errorf("zipf: the first key %d times, the tenth %d, %d keys", first, tenth, len(zipf))
	}
	if keys, requests := count(draw("scans"), func(key uint64, _ int) bool { return key >= freshKeys }); keys != requests || requests != 2*n/4 {
		t.Errorf("scans: %d new keys, %d requests for them, want %d", keys, requests, 2*n/4)
	}
	if keys, _ := count(draw("shifting"), func(key uint64, _ int) bool { return key >= uint64(l.keys) }); keys < 700 || keys > 1000 {
		t.Errorf("shifting: %d new keys", keys)
	}
	if keys, _ := count(draw("walking"), func(key uint64, _ int) bool { return key >= uint64(l.keys) }); keys < 10 || keys > 100 {
		t.Errorf("walking: %d new keys", keys)
	}
	if keys, _ := count(draw("loop"), func(_ uint64, times int) bool { return times == 2*n/l.keys }); keys != l.keys {
		t.Errorf("loop: %d of %d keys equally often", keys, l.keys)
	}
	if keys, requests := count(draw("half-loop"), func(key uint64, _ int) bool { return key >= uint64(l.keys) }); keys != l.keys || requests != n {
		t.Errorf("half-loop: %d keys of the loop, %d requests for them", keys, requests)
	}
}

// A quantile is within 3 per cent.
func TestQuantilesAreWithinThreePerCent(t *testing.T) {
	var h histogram
	for i := range 100000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.99, 0.999} {
		want := q * 100000 * float64(time.Microsecond)
		if got := float64(h.quantile(q)); got < want*0.99 || got > want*1.04 {
			t.Errorf("quantile %v is %.0f, want %.0f", q, got, want)
		}
	}
}

// The error of a server that does not start has the server's output, and the end of a context stops a load.
func TestServersThatFailAreReported(t *testing.T) {
	p := program{"memcached", "/bin/false", nil}
	if _, err := p.start(t.Context(), 64); err == nil || !strings.Contains(err.Error(), "process has ended") {
		t.Errorf("a server that ends at once: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := load{trace: "zipf", sizes: sizes{10, 10, false}, keys: 10, requests: 10, conns: 1, depth: 1}
	if _, err := l.begin().run(ctx, "127.0.0.1:1"); err == nil {
		t.Error("a load without a server does not fail")
	}
}
