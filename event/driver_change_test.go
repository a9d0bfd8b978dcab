//go:build linux

package event

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// With each sleep in another way, functions of other goroutines run once and in order, and a readable descriptor is reported.
func TestNothingIsLostWhenTheWayOfSleepingChanges(t *testing.T) {
	l, _, _ := newAdaptive(t, true)
	const producers, each = 4, 5000
	fds := newPipe(t)
	read := make(chan struct{}, 1)
	buf := make([]byte, 1)
	e, err := l.NewEvent(fds[0], Read|Persist, func(*Event, Flags) {
		if n, _ := unix.Read(fds[0], buf); n > 0 {
			read <- struct{}{}
		}
	})
	if err == nil {
		err = e.Add(NoTimeout)
	}
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var last [producers]int
	for p := range producers {
		group.Go(func() {
			for i := range each {
				ran := make(chan struct{})
				if err := l.Post(func() {
					if last[p] != i {
						t.Errorf("function %d of producer %d after function %d", i, p, last[p]-1)
					}
					last[p] = i + 1
					close(ran)
				}); err != nil {
					t.Error(err)
					return
				}
				if i%3 == p%3 {
					<-ran
				}
			}
		})
	}
	for range each {
		if _, err := unix.Write(fds[1], []byte{1}); err != nil {
			t.Fatal(err)
		}
		<-read
	}
	group.Wait()
	until(t, "end of the functions", func() bool { return l.Stats().PendingPosts == 0 })
	if s := l.Stats(); s.Parked == 0 || s.Blocked == 0 {
		t.Errorf("%d sleeps parked, %d blocked", s.Parked, s.Blocked)
	}
	if err := e.Del(); err != nil {
		t.Error(err)
	}
}

// A loop that is closed in the middle of wakes, in either way of sleeping, leaves no descriptor.
func TestALoopThatAlternatesLeavesNoDescriptor(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for i := range 60 {
		l, err := NewLoop(&Config{IgnoreEnv: true, Driver: driverAlternate})
		if err != nil {
			t.Fatal(err)
		}
		l.Ref()
		done := make(chan error, 1)
		go func() { done <- l.Run(context.Background()) }()
		post := func() {
			ran := make(chan struct{})
			for l.Post(func() { close(ran) }) != nil {
				runtime.Gosched()
			}
			<-ran
		}
		until(t, "sleep of each kind", func() bool {
			post()
			stats := l.Stats()
			return stats.Parked > 0 && stats.Blocked > 0
		})
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				for !errors.Is(l.Post(func() {}), ErrClosed) {
					runtime.Gosched() // also when too many wait
				}
			})
		}
		for range i % 5 {
			post()
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
		group.Wait()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
