package server_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The loops of the program run turns all the time while servers begin on them, and end.
func TestAServerMayStartOnLoopsThatRun(t *testing.T) {
	for _, driver := range []event.Driver{event.DriverAdaptive, event.DriverPark, event.DriverThread} {
		t.Run(string(driver), func(t *testing.T) {
			loops := programLoops(t, 2, driver)
			end := make(chan struct{})
			for _, l := range loops {
				turns := make(chan struct{})
				go func() {
					defer close(turns)
					for ran := make(chan struct{}, 1); ; <-ran {
						select {
						case <-end:
							return
						default:
						}
						if err := l.Post(func() { ran <- struct{}{} }); err != nil {
							t.Errorf("Post: %v", err)
							return
						}
					}
				}()
				defer func() { testkit.Await(t, turns, "the end of the posts") }()
			}
			defer close(end)
			for range 200 {
				s := &server.Server{Handler: calls{}, UseLoops: loops, Logger: slog.New(slog.DiscardHandler)}
				testkit.Must(t, s.Start())
				testkit.Must(t, s.Close())
			}
		})
	}
}

// The program closes its loops while a server begins on them: Start fails, or the server has loops that have ended.
func TestAServerMayStartOnLoopsThatAreBeingClosed(t *testing.T) {
	for range 200 {
		var loops []*event.Loop
		for range 2 {
			l, err := event.NewLoop(nil)
			testkit.Must(t, err)
			loops = append(loops, l)
		}
		s := &server.Server{Handler: calls{}, UseLoops: loops, Logger: slog.New(slog.DiscardHandler)}
		var all sync.WaitGroup
		for _, l := range loops {
			all.Go(func() {
				if err := l.RunForever(context.Background()); err != nil && !errors.Is(err, event.ErrClosed) {
					t.Errorf("RunForever: %v", err)
				}
			})
			all.Go(func() {
				if err := l.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		if err := s.Start(); err != nil && !errors.Is(err, event.ErrClosed) {
			t.Errorf("Start: %v", err)
		}
		all.Wait()
		testkit.Must(t, s.Close())
	}
}
