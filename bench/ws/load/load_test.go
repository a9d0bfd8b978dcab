//go:build linux

package main

import (
	"context"
	"io"
	"log"
	"math"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/bench/internal/peertest"
	"github.com/evmq/evmq/bench/internal/target"
	"github.com/evmq/evmq/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = time.Minute

// TestProgramMeasuresTheServersThatItStarts in each mode, and ends them.
func TestProgramMeasuresTheServersThatItStarts(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", ".", "../gorilla", "../nbio").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	const row = ` +\d+\.\d{3} +\d+\.\d{3} to \d+\.\d{3} +\d+\.\d\d`
	for args, want := range map[string]string{
		"-conns 20 -messages 500 -rounds 2":                               `gorilla +1\.000 .*\nnbio` + row + ` µs\n.*\n.*\nnbio` + row + `\n`,
		"-conns 20 -messages 500 -rounds 2 -inflight 3 -size 70000 -text": `nbio` + row + ` µs\n`,
		"-conns 20 -messages 500 -rounds 2 -path /deflate":                `nbio` + row + ` µs\n`,
		"-mode broadcast -conns 300 -messages 3 -rounds 2 -base nbio":     `gorilla` + row + ` ms\nnbio +1\.000 .*\n.*\ngorilla` + row + ` ms\n`,
		"-mode broadcast -conns 50 -messages 2 -rounds 1 -reading":        `nbio` + row + ` ms\n`,
		"-mode idle -conns 100,400 -wait 1ms":                             `gorilla( +-?\d+\.\d MB +-?\d+\.\d MB +-?\d+){2}\nnbio( +-?\d+\.\d MB +-?\d+\.\d MB +-?\d+){2}\n`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		all := append(strings.Fields(args), "gorilla="+dir+"/gorilla -addr 127.0.0.1:{port}", "nbio="+dir+"/nbio -addr 127.0.0.1:{port}")
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "load"), all...).CombinedOutput()
		if err != nil || !regexp.MustCompile(want).Match(out) {
			t.Errorf("%s: it ended with %v and printed no %s\n%s", args, err, want, out)
		}
	}
	if left := peertest.Running(t, dir); len(left) > 0 {
		t.Errorf("servers are left: %s", left)
	}
}

// TestOptionsThatMakeNoSenseAreRefused with an error that names the option.
func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	log.SetOutput(io.Discard)
	for args, want := range map[string]string{
		"":                                    "commands",
		"-mode idle a=b":                      "-conns",
		"-mode idle -conns 20,10 a=b":         "-conns",
		"-mode echo -conns 20,30 a=b":         "-conns",
		"-conns x a=b":                        "-conns",
		"-conns 0 a=b":                        "-conns",
		"-mode talk a=b":                      "-mode",
		"-inflight 21 -conns 20 a=b":          "-inflight",
		"-inflight -1 a=b":                    "-inflight",
		"-messages -1 a=b":                    "-messages",
		"-size 0 a=b":                         "-size",
		"-size 16777217 a=b":                  "-size",
		"-path /other a=b":                    "-path",
		"-rounds 0 a=b":                       "-rounds",
		"-reading a=b":                        "-reading",
		"-mode idle -conns 1,2 -wait -1s a=b": "-wait",
		"-base c a=b":                         "-base c",
		"-unknown":                            "-unknown",
		"-inflight 20 -conns 20 a=b":          "none",
		"-mode idle -conns 1,2 a=b":           "none",
		"-mode broadcast -reading a=b":        "none",
	} {
		if _, err := parse("load", strings.Fields(args)); (err == nil) != (want == "none") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", args, err, want)
		}
	}
}

// TestRatiosAreTakenWithinARound so that what slows the machine for a while does not count.
func TestRatiosAreTakenWithinARound(t *testing.T) {
	tab := newTable("time", " ms", []*target.Target{{Name: "a"}, {Name: "b"}})
	for _, slow := range []float64{1, 10, 100} {
		tab.add(0, 2*slow)
		tab.add(1, 3*slow)
	}
	var out strings.Builder
	if err := tab.print(&out, "a"); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^time +ratio to a +95 % interval +median\na +1\.000 +1\.000 to 1\.000 +20\.00 ms\nb +1\.500 +1\.500 to 1\.500 +30\.00 ms\n$`).MatchString(out.String()) {
		t.Errorf("%s", &out)
	}
}

func TestTheIntervalSurroundsTheMedian(t *testing.T) {
	values := make([]float64, 101)
	for i := range values {
		values[i] = float64(i)
	}
	low, high := interval(values)
	if m := median(slices.Clone(values)); m != 50 || low < 25 || low > 49 || high < 51 || high > 75 {
		t.Errorf("the median is %v and the interval %v to %v", m, low, high)
	}
	if m := median([]float64{4, 1, 3, 2}); math.Abs(m-2.5) > 1e-9 {
		t.Errorf("the median of an even number of values is %v", m)
	}
}
