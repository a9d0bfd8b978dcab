package event_test

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// BenchmarkTurn calls back the events of descriptors that are always readable; the figure is per callback.
func BenchmarkTurn(b *testing.B) {
	for _, ready := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("%d ready", ready), func(b *testing.B) {
			eachDriver(b, func(b *testing.B, l *event.Loop) {
				calls := 0
				for range ready {
					fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
					must(b, err)
					e, err := l.NewEvent(fd, event.Read|event.Persist, func(*event.Event, event.Flags) {
						if calls++; calls >= b.N {
							l.Break()
						}
					})
					must(b, err)
					must(b, e.Add(event.NoTimeout))
					b.Cleanup(func() {
						must(b, e.Del())
						must(b, unix.Close(fd))
					})
				}
				b.ResetTimer()
				must(b, l.Run(context.Background()))
				b.StopTimer()
			})
		})
	}
}
