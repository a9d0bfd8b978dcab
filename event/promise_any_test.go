package event_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/evmq/evmq/event"
)

// Every method may be called from any goroutine, callbacks included, at any time; the race detector looks on.
func TestAnyGoroutineMayCallAnything(t *testing.T) {
	variants := map[string]*event.Config{
		"plain": nil,
		"guarded": {
			SlowCallback: 1,
			PanicHandler: func(any, []byte) {},
			Budget:       event.Budget{Callbacks: 5, Time: 1000, MinPriority: 1},
			PostLimit:    50,
		},
	}
	for name, cfg := range variants {
		t.Run(name, func(t *testing.T) {
			onProcessors(t, func(t *testing.T) { callMethodsConcurrently(t, cfg) }, 1, 2, 4)
		})
	}
}

func callMethodsConcurrently(t *testing.T, cfg *event.Config) {
	var methods []func()
	var depth atomic.Int32
	one := func() {
		if depth.Add(1) < 10 { // a callback that causes more than one more would never end
			methods[rand.IntN(len(methods))]()
		}
		depth.Add(-1)
	}
	s := newStage(t, one, cfg)
	for name, call := range s.methods() {
		methods = append(methods, func() { s.check(name, call()) })
	}
	onPrepare(t, s.l, one)
	onCheck(t, s.l, one)
	var all, runner sync.WaitGroup
	runner.Go(func() {
		for {
			if err := s.l.RunForever(t.Context()); errors.Is(err, event.ErrClosed) {
				return
			}
		}
	})
	for range 6 {
		all.Go(func() {
			for range tenfold(200) {
				methods[rand.IntN(len(methods))]()
			}
		})
	}
	all.Go(func() {
		for range 50 {
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGWINCH)
		}
	})
	if !testing.Short() {
		all.Wait() // else Close comes in the middle of it
	}
	for range 3 {
		all.Go(func() {
			if err := s.l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		all.Go(func() {
			for range 100 {
				methods[rand.IntN(len(methods))]()
			}
		})
	}
	all.Wait()
	runner.Wait()
	s.checkClosed(t)
}

// checkClosed checks that nothing is left after Close.
func (s *stage) checkClosed(t *testing.T) {
	t.Helper()
	if st := s.l.Stats(); st.Added != 0 || st.Active != 0 || st.PendingPosts != 0 {
		t.Errorf("after Close %d added, %d active, %d posts", st.Added, st.Active, st.PendingPosts)
	}
	for _, e := range s.events {
		if e.Added() || e.Pending() != 0 {
			t.Errorf("descriptor %d is still added", e.FD())
		}
	}
}
