//go:build linux

package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/evmq/evmq/bench/internal/peertest"
	"github.com/evmq/evmq/bench/internal/target"
)

// build builds this program and two servers and returns their directory.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-buildvcs=false", "-o", dir + "/", ".", "../peers/evmq", "../peers/net"}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// TestProgramMeasuresTheServersThatItStarts, with slow requests, and ends them.
func TestProgramMeasuresTheServersThatItStarts(t *testing.T) {
	dir := build(t)
	const flags = " -addr 127.0.0.1:{port} -mode pool -framing line -slow"
	args := strings.Fields("-rate 1000 -time 500ms -warmup 100ms -conns 20 -framing line -slow 0.05 -work")
	args = append(args, "sleep 5ms", "-rounds", "2", "evmq="+dir+"/evmq"+flags, "net="+dir+"/net"+flags)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "latency"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("it ended with %v and printed %s\n%s", err, out, &stderr)
	}
	// The requests are 500 in each of two rounds, and the numbers after the percentiles are the rate, the processor time, and unanswered requests.
	for _, row := range []string{
		`evmq +quick +9\d\d( +\d+\.\d){6} +\d+\.\d\d +0`, `evmq +slow +\d\d( +\d+\.\d){5}`, `evmq +sent late +1000( +\d+\.\d){5}`,
		`net +quick +9\d\d( +\d+\.\d){6} +\d+\.\d\d +0`, `net +slow +\d\d( +\d+\.\d){5}`, `net +sent late +1000( +\d+\.\d){5}`,
	} {
		if !regexp.MustCompile(`(?m)^ *` + row + `\s*$`).Match(out) {
			t.Errorf("there is no row %s:\n%s", row, out)
		}
	}
	if left := peertest.Running(t, dir); len(left) > 0 {
		t.Errorf("servers are left: %s", left)
	}
}

// TestServerThatEndsOrDoesNotStartIsReported, and the others are ended.
func TestServerThatEndsOrDoesNotStartIsReported(t *testing.T) {
	for arg, want := range map[string]string{
		"a=false {port}":           "has ended",
		"a=no-such-program {port}": "executable file not found",
		"a=sleep 60":               "not of the form",
		"=sleep {port}":            "not of the form",
		"sleep {port}":             "not of the form",
	} {
		all, err := target.StartAll([]string{arg})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v and does not contain %q", arg, err, want)
		}
		if err := target.StopAll(all); err != nil {
			t.Errorf("%q: %v", arg, err)
		}
	}
}
