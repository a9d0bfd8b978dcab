package client_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A call on one goroutine, and on many with a pipeline. The peer is a server of this package in the same process.
func BenchmarkDo(b *testing.B) {
	request := []byte("hello\n")
	b.Run("one", func(b *testing.B) {
		c := listen(b, "tcp", &server.Server{NumLoops: 1})
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			answer, err := c.AppendDo(context.Background(), buf[:0], request)
			testkit.Must(b, err)
			buf = answer
		}
	})
	for _, pipeline := range []int{1, 16} {
		b.Run(fmt.Sprintf("many/%d", pipeline), func(b *testing.B) {
			c := listen(b, "tcp", &server.Server{NumLoops: 1})
			c.Pipeline = pipeline
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				var buf []byte
				for pb.Next() {
					answer, err := c.AppendDo(context.Background(), buf[:0], request)
					if err != nil {
						b.Error(err)
						return
					}
					buf = answer
				}
			})
		})
	}
}

// The part of a call that finds out whether it is made on a loop.
func BenchmarkBlocking(b *testing.B) {
	srv := start(b, &server.Server{})
	b.ReportAllocs()
	for b.Loop() {
		testkit.Must(b, srv.Blocking())
	}
}
