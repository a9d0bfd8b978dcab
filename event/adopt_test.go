package event

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
)

// A recorder keeps the messages that are logged.
type recorder struct {
	slog.Handler
	mu       sync.Mutex // guards messages
	messages []string
}

func newRecorder() *recorder { return &recorder{Handler: slog.DiscardHandler} }

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, record.Message)
	return nil
}

// If the old duplicate of a parked loop cannot be closed, the new poller is used nevertheless: the error is logged, and
// descriptors, timers and wakes of other goroutines reach the loop.
func TestFailedCloseOfTheOldDuplicateDoesNotFailARebuild(t *testing.T) {
	record := newRecorder()
	l, err := NewLoop(&Config{IgnoreEnv: true, Driver: DriverPark, Logger: slog.New(record)})
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	d := l.driver.(*parkDriver)
	if err := d.file.Load().Close(); err != nil { // its next Close fails
		t.Fatal(err)
	}
	before := l.poller
	l.mustRebuild = true
	if err := l.RunNonblock(); err != nil {
		t.Fatal(err)
	}
	if l.poller == before || d.poller != l.poller || l.Stats().Rebuilds != 1 {
		t.Fatalf("new poller: %v, the driver's: %v, rebuilds %d", l.poller != before, d.poller == l.poller, l.Stats().Rebuilds)
	}
	if want := []string{"event: close the replaced poller's duplicate"}; !slices.Equal(record.messages, want) {
		t.Errorf("logged %q", record.messages)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := l.AfterFunc(time.Millisecond, func() { // after a sleep
		time.AfterFunc(time.Millisecond, func() { _ = l.Exit(0) }) // which ends another
	}); err != nil {
		t.Fatal(err)
	}
	l.Ref()
	if err := l.Run(ctx); err != nil {
		t.Error(err)
	}
}
