package testkit

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/evmq/evmq/event"
)

// NewLoop makes a loop that is closed when the test ends. Backend and driver are the environment's (EVMQ_BACKEND, EVMQ_DRIVER,
// EVMQ_WAKER) unless cfg says otherwise, so that a suite runs for each combination. Without a Logger in cfg the log is discarded.
func NewLoop(t testing.TB, cfg *event.Config) *event.Loop {
	t.Helper()
	var c event.Config
	if cfg != nil {
		c = *cfg
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := event.NewLoop(&c)
	Must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Run runs l until Run returns, and ends the test if that takes longer than Patience.
func Run(t testing.TB, l *event.Loop) {
	t.Helper()
	ctx, cancel := Soon()
	defer cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatalf("Run: %v", err)
	}
}

// Background runs l on a goroutine of its own until the loop's Close, the end of the test, or a call of stop, which waits for the
// goroutine's end.
func Background(t testing.TB, l *event.Loop) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := errors.New("a callback ended the loop's goroutine, as a failing test does")
		defer func() { done <- err }()
		err = l.RunForever(ctx)
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, event.ErrClosed) {
			t.Errorf("RunForever: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}
