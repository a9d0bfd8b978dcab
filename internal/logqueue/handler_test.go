package logqueue_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/logqueue"
	"github.com/evmq/evmq/internal/testkit"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// output is what records are written to. It takes nothing while mu is locked.
type output struct {
	writes atomic.Int64 // those that have begun

	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.writes.Add(1)
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// until waits until the output contains part.
func (o *output) until(t *testing.T, part string) {
	t.Helper()
	for deadline := time.Now().Add(testkit.Patience); !strings.Contains(o.String(), part); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in\n%s", part, o)
		}
	}
}

// plain is a handler that writes to o without the time.
func plain(o *output) slog.Handler {
	return slog.NewTextHandler(o, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}})
}

func closeWithin(t *testing.T, h *logqueue.Handler, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return h.Close(ctx)
}

// TestRecordsAreWrittenInOrderAndAsTheyAre, with attributes and groups, and Close writes the last.
func TestRecordsAreWrittenInOrderAndAsTheyAre(t *testing.T) {
	var o output
	h := logqueue.New(plain(&o), logqueue.Config{})
	log := slog.New(h)
	log.Debug("below the level")
	log.Info("one", "n", 1)
	log.With("a", 2).WithGroup("g").Warn("two", "b", 3)
	log.Error("three")
	if err := closeWithin(t, h, testkit.Patience); err != nil {
		t.Fatal(err)
	}
	if got, want := o.String(), "level=INFO msg=one n=1\nlevel=WARN msg=two a=2 g.b=3\nlevel=ERROR msg=three\n"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	log.Info("after the end")
	if got := o.String(); strings.Contains(got, "after") || h.Flush(context.Background()) != nil || closeWithin(t, h, testkit.Patience) != nil {
		t.Errorf("after Close: %s", got)
	}
}

// TestFlushWaitsForWhatWasLogged.
func TestFlushWaitsForWhatWasLogged(t *testing.T) {
	var o output
	h := logqueue.New(plain(&o), logqueue.Config{})
	for range 100 {
		slog.New(h).Info("line")
	}
	if err := h.Flush(context.Background()); err != nil || strings.Count(o.String(), "line") != 100 {
		t.Errorf("%v; written:\n%s", err, o.String())
	}
	if err := closeWithin(t, h, testkit.Patience); err != nil {
		t.Error(err)
	}
}

// While the output blocks, records that find the queue full are dropped, even errors. Their number is logged when the output continues.
func TestLoggingDoesNotWaitForTheOutput(t *testing.T) {
	var o output
	h := logqueue.New(plain(&o), logqueue.Config{Queue: 10, Rate: 1e9, Burst: 1e9, Notice: time.Millisecond})
	log := slog.New(h)
	o.mu.Lock()
	log.Info("line")
	testkit.Until(t, "a write that blocks", func() bool { return o.writes.Load() == 1 })
	for range 500 {
		log.Info("line")
		log.Error("failure")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	gone := errors.New("gave up")
	cancel(gone)
	if err := h.Flush(ctx); !errors.Is(err, gone) {
		t.Errorf("Flush: %v", err)
	}
	if log.Enabled(context.Background(), slog.LevelInfo) {
		t.Error("the queue is full, and the handler is enabled")
	}
	o.mu.Unlock()
	o.until(t, "lines skipped")
	if err := closeWithin(t, h, testkit.Patience); err != nil {
		t.Error(err)
	}
	written := strings.Count(o.String(), "line\n") + strings.Count(o.String(), "failure\n")
	if _, skipped, _ := strings.Cut(o.String(), "lines="); written != 11 || !strings.HasPrefix(skipped, "991\n") {
		t.Errorf("%d lines were written, want 11, and the other 991 counted:\n%s", written, o.String())
	}
}

// Records above the rate are dropped and counted, except errors. A second later records are logged again.
func TestARateIsKept(t *testing.T) {
	var o output
	var mu sync.Mutex
	now := time.Unix(1000, 0)
	h := logqueue.New(plain(&o), logqueue.Config{Rate: 5, Burst: 3, Notice: time.Millisecond, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	log := slog.New(h)
	for range 10 {
		log.Info("before")
	}
	log.Error("failure")
	o.until(t, "lines=7")
	mu.Lock()
	now = now.Add(400 * time.Millisecond)
	mu.Unlock()
	for range 10 {
		log.Info("after")
	}
	if err := closeWithin(t, h, testkit.Patience); err != nil {
		t.Error(err)
	}
	got := o.String()
	if a, b := strings.Count(got, "before"), strings.Count(got, "after"); a != 3 || b != 2 || strings.Count(got, "failure") != 1 || !strings.Contains(got, "lines=8") {
		t.Errorf("%d and %d lines, want 3 and 2:\n%s", a, b, got)
	}
}

// Close does not wait for an output that blocks after its context has ended.
func TestCloseDoesNotWaitForAnOutputThatTakesNothing(t *testing.T) {
	var o output
	h := logqueue.New(plain(&o), logqueue.Config{})
	o.mu.Lock()
	slog.New(h).Info("line")
	if err := closeWithin(t, h, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	o.mu.Unlock()
	if err := closeWithin(t, h, testkit.Patience); err != nil {
		t.Error(err)
	}
}
