package event_test

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// BenchmarkTurn calls back the events of descriptors that are always readable; the figure is per callback.
func BenchmarkTurn(b *testing.B) {
	for _, ready := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("%d ready", ready), func(b *testing.B) {
			eachDriver(b, func(b *testing.B, l *event.Loop) {
				calls := 0
				for range ready {
					fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
					testkit.Must(b, err)
					e, err := l.NewEvent(fd, event.Read|event.Persist, func(*event.Event, event.Flags) {
						if calls++; calls >= b.N {
							l.Break()
						}
					})
					testkit.Must(b, err)
					testkit.Must(b, e.Add(event.NoTimeout))
					b.Cleanup(func() {
						testkit.Must(b, e.Del())
						testkit.Must(b, unix.Close(fd))
					})
				}
				b.ResetTimer()
				testkit.Must(b, l.Run(context.Background()))
				b.StopTimer()
			})
		})
	}
}
